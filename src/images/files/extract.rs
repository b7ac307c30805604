//! Unpacks an archive in a directory of a container.

use super::{FilesError, Root};
use crate::images::unpack::{self, Report};
use crate::kernel::Errno;
use crate::kernel::traced::because;
use crate::trace::Actor;
use std::io::Read;
use std::path::Path;

/// How an archive is unpacked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extract {
    /// A directory does not give way to a file, nor a file to a directory.
    pub keep_kinds: bool,
    /// Everything belongs to these, whatever the archive says.
    pub owner: Option<(u32, u32)>,
    /// The container's own root may not be written to.
    pub read_only: bool,
}

impl Root<'_> {
    /// Unpacks `archive` (tar; plain, gzip or zstd) in `directory`, whose links are all followed.
    ///
    /// # Errors
    /// [`FilesError::NoDirectory`], [`FilesError::ReadOnly`], the first entry that could not be made.
    pub fn extract(&self, directory: &Path, how: Extract, archive: &mut dyn Read) -> Result<Report, FilesError> {
        let dir = match self.open(directory) {
            Err(FilesError::Call { errno: Errno::ENOTDIR, .. }) => return Err(FilesError::NoDirectory),
            opened => opened?,
        };
        if how.read_only && self.is_on_root(&dir) {
            return Err(FilesError::ReadOnly);
        }
        let plain =
            unpack::Plain { keep_kinds: how.keep_kinds, owner: how.owner, rootless: self.files.options.rootless };
        let why = "an entry of the archive becomes a file of the container; overlayfs puts it into the writable layer";
        because(Actor::Layer, why, || unpack::extract(dir, plain, archive)).map_err(FilesError::Extract)
    }
}
