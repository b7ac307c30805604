//! Unpacked layers on disk: `snapshots/<16hex>/diff` and `snapshots/<16hex>/layer.json`.
//!
//! A layer's directory is named after its chain id (image-spec, config.md, "Layer ChainID"): the digest of the diff
//! ids of this layer and all below it. The directory holds what this layer alone brings; overlayfs puts the stack
//! together. Sixteen hex characters keep the mount option short, which has to fit one page for all layers;
//! `layer.json` has the whole id.
//!
//! What is being made is called `.tmp-…` and gets its name by one rename when it is whole: a directory with a name
//! is complete. What a killed daemon left under `.tmp-…` is removed when the next one starts.

use super::unpack::{Dir, Removal, Report, remove_tree};
use crate::content::points::point;
use crate::kernel::Kernel;
use crate::oci::Digest;
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Prefix of the directories that are being made or removed.
const TEMPORARY: &str = ".tmp-";

/// What `layer.json` says of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerRecord {
    /// Digest of this layer and those below it.
    pub chain_id: Digest,
    /// Chain id of the layer below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Digest>,
    /// Digest of the uncompressed tar stream.
    pub diff_id: Digest,
    /// Digest and size in bytes of the blob it came from.
    pub blob: Digest,
    pub blob_size: u64,
    /// Bytes of file contents, and number of entries.
    pub size: u64,
    pub entries: u64,
    /// Nothing of the layers below shows through.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub opaque_root: bool,
}

impl LayerRecord {
    /// Takes over what unpacking counted.
    #[must_use]
    pub fn with_report(mut self, report: &Report) -> LayerRecord {
        self.size = report.bytes;
        self.entries = report.entries;
        self.opaque_root = report.opaque_root;
        self
    }
}

/// A failure of the directory of snapshots.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct SnapshotError {
    pub path: PathBuf,
    pub source: io::Error,
}

fn failed(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.into();
    move |source| SnapshotError { path, source }
}

/// The directory of snapshots.
pub struct Snapshots {
    root: PathBuf,
    kernel: Arc<dyn Kernel>,
    /// Makes temporary names unique in this process.
    counter: AtomicU64,
}

impl Snapshots {
    /// Opens (makes) the directory and removes what a killed daemon left half-made.
    pub fn open(root: PathBuf, kernel: Arc<dyn Kernel>) -> Result<Snapshots, SnapshotError> {
        point();
        std::fs::create_dir_all(&root).map_err(failed(&root))?;
        let snapshots = Snapshots { root, kernel, counter: AtomicU64::new(0) };
        for name in snapshots.names()? {
            if name.to_string_lossy().starts_with(TEMPORARY) {
                snapshots.remove_dir(&name)?;
            }
        }
        Ok(snapshots)
    }

    /// `data/snapshots`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The layer's directory below [`Self::root`].
    pub fn name(chain_id: &Digest) -> PathBuf {
        chain_id.hex().chars().take(16).collect::<String>().into()
    }

    /// What is known of an unpacked layer; `None` if it is not here.
    pub fn get(&self, chain_id: &Digest) -> Option<LayerRecord> {
        let path = self.root.join(Self::name(chain_id)).join("layer.json");
        let record: LayerRecord = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (record.chain_id == *chain_id).then_some(record)
    }

    /// All unpacked layers, in no order.
    pub fn list(&self) -> Result<Vec<LayerRecord>, SnapshotError> {
        let records = self.names()?.into_iter().filter_map(|name| {
            let bytes = std::fs::read(self.root.join(name).join("layer.json")).ok()?;
            serde_json::from_slice(&bytes).ok()
        });
        Ok(records.collect())
    }

