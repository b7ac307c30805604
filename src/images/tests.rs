//! Pulls from a registry that is a table in memory and breaks off, lies or hangs where a test says so.

use super::remote::{BlobStream, Found, Remote, RemoteError, Repository};
use super::unpack::tests::build::Tar;
use super::unpack::tests::options;
use super::*;
use crate::kernel::linux::LinuxKernel;
use crate::oci::{Digest, ErrorKind, Reference, media};
use crate::registry::client::Credentials;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, StreamExt as _};
use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::unbounded_channel;

/// What goes wrong with a blob.
#[derive(Clone, Copy)]
enum Fault {
    /// One byte is another.
    Flipped,
    /// The connection ends in the middle, properly.
    Cut,
    /// The connection breaks in the middle.
    Broken,
    /// The first half comes, then nothing.
    Hangs,
}

#[derive(Default)]
struct Table {
    names: HashMap<String, (String, Digest)>,
    blobs: HashMap<Digest, Bytes>,
    faults: HashMap<Digest, Fault>,
    /// Blobs that were downloaded, in order.
    opened: Vec<Digest>,
}

#[derive(Default, Clone)]
struct Registry(Arc<Mutex<Table>>);

fn not_found() -> RemoteError {
    RemoteError { kind: ErrorKind::NotFound, message: "manifest unknown".into() }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest = oci_spec::image::Digest::from_str(Digest::of(bytes).as_str()).unwrap();
    Descriptor::new(MediaType::from(media_type), bytes.len() as u64, digest)
}

impl Remote for Registry {
    fn find<'a>(
        &'a self,
        reference: &'a Reference,
        _: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Found, RemoteError>> {
        async move {
            let table = self.0.lock().unwrap();
            let key = format!("{}:{}", reference.path(), reference.reference_part());
            let (media_type, digest) = table.names.get(&key).ok_or_else(not_found)?;
            let bytes = table.blobs[digest].clone();
            Ok(Found { descriptor: descriptor(media_type, &bytes), bytes, repository: Arc::new(self.clone()) })
        }
        .boxed()
    }

    fn tags<'a>(
        &'a self,
        reference: &'a Reference,
        _: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Vec<String>, RemoteError>> {
        async move {
            let table = self.0.lock().unwrap();
            let of_it = |name: &String| name.strip_prefix(reference.path())?.strip_prefix(':').map(str::to_owned);
            let mut tags: Vec<String> = table.names.keys().filter_map(of_it).collect();
            tags.sort();
            Ok(tags)
        }
        .boxed()
    }

    fn registries(&self) -> &crate::registry::client::Client {
        unimplemented!("nothing is pushed to this one")
    }
}

impl Repository for Registry {
    fn manifest<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Bytes, RemoteError>> {
        async move { self.0.lock().unwrap().blobs.get(digest).cloned().ok_or_else(not_found) }.boxed()
    }

    fn blob<'a>(&'a self, descriptor: &'a Descriptor) -> BoxFuture<'a, Result<BlobStream, RemoteError>> {
        async move {
            let digest: Digest = descriptor.digest().to_string().parse().unwrap();
            let mut table = self.0.lock().unwrap();
            table.opened.push(digest.clone());
            let bytes = table.blobs.get(&digest).cloned().ok_or_else(not_found)?;
            let half = bytes.len() / 2;
            let pieces = |bytes: &[u8]| -> Vec<Result<Bytes, RemoteError>> {
                bytes.chunks(100).map(|c| Ok(Bytes::copy_from_slice(c))).collect()
            };
            Ok(match table.faults.get(&digest) {
                None => stream::iter(pieces(&bytes)).boxed(),
                Some(Fault::Flipped) => {
                    let mut bytes = bytes.to_vec();
                    bytes[half] ^= 1;
                    stream::iter(pieces(&bytes)).boxed()
                }
                Some(Fault::Cut) => stream::iter(pieces(&bytes[..half])).boxed(),
                Some(Fault::Broken) => {
                    let error =
                        RemoteError { kind: ErrorKind::Unavailable, message: "connection reset by peer".into() };
                    let mut pieces = pieces(&bytes[..half]);
                    pieces.push(Err(error));
                    stream::iter(pieces).boxed()
                }
                Some(Fault::Hangs) => stream::iter(pieces(&bytes[..half])).chain(stream::pending()).boxed(),
            })
        }
        .boxed()
    }
}

