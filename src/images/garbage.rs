//! Taking away what nobody needs: layers and blobs that no name, no container and no lease leads to.
//!
//! In one step ([`super::gate`]) they lose their names: a layer by a rename, a blob by an unlink. Files are deleted
//! after that, while everybody else goes on. What a crash leaves between the two goes at the next start.

use super::gate::Gate;
use super::layers::Layers;
use super::progress::human_size;
use super::snapshots::{Detached, LayerRecord, Snapshots};
use super::store::{Catalog, Image, ImageError, digest_of};
use super::users::{Use, Users};
use crate::kernel::traced::because;
use crate::oci::Digest;
use crate::trace::{self, Actor};
use oci_spec::image::Descriptor;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Takes things away.
pub(super) struct Collector {
    pub layers: Arc<Layers>,
    pub gate: Arc<Gate>,
    pub users: Arc<dyn Users>,
}

/// Who needs what.
struct Needed {
    /// Names of images by chain id.
    images: HashMap<Digest, Vec<String>>,
    /// Short ids of containers by directory of a layer.
    containers: HashMap<PathBuf, Vec<String>>,
    blobs: HashSet<Digest>,
}

impl Collector {
    pub fn catalog(&self) -> Catalog<'_> {
        Catalog { store: &self.layers.store, snapshots: &self.layers.snapshots }
    }

    /// Of the layers (topmost first) and blobs of a removed image, takes away what nobody needs, and tells which
    /// layers stay, and why; the layers that went.
    pub fn sweep(&self, layers: &[Digest], blobs: &HashSet<Digest>) -> Result<Vec<LayerRecord>, ImageError> {
        self.take(layers, blobs, tell_kept)
    }

    fn take(
        &self,
        layers: &[Digest],
        blobs: &HashSet<Digest>,
        kept: impl Fn(&Digest, &[String]),
    ) -> Result<Vec<LayerRecord>, ImageError> {
        let mut detached = Vec::new();
        let mut gone = Vec::new();
        {
            let collecting = self.gate.collect();
            let needed = self.needed()?;
            for chain_id in layers {
                let who = needed.who(chain_id);
                if !who.is_empty() || collecting.is_held(chain_id) {
                    kept(chain_id, &who);
                } else if let Some(record) = self.layers.snapshots.get(chain_id) {
                    let why = "it loses its name first: whoever looks finds a whole layer or none";
                    let taken = because(Actor::Layer, why, || self.layers.snapshots.detach(chain_id))?;
                    detached.extend(taken.map(|taken| (record, taken)));
                }
            }
            for blob in blobs.iter().filter(|b| !needed.blobs.contains(b) && !collecting.is_held(b)) {
                let size = self.layers.store.size(blob).unwrap_or(0);
                if self.layers.store.remove_blob(blob)? {
                    gone.push((blob.clone(), size));
                }
            }
        }
        tell_blobs(&gone);
        let mut removed = Vec::new();
        for (record, taken) in detached {
            self.discard(&record, taken)?;
            removed.push(record);
        }
        Ok(removed)
    }

    /// Everything that nobody needs: what a killed daemon or a failed pull left. An entry that cannot be followed
    /// keeps all, since nobody knows what it needs.
    pub fn sweep_all(&self) -> Result<Vec<LayerRecord>, ImageError> {
        let mut layers = self.layers.snapshots.list()?;
        // Layers above others first.
        layers.sort_by_key(|l| std::cmp::Reverse(self.depth(l)));
        let layers: Vec<Digest> = layers.into_iter().map(|l| l.chain_id).collect();
        let blobs: HashSet<Digest> = self.layers.store.digests()?.into_iter().collect();
        self.take(&layers, &blobs, |_, _| {})
    }

    fn depth(&self, layer: &LayerRecord) -> usize {
        let mut depth = 0;
        let mut below = layer.parent.clone();
        while let Some(record) = below.and_then(|id| self.layers.snapshots.get(&id)) {
            depth += 1;
            below = record.parent;
        }
        depth
    }

    fn discard(&self, record: &LayerRecord, taken: Detached) -> Result<(), ImageError> {
        let short = record.chain_id.short();
        let step = trace::step(Actor::Layer, "layer.remove")
            .why("no image and no container has this layer any more")
            .arg("chainId", &record.chain_id)
            .arg("bytes", record.size);
        let why = "every name in the layer's directory is unlinked, then the directories, deepest first";
        let removal = because(Actor::Layer, why, || step.span().in_scope(|| self.layers.snapshots.discard(taken)));
        match removal {
            Ok(removal) => {
                let (files, dirs, size) = (removal.files, removal.directories, human_size(record.size));
                step.ok(json!(removal), || {
                    format!("{short}  layer removed: {files} files, {dirs} directories, {size}")
                });
                Ok(())
            }
            Err(e) => {
                step.fail("EIO", &e, || format!("{short}  the layer can't be removed: {e}"));
                Err(e.into())
            }
        }
    }

    fn needed(&self) -> Result<Needed, ImageError> {
        let catalog = self.catalog();
        let mut needed = Needed { images: HashMap::new(), containers: HashMap::new(), blobs: HashSet::new() };
        for (_, descriptor) in self.layers.store.index()?.all() {
            self.reach(descriptor, &mut needed.blobs)?;
        }
        for image in catalog.all()?.into_values() {
            let name = name_of(&image);
            for layer in image.layers {
                needed.images.entry(layer).or_default().push(name.clone());
            }
        }
        for Use { container, layers, .. } in self.users.uses() {
            let short = container.chars().take(12).collect::<String>();
            for layer in layers {
                needed.containers.entry(layer).or_default().push(format!("container {short}"));
            }
        }
        Ok(needed)
    }

    /// All blobs that an entry leads to and that are here: of every platform, for other tools may have brought them.
    fn reach(&self, descriptor: &Descriptor, blobs: &mut HashSet<Digest>) -> Result<(), ImageError> {
        let digest = digest_of(descriptor)?;
        if !blobs.insert(digest.clone()) || !self.layers.store.has(&digest) {
            return Ok(());
        }
        let document: Value = super::store::parse("the manifest", &digest, &self.layers.store.read(&digest)?)?;
        let below = |key: &str| -> Vec<Descriptor> {
            let list = document[key].as_array().cloned().unwrap_or_default();
            list.into_iter().filter_map(|d| serde_json::from_value(d).ok()).collect()
        };
        for manifest in below("manifests") {
            self.reach(&manifest, blobs)?;
        }
        for layer in below("layers") {
            blobs.extend(digest_of(&layer));
        }
        let config = serde_json::from_value::<Descriptor>(document["config"].clone());
        blobs.extend(config.ok().and_then(|c| digest_of(&c).ok()));
        Ok(())
    }
}

