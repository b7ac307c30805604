//! Packs files of a container as a tar archive.

use super::look::Found;
use super::{FilesError, Kind, Root};
use crate::images::diff::{self, Naming, Written};
use std::io::Write;

impl Root<'_> {
    /// Everything, named from the root.
    ///
    /// # Errors
    /// The first file that could not be read, or the first write that failed.
    pub fn pack_all(&self, to: &mut dyn Write) -> Result<Written, FilesError> {
        let naming = Naming { whole_seconds: true, ..Naming::default() };
        Ok(diff::write_as(&self.dir.by_proc(), &naming, to)?)
    }
}

impl Found<'_> {
    /// What was found, and what is in it, under another name: `/` for names from the root, `.` for names in the
    /// directory.
    ///
    /// # Errors
    /// As [`Root::pack_all`].
    pub fn pack(&self, name: &str, to: &mut dyn Write) -> Result<Written, FilesError> {
        let naming = Naming { top: Some(name.as_bytes().to_vec()), whole_seconds: true };
        if self.stat.kind == Kind::Directory {
            let dir = self.parent.open_child(&self.name).map_err(FilesError::call("openat2", &self.name))?;
            return Ok(diff::write_as(&dir.by_proc(), &naming, to)?);
        }
        Ok(diff::write_one(&self.parent.by_proc(), self.name.as_os_str(), &naming, to)?)
    }
}