    /// A fresh directory for a layer. Removed when dropped, unless [`Pending::commit`] gave it its name.
    pub fn begin(&self, chain_id: &Digest) -> Result<Pending<'_>, SnapshotError> {
        let n = self.counter.fetch_add(1, Ordering::Relaxed);
        let name = format!("{TEMPORARY}{}-{n}", Self::name(chain_id).display());
        let pending = Pending { snapshots: self, name: name.into() };
        let base = self.base()?;
        let path = self.root.join(&pending.name);
        base.mkdir(&pending.name, 0o700).map_err(|e| failed(path)(e.into()))?;
        Ok(pending)
    }

    /// Takes a layer's name away, so that it is whole or gone; none if it is not here. Its files are still there, for
    /// [`Self::discard`].
    pub fn detach(&self, chain_id: &Digest) -> Result<Option<Detached>, SnapshotError> {
        if self.get(chain_id).is_none() {
            return Ok(None);
        }
        let name = Self::name(chain_id);
        let n = self.counter.fetch_add(1, Ordering::Relaxed);
        let away = PathBuf::from(format!("{TEMPORARY}rm-{}-{n}", name.display()));
        let base = self.base()?;
        base.rename(&name, &base, &away).map_err(|e| failed(self.root.join(&name))(e.into()))?;
        Ok(Some(Detached(away)))
    }

    /// Deletes the files of a layer that has lost its name.
    pub fn discard(&self, detached: Detached) -> Result<Removal, SnapshotError> {
        remove_tree(&self.base()?, &detached.0).map_err(failed(self.root.join(&detached.0)))
    }

    /// Brings to the disk all that was unpacked and renamed (syncfs(2): one call for any number of files). Before an
    /// image gets a name, so that after a power loss an image with a name is whole. State of the store, no effect on a
    /// layer: it is no [`crate::kernel::Call`].
    pub fn sync(&self) -> Result<(), SnapshotError> {
        point();
        let synced = std::fs::File::open(&self.root).and_then(|root| Ok(nix::unistd::syncfs(root)?));
        synced.map_err(failed(&self.root))
    }

    fn base(&self) -> Result<Dir<'_>, SnapshotError> {
        Dir::open(&*self.kernel, &self.root).map_err(|e| failed(&self.root)(e.into()))
    }

    fn remove_dir(&self, name: &Path) -> Result<(), SnapshotError> {
        remove_tree(&self.base()?, name).map(drop).map_err(failed(self.root.join(name)))
    }

    fn names(&self) -> Result<Vec<PathBuf>, SnapshotError> {
        let entries = std::fs::read_dir(&self.root).map_err(failed(&self.root))?;
        Ok(entries.flatten().map(|e| e.file_name().into()).collect())
    }
}

/// A layer without a name, to be deleted.
#[must_use]
pub struct Detached(PathBuf);

/// A layer that is being made.
pub struct Pending<'s> {
    snapshots: &'s Snapshots,
    /// Empty once it has its final name.
    name: PathBuf,
}

impl Pending<'_> {
    /// The directory to make `diff` in.
    pub fn place(&self) -> Result<Dir<'_>, SnapshotError> {
        let path = self.path();
        Dir::open(&*self.snapshots.kernel, &path).map_err(|e| failed(path)(e.into()))
    }

    /// Writes `layer.json` and gives the layer its name.
    pub fn commit(mut self, record: &LayerRecord) -> Result<(), SnapshotError> {
        let path = self.path().join("layer.json");
        let write = || {
            point();
            let mut file = std::fs::File::create_new(&path)?;
            point();
            file.write_all(&serde_json::to_vec_pretty(record)?)?;
            point();
            file.write_all(b"\n")
        };
        write().map_err(failed(&path))?;
        let name = Snapshots::name(&record.chain_id);
        let base = self.snapshots.base()?;
        base.rename(&self.name, &base, &name).map_err(|e| failed(self.snapshots.root.join(&name))(e.into()))?;
        self.name = PathBuf::new();
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.snapshots.root.join(&self.name)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.name.as_os_str().is_empty() {
            // What cannot be removed now is removed at the next start.
            let _ = self.snapshots.remove_dir(&self.name);
        }
    }
}
