//! A big image without a network: the files of this machine's /usr, as gzip'ed layers in an OCI image layout.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Files above this are left out: one compiler must not be half of a layer.
const LARGEST: u64 = 8 << 20;

/// What an image came to.
#[derive(Default, Clone, Copy)]
pub struct Shape {
    pub layers: usize,
    pub entries: u64,
    /// Bytes of the blobs, and of the tar archives in them.
    pub compressed: u64,
    pub unpacked: u64,
}

/// Writes an image of `layers` layers with about `bytes` compressed bytes in all to `dir` (image-spec,
/// image-layout.md). /usr is dealt out by directories, in an order that mixes programs, libraries and documents.
pub fn from_usr(dir: &Path, layers: usize, bytes: u64) -> io::Result<Shape> {
    std::fs::create_dir_all(dir.join("blobs/sha256"))?;
    let mut directories = Vec::new();
    collect(Path::new("/usr"), &mut directories)?;
    directories.sort_by_key(|path| Sha256::digest(path.as_os_str().as_encoded_bytes()));
    let each = bytes / layers as u64;
    let made = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..layers)
            .map(|at| {
                let mine = directories.iter().skip(at).step_by(layers);
                scope.spawn(move || layer(dir, mine, each))
            })
            .collect();
        let join = |t: std::thread::ScopedJoinHandle<'_, io::Result<Layer>>| {
            t.join().unwrap_or_else(|_| Err(io::Error::other("a thread ended")))
        };
        threads.into_iter().map(join).collect::<io::Result<Vec<_>>>()
    })?;
    describe(dir, &made)?;
    Ok(made.iter().fold(Shape { layers, ..Shape::default() }, |sum, layer| Shape {
        entries: sum.entries + layer.entries,
        compressed: sum.compressed + layer.blob.bytes,
        unpacked: sum.unpacked + layer.unpacked,
        ..sum
    }))
}

/// All directories below `dir`, on its own file system.
fn collect(dir: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let device = std::fs::metadata(dir)?.dev();
    let mut next = vec![dir.to_owned()];
    while let Some(dir) = next.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && entry.metadata()?.dev() == device {
                next.push(entry.path());
            }
        }
        into.push(dir);
    }
    Ok(())
}

struct Layer {
    blob: Blob,
    diff_id: String,
    entries: u64,
    unpacked: u64,
}

/// One layer, until its blob is about `bytes` long.
fn layer<'d>(root: &Path, directories: impl Iterator<Item = &'d PathBuf>, bytes: u64) -> io::Result<Layer> {
    let path = tempfile::Builder::new().tempfile_in(root.join("blobs"))?;
    let blob = Digesting::new(path.reopen()?);
    let mut tar = tar::Builder::new(Digesting::new(GzEncoder::new(blob, Compression::default())));
    tar.follow_symlinks(false);
    let mut entries = 0;
    for directory in directories {
        if tar.get_ref().inner.get_ref().bytes >= bytes {
            break;
        }
        tar.append_path_with_name(directory, inside(directory))?;
        entries += 1;
        for entry in std::fs::read_dir(directory)? {
            let (path, kind) = (entry.as_ref().map(|e| e.path()), entry.as_ref().map(|e| e.metadata()));
            // What goes away meanwhile is not needed.
            let (Ok(path), Ok(Ok(kind))) = (path, kind) else { continue };
            if tar.get_ref().inner.get_ref().bytes >= bytes {
                break;
            }
            if kind.is_symlink() || kind.is_file() && kind.len() <= LARGEST {
                tar.append_path_with_name(&path, inside(&path))?;
                entries += 1;
            }
        }
    }
    let tar = tar.into_inner()?;
    let (unpacked, (diff_id, gzip)) = (tar.bytes, tar.finish());
    let blob = gzip.finish()?;
    let length = blob.bytes;
    let digest = blob.finish().0;
    path.persist(root.join("blobs/sha256").join(&digest)).map_err(|e| e.error)?;
    Ok(Layer { blob: Blob { digest, bytes: length }, diff_id, entries, unpacked })
}

fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Writes config, manifest and index around the layers.
fn describe(dir: &Path, layers: &[Layer]) -> io::Result<()> {
    let diff_ids: Vec<String> = layers.iter().map(|l| format!("sha256:{}", l.diff_id)).collect();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({ "architecture": architecture, "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = document(dir, &config)?.descriptor("application/vnd.oci.image.config.v1+json");
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let layers: Vec<Value> = layers.iter().map(|l| l.blob.descriptor(gzip)).collect();
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        document(dir, &json!({ "schemaVersion": 2, "mediaType": manifest, "config": config, "layers": layers }))?
            .descriptor(manifest);
    std::fs::write(dir.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    std::fs::write(dir.join("index.json"), json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string())
}

struct Blob {
    digest: String,
    bytes: u64,
}

impl Blob {
    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", self.digest), "size": self.bytes })
    }
}

fn document(dir: &Path, value: &Value) -> io::Result<Blob> {
    let mut file = Digesting::new(io::sink());
    let bytes = value.to_string().into_bytes();
    file.write_all(&bytes)?;
    let blob = Blob { bytes: file.bytes, digest: file.finish().0 };
    File::create(dir.join("blobs/sha256").join(&blob.digest))?.write_all(&bytes)?;
    Ok(blob)
}

/// Digests and counts what passes.
struct Digesting<W> {
    inner: W,
    sha: Sha256,
    bytes: u64,
}

impl<W> Digesting<W> {
    fn new(inner: W) -> Digesting<W> {
        Digesting { inner, sha: Sha256::new(), bytes: 0 }
    }

    /// The digest in hex, and what it was written to.
    fn finish(self) -> (String, W) {
        (self.sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect(), self.inner)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sha.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
