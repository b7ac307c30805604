//! Pulls an image: name → index → manifest → config → layers → a name of our own.
//!
//! All or nothing: the name is given last, so whoever asks finds the whole image or the one before. Layers that were
//! completed before a failure stay, for the next try; nothing else does.

use super::gate::Gate;
use super::layers::{Layer, Layers};
use super::names::references_of_pull;
use super::progress::{Progress, PullProgress};
use super::remote::{Found, Remote, RemoteError, Repository};
use super::store::{CHOSEN, Catalog, ImageError, chain_ids, diff_ids, digest_of, parse};
use super::unpack::{Expected, UnpackError};
use crate::content::{ContentError, Store};
use crate::oci::platform::{Platform, PlatformError, select};
use crate::oci::{Digest, ErrorKind, Reference, ReferenceError, media};
use crate::registry::client::Credentials;
use crate::trace::{self, Actor};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// Largest image config that is read into memory, in bytes.
const MAX_CONFIG: u64 = 8 << 20;

/// Why a pull failed. Neither a name nor a half-made layer is left of it.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("invalid reference format: the registry has a tag that is none: {0}")]
    Tag(ReferenceError),
    #[error("repository {0} has no tags")]
    NoTags(String),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// Docker's words.
    #[error("no matching manifest for {platform} in the manifest list entries")]
    NoMatchingManifest { platform: Platform },
    #[error("{reference} is no image: its media type is {media_type}")]
    NoImage { reference: String, media_type: String },
    #[error("image operating system \"{0}\" cannot be used on this platform")]
    OperatingSystem(String),
    #[error("the image config {got} came instead of {expected}")]
    ConfigDigest { expected: Digest, got: Digest },
    #[error("the image config {config} is {size} bytes long, at most {MAX_CONFIG} are read")]
    ConfigSize { config: Digest, size: u64 },
    #[error("the manifest has {layers} layers, but the image config {config} has {diff_ids} diff ids")]
    LayerCount { config: Digest, layers: usize, diff_ids: usize },
    #[error("failed to register layer {}: {source}", layer.short())]
    Layer { layer: Digest, source: UnpackError },
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl PullError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            PullError::Remote(e) => e.kind,
            PullError::Platform(_) => ErrorKind::BadParameter,
            PullError::NoMatchingManifest { .. } | PullError::NoTags(_) => ErrorKind::NotFound,
            _ => ErrorKind::Internal,
        }
    }
}

/// Whether a pull brought something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullStatus {
    Downloaded,
    UpToDate,
}

impl PullStatus {
    /// The last line of a pull: of an image, or of all tags of a repository.
    pub(super) fn spoken(self, familiar: &str) -> String {
        match self {
            PullStatus::Downloaded => format!("Status: Downloaded newer image for {familiar}"),
            PullStatus::UpToDate => format!("Status: Image is up to date for {familiar}"),
        }
    }
}

/// What a pull came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullOutcome {
    /// Digest of what the name stands for: the index if there is one.
    pub digest: Digest,
    /// Digest of the image config.
    pub id: Digest,
    pub status: PullStatus,
    /// With the default tag, if none was given.
    pub reference: Reference,
}

/// One pull.
pub(super) struct Pull<'p> {
    pub layers: &'p Arc<Layers>,
    pub gate: &'p Arc<Gate>,
    pub remote: &'p dyn Remote,
    pub who: Option<&'p Credentials>,
    /// With a tag or a digest.
    pub reference: Reference,
    pub platform: Platform,
    pub progress: Progress,
}

/// An image as the registry describes it.
struct Described {
    /// What the name stands for, to be stored under it.
    named: Descriptor,
    /// Documents to keep: index, manifest, config.
    documents: Vec<Bytes>,
    id: Digest,
    /// The layers with their descriptors, bottom first.
    layers: Vec<(Descriptor, Layer)>,
}

