//! How an image came to be, step by step: `docker history`.

use super::store::{Catalog, Image, ImageError, moment};
use crate::oci::Digest;
use std::collections::BTreeMap;

/// One step, as the image config tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// The image that had come to be by then, if it is known here.
    pub id: Option<Digest>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Seconds since the epoch.
    pub created: i64,
    pub created_by: String,
    pub comment: String,
    /// Bytes of the layer that the step made, unpacked; 0 if it made none.
    pub size: u64,
}

impl Catalog<'_> {
    /// The last step first.
    pub fn history(&self, image: &Image) -> Result<Vec<HistoryLine>, ImageError> {
        let mut layers = image.layers.iter();
        let mut lines = Vec::new();
        for step in image.config.history().iter().flatten() {
            let layer = if step.empty_layer() == Some(true) { None } else { layers.next() };
            lines.push(HistoryLine {
                id: None,
                tags: Vec::new(),
                created: moment(step.created().as_deref()),
                created_by: step.created_by().clone().unwrap_or_default(),
                comment: step.comment().clone().unwrap_or_default(),
                size: layer.and_then(|l| self.snapshots.get(l)).map_or(0, |record| record.size),
            });
        }
        lines.reverse();
        let all = self.all()?;
        name(&mut lines, image, &all);
        Ok(lines)
    }
}

/// The first line is the image, the next ones those that it was made from on this host.
fn name(lines: &mut [HistoryLine], image: &Image, all: &BTreeMap<Digest, Image>) {
    let mut at = Some(image);
    for line in lines {
        let Some(image) = at else { return };
        line.id = Some(image.id.clone());
        line.tags = image.tags();
        at = image.parent.as_ref().and_then(|parent| all.get(parent));
    }
}
