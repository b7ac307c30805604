//! What containers need of images, as a seam: the tests have images without a registry.

use crate::images::{NewImage, WriteLayer};
use crate::oci::ErrorKind;
use futures_util::future::BoxFuture;
use oci_spec::image::Config;
use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

/// An image, as far as a container needs it.
#[derive(Debug, Clone, Default)]
pub struct SourceImage {
    /// `sha256:…`
    pub id: String,
    /// The `config` object of the image config.
    pub config: Option<Config>,
    /// Directory that the paths in `lower` start from.
    pub base: PathBuf,
    /// Unpacked layers, topmost first.
    pub lower: Vec<PathBuf>,
    /// While this lives, nothing of the image goes away; the record of a container then does the same.
    pub hold: Option<Arc<dyn Any + Send + Sync>>,
}

/// Why there is no image: the words and the kind of whoever keeps images.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    pub kind: ErrorKind,
    pub message: String,
}

/// Finds images by name, digest or id.
pub trait ImageSource: Send + Sync {
    /// # Errors
    /// `No such image: centos:latest`, or what is wrong with the image.
    fn find(&self, name_or_id: &str) -> Result<SourceImage, SourceError>;

    /// A container of the image `id` is gone: what only it needed may go too.
    fn released<'a>(&'a self, id: &'a str) -> BoxFuture<'a, ()>;

    /// Bytes of all its layers, unpacked; 0 when it is not there any more.
    fn size(&self, id: &str) -> u64;

    /// Makes an image of the layers of `image.parent` and of one more that `layer` writes (none: nothing has changed). Its
    /// id.
    ///
    /// # Errors
    /// A change that is none, what could not be read or written.
    fn commit(&self, image: &NewImage, layer: Option<WriteLayer<'_>>) -> Result<String, SourceError>;
}
