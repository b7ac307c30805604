//! What an image was made from, so that it is known when it must be made again.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LabError;
use super::host::Host;

/// The host's part of an image's making. Equal inputs (and an equal recipe) give an equal image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inputs {
    /// Each program that was looked for, and where it was found.
    pub programs: BTreeMap<String, Option<PathBuf>>,
    /// The same for terminal descriptions.
    pub terminfo: BTreeMap<String, Option<PathBuf>>,
    /// Each file that was copied or whose headers were read.
    pub files: BTreeMap<PathBuf, Stamp>,
}

/// A file's size and modification time: cheap, and what a package manager changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    pub modified: (i64, i64),
}

impl Stamp {
    pub fn of(path: &Path) -> std::io::Result<Stamp> {
        let meta = std::fs::metadata(path)?;
        Ok(Stamp { size: meta.size(), modified: (meta.mtime(), meta.mtime_nsec()) })
    }
}

impl Inputs {
    /// Notes a file of the host.
    pub fn file(&mut self, path: &Path) -> Result<(), LabError> {
        if !self.files.contains_key(path) {
            let stamp = Stamp::of(path).map_err(|source| LabError::HostFile { path: path.to_owned(), source })?;
            self.files.insert(path.to_owned(), stamp);
        }
        Ok(())
    }

    /// Whether the host still is as it was: the same programs in the same places, the same files.
    pub fn still_true(&self, host: &Host) -> bool {
        self.programs.iter().all(|(name, found)| host.find_program(name) == *found)
            && self.terminfo.iter().all(|(name, found)| host.find_terminfo(name) == *found)
            && self.files.iter().all(|(path, stamp)| Stamp::of(path).is_ok_and(|now| now == *stamp))
    }
}
