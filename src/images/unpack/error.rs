//! Why a layer could not be unpacked.

use super::archive::ArchiveError;
use crate::content::ContentError;
use crate::kernel::{Errno, errno_name};
use crate::oci::Digest;
use std::io;
use std::path::PathBuf;

/// Nothing of the layer is left on disk when one of these is reported.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("the blob is damaged: {got} came instead of {expected}")]
    DigestMismatch { expected: Digest, got: Digest },
    #[error("the blob ended after {got} of {expected} bytes")]
    Truncated { got: u64, expected: u64 },
    #[error("the blob is longer than the {expected} bytes that the manifest gives it")]
    TooLong { expected: u64 },
    #[error("the blob unpacks to {got}, but the image config has the diff id {expected}")]
    WrongDiffId { expected: Digest, got: Digest },
    #[error(
        "more than {limit} bytes would come out of the layer: if you trust it, set \"max-layer-size\" in daemon.json to \
         more bytes and start the daemon again"
    )]
    TooLarge { limit: u64 },
    #[error(transparent)]
    Archive(ArchiveError),
    #[error("the tar stream in the blob cannot be read: {0}")]
    Decompress(io::Error),
    #[error("entry {path} is refused: {reason}")]
    BadEntry { path: String, reason: String },
    /// Docker's words, and its idea of what the second path is.
    #[error("cannot overwrite {} {path:?} with {} \"/\"", kind(!to_dir), kind(*to_dir))]
    KindChanges { path: PathBuf, to_dir: bool },
    #[error("{call} {path}: {}", errno.desc())]
    Call { path: String, call: &'static str, errno: Errno },
    #[error(
        "no space left on device at {path}: remove images that are no longer needed, or set RDOCK_HOME to a \
         directory on a larger disk"
    )]
    NoSpace { path: String },
    #[error("{0}")]
    Download(String),
    #[error("the pull was given up")]
    Cancelled,
    #[error("{}: {source}", path.display())]
    State { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(ContentError),
}

fn kind(is_dir: bool) -> &'static str {
    if is_dir { "directory" } else { "non-directory" }
}

/// Both mean that nothing more fits: the disk or the quota is full.
fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSPC | Errno::EDQUOT)
}

impl UnpackError {
    /// A failed call on an entry of the layer.
    pub(super) fn call(path: &[u8], call: &'static str, errno: Errno) -> UnpackError {
        let path = super::names::shown(path);
        if is_full(errno) { UnpackError::NoSpace { path } } else { UnpackError::Call { path, call, errno } }
    }

    /// A failure on a file of the store itself.
    pub fn state(path: impl Into<PathBuf>, source: io::Error) -> UnpackError {
        let path = path.into();
        // By kind: an error of tempfile's has no number, since it carries a path.
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                UnpackError::NoSpace { path: path.display().to_string() }
            }
            _ => UnpackError::State { path, source },
        }
    }

    /// A failure of the content store.
    pub fn store(error: ContentError) -> UnpackError {
        match error {
            ContentError::Io { path, source, .. } => UnpackError::state(path, source),
            error => UnpackError::Store(error),
        }
    }

    /// A stable symbolic name for the explanation: the errno where there is one.
    pub fn code(&self) -> String {
        match self {
            UnpackError::DigestMismatch { .. } => "EDIGEST".into(),
            UnpackError::Truncated { .. } => "ETRUNCATED".into(),
            UnpackError::TooLong { .. } => "ETOOLONG".into(),
            UnpackError::WrongDiffId { .. } => "EDIFFID".into(),
            UnpackError::TooLarge { .. } => "EFBIG".into(),
            UnpackError::Archive(_) | UnpackError::BadEntry { .. } | UnpackError::KindChanges { .. } => {
                "EARCHIVE".into()
            }
            UnpackError::Decompress(_) => "EDECOMPRESS".into(),
            UnpackError::Call { errno, .. } => errno_name(*errno),
            UnpackError::NoSpace { .. } => "ENOSPC".into(),
            UnpackError::Download(_) => "EDOWNLOAD".into(),
            UnpackError::Cancelled => "ECANCELED".into(),
            UnpackError::Store(_) => "ESTORE".into(),
            UnpackError::State { source, .. } => {
                source.raw_os_error().map_or_else(|| "EIO".into(), |n| errno_name(Errno::from_raw(n)))
            }
        }
    }
}