impl Pull<'_> {
    pub async fn run(self) -> Result<PullOutcome, PullError> {
        let step = trace::step(Actor::Daemon, "image.pull")
            .why("an image comes in parts: documents that say what it is made of, and its layers")
            .arg("reference", self.reference.canonical())
            .arg("platform", self.platform.to_string());
        let familiar = self.reference.familiar();
        let result = self.pull().instrument(step.span()).await;
        match &result {
            Ok(outcome) => step.ok(json!({ "digest": outcome.digest, "id": outcome.id }), || match outcome.status {
                PullStatus::Downloaded => format!("{familiar} is on this host now"),
                PullStatus::UpToDate => format!("{familiar} is up to date"),
            }),
            Err(e) => step.fail("EPULL", e, || format!("{familiar}: {e}")),
        }
        result
    }

    async fn pull(self) -> Result<PullOutcome, PullError> {
        let found = self.remote.find(&self.reference, self.who).await?;
        let tag_or_digest = self.reference.reference_part();
        self.progress.begin(tag_or_digest, self.reference.path());
        let image = self.describe(&found).await?;
        let digest = digest_of(&image.named)?;
        // From here on until a name leads to it, nothing that is found or brought goes away.
        let _lease = self.gate.hold(image.parts());
        let status = match self.is_up_to_date(&image, &digest)? {
            true => PullStatus::UpToDate,
            false => {
                self.fetch_layers(&image, &found.repository).await?;
                self.store_image(&image, &digest)?;
                PullStatus::Downloaded
            }
        };
        self.progress.line(format!("Digest: {digest}"));
        Ok(PullOutcome { digest, id: image.id, status, reference: self.reference })
    }

    fn store(&self) -> &Store {
        &self.layers.store
    }

    /// Follows the documents from the name to the layers.
    async fn describe(&self, found: &Found) -> Result<Described, PullError> {
        let mut named = found.descriptor.clone();
        let mut documents = vec![found.bytes.clone()];
        let media_type = named.media_type().to_string();
        let (manifest_digest, manifest) = if media::is_index(&media_type) {
            let index_digest = digest_of(&named)?;
            let index: ImageIndex = parse("the index", &index_digest, &found.bytes)?;
            let child = select(&index, &self.platform)
                .ok_or_else(|| PullError::NoMatchingManifest { platform: self.platform.clone() })?;
            let digest = digest_of(child)?;
            let bytes = match self.store().read(&digest) {
                Ok(bytes) => bytes.into(),
                Err(_) => found.repository.manifest(&digest).await?,
            };
            named.set_annotations(Some(HashMap::from([(CHOSEN.to_owned(), digest.to_string())])));
            documents.push(bytes.clone());
            (digest, bytes)
        } else if media::is_manifest(&media_type) {
            (digest_of(&named)?, found.bytes.clone())
        } else {
            return Err(PullError::NoImage { reference: self.reference.familiar(), media_type });
        };
        let manifest: ImageManifest = parse("the manifest", &manifest_digest, &manifest)?;
        let id = digest_of(manifest.config())?;
        let config = self.config(manifest.config(), &id, &*found.repository).await?;
        let layers = layers_of(&manifest, &config, &id)?;
        documents.push(config);
        Ok(Described { named, documents, id, layers })
    }

    /// The image config: from here, or from the registry, then checked.
    async fn config(
        &self,
        descriptor: &Descriptor,
        id: &Digest,
        repository: &dyn Repository,
    ) -> Result<Bytes, PullError> {
        if let Ok(bytes) = self.store().read(id) {
            return Ok(bytes.into());
        }
        let too_long = |size| PullError::ConfigSize { config: id.clone(), size };
        if descriptor.size() > MAX_CONFIG {
            return Err(too_long(descriptor.size()));
        }
        let mut stream = repository.blob(descriptor).await?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() as u64 > descriptor.size() {
                return Err(too_long(bytes.len() as u64));
            }
        }
        match Digest::of(&bytes) {
            got if got == *id => Ok(bytes.freeze()),
            got => Err(PullError::ConfigDigest { expected: id.clone(), got }),
        }
    }

    /// The name stands for this already, and nothing of it is missing.
    fn is_up_to_date(&self, image: &Described, digest: &Digest) -> Result<bool, PullError> {
        let Some(here) = self.store().resolve(&self.reference.canonical())? else {
            return Ok(false);
        };
        let catalog = Catalog { store: self.store(), snapshots: &self.layers.snapshots };
        let same = digest_of(&here)? == *digest
            && catalog.image(&here).is_ok_and(|here| here.id == image.id)
            && image.layers.iter().all(|(_, layer)| self.layers.is_whole(layer));
        Ok(same)
    }

    /// Says which layers are here already; answers the same, bottom first.
    fn tell_layers(&self, image: &Described) -> Vec<bool> {
        let mut complete = Vec::with_capacity(image.layers.len());
        for (_, layer) in &image.layers {
            let exists = self.layers.exists(layer);
            complete.push(exists);
            let blob = &layer.expected.digest;
            let status = if exists { "Already exists" } else { "Pulling fs layer" };
            self.progress.layer(blob, status);
            if exists {
                trace::step(Actor::Layer, "layer.exists")
                    .why("a layer is kept once, however many images are made of it")
                    .arg("digest", blob)
                    .arg("chainId", &layer.chain_id)
                    .ok(json!(true), || format!("{}  already exists", blob.short()));
            }
        }
        complete
    }

    /// Gets what is missing, several layers at once; the first failure ends the others.
    async fn fetch_layers(&self, image: &Described, repository: &Arc<dyn Repository>) -> Result<(), PullError> {
        let mut complete = self.tell_layers(image);
        let cancel = CancellationToken::new();
        let mut fetches: FuturesUnordered<_> = image
            .layers
            .iter()
            .enumerate()
            .filter(|(i, _)| !complete[*i])
            .map(|(i, (descriptor, layer))| {
                let cancel = &cancel;
                async move {
                    let open = || repository.blob(descriptor);
                    (i, self.layers.fetch(layer, &self.progress, cancel, open).await)
                }
            })
            .collect();
        // Lower layers come first, as in Docker: a layer is of use when all below it are there.
        let mut told = complete.clone();
        let mut failure = None;
        while let Some((i, fetched)) = fetches.next().await {
            if let Err(source) = fetched {
                cancel.cancel();
                let layer = image.layers[i].1.expected.digest.clone();
                // The first one is the cause; the others were told to stop.
                failure.get_or_insert(PullError::Layer { layer, source });
                continue;
            }
            complete[i] = true;
            let whole = complete.iter().take_while(|&&c| c).count();
            for below in (0..whole).filter(|&below| !std::mem::replace(&mut told[below], true)) {
                let blob = &image.layers[below].1.expected.digest;
                self.progress.layer(blob, "Pull complete");
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Keeps the documents and gives the image its name.
    fn store_image(&self, image: &Described, digest: &Digest) -> Result<(), PullError> {
        let step = trace::step(Actor::Layer, "image.store")
            .why("the id names the image config, the digest names what the registry's tag stands for")
            .lesson("06-search-and-pull")
            .arg("name", self.reference.canonical())
            .arg("id", &image.id)
            .arg("digest", digest)
            .arg("layers", image.layers.iter().map(|(_, layer)| &layer.expected.digest).collect::<Vec<_>>());
        let keep = || -> Result<(), ImageError> {
            for document in &image.documents {
                self.store().put(document)?;
            }
            self.layers.snapshots.sync()?;
            let catalog = Catalog { store: self.store(), snapshots: &self.layers.snapshots };
            catalog.give(&references_of_pull(&self.reference, digest), &image.named)
        };
        if let Err(e) = keep() {
            step.fail("ESTORE", &e, || format!("{}: {e}", self.reference.familiar()));
            return Err(e.into());
        }
        step.ok(json!({ "id": image.id, "digest": digest }), || {
            format!("image stored: id {}, digest {}", image.id.short(), digest.short())
        });
        Ok(())
    }
}

impl Described {
    /// All blobs and layers that it is made of.
    fn parts(&self) -> Vec<Digest> {
        let mut parts: Vec<Digest> = self.documents.iter().map(|d| Digest::of(d)).collect();
        for (_, layer) in &self.layers {
            parts.extend([layer.expected.digest.clone(), layer.chain_id.clone()]);
        }
        parts
    }
}

/// Joins what manifest (blobs) and config (diff ids) say of the layers.
fn layers_of(manifest: &ImageManifest, config: &[u8], id: &Digest) -> Result<Vec<(Descriptor, Layer)>, PullError> {
    let config: ImageConfiguration = parse("the image config", id, config)?;
    let os = config.os().to_string();
    if os != "linux" {
        return Err(PullError::OperatingSystem(os));
    }
    let diff_ids = diff_ids(&config, id)?;
    let blobs = manifest.layers();
    if blobs.len() != diff_ids.len() {
        return Err(PullError::LayerCount { config: id.clone(), layers: blobs.len(), diff_ids: diff_ids.len() });
    }
    let chain = chain_ids(&diff_ids);
    blobs
        .iter()
        .zip(diff_ids)
        .enumerate()
        .map(|(i, (blob, diff_id))| {
            let layer = Layer {
                expected: Expected { digest: digest_of(blob)?, size: blob.size(), diff_id },
                chain_id: chain[i].clone(),
                parent: i.checked_sub(1).map(|below| chain[below].clone()),
            };
            Ok((blob.clone(), layer))
        })
        .collect()
}

/// The platform that was asked for, or this machine's.
pub(super) fn platform(text: Option<&str>) -> Result<Platform, PlatformError> {
    text.filter(|text| !text.is_empty()).map_or_else(|| Ok(Platform::host()), str::parse)
}

/// Where a pull tells how far it is.
pub(super) type Messages = tokio::sync::mpsc::UnboundedSender<PullProgress>;
