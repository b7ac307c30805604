//! The images of one rdock.

use super::layers::Layers;
use super::progress::Progress;
use super::pull::{Messages, Pull, PullError, PullOutcome, platform};
use super::remote::Remote;
use super::snapshots::{SnapshotError, Snapshots};
use super::store::{Catalog, Image, ImageError, ImageSummary, Removed};
use super::unpack::Options;
use crate::content::{ContentError, Store};
use crate::events::{Attributes, Bus, Kind};
use crate::kernel::Kernel;
use crate::oci::Reference;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::RwLock;

/// Why the images could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
}

/// The images of one data directory. One process at a time (the daemon's lock sees to it).
pub struct Images {
    layers: Arc<Layers>,
    remote: Arc<dyn Remote>,
    /// Pulls share it, a removal has it alone: nothing that a pull has found to exist goes away under it.
    gate: RwLock<()>,
    events: Bus,
}

impl Images {
    /// Opens `data/content` and `data/snapshots`, and removes what a killed daemon left half-made.
    pub fn open(
        data: &Path,
        kernel: Arc<dyn Kernel>,
        remote: Arc<dyn Remote>,
        options: Options,
    ) -> Result<Images, OpenError> {
        let store = Arc::new(Store::open(data.join("content"))?);
        let snapshots = Snapshots::open(data.join("snapshots"), kernel)?;
        let layers = Arc::new(Layers::new(store, snapshots, options));
        Ok(Images { layers, remote, gate: RwLock::new(()), events: Bus::new() })
    }

    /// Publishes there what it does from now on.
    #[must_use]
    pub fn telling(self, events: Bus) -> Images {
        Images { events, ..self }
    }

    /// Publishes what has been done to an image: its id, or the reference that was pulled; and its name.
    pub fn tell(&self, action: &str, id: &str, name: &str) {
        let mut attributes: Attributes = match self.get(id) {
            Ok(image) => image
                .config
                .config()
                .as_ref()
                .and_then(|c| c.labels().clone())
                .unwrap_or_default()
                .into_iter()
                .collect(),
            Err(_) => Attributes::new(),
        };
        attributes.insert("name".into(), name.into());
        self.events.publish(Kind::Image, action, id, attributes);
    }

    /// Gets the image from its registry; `platform` as `linux/arm64`, this machine's if there is none.
    pub async fn pull(
        &self,
        reference: &Reference,
        platform_name: Option<&str>,
        progress: Messages,
    ) -> Result<PullOutcome, PullError> {
        let _gate = self.gate.read().await;
        let pull = Pull {
            layers: &self.layers,
            remote: &*self.remote,
            reference: reference.clone().with_default_tag(),
            platform: platform(platform_name)?,
            progress: Progress::new(progress),
        };
        let pulled = pull.run().await?;
        self.tell("pull", &pulled.reference.familiar(), &pulled.reference.familiar_name());
        Ok(pulled)
    }

    /// All images, the youngest first.
    pub fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        self.catalog().list()
    }

    /// By name (`latest` if it has no tag), `name@digest`, id, or the beginning of an id.
    pub fn get(&self, name_or_id: &str) -> Result<Image, ImageError> {
        self.catalog().get(name_or_id)
    }

    /// For overlayfs: the directory of the snapshots, and the layers below it, topmost first.
    pub fn lower_dirs(&self, image: &Image) -> Result<(PathBuf, Vec<PathBuf>), ImageError> {
        self.catalog().lower_dirs(image)
    }

    /// Bytes of all layers of the image, unpacked.
    pub fn size(&self, image: &Image) -> u64 {
        self.catalog().size(image)
    }

    /// Takes the name away, and with the last name the image. That no container needs it is for the caller to know.
    pub async fn remove(&self, name_or_id: &str) -> Result<Vec<Removed>, ImageError> {
        let _gate = self.gate.write().await;
        let id = self.get(name_or_id)?.id.to_string();
        let removed = self.catalog().remove(name_or_id)?;
        for removed in &removed {
            match removed {
                Removed::Untagged(_) => self.tell("untag", &id, &id),
                Removed::Deleted(digest) if digest.to_string() == id => self.tell("delete", &id, &id),
                Removed::Deleted(_) => {}
            }
        }
        Ok(removed)
    }

    /// The content store of the images.
    pub fn store(&self) -> &Arc<Store> {
        &self.layers.store
    }

    fn catalog(&self) -> Catalog<'_> {
        Catalog { store: &self.layers.store, snapshots: &self.layers.snapshots }
    }
}
