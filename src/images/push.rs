//! Sends an image to a registry: its layers, its config, its manifest, in this order, so that the name is never there
//! without what it stands for.
//!
//! Documents and blobs go as they are in the content store, so an image keeps the digest that it was pulled with. Of an
//! index of which this host has one platform only that one's manifest goes, as with Docker.

use super::gate::Gate;
use super::progress::Progress;
use super::store::{Catalog, Image, ImageError, digest_of, parse};
use crate::content::ContentError;
use crate::oci::platform::{Platform, select};
use crate::oci::{Digest, ErrorKind, Reference, media};
use crate::registry::client::{Client, Endpoint, Placed, RegistryError, Told};
use crate::trace::{self, Actor};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tracing::Instrument as _;

/// Uploads at once (Docker's default).
const AT_ONCE: usize = 5;
/// How often a client hears how far an upload is.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Why a push failed. What has arrived stays there, for the next try.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Docker's words.
    #[error("An image does not exist locally with the tag: {0}")]
    NoImage(String),
    /// Docker's words.
    #[error("tag does not exist: {0}")]
    NoTag(String),
    #[error("image {image} has no manifest for {platform} on this host")]
    Platform { image: String, platform: String },
    #[error("{0} is not on this host: pull the image again")]
    Missing(Digest),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl PushError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            PushError::NoImage(_) | PushError::NoTag(_) | PushError::Platform { .. } => ErrorKind::NotFound,
            PushError::Registry(e) => e.kind(),
            PushError::Image(e) => e.kind(),
            _ => ErrorKind::Internal,
        }
    }
}

/// One push.
pub(super) struct Push<'p> {
    pub catalog: Catalog<'p>,
    pub gate: &'p Arc<Gate>,
    pub client: Client,
    /// Without a tag: all tags.
    pub reference: &'p Reference,
    pub platform: Option<&'p Platform>,
    pub progress: Progress,
}

/// By blob: another repository of the same registry that may have it, since we have an image of it made of the blob.
type Neighbours = HashMap<Digest, String>;

/// Where it goes.
struct Place {
    endpoint: Endpoint,
    neighbours: Neighbours,
}

/// What goes under one tag.
struct Parcel {
    /// The manifests with their layers, in the order of the index.
    images: Vec<(Descriptor, ImageManifest, ImageConfiguration)>,
    /// What the tag is to stand for: the index, or the one manifest.
    named: Descriptor,
    /// The manifest goes alone, instead of this index.
    instead_of: Option<Descriptor>,
}

impl Parcel {
    /// All documents and blobs of it.
    fn parts(&self) -> Result<Vec<Digest>, PushError> {
        let mut parts = vec![digest_of(&self.named)?];
        for (descriptor, manifest, _) in &self.images {
            for part in manifest.layers().iter().chain([descriptor, manifest.config()]) {
                parts.push(digest_of(part)?);
            }
        }
        Ok(parts)
    }
}

/// A layer under way: its blob, and what people know it by.
struct Load {
    blob: Descriptor,
    diff_id: Digest,
}

