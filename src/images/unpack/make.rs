//! One entry of a layer becomes a file, a directory, a link or a node.

use super::archive::{Archive, Entry, Kind};
use super::names::clean;
use super::tree::{Before, EntryError, Replaces, Tree, at};
use crate::kernel::call::{Dev, NodeKind};
use crate::kernel::{Call, Errno};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

impl Tree<'_> {
    /// Makes the entry as `name` in the current directory, attributes included.
    pub(super) fn make<R: Read>(
        &mut self,
        entry: &Entry,
        name: &Path,
        archive: &mut Archive<R>,
        buffer: &mut [u8],
    ) -> Result<(), EntryError> {
        let before = match entry.kind {
            Kind::File => self.make_file(entry, name, archive, buffer)?,
            Kind::Dir => {
                let mode = entry.mode & 0o777;
                self.place(name, Replaces::AllButDirectories, "mkdirat", |dir| dir.mkdir(name, mode))?
            }
            Kind::Symlink => self.make_symlink(entry, name)?,
            // The attributes are those of the file that is there already.
            Kind::HardLink => return self.make_hard_link(entry, name),
            Kind::Char | Kind::Block | Kind::Fifo => match self.make_node(entry, name)? {
                Some(before) => before,
                None => return Ok(()),
            },
        };
        self.report.entries += 1;
        self.attributes_of_entry(entry, name, before == Before::Directory)?;
        if before == Before::Whiteout && entry.kind == Kind::Dir {
            // What the whiteout hid stays hidden. (Anything but a directory hides it by being there.)
            let current = self.current()?;
            let path = current.path.join(name);
            let dir = current.dir.open_child(name).map_err(at("openat2"))?;
            self.whiteouts.opaque(&dir, &path)?;
        }
        Ok(())
    }

    fn make_file<R: Read>(
        &mut self,
        entry: &Entry,
        name: &Path,
        archive: &mut Archive<R>,
        buffer: &mut [u8],
    ) -> Result<Before, EntryError> {
        let mut file = None;
        let before = self.place(name, Replaces::Anything, "openat2", |dir| {
            file = Some(dir.create_file(name, entry.mode & 0o777)?);
            Ok(())
        })?;
        let Some(file) = file else {
            return Err(EntryError::Call("openat2", Errno::EBADF));
        };
        loop {
            let n = archive.read_content(buffer).map_err(EntryError::Content)?;
            if n == 0 {
                return Ok(before);
            }
            file.write_all(&buffer[..n]).map_err(at("write"))?;
            self.report.bytes += n as u64;
        }
    }

    fn make_symlink(&mut self, entry: &Entry, name: &Path) -> Result<Before, EntryError> {
        if entry.link.is_empty() {
            return Err(EntryError::Refused("a symbolic link to nothing"));
        }
        let before = self.place(name, Replaces::Anything, "symlinkat", |dir| {
            dir.call(&Call::Symlinkat {
                // As it is: it means something only in the container, whose root it cannot leave.
                target: OsStr::from_bytes(&entry.link).into(),
                newdirfd: dir.fd(),
                linkpath: name.to_path_buf(),
            })
        })?;
        // Its target is its contents (and so counts in the sizes that Docker shows).
        self.report.bytes += entry.link.len() as u64;
        Ok(before)
    }

    fn make_hard_link(&mut self, entry: &Entry, name: &Path) -> Result<(), EntryError> {
        let target = clean(&entry.link).map_err(EntryError::Refused)?;
        let (Some(parent), Some(target)) = (target.parent(), target.file_name()) else {
            return Err(EntryError::Refused("a hard link to the layer's root"));
        };
        // Below the root like every name; linkat(2) does not follow the last component either.
        let from = self.root.open_in_root(parent).map_err(at("openat2"))?;
        self.place(name, Replaces::Anything, "linkat", |dir| {
            dir.call(&Call::Linkat {
                olddirfd: from.fd(),
                oldpath: target.into(),
                newdirfd: dir.fd(),
                newpath: name.to_path_buf(),
            })
        })?;
        self.report.entries += 1;
        Ok(())
    }

    /// A device or a fifo; `None` if a user namespace may not have it.
    fn make_node(&mut self, entry: &Entry, name: &Path) -> Result<Option<Before>, EntryError> {
        let kind = match entry.kind {
            Kind::Char => NodeKind::Char,
            Kind::Block => NodeKind::Block,
            _ => NodeKind::Fifo,
        };
        let made = self.place(name, Replaces::Anything, "mknodat", |dir| {
            dir.call(&Call::Mknodat {
                dirfd: dir.fd(),
                pathname: name.to_path_buf(),
                kind,
                mode: entry.mode & 0o777,
                dev: Dev { major: entry.device.0.into(), minor: entry.device.1.into() },
            })
        });
        match made {
            Err(EntryError::Call(_, Errno::EPERM)) if self.options.rootless && kind != NodeKind::Fifo => {
                self.report.skipped_devices += 1;
                Ok(None)
            }
            made => made.map(Some),
        }
    }
}
