//! Directories as descriptors: every effect names a single component below an open directory, so that no symbolic
//! link that a layer brings can lead out of its root.

use crate::kernel::{Call, Errno, Fd, Kernel};
use nix::fcntl::{OFlag, ResolveFlag};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

/// A descriptor that came out of a call. Closed when dropped.
struct Handle<'k> {
    kernel: &'k dyn Kernel,
    fd: i32,
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        // A local file system has reported every failure at write(2) already.
        let _ = self.kernel.call(&Call::Close { fd: Fd::Raw(self.fd) });
    }
}

/// A new file, open for writing.
pub struct NewFile<'k>(Handle<'k>);

impl NewFile<'_> {
    pub fn write_all(&self, data: &[u8]) -> Result<(), Errno> {
        self.0.kernel.write_all(self.0.fd, data)
    }
}

/// An open directory.
pub struct Dir<'k>(Handle<'k>);

impl<'k> Dir<'k> {
    /// Opens a directory of the host by its path. Only for places of our own (the data directory).
    pub fn open(kernel: &'k dyn Kernel, path: &Path) -> Result<Dir<'k>, Errno> {
        Self::openat2(kernel, Fd::Cwd, path, ResolveFlag::empty())
    }

    /// Opens a directory below this one. Symbolic links on the way, the last component included, are followed as
    /// if this directory were `/`: neither an absolute target nor `..` leads out of it (openat2(2)
    /// `RESOLVE_IN_ROOT`).
    pub fn open_in_root(&self, path: &Path) -> Result<Dir<'k>, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        Self::openat2(self.0.kernel, self.fd(), path, resolve)
    }

    /// Opens the directory `name` in this one; a symbolic link is `ELOOP`.
    pub fn open_child(&self, name: &Path) -> Result<Dir<'k>, Errno> {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        Self::openat2(self.0.kernel, self.fd(), name, resolve)
    }

    /// As [`Dir::open_child`], for reading the names in it: a directory whose mode keeps even its owner out (overlayfs
    /// leaves `work/work` with mode 000) is opened up first.
    fn open_readable(&self, name: &Path) -> Result<Dir<'k>, Errno> {
        let dir = self.open_child(name)?;
        if let Err(e) = dir.names()
            && e.kind() == io::ErrorKind::PermissionDenied
        {
            self.call(&Call::Fchmodat { dirfd: self.fd(), pathname: name.to_path_buf(), mode: 0o700 })?;
        }
        Ok(dir)
    }

    fn openat2(kernel: &'k dyn Kernel, dirfd: Fd, path: &Path, resolve: ResolveFlag) -> Result<Dir<'k>, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        open(kernel, dirfd, path, flags, 0, resolve).map(Dir)
    }

    /// Makes the file `name`, which must not be there, with these permission bits less the umask.
    pub fn create_file(&self, name: &Path, mode: u32) -> Result<NewFile<'k>, Errno> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        open(self.0.kernel, self.fd(), name, flags, mode, resolve).map(NewFile)
    }

    pub fn fd(&self) -> Fd {
        Fd::Raw(self.0.fd)
    }

    /// Does a call that gives nothing back.
    pub fn call(&self, call: &Call) -> Result<(), Errno> {
        self.0.kernel.call(call).map(drop)
    }

    /// What is known of `name` in this directory (of the directory itself for `.`), links not followed.
    pub fn stat(&self, name: &Path) -> io::Result<Metadata> {
        self.by_proc().join(name).symlink_metadata()
    }

    /// Names in this directory.
    pub fn names(&self) -> io::Result<impl Iterator<Item = io::Result<std::fs::DirEntry>> + use<>> {
        std::fs::read_dir(self.by_proc())
    }

    /// Where the link at `path` below this directory leads to, if it is one; links on the way are followed as if this
    /// directory were `/`.
    pub fn link_below(&self, path: &Path) -> Option<PathBuf> {
        let parent = self.open_in_root(path.parent()?).ok()?;
        std::fs::read_link(parent.by_proc().join(path.file_name()?)).ok()
    }

    /// The magic link of proc_pid_fd(5): leads to this very directory, however it is called by now. The dot makes it
    /// the directory for those who do not follow links.
    pub fn by_proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/.", self.0.fd))
    }

    pub fn unlink(&self, name: &Path) -> Result<(), Errno> {
        self.unlinkat(name, false)
    }

    fn unlinkat(&self, name: &Path, remove_dir: bool) -> Result<(), Errno> {
        self.call(&Call::Unlinkat { dirfd: self.fd(), pathname: name.to_path_buf(), remove_dir })
    }

    pub fn mkdir(&self, name: &Path, mode: u32) -> Result<(), Errno> {
        self.call(&Call::Mkdirat { dirfd: self.fd(), pathname: name.to_path_buf(), mode })
    }

    pub fn rename(&self, name: &Path, to: &Dir<'_>, new_name: &Path) -> Result<(), Errno> {
        self.call(&Call::Renameat {
            olddirfd: self.fd(),
            oldpath: name.to_path_buf(),
            newdirfd: to.fd(),
            newpath: new_name.to_path_buf(),
        })
    }
}

