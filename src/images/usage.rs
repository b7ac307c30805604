//! How much room images take, and what they share.

use super::store::{Catalog, ImageError};
use crate::oci::Digest;
use std::collections::HashMap;

/// Bytes of the unpacked layers of one image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageUsage {
    /// Of all its layers.
    pub size: u64,
    /// Of those that another image has too.
    pub shared: u64,
}

/// The room that all images take together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all layers on this host, each counted once.
    pub layers: u64,
    pub images: HashMap<Digest, ImageUsage>,
}

impl Catalog<'_> {
    pub fn usage(&self) -> Result<Usage, ImageError> {
        let sizes: HashMap<Digest, u64> =
            self.snapshots.list()?.into_iter().map(|layer| (layer.chain_id, layer.size)).collect();
        let images = self.all()?;
        let mut users: HashMap<&Digest, usize> = HashMap::new();
        for layer in images.values().flat_map(|image| &image.layers) {
            *users.entry(layer).or_default() += 1;
        }
        let of = |layers: &[Digest]| {
            let mut usage = ImageUsage::default();
            for layer in layers {
                let size = sizes.get(layer).copied().unwrap_or(0);
                usage.size += size;
                usage.shared += if users[layer] > 1 { size } else { 0 };
            }
            usage
        };
        let by_image = images.values().map(|image| (image.id.clone(), of(&image.layers))).collect();
        Ok(Usage { layers: sizes.values().sum(), images: by_image })
    }
}