impl Registry {
    fn put(&self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.0.lock().unwrap().blobs.insert(digest.clone(), bytes);
        digest
    }

    fn name(&self, name: &str, media_type: &str, digest: &Digest) {
        let entry = (media_type.to_owned(), digest.clone());
        self.0.lock().unwrap().names.insert(format!("library/{name}"), entry);
    }

    /// Puts an image of these tar layers under a name; answers the digests of the layers' blobs.
    fn image(&self, name: &str, layers: &[Vec<u8>]) -> Vec<Digest> {
        let blobs: Vec<Vec<u8>> = layers.iter().map(|tar| gzip(tar)).collect();
        let diff_ids: Vec<Digest> = layers.iter().map(|tar| Digest::of(tar)).collect();
        let manifest = self.manifest(name, &blobs, &diff_ids);
        self.name(name, media::OCI_MANIFEST, &manifest);
        blobs.iter().map(|blob| Digest::of(blob)).collect()
    }

    fn manifest(&self, name: &str, blobs: &[Vec<u8>], diff_ids: &[Digest]) -> Digest {
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05Z",
            "config": { "Labels": { "made.for": name } },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = serde_json::to_vec(&config).unwrap();
        let layer = |blob: &Vec<u8>| {
            self.put(blob.clone());
            descriptor(media::OCI_LAYER_GZIP, blob)
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": descriptor(media::OCI_CONFIG, &config),
            "layers": blobs.iter().map(layer).collect::<Vec<_>>(),
        });
        self.put(config);
        self.put(serde_json::to_vec(&manifest).unwrap())
    }

    fn fault(&self, blob: &Digest, fault: Option<Fault>) {
        let faults = &mut self.0.lock().unwrap().faults;
        match fault {
            Some(fault) => drop(faults.insert(blob.clone(), fault)),
            None => drop(faults.remove(blob)),
        }
    }

    fn opened(&self) -> Vec<Digest> {
        std::mem::take(&mut self.0.lock().unwrap().opened)
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A layer with one file; the content does not compress, so that the blob has several pieces.
fn layer(file: &str) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < 4000 {
        content.extend_from_slice(Digest::of(format!("{file}{}", content.len()).as_bytes()).hex().as_bytes());
    }
    Tar::new().file(file, &content).finish()
}

struct Bench {
    home: tempfile::TempDir,
    registry: Registry,
    images: Images,
}

impl Bench {
    fn new() -> Bench {
        let home = tempfile::tempdir().unwrap();
        let registry = Registry::default();
        let images = open(home.path(), &registry);
        Bench { home, registry, images }
    }

    async fn pull(&self, name: &str) -> (Result<PullOutcome, PullError>, Vec<String>) {
        let (to, mut from) = unbounded_channel();
        let result = self.images.pull(&Reference::parse(name).unwrap(), Some("linux/amd64"), None, to).await;
        let mut lines = Vec::new();
        while let Some(message) = from.recv().await {
            lines.push(line(&message));
        }
        (result, lines)
    }

    async fn remove(&self, name: &str) -> Result<Vec<Removed>, RemoveError> {
        self.images.remove(name, RemoveImage { force: false, prune: true }).await
    }

    async fn pull_ok(&self, name: &str) -> PullOutcome {
        self.pull(name).await.0.unwrap()
    }

