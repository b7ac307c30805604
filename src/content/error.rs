//! What can go wrong with a store on disk.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::oci::{Digest, ErrorKind};

/// A failure of the content store.
#[derive(Debug, Error)]
pub enum ContentError {
    /// No blob with this digest.
    #[error("blob {0} not found")]
    NotFound(Digest),
    /// The bytes are not what their name says.
    #[error("unexpected digest: {actual} instead of {expected}")]
    DigestMismatch { expected: Digest, actual: Digest },
    /// The bytes end too early or too late.
    #[error("unexpected size of blob {digest}: {actual} bytes instead of {expected}")]
    SizeMismatch { digest: Digest, expected: u64, actual: u64 },
    /// The file system said no; `what` is the step.
    #[error("can't {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// A file of the layout is no JSON of the right shape.
    #[error("{} is damaged: {source}", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
    /// A layout of another version.
    #[error("{} is an image layout of version {version:?}, and rdock knows 1.0.0", path.display())]
    Version { path: PathBuf, version: String },
}

impl ContentError {
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ContentError {
        let path = path.into();
        move |source| ContentError::Io { what, path, source }
    }

    /// Whether the disk is full (ENOSPC, EDQUOT), for a hint.
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, ContentError::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            ContentError::NotFound(_) => ErrorKind::NotFound,
            _ => ErrorKind::Internal,
        }
    }
}
