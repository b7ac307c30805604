//! Round trips, and archives that are cut, lie or are made to hurt.

use super::*;
use crate::images::diff::{Entry, Kind, Tape};
use crate::images::unpack::tests::build::Tar;
use crate::images::unpack::tests::{gzip, options};
use crate::images::{Images, PullProgress};
use crate::kernel::linux::LinuxKernel;
use crate::oci::{Digest, ErrorKind, Reference};
use crate::registry::client::{Client, Config};
use bytes::Bytes;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use tokio::sync::mpsc::{channel, unbounded_channel};

struct Bench {
    home: tempfile::TempDir,
    images: Arc<Images>,
}

impl Bench {
    fn new() -> Bench {
        let home = tempfile::tempdir().unwrap();
        // Never asked.
        let registries = Arc::new(Client::new(Config::default()));
        let images = Images::open(home.path(), Arc::new(LinuxKernel), registries, options()).unwrap();
        Bench { home, images: Arc::new(images) }
    }

    /// Loads, in pieces of `piece` bytes; what was said.
    async fn load_in(&self, archive: &[u8], piece: usize) -> Result<Vec<String>, ArchiveFault> {
        let (to, mut said) = unbounded_channel();
        self.images.load(source(archive, piece), None, false, to).await?;
        let mut lines = Vec::new();
        while let Some(message) = said.recv().await {
            if let PullProgress::Text(text) = message {
                lines.push(text.trim_end().to_owned());
            }
        }
        Ok(lines)
    }

    async fn load(&self, archive: &[u8]) -> Result<Vec<String>, ArchiveFault> {
        self.load_in(archive, 1 << 20).await
    }

    async fn save(&self, names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        let plan = self.images.plan_save(&names).unwrap();
        let (to, mut pieces) = channel(2);
        let images = self.images.clone();
        let saving = tokio::spawn(async move { images.save(plan, to).await });
        let mut archive = Vec::new();
        while let Some(piece) = pieces.recv().await {
            archive.extend_from_slice(&piece.unwrap());
        }
        saving.await.unwrap().unwrap();
        archive
    }

    async fn import(&self, tar: &[u8], name: Option<&str>, changes: &[&str]) -> Result<Digest, ArchiveFault> {
        let import = Import {
            name: name.map(|name| Reference::parse(name).unwrap()),
            changes: changes.iter().map(|&c| c.into()).collect(),
            from: "-".into(),
            ..Import::default()
        };
        self.images.import(source(tar, 4096), import, unbounded_channel().0).await
    }

    /// Everything that is kept, by name.
    fn kept(&self) -> BTreeSet<String> {
        let names = |dir: &str| -> Vec<String> {
            let dir = std::fs::read_dir(self.home.path().join(dir)).unwrap();
            dir.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
        };
        let dirs = ["content/blobs/sha256", "content/ingest", "snapshots"];
        dirs.iter().flat_map(|dir| names(dir)).collect()
    }
}

fn source(archive: &[u8], piece: usize) -> Source {
    let pieces: Vec<Bytes> = archive.chunks(piece).map(Bytes::copy_from_slice).collect();
    let mut pieces = pieces.into_iter();
    Box::new(move || pieces.next().map(Ok))
}

/// Names and contents.
type Files<'a> = Vec<(&'a str, Vec<u8>)>;

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Tar::new();
    for (name, content) in files {
        tar.file(name, content);
    }
    tar.finish()
}

fn config_of(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|tar| Digest::of(tar)).collect();
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    serde_json::to_vec(&json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs })).unwrap()
}

/// As Docker wrote it before version 25: a layer that comes twice is a link the second time.
fn old_docker(tags: &[&str]) -> Vec<u8> {
    let layer = tar_of(&[("a", b"1")]);
    let config = config_of(&[layer.clone(), layer.clone()]);
    let manifest = json!([{ "Config": "abc.json", "RepoTags": tags, "Layers": ["1/layer.tar", "2/layer.tar"] }]);
    let mut tar = Tar::new();
    tar.dir("1/", 0o755).file("1/VERSION", b"1.0").file("1/layer.tar", &layer);
    tar.dir("2/", 0o755).symlink("2/layer.tar", "../1/layer.tar");
    tar.file("abc.json", &config).file("manifest.json", manifest.to_string().as_bytes());
    tar.finish()
}

