//! The images of one rdock.

use super::filter::ImageFilter;
use super::garbage::Collector;
use super::gate::{Gate, Lease};
use super::history::HistoryLine;
use super::layers::Layers;
use super::progress::{Progress, human_size};
use super::pull::{Messages, Pull, PullError, PullOutcome, PullStatus, platform};
use super::push::{Push, PushError};
use super::registry::client_of;
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
use crate::oci::platform::Platform;
use crate::oci::{Digest, Reference};
use crate::registry::client::{Credentials, RegistryError};
use crate::trace::{self, Actor};
use oci_spec::image::Descriptor;
use serde_json::json;
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
    pub(super) layers: Arc<Layers>,
    remote: Arc<dyn Remote>,
    /// What is under way, and must not be collected.
    pub(super) gate: Arc<Gate>,
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

    /// Gets the image from its registry; `platform` as `linux/arm64`, this machine's if there is none; `who` asks.
    pub async fn pull(
        &self,
        reference: &Reference,
        platform_name: Option<&str>,
        who: Option<&Credentials>,
        progress: Messages,
    ) -> Result<PullOutcome, PullError> {
        let (reference, progress) = (reference.clone().with_default_tag(), Progress::new(progress));
        let outcome = self.pull_one(reference, platform(platform_name)?, who, &progress).await?;
        progress.line(outcome.status.spoken(&outcome.reference.familiar()));
        Ok(outcome)
    }

    /// Gets all tags of the repository, one after the other; the first that fails ends it.
    pub async fn pull_all(
        &self,
        repository: &Reference,
        platform_name: Option<&str>,
        who: Option<&Credentials>,
        progress: Messages,
    ) -> Result<PullOutcome, PullError> {
        let (progress, wanted) = (Progress::new(progress), platform(platform_name)?);
        let mut last: Option<PullOutcome> = None;
        for tag in self.remote.tags(repository, who).await? {
            let reference = repository.clone().with_tag(&tag).map_err(PullError::Tag)?;
            let mut outcome = self.pull_one(reference, wanted.clone(), who, &progress).await?;
            if last.is_some_and(|before| before.status == PullStatus::Downloaded) {
                outcome.status = PullStatus::Downloaded;
            }
            last = Some(outcome);
        }
        let outcome = last.ok_or_else(|| PullError::NoTags(repository.familiar_name()))?;
        progress.line(outcome.status.spoken(&repository.familiar_name()));
        Ok(outcome)
    }

    async fn pull_one(
        &self,
        reference: Reference,
        platform: Platform,
        who: Option<&Credentials>,
        progress: &Progress,
    ) -> Result<PullOutcome, PullError> {
        let (layers, gate, remote, progress) = (&self.layers, &self.gate, &*self.remote, progress.clone());
        let pulled = Pull { layers, gate, remote, who, reference, platform, progress }.run().await?;
        self.tell("pull", &pulled.reference.familiar(), &pulled.reference.familiar_name());
        Ok(pulled)
    }

    /// Sends an image to the registry that its name says: one tag, or all of the name when it has none.
    pub async fn push(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        who: Option<&Credentials>,
        progress: Messages,
    ) -> Result<(), PushError> {
        let client = client_of(self.remote.registries(), reference, who);
        let (catalog, gate, progress) = (self.catalog(), &self.gate, Progress::new(progress));
        Push { catalog, gate, client, reference, platform, progress }.run().await?;
        self.tell("push", &reference.familiar(), &reference.familiar_name());
        Ok(())
    }

    /// Shows a registry what somebody has for it; the identity token that it gives instead of a password, if it does.
    pub async fn login(&self, domain: &str, who: &Credentials) -> Result<Option<String>, RegistryError> {
        self.remote.registries().of(domain, who.clone()).login(domain).await
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
        let step = trace::step(Actor::Daemon, "image.tag")
            .why("a name is an entry of the store's index.json; nothing is copied")
            .arg("source", source)
            .arg("target", target.canonical());
        match self.catalog().tag(source, target) {
            Ok(id) => {
                step.ok(json!(id), || format!("gives image {} the name {}", id.short(), target.familiar()));
                self.tell("tag", &id.to_string(), &target.familiar());
                Ok(())
            }
            Err(e) => {
                step.fail("ETAG", &e, || format!("no name is given: {e}"));
                Err(e)
            }
        }
    }

    /// How the image came to be, the last step first.
    pub fn history(&self, name_or_id: &str) -> Result<Vec<HistoryLine>, ImageError> {
        let catalog = self.catalog();
        catalog.history(&catalog.get(name_or_id)?)
    }

    /// How much room images take.
    pub fn usage(&self) -> Result<Usage, ImageError> {
        let step = trace::step(Actor::Daemon, "image.usage").why("a layer that several images have is counted once");
        let usage = self.catalog().usage();
        match &usage {
            Ok(usage) => step.ok(json!(usage.layers), || {
                format!("{} images; all their layers take {}", usage.images.len(), human_size(usage.layers))
            }),
            Err(e) => step.fail("EIO", e, || format!("the layers cannot be counted: {e}")),
        }
        usage
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
        let meant = |i: &ImageSummary| (all || i.repo_tags.is_empty()) && filter.fits(i);
        let (images, others): (Vec<_>, Vec<_>) = self.list()?.into_iter().partition(meant);
        trace::step(Actor::Daemon, "image.prune")
            .why("what a container was made of is asked for image by image")
            .arg("all", all)
            .ok(json!(images.len()), || {
                let what = if all { "may go" } else { "have no tag" };
                format!("{} of {} images {what}", images.len(), images.len() + others.len())
            });
        for image in images {
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

    pub(super) fn collector(&self) -> Collector {
        let users = self.users.get().cloned().unwrap_or_else(|| Arc::new(Nobody));
        Collector { layers: self.layers.clone(), gate: self.gate.clone(), users }
    }

    /// The content store of the images.
    pub fn store(&self) -> &Arc<Store> {
        &self.layers.store
    }

    pub(super) fn catalog(&self) -> Catalog<'_> {
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
