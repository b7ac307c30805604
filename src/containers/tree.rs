//! Deletes a directory with all that is in it, for good: the writable layer of a container that is removed.
//!
//! What is in it was written by the container, so nothing is trusted: no symlink is ever followed (each directory
//! is opened from its parent's descriptor with openat2(2) `RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS`, names are single
//! components), and a tree of any depth is deleted with a bounded number of descriptors.

use crate::kernel::traced::because;
use crate::kernel::{Call, Errno, Fd, Kernel};
use crate::trace::Actor;
use nix::dir::{Dir, Type};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

const WHY: &str = "the container is removed, and its writable layer with it";

/// Deeper directories are moved up before they are emptied, so that depth costs neither descriptors nor stack.
const MAX_DEPTH: usize = 64;

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Deleted {
    pub files: u64,
    pub directories: u64,
}

/// Deleting stopped here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("delete {path}: {call}: {}", errno.desc().to_lowercase())]
pub struct TreeError {
    pub path: PathBuf,
    pub call: &'static str,
    pub errno: Errno,
}

struct Deleter<'a> {
    kernel: &'a dyn Kernel,
    top: RawFd,
    path: &'a Path,
    moved: u64,
    deleted: Deleted,
}

/// Deletes `parent/name` and all below it. A name that is not there is no error: deleting can be taken up again.
///
/// # Errors
/// [`TreeError`] at the first call that fails; what was deleted before stays deleted.
pub fn delete(kernel: &dyn Kernel, parent: &Path, name: &str) -> Result<Deleted, TreeError> {
    let path = parent.join(name);
    let fail = |call: &'static str| {
        let path = path.clone();
        move |errno| TreeError { path, call, errno }
    };
    let top = match File::open(parent) {
        Ok(top) => OwnedFd::from(top),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Deleted::default()),
        Err(error) => {
            return Err(fail("open")(Errno::from_raw(error.raw_os_error().unwrap_or(0))));
        }
    };
    let mut deleter = Deleter { kernel, top: top.as_raw_fd(), path: &path, moved: 0, deleted: Deleted::default() };
    because(Actor::Layer, WHY, || {
        deleter.entry(&top, OsStr::new(name), None, 0)?;
        // Each pass empties what was moved up, and may move up more.
        let mut at = 0;
        while at < deleter.moved {
            let name = moved_name(&path, at);
            deleter.entry(&top, &name, Some(Type::Directory), 0)?;
            at += 1;
        }
        Ok(())
    })?;
    Ok(deleter.deleted)
}

/// Where a deep directory is moved to: beside the top, under a name that only this deletion uses.
fn moved_name(path: &Path, n: u64) -> OsString {
    let mut name = OsString::from(".deleting-");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!("-{n}"));
    name
}

