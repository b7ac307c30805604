//! The files of one container, seen from outside: for `cp`, `export` and their like.
//!
//! ```text
//! running  /proc/PID/root, opened once and checked by pidfd ─┐
//!                                                            ├─▶ Root ─▶ look, extract, pack
//! stopped  the layers, joined in a mount namespace of a ─────┘
//!          thread that ends at once
//! ```
//!
//! A [`Root`] is a descriptor. Every name that a client gives is resolved below it by the kernel itself (openat2(2),
//! `RESOLVE_IN_ROOT`), so a container that swaps links while it is looked at leads nobody out of it
//! (CVE-2018-15664 was a path that had been checked before). The mount of a stopped container hangs on that descriptor
//! alone: the kernel takes it away with the last one, however the daemon ends.

mod extract;
mod look;
mod open;
mod pack;

pub use extract::Extract;
pub use look::{Found, Kind, Stat};
pub use open::{Joined, Process, Root};

use super::diff::DiffError;
use super::unpack::{Options, UnpackError};
use crate::kernel::traced::because;
use crate::kernel::{Errno, Kernel};
use crate::trace::Actor;
use std::path::PathBuf;
use std::sync::Arc;

/// Runs `work`, so that what it opens and closes besides is told as the layers' doing.
pub fn on_layers<R>(work: impl FnOnce() -> R) -> R {
    because(Actor::Layer, "what was opened for this is closed with it", work)
}

/// Opens the files of containers.
#[derive(Clone)]
pub struct Files {
    kernel: Arc<dyn Kernel>,
    options: Options,
}

impl Files {
    pub fn new(kernel: Arc<dyn Kernel>, options: Options) -> Files {
        Files { kernel, options }
    }

    /// How the layers of this host are made.
    pub fn options(&self) -> Options {
        self.options
    }
}

/// Something about a container's files went wrong.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("{call} {}: {}", path.display(), errno.desc().to_lowercase())]
    Call { call: &'static str, path: PathBuf, errno: Errno },
    #[error("extraction point is not a directory")]
    NoDirectory,
    #[error("the container's process has ended")]
    Gone,
    #[error("container rootfs is marked read-only")]
    ReadOnly,
    /// Docker's words.
    #[error("Error processing tar file(exit status 1): {}", words(.0))]
    Extract(#[source] UnpackError),
    #[error(transparent)]
    Pack(#[from] DiffError),
}

/// Go's words for an archive that ends in the middle.
fn words(error: &UnpackError) -> String {
    match error {
        UnpackError::Decompress(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => "unexpected EOF".into(),
        other => other.to_string(),
    }
}

impl FilesError {
    fn call(call: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(Errno) -> FilesError {
        let path = path.into();
        move |errno| FilesError::Call { call, path, errno }
    }

    /// The name, or a directory on the way to it, is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, FilesError::Call { errno: Errno::ENOENT, .. })
    }
}
