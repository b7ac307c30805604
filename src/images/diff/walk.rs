//! Walks a directory in order, following nothing.
//!
//! One descriptor is open at a time, however deep it goes: the way back is `..`, and a directory is only gone back to
//! if it is the very one that was left (device and inode). So a container that moves directories about while it is
//! walked cannot lead the walk out of the root.

use super::{DiffError, Entry, Kind};
use crate::images::unpack::is_allowed;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A walk under way.
pub struct Walk {
    /// For messages.
    root: PathBuf,
    dir: OwnedFd,
    /// The directory that `dir` is, and those above it.
    levels: Vec<Level>,
    /// The root was not told yet.
    fresh: bool,
    /// The directory that was told last and has not been entered.
    entering: Option<OsString>,
}

struct Level {
    /// Below the root; empty: the root.
    path: Vec<u8>,
    id: (u64, u64),
    /// Names that are left, the next one last.
    names: Vec<OsString>,
}

/// One file, directory, link or node.
pub struct Node<'w> {
    dir: &'w OwnedFd,
    /// In `dir`; `.` for the root.
    name: OsString,
    /// Below the root; empty: the root.
    path: Vec<u8>,
    stat: Stat,
    shown: PathBuf,
}

/// Names and values.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

fn id_of(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// A directory of the host.
pub fn open(path: &Path) -> Result<OwnedFd, DiffError> {
    openat(rustix::fs::CWD, path, directory(), Mode::empty()).map_err(DiffError::read("open", path))
}

impl Walk {
    pub fn open(root: &Path) -> Result<Walk, DiffError> {
        let dir = open(root)?;
        let mut walk = Walk { root: root.to_path_buf(), dir, levels: Vec::new(), fresh: true, entering: None };
        walk.push(Vec::new())?;
        Ok(walk)
    }

    /// The next node; a directory comes before what is in it.
    pub fn next(&mut self) -> Result<Option<Node<'_>>, DiffError> {
        if std::mem::take(&mut self.fresh) {
            let name = OsString::from(".");
            let stat = self.stat(&name, b"")?;
            return Ok(Some(self.node(name, Vec::new(), stat)));
        }
        if let Some(name) = self.entering.take() {
            ignore_gone(self.enter(&name))?;
        }
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                self.back()?;
                continue;
            };
            let path = below(&level.path, name.as_bytes());
            let Some(stat) = ignore_gone(self.stat(&name, &path))? else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                self.entering = Some(name.clone());
            }
            return Ok(Some(self.node(name, path, stat)));
        }
    }

    /// Leaves out what is in the directory that was told last.
    pub fn skip(&mut self) {
        self.entering = None;
    }

    fn shown(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }

    fn stat(&self, name: &OsStr, path: &[u8]) -> Result<Stat, DiffError> {
        statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(DiffError::read("stat", &self.shown(path)))
    }

    fn node(&self, name: OsString, path: Vec<u8>, stat: Stat) -> Node<'_> {
        let shown = self.shown(&path);
        Node { dir: &self.dir, name, path, stat, shown }
    }

    fn enter(&mut self, name: &OsStr) -> Result<(), DiffError> {
        let path = below(self.levels.last().map_or(&[][..], |l| &l.path), name.as_bytes());
        let shown = self.shown(&path);
        self.dir = openat(&self.dir, name, directory(), Mode::empty()).map_err(DiffError::read("open", &shown))?;
        self.push(path)
    }

    /// `dir` becomes the last level.
    fn push(&mut self, path: Vec<u8>) -> Result<(), DiffError> {
        let shown = self.shown(&path);
        let stat = rustix::fs::fstat(&self.dir).map_err(DiffError::read("stat", &shown))?;
        let read = |source| DiffError::Read { what: "read", path: shown.clone(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(by_proc(&self.dir)).map_err(read)? {
            names.push(entry.map_err(read)?.file_name());
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.levels.push(Level { path, id: id_of(&stat), names });
        Ok(())
    }

    /// To the directory of the last level.
    fn back(&mut self) -> Result<(), DiffError> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let shown = self.shown(&level.path);
        let moved = |_| DiffError::read("go back to", &shown)(Errno::STALE);
        let up = openat(&self.dir, "..", directory(), Mode::empty()).map_err(moved)?;
        let stat = rustix::fs::fstat(&up).map_err(moved)?;
        if id_of(&stat) != level.id {
            return Err(moved(Errno::STALE));
        }
        self.dir = up;
        Ok(())
    }
}

/// `None` for what was removed since its name was read.
fn ignore_gone<T>(done: Result<T, DiffError>) -> Result<Option<T>, DiffError> {
    match done {
        Err(DiffError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        done => done.map(Some),
    }
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn below(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// The magic link of proc_pid_fd(5), which leads to the open directory itself.
fn by_proc(dir: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

impl<'w> Node<'w> {
    /// One name of a directory that is not walked.
    pub fn alone(dir: &'w OwnedFd, name: &OsStr) -> Result<Node<'w>, DiffError> {
        let shown = PathBuf::from(name);
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(DiffError::read("stat", &shown))?;
        Ok(Node { dir, name: name.to_owned(), path: Vec::new(), stat, shown })
    }
}

impl Node<'_> {
    pub fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// Below the root; empty: the root.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    pub fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    pub fn is_socket(&self) -> bool {
        self.kind() == FileType::Socket
    }

    /// A character device 0:0.
    pub fn is_null_device(&self) -> bool {
        self.kind() == FileType::CharacterDevice && self.stat.st_rdev == 0
    }

    /// An empty file.
    pub fn is_empty_file(&self) -> bool {
        self.kind() == FileType::RegularFile && self.stat.st_size == 0
    }

    /// Overlayfs marks directories and files.
    pub fn may_have_marks(&self) -> bool {
        matches!(self.kind(), FileType::Directory | FileType::RegularFile)
    }

    /// Device and inode of a file that has other names too.
    pub fn shared(&self) -> Option<(u64, u64)> {
        (!self.is_dir() && self.stat.st_nlink > 1).then(|| id_of(&self.stat))
    }

    /// The path below the root of something beside this node.
    pub fn with_name(&self, prefix: &[u8], name: &[u8]) -> Vec<u8> {
        let parent = self.path.len() - self.name.len();
        [&self.path[..parent], prefix, name].concat()
    }

    /// The path below the root of something in this directory.
    pub fn inside(&self, name: &[u8]) -> Vec<u8> {
        below(&self.path, name)
    }

    /// For messages.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// The node as an entry of an archive.
    pub fn entry(&self) -> Result<Entry, DiffError> {
        let kind = match self.kind() {
            FileType::Directory => Kind::Dir,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::Char,
            FileType::BlockDevice => Kind::Block,
            FileType::Fifo => Kind::Fifo,
            _ => Kind::File,
        };
        let device = match kind {
            Kind::Char | Kind::Block => (libc::major(self.stat.st_rdev), libc::minor(self.stat.st_rdev)),
            _ => (0, 0),
        };
        let link = match kind {
            Kind::Symlink => {
                let target = readlinkat(self.dir, &self.name, Vec::new());
                target.map_err(DiffError::read("read", &self.shown))?.into_bytes()
            }
            _ => Vec::new(),
        };
        Ok(Entry {
            kind,
            path: if self.path.is_empty() { b".".to_vec() } else { self.path.clone() },
            link,
            mode: self.stat.st_mode & 0o7777,
            uid: self.stat.st_uid,
            gid: self.stat.st_gid,
            mtime: (self.stat.st_mtime, self.stat.st_mtime_nsec as i64),
            size: if kind == Kind::File { self.stat.st_size as u64 } else { 0 },
            device,
            xattrs: if kind == Kind::Symlink { Vec::new() } else { self.xattrs()? },
        })
    }

    /// The content of a file. What has been put in its place meanwhile is refused.
    pub fn content(&self) -> Result<impl Read + use<>, DiffError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = openat(self.dir, &self.name, flags, Mode::empty()).map_err(DiffError::read("open", &self.shown))?;
        let file = File::from(open);
        let is_file = file.metadata().is_ok_and(|m| m.is_file());
        match is_file {
            true => Ok(file),
            false => Err(DiffError::read("read", &self.shown)(Errno::STALE)),
        }
    }

    /// The value of one attribute; `None` if there is none.
    pub fn xattr(&self, name: &str) -> Result<Option<Vec<u8>>, DiffError> {
        match get(&self.by_proc(), name) {
            Ok(value) => Ok(Some(value)),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(DiffError::read("read an attribute of", &self.shown)(errno)),
        }
    }

    /// The attributes that a layer may bring, sorted.
    fn xattrs(&self) -> Result<Xattrs, DiffError> {
        let failed = |errno| DiffError::read("read the attributes of", &self.shown)(errno);
        let path = self.by_proc();
        let list = match list(&path) {
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            list => list.map_err(failed)?,
        };
        let mut names: Vec<&[u8]> = list.split(|&b| b == 0).filter(|name| is_allowed(name)).collect();
        names.sort_unstable();
        let mut xattrs = Vec::with_capacity(names.len());
        for name in names {
            match get(&path, OsStr::from_bytes(name)) {
                Ok(value) => xattrs.push((name.to_vec(), value)),
                Err(Errno::NODATA) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(xattrs)
    }

    fn by_proc(&self) -> PathBuf {
        by_proc(self.dir).join(&self.name)
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Largest list and largest value that the kernel has (xattr(7)), in bytes.
const XATTR_MAX: usize = 64 * 1024;

fn list(path: &Path) -> Result<Vec<u8>, Errno> {
    let most = rustix::fs::llistxattr(path, &mut [0u8; 0])?;
    if most == 0 {
        return Ok(Vec::new());
    }
    let mut buffer = vec![0u8; XATTR_MAX];
    let n = rustix::fs::llistxattr(path, &mut buffer)?;
    buffer.truncate(n);
    Ok(buffer)
}

fn get(path: &Path, name: impl rustix::path::Arg) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0u8; XATTR_MAX];
    let n = rustix::fs::lgetxattr(path, name, &mut buffer)?;
    buffer.truncate(n);
    Ok(buffer)
}