    /// Nothing half-made, and exactly so many unpacked layers.
    #[track_caller]
    fn assert_clean(&self, layers: usize) {
        let names = |path: &str| -> Vec<String> {
            let dir = std::fs::read_dir(self.home.path().join(path)).unwrap();
            dir.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
        };
        let snapshots = names("snapshots");
        assert!(snapshots.iter().all(|name| name.len() == 16), "{snapshots:?}");
        assert_eq!(snapshots.len(), layers, "{snapshots:?}");
        assert_eq!(names("content/ingest"), Vec::<String>::new());
    }
}

fn open(home: &Path, registry: &Registry) -> Images {
    Images::open(home, Arc::new(LinuxKernel), Arc::new(registry.clone()), options()).unwrap()
}

/// A message as Docker's client prints it where there is no terminal.
fn line(message: &PullProgress) -> String {
    let json = message.to_json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match json.get("id") {
        Some(id) => format!("{}: {}", text(id), text(&json["status"])),
        None => text(&json["status"]),
    }
}

fn without_bytes(lines: &[String]) -> Vec<&str> {
    let told = |line: &&str| !line.ends_with(": Downloading") && !line.ends_with(": Extracting");
    lines.iter().map(String::as_str).filter(told).collect()
}

#[tokio::test]
async fn a_pull_says_what_docker_says_and_brings_the_image() {
    let bench = Bench::new();
    let blobs = bench.registry.image("mysql:latest", &[layer("bottom"), layer("top")]);
    let (outcome, lines) = bench.pull("mysql").await;
    let outcome = outcome.unwrap();
    let (a, b) = (blobs[0].short(), blobs[1].short());
    let told = without_bytes(&lines);
    assert_eq!(told[0], "latest: Pulling from library/mysql");
    assert_eq!(told[1..3], [format!("{a}: Pulling fs layer"), format!("{b}: Pulling fs layer")]);
    for short in [a, b] {
        let of: Vec<_> = told.iter().filter_map(|l| l.strip_prefix(short)).collect();
        assert_eq!(of, [": Pulling fs layer", ": Verifying Checksum", ": Download complete", ": Pull complete"]);
    }
    let n = told.len();
    assert_eq!(told[n - 2], format!("Digest: {}", outcome.digest));
    assert_eq!(told[n - 1], "Status: Downloaded newer image for mysql:latest");
    let complete: Vec<_> = told.iter().filter(|l| l.ends_with("Pull complete")).collect();
    assert!(complete[0].starts_with(a), "the lower one first");
    let image = bench.images.get("mysql").unwrap();
    assert_eq!(image.id, outcome.id);
    let (base, lower) = bench.images.lower_dirs(&image).unwrap();
    assert_eq!(lower.len(), 2);
    assert!(base.join(&lower[0]).join("top").exists());
    assert!(base.join(&lower[1]).join("bottom").exists());
    assert!(blobs.iter().all(|blob| bench.images.store().has(blob)), "the layout is whole");
    bench.assert_clean(2);
}

#[tokio::test]
async fn what_is_here_is_not_downloaded_again() {
    let bench = Bench::new();
    let first = bench.registry.image("mysql:latest", &[layer("a"), layer("b")]);
    let second = bench.registry.image("mysql:5.7", &[layer("a"), layer("b"), layer("c")]);
    bench.pull_ok("mysql").await;
    bench.registry.opened();
    let (outcome, lines) = bench.pull("mysql").await;
    assert_eq!(outcome.unwrap().status, PullStatus::UpToDate);
    assert_eq!(lines[0], "latest: Pulling from library/mysql");
    assert!(lines[1].starts_with("Digest: sha256:"));
    assert_eq!(lines[2..], ["Status: Image is up to date for mysql:latest"]);
    assert!(bench.registry.opened().is_empty());
    let (outcome, lines) = bench.pull("mysql:5.7").await;
    assert_eq!(outcome.unwrap().status, PullStatus::Downloaded);
    assert_eq!(lines[1], format!("{}: Already exists", first[0].short()));
    assert_eq!(lines[2], format!("{}: Already exists", first[1].short()));
    assert_eq!(lines[3], format!("{}: Pulling fs layer", second[2].short()));
    let opened = bench.registry.opened();
    assert_eq!(opened.len(), 2, "config and one layer");
    assert_eq!(opened[1], second[2]);
    bench.assert_clean(3);
}

