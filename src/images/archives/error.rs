//! Why an archive could not be read or written.

use crate::content::ContentError;
use crate::images::{ImageError, UnpackError};
use crate::oci::{Digest, ErrorKind, ReferenceError};
use std::io;

/// Nothing of a failed load or import is kept.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    #[error("the archive ends in the middle")]
    Cut,
    #[error("the archive is packed with {0}, which rdock cannot unpack")]
    Packed(&'static str),
    #[error("this is no tar archive: {0}")]
    NoArchive(String),
    #[error("the archive holds no images: it has neither manifest.json nor index.json")]
    NoImages,
    #[error("the archive has too many files: at most {0} are read")]
    TooMany(usize),
    #[error("{path} in the archive is {size} bytes long, at most {limit} are read")]
    TooLong { path: String, size: u64, limit: u64 },
    #[error(
        "more than {0} bytes come out of one file of the archive: if you trust it, set \"max-layer-size\" in \
         daemon.json to more bytes and start the daemon again"
    )]
    TooLarge(u64),
    #[error("the archive speaks of {0}, but does not hold it")]
    Missing(String),
    #[error("{path} in the archive is not what its name says: its digest is {got}")]
    Digest { path: String, got: Digest },
    #[error("{path} in the archive cannot be understood: {reason}")]
    Document { path: String, reason: String },
    #[error("the config of image {image} has {diff_ids} layers, but the archive brings {layers}")]
    LayerCount { image: String, layers: usize, diff_ids: usize },
    #[error("layer {layer} of the archive: {source}")]
    Layer { layer: String, source: UnpackError },
    #[error("image operating system \"{0}\" cannot be used on this platform")]
    OperatingSystem(String),
    /// Docker's words.
    #[error("image with reference {image} was found but does not provide the specified platform ({platform})")]
    Platform { image: String, platform: String },
    #[error(transparent)]
    Change(#[from] crate::images::changes::ChangeError),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error("the sender went away")]
    Gone,
    #[error("cannot write the archive: {0}")]
    Write(io::Error),
    #[error("cannot get {url}: {reason}")]
    Download { url: String, reason: String },
    #[error("blob {0} of the store is damaged")]
    Damaged(Digest),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl ArchiveFault {
    pub fn kind(&self) -> ErrorKind {
        match self {
            ArchiveFault::Image(e) => e.kind(),
            ArchiveFault::Content(e) => e.kind(),
            ArchiveFault::Platform { .. } => ErrorKind::NotFound,
            ArchiveFault::Damaged(_) | ArchiveFault::Write(_) | ArchiveFault::Gone | ArchiveFault::Download { .. } => {
                ErrorKind::Internal
            }
            ArchiveFault::Layer { source: UnpackError::NoSpace { .. } | UnpackError::Call { .. }, .. } => {
                ErrorKind::Internal
            }
            _ => ErrorKind::BadParameter,
        }
    }
}