#[tokio::test]
async fn what_is_saved_is_loaded_as_it_was() {
    let bench = Bench::new();
    let id = bench.import(&tar_of(&[("etc/x", b"x")]), Some("one:1"), &["CMD [\"/bin/sh\"]"]).await.unwrap();
    bench.import(&tar_of(&[("etc/y", b"y")]), Some("two"), &[]).await.unwrap();
    let archive = bench.save(&["one:1", "two"]).await;
    for (packed, piece) in [(archive.clone(), 1 << 20), (archive.clone(), 100), (gzip(&archive), 7)] {
        let other = Bench::new();
        let said = other.load_in(&packed, piece).await.unwrap();
        assert_eq!(said, ["Loaded image: one:1", "Loaded image: two:latest"]);
        let image = other.images.get("one:1").unwrap();
        assert_eq!(image.id, id);
        let (base, lower) = other.images.lower_dirs(&image).unwrap();
        assert_eq!(std::fs::read(base.join(&lower[0]).join("etc/x")).unwrap(), b"x");
        assert_eq!(other.kept(), bench.kept());
        assert_eq!(other.save(&["one:1", "two"]).await, archive, "byte by byte");
    }
}

#[tokio::test]
async fn archives_of_older_dockers_are_understood() {
    let bench = Bench::new();
    let said = bench.load(&old_docker(&["old:1", "old:2"])).await.unwrap();
    assert_eq!(said, ["Loaded image: old:1", "Loaded image: old:2"]);
    let image = bench.images.get("old:2").unwrap();
    assert_eq!(image.layers.len(), 2);
    assert_eq!(bench.images.lower_dirs(&image).unwrap().1.len(), 2);
    assert!(!bench.kept().contains(Digest::of(b"1.0").hex()), "VERSION is needed by no image");
    let nameless = Bench::new();
    let said = nameless.load(&old_docker(&[])).await.unwrap();
    assert_eq!(said, [format!("Loaded image ID: {}", image.id)]);
    assert_eq!(nameless.images.get(image.id.short()).unwrap().references, []);
}

#[tokio::test]
async fn an_archive_that_is_cut_anywhere_leaves_nothing() {
    let archive = old_docker(&["old:1"]);
    let marker = archive.len() - 1024;
    for cut in (0..marker).step_by(256) {
        let bench = Bench::new();
        let error = bench.load(&archive[..cut]).await.unwrap_err();
        assert!(matches!(error, ArchiveFault::Cut), "{cut}: {error}");
        assert_eq!(bench.kept(), BTreeSet::new(), "{cut}");
        assert!(bench.images.list().unwrap().is_empty());
    }
    let packed = gzip(&archive);
    let error = Bench::new().load(&packed[..packed.len() / 2]).await.unwrap_err();
    assert!(matches!(error, ArchiveFault::Cut), "{error}");
}