impl Push<'_> {
    pub async fn run(self) -> Result<(), PushError> {
        self.progress.line(format!("The push refers to repository [{}]", self.reference.name()));
        let tags = self.tags()?;
        let endpoint = self.client.destination(self.reference).await?;
        let to = Place { endpoint, neighbours: self.neighbours()? };
        for (tag, descriptor) in tags {
            let step = trace::step(Actor::Daemon, "image.push")
                .why("a registry keeps parts under their digests, and names for them: parts go first, the name last")
                .arg("reference", format!("{}:{tag}", self.reference.name()))
                .arg("registry", to.endpoint.url());
            let pushed = self.tag(&tag, &descriptor, &to).instrument(step.span()).await;
            match pushed {
                Ok(digest) => step.ok(json!({ "digest": digest }), || {
                    format!("{}:{tag} is on the registry now: {}", self.reference.familiar_name(), short(&digest))
                }),
                Err(e) => {
                    step.fail("EPUSH", &e, || format!("{}:{tag}: {e}", self.reference.familiar_name()));
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// The tags to push, with what they stand for here.
    fn tags(&self) -> Result<Vec<(String, Descriptor)>, PushError> {
        let mut tags = Vec::new();
        for (name, descriptor) in self.catalog.store.entries()? {
            let Ok(reference) = Reference::parse(&name) else { continue };
            if let (true, Some(tag), None) =
                (reference.name() == self.reference.name(), reference.tag(), reference.digest())
            {
                tags.push((tag.to_owned(), descriptor));
            }
        }
        tags.sort_by(|a, b| a.0.cmp(&b.0));
        if tags.is_empty() {
            return Err(PushError::NoImage(self.reference.familiar_name()));
        }
        if let Some(wanted) = self.reference.tag() {
            tags.retain(|(tag, _)| tag == wanted);
            if tags.is_empty() {
                return Err(PushError::NoTag(self.reference.familiar()));
            }
        }
        Ok(tags)
    }

    async fn tag(&self, tag: &str, descriptor: &Descriptor, to: &Place) -> Result<Digest, PushError> {
        // A removal in the meantime takes the name away and leaves the rest until this is done.
        let (parcel, _lease) = self.gate.hold_found(|| {
            let parcel = self.parcel(descriptor)?;
            let parts = parcel.parts()?;
            Ok::<_, PushError>((parcel, parts))
        })?;
        let loads = self.loads(&parcel)?;
        for load in loads.iter().rev() {
            self.progress.layer(&load.diff_id, "Preparing");
        }
        for load in loads.iter().rev().skip(AT_ONCE) {
            self.progress.layer(&load.diff_id, "Waiting");
        }
        let sent: Vec<_> = loads.iter().rev().map(|load| self.layer(load, to).boxed()).collect();
        stream::iter(sent).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        for (_, manifest, _) in &parcel.images {
            self.blob(manifest.config(), to, &(Arc::new(|_| {}) as Told)).await?;
        }
        for (child, ..) in parcel.images.iter().filter(|(child, ..)| child.digest() != parcel.named.digest()) {
            self.document(child, child.digest().as_ref(), to).await?;
        }
        let digest = self.document(&parcel.named, tag, to).await?;
        let size = parcel.named.size();
        self.progress.line(format!("{tag}: digest: {digest} size: {size}"));
        self.progress.aux(json!({ "Tag": tag, "Digest": digest, "Size": size }));
        if let Some(index) = &parcel.instead_of {
            self.progress.aux(json!({
                "manifestPushedInsteadOfIndex": true, "originalIndex": plain(index), "selectedManifest": plain(&parcel.named),
            }));
        }
        Ok(digest)
    }

    /// What the name leads to, as far as it is here.
    fn parcel(&self, named: &Descriptor) -> Result<Parcel, PushError> {
        if !media::is_index(named.media_type().as_ref()) {
            return Ok(Parcel { images: vec![self.image(named)?], named: plain(named), instead_of: None });
        }
        let digest = digest_of(named)?;
        let index: ImageIndex = parse("the index", &digest, &self.catalog.store.read(&digest)?)?;
        let whole: Option<Vec<_>> = index.manifests().iter().map(|child| self.image(child).ok()).collect();
        if let (Some(images), None) = (whole, self.platform) {
            return Ok(Parcel { images, named: plain(named), instead_of: None });
        }
        let here: Image = self.catalog.image(named)?;
        let chosen = match self.platform {
            Some(platform) => select(&index, platform).cloned(),
            None => index.manifests().iter().find(|m| m.digest().to_string() == here.manifest_digest.as_str()).cloned(),
        };
        let missing = || PushError::Platform {
            image: self.reference.familiar(),
            platform: self.platform.map_or_else(|| Platform::host().to_string(), ToString::to_string),
        };
        let chosen = plain(&chosen.ok_or_else(missing)?);
        let image = self.image(&chosen).map_err(|_| missing())?;
        Ok(Parcel { images: vec![image], named: chosen, instead_of: Some(named.clone()) })
    }

    /// A manifest whose parts are all here.
    fn image(&self, descriptor: &Descriptor) -> Result<(Descriptor, ImageManifest, ImageConfiguration), PushError> {
        let (store, digest) = (self.catalog.store, digest_of(descriptor)?);
        let manifest: ImageManifest = parse("the manifest", &digest, &store.read(&digest)?)?;
        let id = digest_of(manifest.config())?;
        let config: ImageConfiguration = parse("the image config", &id, &store.read(&id)?)?;
        for layer in manifest.layers() {
            let blob = digest_of(layer)?;
            if !store.has(&blob) {
                return Err(PushError::Missing(blob));
            }
        }
        Ok((plain(descriptor), manifest, config))
    }

    /// The layers of all images, each once, bottom first.
    fn loads(&self, parcel: &Parcel) -> Result<Vec<Load>, PushError> {
        let (mut loads, mut known) = (Vec::new(), HashSet::new());
        for (_, manifest, config) in &parcel.images {
            let diff_ids = super::store::diff_ids(config, &digest_of(manifest.config())?)?;
            for (i, blob) in manifest.layers().iter().enumerate() {
                let digest = digest_of(blob)?;
                if known.insert(digest.clone()) {
                    let diff_id = diff_ids.get(i).cloned().unwrap_or(digest);
                    loads.push(Load { blob: blob.clone(), diff_id });
                }
            }
        }
        Ok(loads)
    }

    async fn layer(&self, load: &Load, to: &Place) -> Result<(), PushError> {
        let (progress, id, total) = (self.progress.clone(), load.diff_id.clone(), load.blob.size());
        let last: Mutex<Option<Instant>> = Mutex::default();
        let told: Told = Arc::new(move |current| {
            let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if current == total || last.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                *last = Some(Instant::now());
                progress.bytes(&id, "Pushing", current, total);
            }
        });
        let placed = self.blob(&load.blob, to, &told).await?;
        self.progress.layer(
            &load.diff_id,
            &match placed {
                Placed::Exists => "Layer already exists".to_owned(),
                Placed::Mounted(from) => format!("Mounted from {}", from.strip_prefix("library/").unwrap_or(&from)),
                Placed::Pushed => "Pushed".to_owned(),
            },
        );
        Ok(())
    }

    async fn blob(&self, blob: &Descriptor, to: &Place, told: &Told) -> Result<Placed, PushError> {
        let digest = digest_of(blob)?;
        let path = self.catalog.store.blob_path(&digest);
        let from = to.neighbours.get(&digest).map(String::as_str);
        Ok(self.client.push_blob(self.reference, &to.endpoint, blob, &path, from, told).await?)
    }

    fn neighbours(&self) -> Result<Neighbours, PushError> {
        let mut neighbours = Neighbours::new();
        for (name, descriptor) in self.catalog.store.entries()? {
            let Ok(reference) = Reference::parse(&name) else { continue };
            if reference.domain() != self.reference.domain() || reference.path() == self.reference.path() {
                continue;
            }
            let Ok(image) = self.catalog.image(&descriptor) else { continue };
            for blob in image.manifest.layers().iter().filter_map(|l| digest_of(l).ok()) {
                neighbours.entry(blob).or_insert_with(|| reference.path().to_owned());
            }
        }
        Ok(neighbours)
    }

    async fn document(&self, document: &Descriptor, part: &str, to: &Place) -> Result<Digest, PushError> {
        let bytes = Bytes::from(self.catalog.store.read(&digest_of(document)?)?);
        let media_type = document.media_type().to_string();
        Ok(self.client.push_manifest(self.reference, &to.endpoint, part, &media_type, &bytes).await?)
    }
}

/// Without what only our own index says of it.
fn plain(descriptor: &Descriptor) -> Descriptor {
    let mut plain = Descriptor::new(descriptor.media_type().clone(), descriptor.size(), descriptor.digest().clone());
    plain.set_platform(descriptor.platform().clone());
    plain
}

/// `sha256:0123456789ab…`
fn short(digest: &Digest) -> String {
    format!("sha256:{}…", digest.short())
}