#[tokio::test]
async fn a_failed_pull_leaves_nothing_and_the_next_one_works() {
    for fault in [Fault::Flipped, Fault::Cut, Fault::Broken] {
        let bench = Bench::new();
        let blobs = bench.registry.image("centos:latest", &[layer("a")]);
        bench.registry.fault(&blobs[0], Some(fault));
        let error = bench.pull("centos").await.0.unwrap_err().to_string();
        let why = match fault {
            Fault::Flipped => "the blob is damaged",
            Fault::Cut => "the blob ended after",
            _ => "connection reset by peer",
        };
        assert!(error.contains(why), "{error}");
        assert!(matches!(bench.images.get("centos"), Err(ImageError::NoSuchImage(_))));
        assert!(bench.images.list().unwrap().is_empty());
        assert!(!bench.images.store().has(&blobs[0]));
        bench.assert_clean(0);
        bench.registry.fault(&blobs[0], None);
        bench.pull_ok("centos").await;
        bench.assert_clean(1);
    }
}

#[tokio::test]
async fn a_failing_layer_stops_the_others() {
    let bench = Bench::new();
    let layers = [layer("a"), layer("b"), layer("c"), layer("d"), layer("e")];
    let blobs = bench.registry.image("centos:latest", &layers);
    // Three downloads at a time hang or wait, and still the failure of one ends the pull.
    for blob in [&blobs[0], &blobs[1], &blobs[3], &blobs[4]] {
        bench.registry.fault(blob, Some(Fault::Hangs));
    }
    bench.registry.fault(&blobs[2], Some(Fault::Flipped));
    let error = bench.pull("centos").await.0.unwrap_err();
    assert!(matches!(error, PullError::Layer { ref layer, .. } if *layer == blobs[2]), "{error}");
    bench.assert_clean(0);
}

#[tokio::test]
async fn a_layer_that_is_not_what_the_config_says_is_refused() {
    let bench = Bench::new();
    let blob = gzip(&layer("a"));
    let manifest = bench.registry.manifest("x", std::slice::from_ref(&blob), &[Digest::of(b"other")]);
    bench.registry.name("x:latest", media::OCI_MANIFEST, &manifest);
    let error = bench.pull("x").await.0.unwrap_err().to_string();
    assert!(error.contains("diff id"), "{error}");
    bench.assert_clean(0);
    let manifest = bench.registry.manifest("y", &[blob], &[]);
    bench.registry.name("y:latest", media::OCI_MANIFEST, &manifest);
    assert!(matches!(bench.pull("y").await.0, Err(PullError::LayerCount { .. })));
}

#[tokio::test]
async fn another_blob_is_a_layer_that_is_here_only_if_it_holds_the_same() {
    let bench = Bench::new();
    let (here, other) = (layer("a"), layer("b"));
    let claims = |name: &str, blob: Vec<u8>| {
        let manifest = bench.registry.manifest(name, &[blob], &[Digest::of(&here)]);
        bench.registry.name(&format!("{name}:latest"), media::OCI_MANIFEST, &manifest);
    };
    bench.registry.image("here:latest", std::slice::from_ref(&here));
    bench.pull_ok("here").await;
    claims("lie", gzip(&other));
    let error = bench.pull("lie").await.0.unwrap_err().to_string();
    assert!(error.contains("diff id"), "{error}");
    assert!(!bench.images.store().has(&Digest::of(&gzip(&other))), "nothing of it is kept");
    // The same blob, which is here for an honest image.
    bench.registry.image("other:latest", std::slice::from_ref(&other));
    bench.pull_ok("other").await;
    let error = bench.pull("lie").await.0.unwrap_err().to_string();
    assert!(error.contains("diff id"), "{error}");
    // Packed in another way it is the same layer.
    claims("plain", here.clone());
    assert_eq!(bench.pull_ok("plain").await.status, PullStatus::Downloaded);
    assert!(bench.images.store().has(&Digest::of(&here)));
    assert_eq!(bench.pull_ok("plain").await.status, PullStatus::UpToDate);
    bench.assert_clean(2);
}