impl Needed {
    fn who(&self, chain_id: &Digest) -> Vec<String> {
        let dir = Snapshots::name(chain_id).join("diff");
        let images = self.images.get(chain_id).into_iter().flatten();
        images.chain(self.containers.get(&dir).into_iter().flatten()).cloned().collect()
    }
}

fn name_of(image: &Image) -> String {
    image.tags().into_iter().next().unwrap_or_else(|| image.id.short().to_owned())
}

fn tell_kept(chain_id: &Digest, who: &[String]) {
    let named = match who {
        [] => "something under way".to_owned(),
        [one] => one.clone(),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
    };
    let verb = if who.len() > 1 { "have" } else { "has" };
    trace::step(Actor::Layer, "layer.keep")
        .why("a layer goes with the last image and the last container that have it")
        .arg("chainId", chain_id)
        .arg("who", who)
        .ok(json!(true), || format!("{}  stays: {named} {verb} it too", chain_id.short()));
}

fn tell_blobs(gone: &[(Digest, u64)]) {
    if gone.is_empty() {
        return;
    }
    let (count, size) = (gone.len(), human_size(gone.iter().map(|(_, size)| size).sum()));
    let blobs = if count == 1 { "blob" } else { "blobs" };
    trace::step(Actor::Layer, "content.remove")
        .why("manifest, config and packed layers, as the registry sent them; no name leads to them any more")
        .arg("digests", gone.iter().map(|(digest, _)| digest).collect::<Vec<_>>())
        .ok(json!(count), || format!("{count} {blobs} removed from the store, {size}"));
}
