//! Which images there are.
//!
//! An image is an entry of the content store's `index.json`, nearly always with a name ([`super::names`]). The entry
//! stands for what the registry's tag named, an index or a manifest; with an index the annotation [`CHOSEN`] says which
//! of its manifests was pulled. The image id is the digest of the config, as Docker has it: two names with one config
//! are one image.

use super::snapshots::{LayerRecord, SnapshotError, Snapshots};
use crate::content::{ContentError, Store};
use crate::oci::platform::{Platform, select};
use crate::oci::{Digest, ErrorKind, Reference, ReferenceError, chain_id, media};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

/// Annotation of a name's descriptor: the digest of the manifest that was pulled from the index.
pub const CHOSEN: &str = "rdock.manifest";

/// Annotation of an entry's descriptor: the id of the image that this one was made from on this host (`commit`).
pub const PARENT: &str = "rdock.parent";

/// Annotation of a tag's descriptor: when it was given on this host (RFC 3339).
pub const TAGGED: &str = "rdock.tagged";

/// Why there is no such image, or what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Docker's words; carries the name as a person has it, with its tag.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error("image {image} is incomplete: layer {layer} is missing; pull it again")]
    LayerMissing { image: String, layer: Digest },
    #[error("{what} {digest} cannot be understood: {reason}")]
    Damaged { what: &'static str, digest: Digest, reason: String },
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl ImageError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            ImageError::NoSuchImage(_) => ErrorKind::NotFound,
            ImageError::Reference(_) => ErrorKind::BadParameter,
            ImageError::Content(e) => e.kind(),
            _ => ErrorKind::Internal,
        }
    }
}

/// One image with all that is known of it.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digest of the config.
    pub id: Digest,
    /// All names of it (tags, then digest references of the same repository), and the digest of what each stands for.
    pub references: Vec<(Reference, Digest)>,
    /// An entry of it.
    pub descriptor: Descriptor,
    /// The image that it was made from, if that was done here.
    pub parent: Option<Digest>,
    /// When it was last given a tag on this host, other than by a pull.
    pub tagged: Option<String>,
    pub manifest: ImageManifest,
    pub manifest_digest: Digest,
    pub config: ImageConfiguration,
    /// Chain ids of the layers, bottom first.
    pub layers: Vec<Digest>,
}

/// A line of `docker images`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    pub id: Digest,
    /// As people write them: `centos:latest`.
    pub repo_tags: Vec<String>,
    /// `centos@sha256:…`
    pub repo_digests: Vec<String>,
    /// Seconds since the epoch; 0 if the config does not say.
    pub created: i64,
    /// Bytes of all layers, unpacked.
    pub size: u64,
    pub labels: HashMap<String, String>,
    pub parent: Option<Digest>,
}

/// The images of a content store.
pub(super) struct Catalog<'s> {
    pub store: &'s Store,
    pub snapshots: &'s Snapshots,
}

/// A digest of the OCI types, which know more algorithms than we do.
pub(super) fn digest_of(descriptor: &Descriptor) -> Result<Digest, ImageError> {
    let text = descriptor.digest().to_string();
    text.parse().map_err(|_| ImageError::Damaged {
        what: "the digest",
        digest: Digest::of(b""),
        reason: format!("{text} is not sha256"),
    })
}

/// Chain ids of the layers with these diff ids, bottom first.
pub(super) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chain.push(chain_id(chain.last(), diff_id));
    }
    chain
}

/// Reads JSON of one of the OCI types.
pub(super) fn parse<T: serde::de::DeserializeOwned>(
    what: &'static str,
    digest: &Digest,
    bytes: &[u8],
) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|e| ImageError::Damaged {
        what,
        digest: digest.clone(),
        reason: e.to_string(),
    })
}

/// The diff ids in an image config.
pub(super) fn diff_ids(config: &ImageConfiguration, id: &Digest) -> Result<Vec<Digest>, ImageError> {
    let parse = |text: &String| {
        text.parse().map_err(|_| ImageError::Damaged {
            what: "the image config",
            digest: id.clone(),
            reason: format!("{text} is no diff id"),
        })
    };
    config.rootfs().diff_ids().iter().map(parse).collect()
}

