//! What images an archive holds, from its documents.

use super::ArchiveFault;
use super::contents::{Contents, Kept, MAX_DOCUMENT};
use crate::content::Store;
use crate::images::layers::Layer;
use crate::images::store::{CHOSEN, chain_ids, diff_ids};
use crate::images::unpack::Expected;
use crate::oci::platform::{Platform, select};
use crate::oci::{Digest, Reference, media};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::str::FromStr as _;

/// One image of the archive; all its parts are blobs of the store, or in `documents`.
pub struct Understood {
    pub id: Digest,
    pub names: Vec<Reference>,
    /// What its names shall stand for.
    pub descriptor: Descriptor,
    pub layers: Vec<Layer>,
    /// Blobs that it needs.
    pub parts: Vec<Digest>,
    /// A manifest that was made here, because the archive has none.
    pub made: Option<Vec<u8>>,
}

/// One entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Names of what is in the blobs of an archive's layout: containerd's has the whole reference, the spec's any text.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The images, in the archive's order.
pub fn images(contents: &Contents, store: &Store, platform: &Platform) -> Result<Vec<Understood>, ArchiveFault> {
    let archive = Understanding { contents, store, platform };
    let mut images = match contents.documents.get("index.json") {
        Some(bytes) => archive.of_layout(&parse("index.json", bytes)?)?,
        None => Vec::new(),
    };
    match contents.documents.get("manifest.json") {
        Some(bytes) => archive.of_docker(&parse::<Vec<DockerImage>>("manifest.json", bytes)?, &mut images)?,
        None if contents.documents.contains_key("index.json") => {}
        None => return Err(ArchiveFault::NoImages),
    }
    Ok(images)
}

fn parse<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, ArchiveFault> {
    serde_json::from_slice(bytes).map_err(|e| ArchiveFault::Document { path: path.to_owned(), reason: e.to_string() })
}

struct Understanding<'a> {
    contents: &'a Contents,
    store: &'a Store,
    platform: &'a Platform,
}