#[tokio::test]
async fn two_pulls_at_once_download_each_layer_once() {
    let bench = Bench::new();
    let blobs = bench.registry.image("centos:latest", &[layer("a"), layer("b")]);
    bench.registry.image("other:latest", &[layer("a"), layer("b"), layer("c")]);
    let (one, two, three) = tokio::join!(bench.pull("centos"), bench.pull("centos"), bench.pull("other"));
    for (result, lines) in [one, two, three] {
        result.unwrap();
        assert!(lines.iter().any(|line| line.ends_with("Pull complete")));
    }
    let opened = bench.registry.opened();
    for blob in &blobs {
        assert_eq!(opened.iter().filter(|o| *o == blob).count(), 1);
    }
    bench.assert_clean(3);
}

#[tokio::test]
async fn a_pull_that_is_given_up_leaves_nothing() {
    let bench = Bench::new();
    let blobs = bench.registry.image("centos:latest", &[layer("a")]);
    bench.registry.fault(&blobs[0], Some(Fault::Hangs));
    {
        let (to, mut from) = unbounded_channel();
        let reference = Reference::parse("centos").unwrap();
        let mut pull = Box::pin(bench.images.pull(&reference, Some("linux/amd64"), None, to));
        loop {
            tokio::select! {
                _ = &mut pull => panic!("it hangs"),
                message = from.recv() => {
                    if line(&message.unwrap()).ends_with("Downloading") {
                        break;
                    }
                }
            }
        }
    }
    // The next pull of the layer waits until the thread of the first has cleaned up.
    bench.registry.fault(&blobs[0], Some(Fault::Flipped));
    bench.pull("centos").await.0.unwrap_err();
    bench.assert_clean(0);
}

#[tokio::test]
async fn what_is_missing_of_a_damaged_store_comes_back() {
    let bench = Bench::new();
    let blobs = bench.registry.image("centos:latest", &[layer("a"), layer("b")]);
    bench.pull_ok("centos").await;
    bench.registry.opened();
    let image = bench.images.get("centos").unwrap();
    // The directory is gone: made again from the blob that is here.
    let (base, lower) = bench.images.lower_dirs(&image).unwrap();
    std::fs::remove_dir_all(base.join(lower[0].parent().unwrap())).unwrap();
    assert!(matches!(bench.images.lower_dirs(&image), Err(ImageError::LayerMissing { .. })));
    assert_eq!(bench.pull_ok("centos").await.status, PullStatus::Downloaded);
    assert!(bench.registry.opened().is_empty());
    // The blob is gone: downloaded, but not unpacked again.
    bench.images.store().remove_blob(&blobs[0]).unwrap();
    bench.pull_ok("centos").await;
    assert_eq!(bench.registry.opened(), blobs[..1]);
    assert!(bench.images.store().has(&blobs[0]));
    bench.assert_clean(2);
}

