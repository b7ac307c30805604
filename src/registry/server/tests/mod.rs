//! The hub as any client of the specification sees it: requests byte by byte over TCP.

mod manage;
mod push;
mod whose;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};

use super::*;
use crate::oci::{Digest, media};

const LAYER: &[u8] = b"0123456789";

struct Bench {
    _dir: tempfile::TempDir,
    hub: HubHandle,
    manifest: Vec<u8>,
}

/// A hub with `library/centos` (latest, 7) and `mysql/server` (8), which is an index. It can only be read.
async fn bench() -> Bench {
    bench_with(Options::default()).await
}

/// The same, with another door.
async fn bench_with(options: Options) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let tag = |name: &str, media_type: &str, bytes: &[u8]| {
        let digest = store.put(bytes).unwrap();
        let descriptor = Descriptor::new(MediaType::from(media_type), bytes.len() as u64, digest);
        store.tag(name, &descriptor).unwrap();
        descriptor
    };
    let layer = Descriptor::new(MediaType::from(media::OCI_LAYER), 10, store.put(LAYER).unwrap());
    let manifest = json!({"schemaVersion": 2, "layers": [layer]}).to_string().into_bytes();
    tag("docker.io/library/centos:latest", media::OCI_MANIFEST, &manifest);
    tag("docker.io/library/centos:7", media::OCI_MANIFEST, &manifest);
    let child = store.put(b"{\"child\":1}").unwrap();
    let child = Descriptor::new(MediaType::from(media::DOCKER_MANIFEST), 11, child);
    let index = json!({"schemaVersion": 2, "manifests": [child]}).to_string();
    tag("docker.io/mysql/server:8", media::OCI_INDEX, index.as_bytes());
    let hub = Hub::serve_with(store, SocketAddr::from(([127, 0, 0, 1], 0)), options).await.unwrap();
    Bench { _dir: dir, hub, manifest }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|l| l.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
    fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

impl Bench {
    async fn ask(&self, line: &str, headers: &str) -> Answer {
        self.send(line, headers, b"").await
    }
    /// With a body; its length is announced unless `headers` say otherwise.
    async fn send(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let (addr, line, mut headers, body) = (self.hub.addr(), line.to_owned(), headers.to_owned(), body.to_owned());
        if !body.is_empty() && !headers.contains("content-length") {
            headers.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            let request = format!("{line} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n{headers}\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            Answer { status, head, body: bytes[end + 4..].to_vec() }
        })
        .await
        .unwrap()
    }
    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "").await
    }
}

#[tokio::test]
async fn the_hub_says_what_it_is() {
    let answer = bench().await.get("/v2/").await;
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    assert_eq!(answer.header("Docker-Distribution-Api-Version"), Some("registry/2.0"));
}

#[tokio::test]
async fn a_manifest_has_its_digest_its_type_and_its_length() {
    let bench = bench().await;
    let digest = Digest::of(&bench.manifest).to_string();
    for reference in ["latest", "7", &digest] {
        for (method, body) in [("GET", &bench.manifest[..]), ("HEAD", b"")] {
            let answer = bench.ask(&format!("{method} /v2/library/centos/manifests/{reference}"), "").await;
            assert_eq!((answer.status, &answer.body[..]), (200, body));
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
            assert_eq!(answer.header("content-type"), Some(media::OCI_MANIFEST));
            assert_eq!(answer.header("content-length"), Some(bench.manifest.len().to_string().as_str()));
            assert_eq!(answer.header("etag"), Some(format!("\"{digest}\"").as_str()));
        }
    }
}

#[tokio::test]
async fn the_child_of_an_index_is_there_by_digest_in_its_repository_only() {
    let bench = bench().await;
    let digest = Digest::of(b"{\"child\":1}");
    let answer = bench.get(&format!("/v2/mysql/server/manifests/{digest}")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(media::DOCKER_MANIFEST)));
    let answer = bench.get(&format!("/v2/library/centos/manifests/{digest}")).await;
    assert_eq!((answer.status, answer.code()), (404, "MANIFEST_UNKNOWN".into()));
}

#[tokio::test]
async fn an_official_repository_needs_no_namespace() {
    assert_eq!(bench().await.get("/v2/centos/manifests/latest").await.status, 200);
}