impl Catalog<'_> {
    /// The manifest that a name's descriptor leads to.
    fn manifest_digest(&self, descriptor: &Descriptor) -> Result<Digest, ImageError> {
        let digest = digest_of(descriptor)?;
        if !media::is_index(descriptor.media_type().as_ref()) {
            return Ok(digest);
        }
        let chosen = descriptor.annotations().as_ref().and_then(|a| a.get(CHOSEN));
        if let Some(chosen) = chosen.and_then(|text| text.parse().ok()) {
            return Ok(chosen);
        }
        // A layout that another tool wrote.
        let index: ImageIndex = parse("the index", &digest, &self.store.read(&digest)?)?;
        let child = select(&index, &Platform::host()).ok_or_else(|| ImageError::Damaged {
            what: "the index",
            digest: digest.clone(),
            reason: format!("it has no manifest for {}", Platform::host()),
        })?;
        digest_of(child)
    }

    /// The id of the image behind a descriptor.
    pub(super) fn id_of(&self, descriptor: &Descriptor) -> Result<Digest, ImageError> {
        let digest = self.manifest_digest(descriptor)?;
        let manifest: ImageManifest = parse("the manifest", &digest, &self.store.read(&digest)?)?;
        digest_of(manifest.config())
    }

    /// The image behind a descriptor, without its names.
    pub fn image(&self, descriptor: &Descriptor) -> Result<Image, ImageError> {
        let manifest_digest = self.manifest_digest(descriptor)?;
        let manifest: ImageManifest = parse("the manifest", &manifest_digest, &self.store.read(&manifest_digest)?)?;
        let id = digest_of(manifest.config())?;
        let config: ImageConfiguration = parse("the image config", &id, &self.store.read(&id)?)?;
        let layers = chain_ids(&diff_ids(&config, &id)?);
        let annotation = |key| descriptor.annotations().as_ref().and_then(|a| a.get(key)).cloned();
        let parent = annotation(PARENT).and_then(|text| text.parse().ok());
        let (tagged, references, descriptor) = (annotation(TAGGED), Vec::new(), descriptor.clone());
        Ok(Image { id, references, descriptor, parent, tagged, manifest, manifest_digest, config, layers })
    }

    /// All images by id. An image that cannot be read is left out: it must not hide the others.
    pub fn all(&self) -> Result<BTreeMap<Digest, Image>, ImageError> {
        let mut images: BTreeMap<Digest, Image> = BTreeMap::new();
        for (name, descriptor) in self.store.index()?.all() {
            let reference = name.map(Reference::parse);
            let (Ok(digest), false) = (digest_of(descriptor), matches!(reference, Some(Err(_)))) else { continue };
            if let Ok(image) = self.image(descriptor) {
                let tagged = image.tagged.clone();
                let image = images.entry(image.id.clone()).or_insert(image);
                image.tagged = tagged.max(image.tagged.take());
                image.references.extend(reference.and_then(Result::ok).map(|r| (r, digest)));
            }
        }
        for image in images.values_mut() {
            image.references.sort_by_cached_key(|(r, _)| r.canonical());
        }
        Ok(images)
    }

    /// By name (`latest` if it has no tag), `name@digest`, id, or the beginning of an id that only one image has.
    pub fn get(&self, name_or_id: &str) -> Result<Image, ImageError> {
        let hex = name_or_id.strip_prefix("sha256:").unwrap_or(name_or_id);
        let reference = match Reference::parse(name_or_id) {
            Ok(reference) => Some(reference.with_default_tag()),
            // 64 hex characters are no name, but an id.
            Err(ReferenceError::LooksLikeId(_)) => None,
            Err(_) if hex.len() < name_or_id.len() => None,
            Err(e) => return Err(e.into()),
        };
        let mut images = self.all()?;
        let named = reference.as_ref().filter(|_| hex == name_or_id).and_then(|r| named(&images, r));
        let id = named.or_else(|| by_prefix(&images, hex));
        if let Some(image) = id.and_then(|id| images.remove(&id)) {
            return Ok(image);
        }
        let said = reference.filter(|_| hex == name_or_id);
        Err(ImageError::NoSuchImage(said.map_or_else(|| name_or_id.to_owned(), |r| r.familiar())))
    }

    /// The layer's record; missing is an error.
    pub fn layer(&self, image: &Image, chain_id: &Digest) -> Result<LayerRecord, ImageError> {
        self.snapshots
            .get(chain_id)
            .ok_or_else(|| ImageError::LayerMissing { image: image.id.short().to_owned(), layer: chain_id.clone() })
    }

    /// For overlayfs: the directory of the snapshots, and the layers' directories below it, topmost first.
    pub fn lower_dirs(&self, image: &Image) -> Result<(PathBuf, Vec<PathBuf>), ImageError> {
        let mut lower = Vec::with_capacity(image.layers.len());
        for chain_id in image.layers.iter().rev() {
            let record = self.layer(image, chain_id)?;
            lower.push(Snapshots::name(chain_id).join("diff"));
            if record.opaque_root {
                break;
            }
        }
        Ok((self.snapshots.root().to_path_buf(), lower))
    }

    pub fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        let mut list: Vec<_> = self.all()?.into_values().map(|image| self.summary(&image)).collect();
        list.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.repo_tags.cmp(&b.repo_tags)));
        Ok(list)
    }

    fn summary(&self, image: &Image) -> ImageSummary {
        let labels = image.config.config().as_ref().and_then(|c| c.labels().clone());
        ImageSummary {
            id: image.id.clone(),
            repo_tags: image.tags(),
            repo_digests: image.digests(),
            created: image.created(),
            size: self.size(image),
            labels: labels.unwrap_or_default(),
            parent: image.parent.clone(),
        }
    }

    /// Bytes of all layers, unpacked.
    pub fn size(&self, image: &Image) -> u64 {
        image.layers.iter().filter_map(|id| self.snapshots.get(id)).map(|record| record.size).sum()
    }

    /// All blobs that an entry keeps.
    pub(super) fn blobs(&self, descriptor: &Descriptor) -> Result<HashSet<Digest>, ImageError> {
        let image = self.image(descriptor)?;
        let mut blobs = HashSet::from([digest_of(descriptor)?, image.manifest_digest, image.id]);
        for layer in image.manifest.layers() {
            blobs.insert(digest_of(layer)?);
        }
        Ok(blobs)
    }
}

