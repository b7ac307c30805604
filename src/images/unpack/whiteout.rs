//! How overlayfs is told that something of the lower layers is hidden.
//!
//! Kernel documentation, filesystems/overlayfs.rst, "whiteouts and opaque directories": a whiteout is a character
//! device 0:0, or, since Linux 6.7, an empty file with the attribute `overlay.whiteout` in a directory whose
//! `overlay.opaque` is `x`; an opaque directory has `overlay.opaque` = `y`. The attributes are in the namespace
//! `trusted.` or, for a mount with `userxattr`, `user.`.

use super::dir::Dir;
use super::tree::EntryError;
use crate::kernel::call::{Dev, NodeKind};
use crate::kernel::{Call, Errno};
use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Sets the marks of one layer.
pub struct Whiteouts {
    userxattr: bool,
    /// Whiteouts kept as attributes (directory, name): only where the kernel refuses device nodes, so normally none.
    files: BTreeSet<(PathBuf, PathBuf)>,
}

impl Whiteouts {
    pub fn new(userxattr: bool) -> Whiteouts {
        Whiteouts { userxattr, files: BTreeSet::new() }
    }

    /// Whether `name` in the directory `path` is a whiteout.
    pub fn is(&self, path: &Path, name: &Path, meta: &Metadata) -> bool {
        let node = meta.file_type().is_char_device() && meta.rdev() == 0;
        node || (!self.files.is_empty() && self.files.contains(&(path.into(), name.into())))
    }

    /// `name` of the directory is about to be removed.
    pub fn forget(&mut self, path: &Path, name: &Path) {
        if !self.files.is_empty() {
            self.files.remove(&(path.into(), name.into()));
        }
    }

    /// Hides `name`, which is not in the directory. True if an attribute had to do.
    pub fn hide(&mut self, dir: &Dir<'_>, path: &Path, name: &Path) -> Result<bool, EntryError> {
        let node = dir.call(&Call::Mknodat {
            dirfd: dir.fd(),
            pathname: name.to_path_buf(),
            kind: NodeKind::Char,
            mode: 0,
            dev: Dev { major: 0, minor: 0 },
        });
        match node {
            Ok(()) => return Ok(false),
            Err(Errno::EPERM | Errno::EOPNOTSUPP) => {}
            Err(errno) => return Err(EntryError::Call("mknodat", errno)),
        }
        let openat2 = |errno| EntryError::Call("openat2", errno);
        drop(dir.create_file(name, 0o600).map_err(openat2)?);
        self.set(dir, name, "whiteout", b"")?;
        self.set(dir, Path::new("."), "opaque", b"x")?;
        self.files.insert((path.into(), name.into()));
        Ok(true)
    }

    /// Hides all that the lower layers have in `dir`.
    pub fn opaque(&mut self, dir: &Dir<'_>, path: &Path) -> Result<(), EntryError> {
        self.set(dir, Path::new("."), "opaque", b"y")?;
        // With nothing below there is nothing to hide, and an `y` directory would show the marked files.
        let needless: Vec<_> = self.files.iter().filter(|(at, _)| at == path).cloned().collect();
        for entry in needless {
            dir.unlink(&entry.1).map_err(|errno| EntryError::Call("unlinkat", errno))?;
            self.files.remove(&entry);
        }
        Ok(())
    }

    fn set(&self, dir: &Dir<'_>, name: &Path, mark: &str, value: &[u8]) -> Result<(), EntryError> {
        let space = if self.userxattr { "user" } else { "trusted" };
        dir.call(&Call::Setxattr {
            dirfd: dir.fd(),
            pathname: name.to_path_buf(),
            name: format!("{space}.overlay.{mark}"),
            value: value.to_vec(),
        })
        .map_err(|errno| EntryError::Call("lsetxattr", errno))
    }
}