#[tokio::test]
async fn an_index_leads_to_the_platform_that_was_asked_for() {
    let bench = Bench::new();
    let tar = layer("a");
    let manifest = bench.registry.manifest("x", &[gzip(&tar)], &[Digest::of(&tar)]);
    let size = bench.registry.0.lock().unwrap().blobs[&manifest].len();
    let child = json!({
        "mediaType": media::OCI_MANIFEST, "digest": manifest, "size": size,
        "platform": { "os": "linux", "architecture": "amd64" },
    });
    let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [child] });
    let index = bench.registry.put(serde_json::to_vec(&index).unwrap());
    bench.registry.name("x:latest", media::OCI_INDEX, &index);
    let reference = Reference::parse("x").unwrap();
    let error = bench.images.pull(&reference, Some("linux/s390x"), None, unbounded_channel().0).await.unwrap_err();
    assert_eq!(error.to_string(), "no matching manifest for linux/s390x in the manifest list entries");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let outcome = bench.pull_ok("x").await;
    assert_eq!(outcome.digest, index, "the digest is what the tag names");
    let image = bench.images.get("x").unwrap();
    assert_eq!(image.manifest_digest, manifest);
    assert_eq!(bench.images.list().unwrap()[0].repo_digests, [format!("x@{index}")]);
    assert!(bench.images.get(&format!("x@{index}")).is_ok());
    assert_eq!(bench.pull_ok("x").await.status, PullStatus::UpToDate);
}

#[tokio::test]
async fn an_image_is_found_by_all_its_names() {
    let bench = Bench::new();
    bench.registry.image("centos:latest", &[layer("a")]);
    let outcome = bench.pull_ok("centos").await;
    let hex = outcome.id.hex();
    for name in [
        "centos",
        "centos:latest",
        "docker.io/library/centos",
        &format!("centos@{}", outcome.digest),
        outcome.id.as_str(),
        hex,
        &hex[..12],
        &format!("sha256:{}", &hex[..6]),
    ] {
        assert_eq!(bench.images.get(name).unwrap().id, outcome.id, "{name}");
    }
    for (name, message) in [
        ("ubuntu", "No such image: ubuntu:latest"),
        ("centos:7", "No such image: centos:7"),
        ("sha256:0123", "No such image: sha256:0123"),
        (&"0".repeat(64), &format!("No such image: {}", "0".repeat(64))),
    ] {
        let error = bench.images.get(name).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.kind()), (message, ErrorKind::NotFound));
    }
    let error = bench.images.get("Bad_Upper").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadParameter);
    let list = bench.images.list().unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].repo_tags, ["centos:latest"]);
    assert_eq!(list[0].created, 1_704_164_645);
    assert_eq!(list[0].labels["made.for"], "centos:latest");
    assert!(list[0].size >= 4000);
}

#[tokio::test]
async fn an_unknown_image_has_the_registrys_words() {
    let bench = Bench::new();
    let (result, lines) = bench.pull("nosuch").await;
    let error = result.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.kind()), ("manifest unknown", ErrorKind::NotFound));
    assert!(lines.is_empty());
}

