//! Reading and naming blobs.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use oci_spec::image::Descriptor;
use serde::{Deserialize, Serialize};

use super::error::ContentError;
use super::index::Index;
use super::points::point;
use super::writer::{BlobWriter, sweep, sweep_replacements};
use crate::oci::Digest;

/// An OCI image layout. Cheap to share (`Arc<Store>`): all methods take `&self`.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

const LAYOUT_VERSION: &str = "1.0.0";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

impl Store {
    /// Opens the layout at `root`, making it if there is none, and removes what interrupted writers left.
    pub fn open(root: impl Into<PathBuf>) -> Result<Store, ContentError> {
        let store = Store { root: root.into() };
        for dir in [store.blobs(), store.ingest()] {
            point();
            fs::create_dir_all(&dir).map_err(ContentError::io("make", dir))?;
        }
        let lock = store.lock()?;
        sweep(&store.ingest());
        sweep_replacements(&store.root);
        store.check_layout()?;
        drop(lock);
        Ok(store)
    }

    /// The directory of the layout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the blob is here.
    pub fn has(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Its size in bytes.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.blob_path(digest)).ok().filter(fs::Metadata::is_file).map(|m| m.len())
    }

    /// Where the blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Opens the blob for reading; its content is not checked again.
    pub fn open_blob(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.blob_path(digest))
    }

    /// The whole blob, checked against its digest. For manifests and configs: it is held in memory.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, ContentError> {
        let path = self.blob_path(digest);
        let bytes = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ContentError::NotFound(digest.clone()),
            _ => ContentError::Io { what: "read", path, source },
        })?;
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(ContentError::DigestMismatch { expected: digest.clone(), actual });
        }
        Ok(bytes)
    }

    /// Keeps these bytes.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, ContentError> {
        let digest = Digest::of(bytes);
        if self.size(&digest) == Some(bytes.len() as u64) {
            return Ok(digest);
        }
        let mut writer = self.writer()?;
        writer.write_all(bytes).map_err(ContentError::io("write", self.blob_path(&digest)))?;
        writer.commit(&digest, Some(bytes.len() as u64))?;
        Ok(digest)
    }

    /// Begins a blob whose bytes come piece by piece.
    pub fn writer(&self) -> Result<BlobWriter, ContentError> {
        // Shared with other writers; `open` sweeps under the exclusive lock, so it never sees a file
        // that is not locked yet.
        let root = self.open_root()?;
        root.lock_shared().map_err(ContentError::io("lock", &self.root))?;
        BlobWriter::begin(self.ingest(), self.blobs())
    }

    /// Forgets the blob; whether it was there.
    pub fn remove_blob(&self, digest: &Digest) -> Result<bool, ContentError> {
        let path = self.blob_path(digest);
        point();
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(ContentError::Io { what: "remove", path, source }),
        }
    }

    /// All blobs, in no order; for garbage collection.
    pub fn digests(&self) -> Result<Vec<Digest>, ContentError> {
        let dir = self.blobs();
        let entries = fs::read_dir(&dir).map_err(ContentError::io("read", dir))?;
        Ok(entries.flatten().filter_map(|e| format!("sha256:{}", e.file_name().to_str()?).parse().ok()).collect())
    }

    /// What this name stands for.
    pub fn resolve(&self, name: &str) -> Result<Option<Descriptor>, ContentError> {
        Ok(Index::read(&self.root)?.resolve(name).cloned())
    }

    /// Gives the content a name; a name that stood for something else moves.
    pub fn tag(&self, name: &str, descriptor: &Descriptor) -> Result<(), ContentError> {
        self.edit(|index| index.set(name, descriptor.clone()))
    }

    /// Removes a name; whether it was there. The blobs stay.
    pub fn untag(&self, name: &str) -> Result<bool, ContentError> {
        self.edit(|index| index.remove(name))
    }

    /// Changes names, several in one step: whoever looks, and a machine that crashes, sees all of it or nothing.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Index) -> T) -> Result<T, ContentError> {
        let _lock = self.lock()?;
        let mut index = Index::read(&self.root)?;
        let before = index.clone();
        let answer = change(&mut index);
        if index != before {
            // The names of the blobs must be on disk before a name of the index leads to them.
            sync_dir(&self.blobs())?;
            index.write(&self.root)?;
        }
        Ok(answer)
    }

    /// Everything that is kept, with and without names.
    pub fn index(&self) -> Result<Index, ContentError> {
        Index::read(&self.root)
    }

    /// All names with what they stand for, in the order they were given.
    pub fn entries(&self) -> Result<Vec<(String, Descriptor)>, ContentError> {
        Ok(Index::read(&self.root)?.entries())
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    fn ingest(&self) -> PathBuf {
        self.root.join("ingest")
    }

    fn open_root(&self) -> Result<File, ContentError> {
        File::open(&self.root).map_err(ContentError::io("open", &self.root))
    }

    /// flock(2) on the root directory, held until the file is dropped.
    fn lock(&self) -> Result<File, ContentError> {
        let root = self.open_root()?;
        root.lock().map_err(ContentError::io("lock", &self.root))?;
        Ok(root)
    }

    fn check_layout(&self) -> Result<(), ContentError> {
        let path = self.root.join("oci-layout");
        match fs::read(&path) {
            Ok(bytes) => {
                let layout: Layout = serde_json::from_slice(&bytes)
                    .map_err(|source| ContentError::Damaged { path: path.clone(), source })?;
                if layout.image_layout_version != LAYOUT_VERSION {
                    return Err(ContentError::Version { path, version: layout.image_layout_version });
                }
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Index::default().write_if_missing(&self.root)?;
                let text = format!("{{\"imageLayoutVersion\":\"{LAYOUT_VERSION}\"}}");
                replace(&path, text.as_bytes())
            }
            Err(source) => Err(ContentError::Io { what: "read", path, source }),
        }
    }
}

/// Replaces a small file whole: a reader sees the old content or the new one, also after a crash.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), ContentError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = super::writer::temporary(dir)?;
    let fail = |what| ContentError::io(what, path);
    point();
    file.write_all(bytes).map_err(fail("write"))?;
    point();
    file.as_file().sync_all().map_err(fail("sync"))?;
    point();
    file.persist(path).map_err(|e| fail("rename")(e.error))?;
    sync_dir(dir)
}

/// Makes the names in a directory last (fsync(2) on the directory).
pub(super) fn sync_dir(dir: &Path) -> Result<(), ContentError> {
    point();
    File::open(dir).and_then(|d| d.sync_all()).map_err(ContentError::io("sync", dir))
}
