//! Finds a path in a container and tells what is there.

use super::{FilesError, Root};
use crate::images::unpack::Dir;
use crate::kernel::Errno;
use crate::kernel::traced::because;
use crate::trace::Actor;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

/// How many symbolic links one path may lead through (path_resolution(7)).
const MAX_LINKS: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Char,
    Block,
    Fifo,
    Socket,
}

/// What is known of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub kind: Kind,
    pub size: u64,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// Seconds and nanoseconds since the epoch.
    pub mtime: (i64, i64),
    /// Where a symbolic link leads to in the end, whether or not something is there.
    pub target: Option<PathBuf>,
}

/// A path that was found: a name in an open directory.
pub struct Found<'k> {
    pub(super) parent: Dir<'k>,
    /// `.` for the directory itself.
    pub(super) name: PathBuf,
    pub stat: Stat,
}

impl<'k> Root<'k> {
    /// What `base` in `directory` is (`base` empty: the directory). Links in `directory` are followed, `base` is not.
    ///
    /// # Errors
    /// What openat2(2) and stat(2) answer.
    pub fn look(&self, directory: &Path, base: &str) -> Result<Found<'k>, FilesError> {
        let shown = directory.join(base);
        let parent = self.open(directory)?;
        let name = PathBuf::from(if base.is_empty() { "." } else { base });
        let meta = parent.stat(&name).map_err(errno).map_err(FilesError::call("lstat", &shown))?;
        let kind = match meta.file_type() {
            t if t.is_dir() => Kind::Directory,
            t if t.is_symlink() => Kind::Symlink,
            t if t.is_char_device() => Kind::Char,
            t if t.is_block_device() => Kind::Block,
            t if t.is_fifo() => Kind::Fifo,
            t if t.is_socket() => Kind::Socket,
            _ => Kind::File,
        };
        let target = (kind == Kind::Symlink).then(|| self.end_of(&shown));
        let mtime = (meta.mtime(), meta.mtime_nsec());
        let stat = Stat { kind, size: meta.size(), mode: meta.mode() & 0o7777, mtime, target };
        Ok(Found { parent, name, stat })
    }

    /// A directory of the container, all links followed.
    pub(super) fn open(&self, directory: &Path) -> Result<Dir<'k>, FilesError> {
        let below = directory.strip_prefix("/").unwrap_or(directory);
        let why = "the kernel follows the links of the path as the container would: its root is the end of the way up";
        because(Actor::Layer, why, || self.dir.open_in_root(below)).map_err(FilesError::call("lstat", directory))
    }

    /// Where a path leads to, links and all, as text for a client: what is done with it is resolved anew.
    fn end_of(&self, path: &Path) -> PathBuf {
        let names = |p: &Path| -> Vec<OsString> {
            let name = |c: Component<'_>| match c {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some("..".into()),
                _ => None,
            };
            p.components().filter_map(name).collect()
        };
        let mut left: VecDeque<OsString> = names(path).into();
        let mut walked = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                walked.pop();
                continue;
            }
            match self.dir.link_below(&walked.strip_prefix("/").unwrap_or(&walked).join(&name)) {
                Some(target) if links < MAX_LINKS => {
                    links += 1;
                    if target.is_absolute() {
                        walked = PathBuf::from("/");
                    }
                    for name in names(&target).into_iter().rev() {
                        left.push_front(name);
                    }
                }
                _ => walked.push(name),
            }
        }
        walked
    }
}

pub(super) fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
