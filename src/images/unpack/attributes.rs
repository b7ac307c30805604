//! Owner, mode, extended attributes and time of what a layer brings: in this order, since chown(2) takes setuid
//! bits and file capabilities away, and everything before the last changes nothing that comes after it.

use super::archive::{Entry, Kind};
use super::dir::Dir;
use super::tree::{EntryError, HERE, Tree, at};
use crate::kernel::{Call, Errno};
use std::path::Path;

/// fchmodat(2) of something that was just made or seen to be a directory.
pub fn chmod(dir: &Dir<'_>, name: &Path, mode: u32) -> Result<(), EntryError> {
    dir.call(&Call::Fchmodat { dirfd: dir.fd(), pathname: name.to_path_buf(), mode }).map_err(at("fchmodat"))
}

/// Sets the modification time (and the access time with it).
pub fn set_time(dir: &Dir<'_>, name: &Path, (sec, nsec): (i64, i64)) -> Result<(), EntryError> {
    dir.call(&Call::Utimensat { dirfd: dir.fd(), pathname: name.to_path_buf(), mtime_sec: sec, mtime_nsec: nsec })
        .map_err(at("utimensat"))
}

/// Whether a layer may bring this attribute: capabilities of programs and what users attach. The others are the
/// host's own (labels of its security modules) or overlayfs' marks, which would let a layer forge whiteouts.
pub fn is_allowed(name: &[u8]) -> bool {
    name == b"security.capability" || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

impl Tree<'_> {
    /// What was just made as `name` in the current directory gets its attributes. `merged`: it is a directory that
    /// was there before.
    pub(super) fn attributes_of_entry(&mut self, entry: &Entry, name: &Path, merged: bool) -> Result<(), EntryError> {
        let Some(current) = self.current.take() else {
            return Err(EntryError::Call("openat2", Errno::EBADF));
        };
        // A new file has our owner, and our group or the directory's; most entries need no call at all.
        let (uid, gid) = self.owner_of(entry);
        let owned = !merged && self.owner == (uid, gid) && current.gid == gid;
        let inherits = entry.kind == Kind::Dir && current.setgid;
        let moded = !merged && !inherits && entry.mode & !self.honoured == 0;
        let done = self.attributes(&current.dir, name, entry, owned, moded);
        self.current = Some(current);
        done
    }

    /// The entry describes the layer's root.
    pub(super) fn attributes_of_root(&mut self, entry: &Entry) -> Result<(), EntryError> {
        let root = self.root.open_in_root(Path::new("")).map_err(at("openat2"))?;
        self.attributes(&root, Path::new(HERE), entry, false, false)
    }

    fn attributes(
        &mut self,
        dir: &Dir<'_>,
        name: &Path,
        entry: &Entry,
        owned: bool,
        moded: bool,
    ) -> Result<(), EntryError> {
        if !owned {
            self.chown(dir, name, entry)?;
        }
        // A symbolic link has no mode of its own.
        if entry.kind != Kind::Symlink && !moded {
            chmod(dir, name, entry.mode)?;
        }
        for (attribute, value) in &entry.xattrs {
            self.set_xattr(dir, name, attribute, value)?;
        }
        set_time(dir, name, entry.mtime)
    }

    fn owner_of(&self, entry: &Entry) -> (u32, u32) {
        self.plain.and_then(|p| p.owner).unwrap_or((entry.uid, entry.gid))
    }

    fn chown(&mut self, dir: &Dir<'_>, name: &Path, entry: &Entry) -> Result<(), EntryError> {
        let (owner, group) = self.owner_of(entry);
        let done = dir.call(&Call::Fchownat { dirfd: dir.fd(), pathname: name.to_path_buf(), owner, group });
        match done {
            // An id that the user namespace does not map (chown(2), user_namespaces(7)).
            Err(Errno::EINVAL | Errno::EPERM) if self.options.rootless => {
                self.report.unmapped_owners += 1;
                Ok(())
            }
            done => done.map_err(at("fchownat")),
        }
    }

    fn set_xattr(&mut self, dir: &Dir<'_>, name: &Path, attribute: &[u8], value: &[u8]) -> Result<(), EntryError> {
        let attribute = std::str::from_utf8(attribute).ok().filter(|a| is_allowed(a.as_bytes()));
        let Some(attribute) = attribute else {
            self.report.skipped_xattrs += 1;
            return Ok(());
        };
        let done = dir.call(&Call::Setxattr {
            dirfd: dir.fd(),
            pathname: name.to_path_buf(),
            name: attribute.to_owned(),
            value: value.to_vec(),
        });
        match done {
            Err(Errno::EOPNOTSUPP) => self.report.skipped_xattrs += 1,
            // `user.*` exists on files and directories only (xattr(7)).
            Err(Errno::EPERM) if self.options.rootless || attribute.starts_with("user.") => {
                self.report.skipped_xattrs += 1;
            }
            done => return done.map_err(at("lsetxattr")),
        }
        Ok(())
    }
}