fn open<'k>(
    kernel: &'k dyn Kernel,
    dirfd: Fd,
    path: &Path,
    flags: OFlag,
    mode: u32,
    resolve: ResolveFlag,
) -> Result<Handle<'k>, Errno> {
    let ret = kernel.call(&Call::Openat2 { dirfd, pathname: path.to_path_buf(), flags, mode, resolve })?;
    let fd = ret.fd().ok_or(Errno::EBADF)?;
    Ok(Handle { kernel, fd })
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Removal {
    /// Everything that is no directory.
    pub files: u64,
    pub directories: u64,
}

/// Removes `name` and everything below it; nothing there is fine, so that a removal can be taken up again.
///
/// What is below was made by a layer or by a container and is not trusted: no symbolic link is followed, and since
/// directories may nest deeper than any path or any stack, those two levels down are moved up to the first level
/// until all are empty. Depth costs neither memory nor descriptors.
///
/// # Errors
/// What the first call that failed answered; what was removed before stays removed.
pub fn remove_tree(parent: &Dir<'_>, name: &Path) -> io::Result<Removal> {
    let mut removal = Removal::default();
    match parent.stat(name) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            removal.unlink(parent, name)?;
            return Ok(removal);
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(removal),
        Err(e) => return Err(e),
    }
    let top = parent.open_readable(name)?;
    let mut moved = 0u64;
    loop {
        let mut found = false;
        for entry in top.names()? {
            found = true;
            let entry = entry?;
            let child = PathBuf::from(entry.file_name());
            if !entry.file_type()?.is_dir() {
                removal.unlink(&top, &child)?;
                continue;
            }
            if !removal.rmdir_if_empty(&top, &child)? {
                removal.empty_into(&top, &child, &mut moved)?;
                removal.rmdir(&top, &child)?;
            }
        }
        if !found {
            break;
        }
    }
    drop(top);
    removal.rmdir(parent, name)?;
    Ok(removal)
}

impl Removal {
    fn unlink(&mut self, dir: &Dir<'_>, name: &Path) -> Result<(), Errno> {
        dir.unlink(name)?;
        self.files += 1;
        Ok(())
    }

    fn rmdir(&mut self, dir: &Dir<'_>, name: &Path) -> Result<(), Errno> {
        dir.unlinkat(name, true)?;
        self.directories += 1;
        Ok(())
    }

    /// Most directories of a writable layer are empty: they go at once, unopened.
    fn rmdir_if_empty(&mut self, dir: &Dir<'_>, name: &Path) -> Result<bool, Errno> {
        match self.rmdir(dir, name) {
            Ok(()) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Empties the directory `child` of `top`: files are unlinked, directories move up into `top`.
    fn empty_into(&mut self, top: &Dir<'_>, child: &Path, moved: &mut u64) -> io::Result<()> {
        let dir = top.open_readable(child)?;
        for entry in dir.names()? {
            let entry = entry?;
            let name = PathBuf::from(entry.file_name());
            if !entry.file_type()?.is_dir() {
                self.unlink(&dir, &name)?;
                continue;
            }
            if self.rmdir_if_empty(&dir, &name)? {
                continue;
            }
            loop {
                // A directory that is not empty is never replaced, so a name that is taken is found out.
                *moved += 1;
                let free = PathBuf::from(format!("#{moved}"));
                match dir.rename(&name, top, &free) {
                    Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
                    done => break done?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::linux::LinuxKernel;

    #[test]
    fn remove_tree_removes_what_is_deeper_than_any_path() {
        let home = tempfile::tempdir().unwrap();
        let top = home.path().join("top");
        std::fs::create_dir(&top).unwrap();
        let base = Dir::open(&LinuxKernel, home.path()).unwrap();
        let mut dir = base.open_child(Path::new("top")).unwrap();
        for _ in 0..5000 {
            dir.mkdir(Path::new("d"), 0o755).unwrap();
            dir = dir.open_child(Path::new("d")).unwrap();
        }
        std::fs::write(top.join("#1"), "in the way").unwrap();
        drop(dir);
        remove_tree(&base, Path::new("top")).unwrap();
        assert!(!top.exists());
        remove_tree(&base, Path::new("top")).unwrap();
    }

    #[test]
    fn remove_tree_does_not_follow_links() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("canary")).unwrap();
        std::fs::write(home.path().join("canary/file"), "x").unwrap();
        std::fs::create_dir_all(home.path().join("top/sub")).unwrap();
        for at in ["top/link", "top/sub/link"] {
            std::os::unix::fs::symlink(home.path().join("canary"), home.path().join(at)).unwrap();
        }
        let base = Dir::open(&LinuxKernel, home.path()).unwrap();
        remove_tree(&base, Path::new("top")).unwrap();
        assert!(home.path().join("canary/file").exists());
    }
}
