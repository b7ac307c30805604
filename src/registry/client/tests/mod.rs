//! The client against the lab hub, and against fakes that answer as registries should not.

mod blobs;
mod explained;
mod fake;
mod logins;
mod manifests;
mod uploads;
mod ways;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use oci_spec::image::{Descriptor, MediaType};
use serde_json::json;

use super::*;
use crate::content::Store;
use crate::oci::media;
use crate::registry::server::{Hub, HubHandle};

/// An address where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn reference(name: &str) -> Reference {
    Reference::parse(name).unwrap().with_default_tag()
}

/// Quick retries, and a registry behind docker.io where nobody listens unless a test says otherwise: no test
/// leaves the machine.
fn config() -> Config {
    Config {
        upstreams: HashMap::from([("docker.io".to_owned(), nobody())]),
        backoff: Duration::from_millis(1),
        ..Config::default()
    }
}

fn mirrored(url: impl Into<String>) -> Config {
    let mirror = Mirror { url: url.into(), for_domain: "docker.io".into() };
    Config { mirrors: vec![mirror], ..config() }
}

fn upstream(url: impl Into<String>) -> Config {
    Config { upstreams: HashMap::from([("docker.io".to_owned(), url.into())]), ..config() }
}

fn manifest_bytes(layer: &[u8]) -> Vec<u8> {
    let part = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
    json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": part(media::OCI_CONFIG, b"{}"),
           "layers": [part(media::OCI_LAYER_GZIP, layer)]})
    .to_string()
    .into_bytes()
}

fn descriptor_of(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::from(media_type), bytes.len() as u64, Digest::of(bytes))
}

fn layer_descriptor(layer: &[u8]) -> Descriptor {
    descriptor_of(media::OCI_LAYER_GZIP, layer)
}

/// A hub with `docker.io/library/centos:latest`, an index of one image with one layer.
struct Lab {
    _dir: tempfile::TempDir,
    store: Arc<Store>,
    hub: HubHandle,
    layer: Vec<u8>,
}

impl Lab {
    async fn start() -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let layer: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        let manifest = manifest_bytes(&layer);
        for bytes in [&layer[..], b"{}", &manifest] {
            store.put(bytes).unwrap();
        }
        let host = crate::oci::platform::Platform::host();
        let mut child = serde_json::to_value(descriptor_of(media::OCI_MANIFEST, &manifest)).unwrap();
        child["platform"] = json!({"os": "linux", "architecture": host.architecture});
        let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [child]}).to_string();
        store.put(index.as_bytes()).unwrap();
        store.tag("docker.io/library/centos:latest", &descriptor_of(media::OCI_INDEX, index.as_bytes())).unwrap();
        let faults = Some(dir.path().join("faults.json"));
        let options = crate::registry::server::Options { faults, ..Default::default() };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let hub = Hub::serve_with(Arc::clone(&store), any, options).await.unwrap();
        Lab { _dir: dir, store, hub, layer }
    }

    fn faults(&self, faults: serde_json::Value) {
        std::fs::write(self.store.root().join("faults.json"), faults.to_string()).unwrap();
    }

    fn client(&self) -> Client {
        Client::new(mirrored(self.hub.url()))
    }
}

async fn collect(mut stream: BlobStream) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}