#[tokio::test]
async fn an_archive_that_lies_leaves_nothing_and_what_was_there_stays() {
    let bench = Bench::new();
    bench.load(&old_docker(&["old:1"])).await.unwrap();
    let before = bench.kept();
    let layer = tar_of(&[("b", b"2")]);
    let blob = format!("blobs/sha256/{}", Digest::of(b"something else").hex());
    let index = |digest: &Digest| {
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        json!({ "schemaVersion": 2, "manifests": [{ "mediaType": manifest, "digest": digest, "size": 5 }] }).to_string()
    };
    let docker = |config: &str, layers: &[&str]| json!([{ "Config": config, "Layers": layers }]).to_string();
    let climbing = tar_of(&[("../x", b"")]);
    let cases: Vec<(&str, Files<'_>)> = vec![
        ("does not hold it", vec![("manifest.json", docker("nosuch.json", &[]).into())]),
        (
            "is not what its name says",
            vec![("index.json", index(&Digest::of(b"something else")).into()), (&blob, b"{}".to_vec())],
        ),
        (
            "has the diff id",
            vec![
                ("manifest.json", docker("c.json", &["l.tar"]).into()),
                ("c.json", config_of(&[b"other".to_vec()])),
                ("l.tar", layer.clone()),
            ],
        ),
        (
            "climbs out",
            vec![
                ("manifest.json", docker("c.json", &["l.tar"]).into()),
                ("c.json", config_of(std::slice::from_ref(&climbing))),
                ("l.tar", climbing),
            ],
        ),
        (
            "has 1 layers, but the archive brings 0",
            vec![("manifest.json", docker("c.json", &[]).into()), ("c.json", config_of(std::slice::from_ref(&layer)))],
        ),
        ("cannot be understood", vec![("manifest.json", b"[{".to_vec())]),
        ("cannot be understood", vec![("manifest.json", docker("c.json", &[]).into()), ("c.json", b"\0".to_vec())]),
        ("at most 8388608 are read", vec![("manifest.json", vec![b' '; 50 << 20])]),
        (
            "at most 8388608 are read",
            vec![("manifest.json", docker("c.json", &[]).into()), ("c.json", vec![b' '; 9 << 20])],
        ),
        ("holds no images", vec![("etc/passwd", b"root".to_vec())]),
    ];
    for (words, files) in cases {
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        let error = bench.load(&tar_of(&files)).await.unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(error.kind(), ErrorKind::BadParameter, "{error}");
        assert_eq!(bench.kept(), before, "{words}");
    }
    for (bytes, words) in
        [(&b"\xfd7zXZ\0abc"[..], "packed with xz"), (b"", "ends in the middle"), (&[b'x'; 600], "no tar archive")]
    {
        let error = bench.load(bytes).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_sender_that_goes_away_leaves_nothing() {
    let bench = Bench::new();
    let archive = old_docker(&["old:1"]);
    let mut pieces =
        vec![Ok(Bytes::copy_from_slice(&archive[..3000])), Err(std::io::ErrorKind::ConnectionAborted.into())];
    let source: Source = Box::new(move || (!pieces.is_empty()).then(|| pieces.remove(0)));
    let error = bench.images.load(source, None, false, unbounded_channel().0).await.unwrap_err();
    assert!(matches!(error, ArchiveFault::Gone), "{error}");
    assert_eq!(bench.kept(), BTreeSet::new());
}

#[tokio::test]
async fn a_blob_that_is_damaged_is_not_saved() {
    let bench = Bench::new();
    bench.import(&tar_of(&[("etc/x", b"x")]), Some("one"), &[]).await.unwrap();
    let layer = bench.images.get("one").unwrap().manifest.layers()[0].digest().digest().to_owned();
    let path = bench.home.path().join("content/blobs/sha256").join(layer);
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let plan = bench.images.plan_save(&["one".into()]).unwrap();
    let (to, mut pieces) = channel(100);
    assert!(matches!(bench.images.save(plan, to).await, Err(ArchiveFault::Damaged(_))));
    let mut last = None;
    while let Some(piece) = pieces.recv().await {
        last = Some(piece);
    }
    assert!(last.unwrap().is_err(), "who reads it is told");
}

#[tokio::test]
async fn an_import_says_what_it_was_told() {
    let bench = Bench::new();
    let tar = tar_of(&[("bin/sh", b"#!")]);
    let id = bench.import(&gzip(&tar), Some("imp:1"), &["ENV A=b", "WORKDIR /srv", "LABEL x=y"]).await.unwrap();
    let image = bench.images.get("imp:1").unwrap();
    assert_eq!(image.id, id);
    assert_eq!(image.config.rootfs().diff_ids(), &[Digest::of(&tar).to_string()]);
    let config = image.config.config().clone().unwrap();
    assert_eq!(config.env().clone().unwrap(), ["A=b"]);
    assert_eq!(config.working_dir().as_deref(), Some("/srv"));
    let history = image.config.history().clone().unwrap();
    assert_eq!(history[0].comment().as_deref(), Some("Imported from -"));
    let before = bench.kept();
    for (tar, changes, words) in [
        (&tar[..], &["RUN x"][..], "RUN is not a valid change command"),
        (b"", &[], "ends in the middle"),
        (&tar_of(&[("../../x", b"")]), &[], "climbs out"),
    ] {
        let error = bench.import(tar, None, changes).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(bench.kept(), before);
    }
}

#[tokio::test]
async fn too_many_files_are_refused() {
    let mut archive = Vec::new();
    let mut tape = Tape::new(&mut archive);
    for n in 0..20_000 {
        let path = format!("{n}").into_bytes();
        let entry = Entry {
            kind: Kind::Symlink,
            path,
            link: b"x".to_vec(),
            mode: 0o777,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            size: 0,
            device: (0, 0),
            xattrs: Vec::new(),
        };
        tape.append(&entry, &mut std::io::empty()).unwrap();
    }
    tape.finish().unwrap().flush().unwrap();
    let error = Bench::new().load(&archive).await.unwrap_err();
    assert!(matches!(error, ArchiveFault::TooMany(_)), "{error}");
}
