//! Where images come from: the lab hub first (made on this machine, served by this process, asked over HTTP like any
//! registry), then the registry that the name says.
//!
//! Nothing of it is there before the first pull: neither the hub nor its images slow the daemon's start.

use crate::images::remote::{BlobStream, Found, Remote, RemoteError, Repository};
use crate::oci::{DOCKER_DOMAIN, Digest, ErrorKind, Reference};
use crate::registry::client::{Client, Config, Endpoint, Mirror, RegistryError, SearchResult};
use crate::registry::lab_images::{Catalog, LabError, ensure};
use crate::registry::server::{Hub, HubError, HubHandle, Options, Push, View, was_added};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use oci_spec::image::Descriptor;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// How the lab hub is served.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Its image layout.
    pub root: PathBuf,
    /// Where people find it, if anywhere. The daemon's own pulls use another door, on a free port, which is for
    /// reading and shows nothing that was pushed.
    pub listen: Option<SocketAddr>,
}

/// The hub and all registries.
pub struct Sources {
    config: HubConfig,
    lab: OnceCell<Lab>,
}

/// The hub once it listens, and a client that asks it first.
struct Lab {
    catalog: Arc<Catalog>,
    hub: HubHandle,
    client: Client,
}

impl Sources {
    pub fn new(config: HubConfig) -> Sources {
        Sources { config, lab: OnceCell::new() }
    }

    /// Opens the door for people, if there shall be one. It is open as long as what this returns.
    pub async fn open_door(&self) -> Result<Option<HubHandle>, HubError> {
        let Some(listen) = self.config.listen else { return Ok(None) };
        let catalog = Catalog::embedded().ok().map(Arc::new);
        let options = Options { catalog, view: View::All, push: Push::ThisMachine, ..Options::default() };
        Hub::open(&self.config.root, listen, options).await.map(Some)
    }

    /// The hub's address, if it listens already.
    pub fn hub_url(&self) -> Option<String> {
        self.lab.get().map(|lab| lab.hub.url())
    }

    async fn lab(&self) -> Result<&Lab, RemoteError> {
        self.lab.get_or_try_init(|| Lab::open(&self.config)).await
    }
}

impl Lab {
    async fn open(config: &HubConfig) -> Result<Lab, RemoteError> {
        let internal = |message: String| RemoteError { kind: ErrorKind::Internal, message };
        let catalog = Arc::new(Catalog::embedded().map_err(|e| internal(e.to_string()))?);
        let faults = Some(config.root.join("faults.json"));
        let options = Options { faults, catalog: Some(catalog.clone()), ..Options::default() };
        let hub = Hub::open(&config.root, SocketAddr::from(([127, 0, 0, 1], 0)), options)
            .await
            .map_err(|e| RemoteError { kind: e.kind(), message: e.to_string() })?;
        let mirror = Mirror { url: hub.url(), for_domain: DOCKER_DOMAIN.to_owned() };
        let client = Client::new(Config { mirrors: vec![mirror], ..Config::default() });
        Ok(Lab { catalog, hub, client })
    }

    /// Makes the lab image that `reference` names, if there is such a one and it is not made yet.
    async fn provide(&self, reference: &Reference) -> Result<(), LabError> {
        let wanted = (reference.domain() == DOCKER_DOMAIN)
            .then(|| self.catalog.find(reference.path(), reference.tag().unwrap_or("latest")))
            .flatten();
        let Some(recipe) = wanted else { return Ok(()) };
        let named = self.hub.store().resolve(&reference.clone().with_default_tag().canonical());
        if named.is_ok_and(|d| d.is_some_and(|d| was_added(&d))) {
            return Ok(());
        }
        let (store, catalog, name) = (self.hub.store().clone(), self.catalog.clone(), recipe.name.clone());
        let span = tracing::Span::current();
        let making = tokio::task::spawn_blocking(move || span.in_scope(|| ensure(&store, &catalog, &name).map(drop)));
        making.await.unwrap_or(Err(LabError::NoSuchImage(reference.familiar())))
    }
}

impl Sources {
    /// Images whose names or descriptions hold `term`, of the registry that `domain` is.
    pub async fn search(&self, domain: &str, term: &str, limit: usize) -> Result<Vec<SearchResult>, RemoteError> {
        self.lab().await?.client.search(domain, term, limit).await.map_err(refused)
    }
}

impl Remote for Sources {
    fn find<'a>(&'a self, reference: &'a Reference) -> BoxFuture<'a, Result<Found, RemoteError>> {
        async move {
            let lab = self.lab().await?;
            let provided = lab.provide(reference).await;
            let fetched = lab.client.manifest(reference).await.map_err(|error| match provided {
                // Why the lab could not make it says more than that nobody else has it.
                Err(lab) => RemoteError { kind: lab.kind(), message: lab.to_string() },
                Ok(()) => refused(error),
            })?;
            let repository =
                Arc::new(At { client: lab.client.clone(), reference: reference.clone(), source: fetched.source });
            Ok(Found { descriptor: fetched.descriptor, bytes: fetched.bytes, repository })
        }
        .boxed()
    }
}

/// One repository at the place where its name was found.
struct At {
    client: Client,
    reference: Reference,
    source: Endpoint,
}

impl Repository for At {
    fn manifest<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Bytes, RemoteError>> {
        async move {
            let fetched = self.client.manifest_at(&self.reference, digest, &self.source).await.map_err(refused)?;
            Ok(fetched.bytes)
        }
        .boxed()
    }

    fn blob<'a>(&'a self, descriptor: &'a Descriptor) -> BoxFuture<'a, Result<BlobStream, RemoteError>> {
        async move {
            let blob = self.client.blob(&self.reference, descriptor, &self.source).await.map_err(refused)?;
            Ok(blob.map(|piece| piece.map_err(refused)).boxed())
        }
        .boxed()
    }
}

fn refused(error: RegistryError) -> RemoteError {
    RemoteError { kind: error.kind(), message: error.to_string() }
}