#[tokio::test]
async fn removing_an_image_keeps_what_others_need() {
    let bench = Bench::new();
    let shared = bench.registry.image("mysql:latest", &[layer("a"), layer("b")]);
    bench.registry.image("mysql:5.7", &[layer("a"), layer("c")]);
    bench.pull_ok("mysql").await;
    bench.pull_ok("mysql:5.7").await;
    bench.assert_clean(3);
    let id = bench.images.get("mysql").unwrap().id;
    let digest = bench.images.get("mysql").unwrap().manifest_digest;
    let removed = bench.remove("mysql").await.unwrap();
    let names = ["mysql:latest".to_owned(), format!("mysql@{digest}")].map(Removed::Untagged);
    assert_eq!(removed[..2], names);
    assert_eq!(removed[2], Removed::Deleted(id));
    assert_eq!(removed.len(), 4, "one layer");
    bench.assert_clean(2);
    assert!(bench.images.store().has(&shared[0]));
    assert!(!bench.images.store().has(&shared[1]));
    bench.images.lower_dirs(&bench.images.get("mysql:5.7").unwrap()).unwrap();
    let id = bench.images.get("mysql:5.7").unwrap().id;
    bench.remove(id.short()).await.unwrap();
    bench.assert_clean(0);
    assert!(bench.images.list().unwrap().is_empty());
    assert!(bench.images.store().digests().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_killed_daemon_left_is_removed_at_the_start() {
    let bench = Bench::new();
    bench.registry.image("centos:latest", &[layer("a")]);
    bench.pull_ok("centos").await;
    let left = bench.home.path().join("snapshots/.tmp-0123456789abcdef-0/diff/etc");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("passwd"), "").unwrap();
    let images = open(bench.home.path(), &bench.registry);
    bench.assert_clean(1);
    images.lower_dirs(&images.get("centos").unwrap()).unwrap();
}

#[tokio::test]
async fn whichever_call_fails_nothing_half_made_is_left() {
    use crate::kernel::Errno;
    use crate::kernel::faulty::Faulty;
    let registry = Registry::default();
    let tar = Tar::new()
        .dir("etc", 0o1777)
        .file("etc/a", b"x")
        .mode(0o4755)
        .symlink("etc/b", "a")
        .hard_link("etc/c", "etc/a")
        .file("etc", b"now a file")
        .file("lib/x", b"")
        .finish();
    registry.image("centos:latest", &[tar]);
    let reference = Reference::parse("centos").unwrap();
    for at in 0.. {
        let home = tempfile::tempdir().unwrap();
        let faulty = Arc::new(Faulty::new(LinuxKernel, at, Errno::EIO));
        let remote = Arc::new(registry.clone());
        let images = Images::open(home.path(), Arc::clone(&faulty) as _, remote, options()).unwrap();
        let result = images.pull(&reference, Some("linux/amd64"), None, unbounded_channel().0).await;
        let made = faulty.made();
        let names = || -> Vec<_> {
            let dir = std::fs::read_dir(home.path().join("snapshots")).unwrap();
            dir.map(|e| e.unwrap().file_name()).collect()
        };
        match result {
            // A close that fails loses nothing, so some failures do no harm.
            Ok(_) => assert_eq!((names().len(), names()[0].len()), (1, 16)),
            Err(_) => {
                assert!(images.list().unwrap().is_empty());
                assert_eq!(names(), Vec::<std::ffi::OsString>::new(), "call {at} of {made}");
                assert_eq!(std::fs::read_dir(home.path().join("content/ingest")).unwrap().count(), 0);
            }
        }
        if made <= at {
            break;
        }
    }
}

mod crash;
mod removal;

/// The same over HTTP: the lab hub serves, the distribution client asks.
mod over_http {
    use super::*;
    use crate::content::Store;
    use crate::registry::client::{Client, Config, Mirror};
    use crate::registry::server::{Hub, HubFaults, HubHandle, Options as HubOptions};
    use crate::trace::testing::Capture;
    use std::time::Duration;

    struct Hubbed {
        home: tempfile::TempDir,
        hub: HubHandle,
        blobs: Vec<Digest>,
        images: Images,
    }

    /// A hub that has the image `lab`, of two layers, below an index.
    async fn hubbed() -> Hubbed {
        let home = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(home.path().join("hub")).unwrap());
        let tars = [layer("bottom"), layer("top")];
        let blobs: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": tars.iter().map(|t| Digest::of(t)).collect::<Vec<_>>() },
        });
        let config = serde_json::to_vec(&config).unwrap();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": descriptor(media::OCI_CONFIG, &config),
            "layers": blobs.iter().map(|b| descriptor(media::OCI_LAYER_GZIP, b)).collect::<Vec<_>>(),
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let mut child = serde_json::to_value(descriptor(media::OCI_MANIFEST, &manifest)).unwrap();
        child["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [child] });
        let index = serde_json::to_vec(&index).unwrap();
        for bytes in blobs.iter().chain([&config, &manifest, &index]) {
            store.put(bytes).unwrap();
        }
        store.tag("docker.io/library/lab:latest", &descriptor(media::OCI_INDEX, &index)).unwrap();
        let hub_options = HubOptions { faults: Some(home.path().join("faults.json")), ..HubOptions::default() };
        let listen = "127.0.0.1:0".parse().unwrap();
        let hub = Hub::serve_with(store, listen, hub_options).await.unwrap();
        let mirror = Mirror { url: hub.url(), for_domain: "docker.io".into() };
        let client =
            Client::new(Config { mirrors: vec![mirror], backoff: Duration::from_millis(1), ..Config::default() });
        let data = home.path().join("data");
        let images = Images::open(&data, Arc::new(LinuxKernel), Arc::new(client), options()).unwrap();
        let blobs = blobs.iter().map(|b| Digest::of(b)).collect();
        Hubbed { home, hub, blobs, images }
    }

    impl Hubbed {
        async fn pull(&self) -> Result<PullOutcome, PullError> {
            let reference = Reference::parse("lab").unwrap();
            self.images.pull(&reference, Some("linux/amd64"), None, unbounded_channel().0).await
        }

        fn fault(&self, faults: HubFaults) {
            let json = serde_json::to_vec(&faults).unwrap();
            std::fs::write(self.home.path().join("faults.json"), json).unwrap();
        }

        fn snapshots(&self) -> usize {
            std::fs::read_dir(self.home.path().join("data/snapshots")).unwrap().count()
        }
    }

    #[tokio::test]
    async fn an_image_of_the_hub_is_pulled_and_every_step_is_told() {
        let hubbed = hubbed().await;
        let capture = Capture::start();
        let outcome = hubbed.pull().await.unwrap();
        assert_eq!(outcome.status, PullStatus::Downloaded);
        assert!(hubbed.hub.addr().ip().is_loopback());
        assert_eq!(hubbed.images.list().unwrap()[0].repo_tags, ["lab:latest"]);
        let image = hubbed.images.get("lab").unwrap();
        let (base, lower) = hubbed.images.lower_dirs(&image).unwrap();
        assert!(base.join(&lower[0]).join("top").exists());
        let events = capture.take();
        let count = |op: &str| events.iter().filter(|e| e.op == op && !e.failed()).count();
        assert_eq!((count("image.pull"), count("image.store")), (1, 1));
        assert_eq!((count("layer.unpack"), count("layer.verify")), (2, 2));
        assert_eq!(count("registry.manifest.get"), 2);
        let unpack = events.iter().find(|e| e.op == "layer.unpack").unwrap();
        let short = image.manifest.layers().iter().map(|l| l.digest().digest()[..12].to_owned());
        assert!(short.into_iter().any(|short| unpack.summary.starts_with(&short)), "{}", unpack.summary);
        assert!(unpack.summary.contains("unpacked 1 file, "), "{}", unpack.summary);
        let pull = events.iter().find(|e| e.op == "image.pull").unwrap();
        assert_eq!(unpack.parent.as_ref(), Some(&pull.span));
    }

    #[tokio::test]
    async fn damaged_and_cut_blobs_leave_nothing() {
        let hubbed = hubbed().await;
        let blob = hubbed.blobs[0].clone();
        hubbed.fault(HubFaults { corrupt: Some(blob.clone()), truncate: None });
        let error = hubbed.pull().await.unwrap_err().to_string();
        assert!(error.contains("the blob is damaged"), "{error}");
        assert!(hubbed.snapshots() <= 1, "only the layer that is fine");
        hubbed.fault(HubFaults { corrupt: None, truncate: Some(blob.clone()) });
        let error = hubbed.pull().await.unwrap_err().to_string();
        assert!(error.contains(blob.short()), "{error}");
        assert!(hubbed.images.list().unwrap().is_empty());
        assert!(!hubbed.images.store().has(&blob));
        hubbed.fault(HubFaults::default());
        hubbed.pull().await.unwrap();
        assert_eq!(hubbed.snapshots(), 2);
    }
}