impl Image {
    /// Its tags as people write them: `centos:latest`.
    pub fn tags(&self) -> Vec<String> {
        let tags = self.references.iter().map(|(r, _)| r).filter(|r| r.digest().is_none());
        tags.map(Reference::familiar).collect()
    }

    /// `centos@sha256:…`
    pub fn digests(&self) -> Vec<String> {
        let digests = self.references.iter().map(|(r, _)| r).filter(|r| r.digest().is_some());
        digests.map(Reference::familiar).collect()
    }

    /// When it was made, in seconds since the epoch; 0 if the config does not say.
    pub fn created(&self) -> i64 {
        moment(self.config.created().as_deref())
    }

    /// All that it is made of: blobs and chain ids.
    pub fn parts(&self) -> Vec<Digest> {
        let mut parts = vec![self.id.clone(), self.manifest_digest.clone()];
        parts.extend(digest_of(&self.descriptor));
        parts.extend(self.manifest.layers().iter().filter_map(|l| digest_of(l).ok()));
        parts.extend(self.layers.iter().cloned());
        parts
    }
}

fn named(images: &BTreeMap<Digest, Image>, wanted: &Reference) -> Option<Digest> {
    let is_it = |(reference, _): &(Reference, Digest)| match wanted.digest() {
        Some(digest) => reference.name() == wanted.name() && reference.digest() == Some(digest),
        None => reference == wanted,
    };
    images.values().find(|image| image.references.iter().any(is_it)).map(|image| image.id.clone())
}

fn by_prefix(images: &BTreeMap<Digest, Image>, prefix: &str) -> Option<Digest> {
    let hex = !prefix.is_empty() && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut found = images.keys().filter(|id| hex && id.hex().starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(id), None) => Some(id.clone()),
        _ => None,
    }
}

/// A time as image configs have it (RFC 3339), in seconds since the epoch.
pub(super) fn moment(text: Option<&str>) -> i64 {
    let parse = |text: &str| time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok();
    text.and_then(parse).map_or(0, time::OffsetDateTime::unix_timestamp)
}
