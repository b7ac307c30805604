//! The images of one rdock.

use super::filter::ImageFilter;
use super::garbage::Collector;
use super::gate::{Gate, Lease};
use super::history::HistoryLine;
use super::layers::Layers;
use super::progress::Progress;
use super::pull::{Messages, Pull, PullError, PullOutcome, platform};
use super::remote::Remote;
use super::removal::{self, RemoveError, RemoveImage, Removed};
use super::snapshots::{SnapshotError, Snapshots};
use super::store::{Catalog, Image, ImageError, ImageSummary};
use super::unpack::Options;
use super::usage::Usage;
use super::users::{Nobody, Users};
use crate::content::{ContentError, Store};
use crate::events::{Attributes, Bus, Kind};
use crate::kernel::Kernel;
use crate::oci::{Digest, Reference};
use oci_spec::image::Descriptor;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

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
    /// What is under way, and must not be collected.
    gate: Arc<Gate>,
    /// Removals, one after another: each looks, decides and takes names away.
    removals: tokio::sync::Mutex<()>,
    users: OnceLock<Arc<dyn Users>>,
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
        Ok(Images {
            layers,
            remote,
            gate: Arc::default(),
            removals: tokio::sync::Mutex::new(()),
            users: OnceLock::new(),
            events: Bus::new(),
        })
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
        let pull = Pull {
            layers: &self.layers,
            gate: &self.gate,
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

    /// From now on images know who uses them. Before, nobody does; so this comes before anything is removed.
    pub fn used_by(&self, users: Arc<dyn Users>) {
        let _ = self.users.set(users);
    }

    /// Looks an image up and holds it: until the lease ends nothing of it is collected, whoever removes it.
    pub fn hold(&self, name_or_id: &str) -> Result<(Image, Lease), ImageError> {
        self.gate.hold_found(|| {
            let image = self.catalog().get(name_or_id)?;
            let parts = image.parts();
            Ok((image, parts))
        })
    }

    /// Leases for what is being brought; see [`super::gate`].
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Gives an image names, in one step on disk; with none it is kept without. See [`super::names`].
    pub fn give(&self, names: &[Reference], descriptor: &Descriptor) -> Result<(), ImageError> {
        self.catalog().give(names, descriptor)
    }

    /// Gives an image another name.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<(), ImageError> {
        let id = self.catalog().tag(source, target)?.to_string();
        self.tell("tag", &id, &target.familiar());
        Ok(())
    }

    /// How the image came to be, the last step first.
    pub fn history(&self, name_or_id: &str) -> Result<Vec<HistoryLine>, ImageError> {
        let catalog = self.catalog();
        catalog.history(&catalog.get(name_or_id)?)
    }

    /// How much room images take.
    pub fn usage(&self) -> Result<Usage, ImageError> {
        self.catalog().usage()
    }

    /// Takes a name away, or all; and with the last name the image, as far as nobody else needs it.
    pub async fn remove(&self, name_or_id: &str, options: RemoveImage) -> Result<Vec<Removed>, RemoveError> {
        let _one = self.removals.lock().await;
        let id = self.get(name_or_id)?.id;
        let (collector, asked) = (self.collector(), name_or_id.to_owned());
        let removed = blocking(move || removal::remove(&collector, &asked, options)).await?;
        self.tell_removed(&id, &removed);
        Ok(removed)
    }

    fn tell_removed(&self, id: &Digest, removed: &[Removed]) {
        let id = id.to_string();
        for removed in removed {
            match removed {
                Removed::Untagged(_) => self.tell("untag", &id, &id),
                Removed::Deleted(digest) if digest.to_string() == id => self.tell("delete", &id, &id),
                Removed::Deleted(_) => {}
            }
        }
    }

    /// Removes images without a tag, with `all` every one that no container was made of; and what nobody needs. What
    /// was removed, and bytes of the layers.
    pub async fn prune(&self, filter: &ImageFilter, all: bool) -> Result<(Vec<Removed>, u64), RemoveError> {
        let mut removed = Vec::new();
        let sizes: HashMap<Digest, u64> =
            self.layers.snapshots.list().map_err(ImageError::from)?.into_iter().map(|l| (l.chain_id, l.size)).collect();
        for image in self.list()?.into_iter().filter(|i| (all || i.repo_tags.is_empty()) && filter.fits(i)) {
            let names = [image.repo_tags, image.repo_digests].concat();
            let names = if names.is_empty() { vec![image.id.to_string()] } else { names };
            for name in names {
                let options = RemoveImage { force: false, prune: true };
                match self.remove(&name, options).await {
                    Ok(done) => removed.extend(done),
                    // In use, or gone with another name: a prune goes on.
                    Err(RemoveError::LastName { .. } | RemoveError::Conflict { .. }) => {}
                    Err(RemoveError::Image(ImageError::NoSuchImage(_))) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        let layers = removed.iter().filter_map(|r| match r {
            Removed::Deleted(digest) => sizes.get(digest),
            Removed::Untagged(_) => None,
        });
        let bytes = layers.sum::<u64>() + self.collect().await?;
        let reclaimed = [("reclaimed".to_owned(), bytes.to_string())].into_iter().collect();
        self.events.publish(Kind::Image, "prune", "", reclaimed);
        Ok((removed, bytes))
    }

    /// Removes what nobody needs: what a killed daemon left, what failed pulls brought, layers whose last container
    /// is gone. Bytes of unpacked layers that went.
    pub async fn collect(&self) -> Result<u64, ImageError> {
        let collector = self.collector();
        let gone = blocking(move || collector.sweep_all()).await?;
        Ok(gone.iter().map(|layer| layer.size).sum())
    }

    fn collector(&self) -> Collector {
        let users = self.users.get().cloned().unwrap_or_else(|| Arc::new(Nobody));
        Collector { layers: self.layers.clone(), gate: self.gate.clone(), users }
    }

    /// The content store of the images.
    pub fn store(&self) -> &Arc<Store> {
        &self.layers.store
    }

    fn catalog(&self) -> Catalog<'_> {
        Catalog { store: &self.layers.store, snapshots: &self.layers.snapshots }
    }
}

/// Runs what reads and writes files on a thread of its own, within the current step. A panic in it is passed on.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(done) => done,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}