#[tokio::test]
async fn a_blob_comes_whole_or_in_part() {
    let bench = bench().await;
    let path = format!("/v2/library/centos/blobs/{}", Digest::of(LAYER));
    for (range, status, body, content_range) in [
        ("", 200, "0123456789", None),
        ("range: bytes=4-\r\n", 206, "456789", Some("bytes 4-9/10")),
        ("range: bytes=4-5\r\n", 206, "45", Some("bytes 4-5/10")),
        ("range: bytes=-3\r\n", 206, "789", Some("bytes 7-9/10")),
    ] {
        let answer = bench.ask(&format!("GET {path}"), range).await;
        assert_eq!((answer.status, std::str::from_utf8(&answer.body).unwrap()), (status, body));
        assert_eq!(answer.header("content-range"), content_range);
        assert_eq!(answer.header("content-length"), Some(body.len().to_string().as_str()));
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    }
    let beyond = bench.ask(&format!("GET {path}"), "range: bytes=10-\r\n").await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    let head = bench.ask(&format!("HEAD {path}"), "range: bytes=4-\r\n").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("10"), 0));
    let same = bench.ask(&format!("GET {path}"), &format!("if-none-match: \"{}\"\r\n", Digest::of(LAYER))).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
}

#[tokio::test]
async fn refusals_have_the_codes_of_the_specification() {
    let bench = bench().await;
    let unknown = Digest::of(b"unknown");
    for (line, status, code) in [
        ("GET /v2/library/centos/manifests/8", 404, "MANIFEST_UNKNOWN"),
        ("GET /v2/library/nosuch/manifests/latest", 404, "MANIFEST_UNKNOWN"),
        ("GET /v2/library/centos/manifests/sha256:12", 400, "DIGEST_INVALID"),
        (&format!("GET /v2/library/centos/blobs/{unknown}"), 404, "BLOB_UNKNOWN"),
        ("GET /v2/library/centos/blobs/sha256:..%2f..", 400, "DIGEST_INVALID"),
        ("GET /v2/library/centos/blobs/latest", 400, "DIGEST_INVALID"),
        ("GET /v2/Library/manifests/latest", 400, "NAME_INVALID"),
        ("GET /v2/../etc/manifests/latest", 400, "NAME_INVALID"),
        ("GET /v2/nosuch/tags/list", 404, "NAME_UNKNOWN"),
        ("POST /v2/library/centos/blobs/uploads/", 405, "UNSUPPORTED"),
        ("DELETE /v2/library/centos/manifests/latest", 405, "UNSUPPORTED"),
        (&format!("GET /v2/mysql/server/blobs/{}", Digest::of(LAYER)), 404, "BLOB_UNKNOWN"),
        ("GET /", 404, "UNSUPPORTED"),
        ("GET /v1/_ping", 404, "UNSUPPORTED"),
    ] {
        let answer = bench.ask(line, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{line}");
    }
}

#[tokio::test]
async fn tags_and_repositories_are_listed_in_pages() {
    let bench = bench().await;
    let all = bench.get("/v2/library/centos/tags/list").await;
    assert_eq!(all.json(), json!({"name": "library/centos", "tags": ["7", "latest"]}));
    assert_eq!(all.header("link"), None);
    let first = bench.get("/v2/library/centos/tags/list?n=1").await;
    assert_eq!(first.json()["tags"], json!(["7"]));
    assert_eq!(first.header("link"), Some("</v2/library/centos/tags/list?n=1&last=7>; rel=\"next\""));
    let rest = bench.get("/v2/library/centos/tags/list?n=1&last=7").await;
    assert_eq!((rest.json()["tags"].clone(), rest.header("link")), (json!(["latest"]), None));
    let names = bench.get("/v2/_catalog").await;
    assert_eq!(names.json(), json!({"repositories": ["library/centos", "mysql/server"]}));
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_way_out() {
    let bench = bench().await;
    let taken = bench.hub.addr();
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let error = Hub::serve(store, taken).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "the lab hub can't listen on {taken}: another program already does (stop it, or choose another address; \
             port 0 takes a free one)"
        )
    );
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_hub_that_is_dropped_frees_its_port() {
    let bench = bench().await;
    let addr = bench.hub.addr();
    drop(bench);
    // The server's task ends when it is polled next; the port is free as soon as it did.
    while TcpListener::bind(addr).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_damaged_manifest_is_an_error_and_not_an_answer() {
    let bench = bench().await;
    let store = Store::open(bench._dir.path()).unwrap();
    std::fs::write(store.blob_path(&Digest::of(&bench.manifest)), b"{}").unwrap();
    let answer = bench.get("/v2/library/centos/manifests/latest").await;
    assert_eq!((answer.status, answer.code().as_str()), (500, "UNKNOWN"));
}