impl Deleter<'_> {
    fn error(&self, call: &'static str, errno: Errno) -> TreeError {
        TreeError { path: self.path.to_owned(), call, errno }
    }

    fn unlink(&mut self, dir: RawFd, name: &OsStr, remove_dir: bool) -> Result<(), Errno> {
        let call = Call::Unlinkat { dirfd: Fd::Raw(dir), pathname: name.into(), remove_dir };
        match self.kernel.call(&call) {
            Ok(_) if remove_dir => self.deleted.directories += 1,
            Ok(_) => self.deleted.files += 1,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// One name in the directory `dir`.
    fn entry(&mut self, dir: &OwnedFd, name: &OsStr, kind: Option<Type>, depth: usize) -> Result<(), TreeError> {
        if kind.is_some_and(|k| k != Type::Directory) {
            return self.unlink(dir.as_raw_fd(), name, false).map_err(|e| self.error("unlinkat", e));
        }
        if depth > MAX_DEPTH {
            return self.move_up(dir, name);
        }
        let child = match self.open(dir, name) {
            Ok(child) => child,
            Err(Errno::ENOENT) => return Ok(()),
            // No directory after all (the kind was not known): a file, or a symlink, which is not followed.
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                return self.unlink(dir.as_raw_fd(), name, false).map_err(|e| self.error("unlinkat", e));
            }
            Err(errno) => return Err(self.error("openat2", errno)),
        };
        for (name, kind) in self.list(&child)? {
            self.entry(&child, &name, kind, depth + 1)?;
        }
        drop(child);
        self.unlink(dir.as_raw_fd(), name, true).map_err(|e| self.error("unlinkat", e))
    }

    /// Opens a directory for reading. One whose mode keeps even its owner out (overlayfs leaves `work/work` with
    /// mode 000) is opened up first.
    fn open(&self, dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
        let open = || {
            let how = OpenHow::new()
                .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
                .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
            openat2(dir.as_fd(), name, how)
        };
        match open() {
            Err(Errno::EACCES) => {
                self.kernel.call(&Call::Fchmodat {
                    dirfd: Fd::Raw(dir.as_raw_fd()),
                    pathname: name.into(),
                    mode: 0o700,
                })?;
                open()
            }
            answer => answer,
        }
    }

    /// The names in a directory, read before any of them is deleted.
    fn list(&self, dir: &OwnedFd) -> Result<Vec<(OsString, Option<Type>)>, TreeError> {
        let copy = dir.try_clone().map_err(|_| self.error("dup", Errno::EMFILE))?;
        let mut reader = Dir::from_fd(copy).map_err(|e| self.error("readdir", e))?;
        let mut names = vec![];
        for entry in reader.iter() {
            let entry = entry.map_err(|e| self.error("readdir", e))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push((OsStr::from_bytes(name).to_owned(), entry.file_type()));
            }
        }
        Ok(names)
    }

    fn move_up(&mut self, dir: &OwnedFd, name: &OsStr) -> Result<(), TreeError> {
        let call = Call::Renameat {
            olddirfd: Fd::Raw(dir.as_raw_fd()),
            oldpath: name.into(),
            newdirfd: Fd::Raw(self.top),
            newpath: moved_name(self.path, self.moved).into(),
        };
        self.kernel.call(&call).map_err(|e| self.error("renameat", e))?;
        self.moved += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::faulty::Faulty;
    use crate::kernel::linux::LinuxKernel;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn deletes_everything_and_follows_no_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        let upper = dir.path().join("upper");
        fs::create_dir_all(upper.join("a/b")).unwrap();
        fs::write(upper.join("a/b/file"), "x").unwrap();
        symlink(&outside, upper.join("a/link")).unwrap();
        symlink(&outside, upper.join("direct")).unwrap();
        fs::create_dir(upper.join("closed")).unwrap();
        fs::write(upper.join("closed/f"), "x").unwrap();
        fs::set_permissions(upper.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        let deleted = delete(&LinuxKernel, dir.path(), "upper").unwrap();
        assert_eq!((deleted.files, deleted.directories), (4, 4));
        assert!(!upper.exists());
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn a_symlink_in_place_of_the_tree_is_deleted_itself() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        symlink(outside.path(), dir.path().join("upper")).unwrap();
        delete(&LinuxKernel, dir.path(), "upper").unwrap();
        assert!(outside.path().join("kept").exists());
        assert!(fs::symlink_metadata(dir.path().join("upper")).is_err());
    }

    #[test]
    fn what_is_not_there_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(delete(&LinuxKernel, dir.path(), "none"), Ok(Deleted::default()));
        assert_eq!(delete(&LinuxKernel, &dir.path().join("no"), "none"), Ok(Deleted::default()));
    }

    #[test]
    fn depth_has_no_limit() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("upper");
        fs::create_dir(&top).unwrap();
        let mut here = OwnedFd::from(File::open(&top).unwrap());
        for _ in 0..700 {
            let name = "d";
            nix::sys::stat::mkdirat(&here, name, nix::sys::stat::Mode::S_IRWXU).unwrap();
            let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            here = nix::fcntl::openat(&here, name, flags, nix::sys::stat::Mode::empty()).unwrap();
        }
        let deleted = delete(&LinuxKernel, dir.path(), "upper").unwrap();
        assert_eq!(deleted.directories, 701);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn every_failure_is_told_and_can_be_taken_up_again() {
        let make = || {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("upper/a")).unwrap();
            fs::write(dir.path().join("upper/a/f"), "x").unwrap();
            dir
        };
        for at in 0..3 {
            let dir = make();
            let kernel = Faulty::new(LinuxKernel, at, Errno::EIO);
            let error = delete(&kernel, dir.path(), "upper").unwrap_err();
            assert!(error.to_string().contains("unlinkat: "), "{error}");
            delete(&LinuxKernel, dir.path(), "upper").unwrap();
            assert!(!dir.path().join("upper").exists());
        }
    }
}