impl Understanding<'_> {
    /// A document among the blobs.
    fn read<T: DeserializeOwned>(&self, path: &str, kept: &Kept) -> Result<(T, Vec<u8>), ArchiveFault> {
        if kept.size > MAX_DOCUMENT {
            return Err(ArchiveFault::TooLong { path: path.to_owned(), size: kept.size, limit: MAX_DOCUMENT });
        }
        let bytes = self.store.read(&kept.digest)?;
        Ok((parse(path, &bytes)?, bytes))
    }

    /// The blob of a layout that a descriptor means, which has to be what it says.
    fn blob(&self, descriptor: &Descriptor) -> Result<Kept, ArchiveFault> {
        let digest = descriptor.digest().to_string();
        let path = format!("blobs/{}", digest.replacen(':', "/", 1));
        let kept = self.contents.file(&path)?;
        match kept.digest.to_string() == digest {
            true => Ok(kept.clone()),
            false => Err(ArchiveFault::Digest { path, got: kept.digest.clone() }),
        }
    }

    fn of_layout(&self, index: &ImageIndex) -> Result<Vec<Understood>, ArchiveFault> {
        let mut images: Vec<Understood> = Vec::new();
        for descriptor in index.manifests() {
            let Some(image) = self.of_descriptor(descriptor)? else { continue };
            let names = named(descriptor);
            match images.iter_mut().find(|other| other.id == image.id) {
                Some(other) => other.add(names),
                None => {
                    images.push(image);
                    images.iter_mut().rev().take(1).for_each(|image| image.add(names.clone()));
                }
            }
        }
        Ok(images)
    }

    /// The image of this platform behind an entry of the layout; what is no image (a signature) is left out.
    fn of_descriptor(&self, descriptor: &Descriptor) -> Result<Option<Understood>, ArchiveFault> {
        let kept = self.blob(descriptor)?;
        let path = format!("blobs/sha256/{}", kept.digest.hex());
        let media_type = descriptor.media_type().to_string();
        let mut kept_as = descriptor.clone();
        let mut parts = vec![kept.digest.clone()];
        let mut annotations = HashMap::new();
        let manifest = if media::is_index(&media_type) {
            let (index, _): (ImageIndex, _) = self.read(&path, &kept)?;
            let Some(child) = select(&index, self.platform) else { return Ok(None) };
            let kept = self.blob(child)?;
            annotations.insert(CHOSEN.to_owned(), kept.digest.to_string());
            parts.push(kept.digest.clone());
            kept
        } else if media::is_manifest(&media_type) {
            kept
        } else {
            return Ok(None);
        };
        kept_as.set_annotations(Some(annotations).filter(|a| !a.is_empty()));
        let (manifest, _): (ImageManifest, _) = self.read(&path, &manifest)?;
        if !matches!(manifest.config().media_type().as_ref(), media::OCI_CONFIG | media::DOCKER_CONFIG) {
            return Ok(None);
        }
        let config = self.blob(manifest.config())?;
        let layers = manifest.layers().iter().map(|layer| self.blob(layer)).collect::<Result<Vec<_>, _>>()?;
        let image = self.image(&config, &layers)?;
        parts.extend(layers.iter().map(|kept| kept.digest.clone()).chain([config.digest.clone()]));
        Ok(Some(Understood { descriptor: kept_as, parts, ..image }))
    }

    /// Images that only `manifest.json` speaks of; names of those that the layout has too.
    fn of_docker(&self, list: &[DockerImage], images: &mut Vec<Understood>) -> Result<(), ArchiveFault> {
        for docker in list {
            let mut names = Vec::new();
            for tag in docker.repo_tags.iter().flatten() {
                names.push(Reference::parse(tag)?.with_default_tag());
            }
            let config = self.contents.file(&docker.config)?.clone();
            if let Some(image) = images.iter_mut().find(|image| image.id == config.digest) {
                image.add(names);
                continue;
            }
            let files = docker.layers.iter().flatten().map(|path| self.contents.file(path).cloned());
            let layers = files.collect::<Result<Vec<_>, _>>()?;
            let mut image = self.image(&config, &layers)?;
            image.add(names);
            self.make_manifest(&mut image, &config, &layers)?;
            images.push(image);
        }
        Ok(())
    }

    /// Joins the files of the layers with what the config says of them.
    fn image(&self, config: &Kept, layers: &[Kept]) -> Result<Understood, ArchiveFault> {
        let id = config.digest.clone();
        let (config, _): (ImageConfiguration, _) = self.read("the image config", config)?;
        let os = config.os().to_string();
        if os != "linux" {
            return Err(ArchiveFault::OperatingSystem(os));
        }
        let diff_ids = diff_ids(&config, &id)?;
        if diff_ids.len() != layers.len() {
            return Err(ArchiveFault::LayerCount {
                image: id.short().to_owned(),
                layers: layers.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let chain = chain_ids(&diff_ids);
        let layers = layers.iter().zip(diff_ids).enumerate().map(|(i, (kept, diff_id))| Layer {
            expected: Expected { digest: kept.digest.clone(), size: kept.size, diff_id },
            chain_id: chain[i].clone(),
            parent: i.checked_sub(1).map(|below| chain[below].clone()),
        });
        let layers = layers.collect();
        let descriptor = descriptor(media::OCI_MANIFEST, &id, 0)?;
        Ok(Understood { id, names: Vec::new(), descriptor, layers, parts: Vec::new(), made: None })
    }

    fn make_manifest(&self, image: &mut Understood, config: &Kept, layers: &[Kept]) -> Result<(), ArchiveFault> {
        let mut described = Vec::with_capacity(layers.len());
        for kept in layers {
            described.push(descriptor(self.layer_type(kept)?, &kept.digest, kept.size)?);
        }
        let manifest = manifest_of(descriptor(media::OCI_CONFIG, &config.digest, config.size)?, described)?;
        let digest = Digest::of(&manifest);
        image.descriptor = descriptor(media::OCI_MANIFEST, &digest, manifest.len() as u64)?;
        image.parts = layers.iter().map(|kept| kept.digest.clone()).chain([config.digest.clone(), digest]).collect();
        image.made = Some(manifest);
        Ok(())
    }

    /// By its first bytes: older archives do not say.
    fn layer_type(&self, kept: &Kept) -> Result<&'static str, ArchiveFault> {
        use std::io::Read as _;
        let mut magic = [0; 4];
        let read = self.store.open_blob(&kept.digest).and_then(|mut file| file.read(&mut magic));
        read.map_err(|_| ArchiveFault::Damaged(kept.digest.clone()))?;
        Ok(match magic {
            [0x1f, 0x8b, ..] => media::OCI_LAYER_GZIP,
            [0x28, 0xb5, 0x2f, 0xfd] => media::OCI_LAYER_ZSTD,
            _ => media::OCI_LAYER,
        })
    }
}

impl Understood {
    fn add(&mut self, names: Vec<Reference>) {
        for name in names {
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
    }
}

/// The names that an entry of a layout has. A bare tag is the name of no repository.
fn named(descriptor: &Descriptor) -> Vec<Reference> {
    let annotation = |key: &str| descriptor.annotations().as_ref().and_then(|a| a.get(key));
    let whole = annotation(CONTAINERD_NAME);
    let text = whole.or_else(|| annotation(media::REF_NAME).filter(|name| name.contains(['/', ':'])));
    let reference = text.and_then(|text| Reference::parse(text).ok());
    reference.map(Reference::with_default_tag).into_iter().collect()
}

pub fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Result<Descriptor, ArchiveFault> {
    let parsed = oci_spec::image::Digest::from_str(digest.as_str());
    let digest = parsed.map_err(|e| ArchiveFault::Document { path: digest.to_string(), reason: e.to_string() })?;
    Ok(Descriptor::new(MediaType::from(media_type), size, digest))
}

/// The bytes of an OCI manifest.
pub fn manifest_of(config: Descriptor, layers: Vec<Descriptor>) -> Result<Vec<u8>, ArchiveFault> {
    let failed = |reason: String| ArchiveFault::Document { path: "the manifest".into(), reason };
    let manifest = oci_spec::image::ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(media::OCI_MANIFEST)
        .config(config)
        .layers(layers)
        .build()
        .map_err(|e| failed(e.to_string()))?;
    serde_json::to_vec(&manifest).map_err(|e| failed(e.to_string()))
}
