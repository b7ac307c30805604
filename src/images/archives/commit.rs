//! `commit`: an image of another one's layers and one more.

use super::ArchiveFault;
use crate::images::Images;
use crate::images::changes::Changes;
use crate::oci::{Digest, Reference};
use oci_spec::image::{Config, HistoryBuilder, ImageConfiguration};
use std::io::Write;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An image that is to be made of a container.
#[derive(Debug, Clone, Default)]
pub struct NewImage {
    /// Id of the image below.
    pub parent: String,
    /// What it says of its containers, before `changes`.
    pub config: Config,
    pub name: Option<Reference>,
    /// Empty: nobody is named. So is `comment`.
    pub author: String,
    pub comment: String,
    /// The container's command, for the history.
    pub created_by: String,
    /// Dockerfile instructions that change `config`.
    pub changes: Vec<String>,
}

/// Writes a layer as a tar stream.
pub type WriteLayer<'w> = &'w mut dyn FnMut(&mut dyn Write) -> Result<(), ArchiveFault>;

impl Images {
    /// Makes an image of the layers of `new.parent` and of one more that `layer` writes (none: nothing has changed); its
    /// id.
    ///
    /// # Errors
    /// A change that is none, what could not be read or written; nothing is kept then.
    pub fn commit(&self, new: &NewImage, layer: Option<WriteLayer<'_>>) -> Result<Digest, ArchiveFault> {
        let (below, _held) = self.hold(&new.parent)?;
        let mut config = config_of(new, &below.config, layer.is_none())?;
        let mut layers = below.manifest.layers().clone();
        let id = self.under_lease(|lease| {
            if let Some(write) = layer {
                let ((), packed) = self.make_layer(lease, below.layers.last(), |to| write(to))?;
                layers.push(packed.descriptor()?);
                let mut stack = config.rootfs().clone();
                stack.set_diff_ids([stack.diff_ids().as_slice(), &[packed.diff_id.to_string()]].concat());
                config.set_rootfs(stack);
            }
            self.make_image(lease, &config, layers, new.name.as_slice(), Some(&below.id))
        })?;
        if let Some(name) = &new.name {
            self.tell("tag", &id.to_string(), &name.familiar());
        }
        Ok(id)
    }
}

/// The config of an image that is made of a container of `below`; the layers are those of `below`.
fn config_of(new: &NewImage, below: &ImageConfiguration, empty: bool) -> Result<ImageConfiguration, ArchiveFault> {
    let bad = |reason: String| ArchiveFault::Document { path: "the config".into(), reason };
    let now = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|e| bad(e.to_string()))?;
    let filled = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    let mut own = new.config.clone();
    Changes::parse(&new.changes)?.apply(&mut own);
    let mut config = below.clone();
    config.set_config(Some(own));
    config.set_created(Some(now.clone()));
    config.set_author(filled(&new.author));
    let mut entry = HistoryBuilder::default().created(now).created_by(new.created_by.clone());
    if empty {
        entry = entry.empty_layer(true);
    }
    if let Some(author) = filled(&new.author) {
        entry = entry.author(author);
    }
    if let Some(comment) = filled(&new.comment) {
        entry = entry.comment(comment);
    }
    let mut history = config.history().clone().unwrap_or_default();
    history.push(entry.build().map_err(|e| bad(e.to_string()))?);
    config.set_history(Some(history));
    Ok(config)
}
