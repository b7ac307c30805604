//! Reads one file of an image as the container would see it, without mounting anything: the layers are walked
//! topmost first, and whiteouts are honoured (overlayfs, "whiteouts and opaque directories").
//!
//! The files are the image's, so nothing in them is trusted. A symlink is never followed by the kernel: each name
//! is opened below its layer with openat2(2) `RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS`, and links are resolved here, in
//! the union of the layers, where `/` is the container's root and `..` stops at it.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// How many symlinks one path may lead through (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Layers as directories, topmost first; the container's own writable layer counts as the topmost.
pub struct Layers {
    roots: Vec<OwnedFd>,
}

/// What a name is in the union of the layers.
pub(super) enum Found {
    Nothing,
    /// In these layers (indices, topmost first) it is a directory that shows.
    Directory(Vec<usize>),
    Link(OsString),
    /// In this layer.
    File(usize),
}

impl Layers {
    /// Opens the layers. One that does not exist (a writable layer that was not made yet) is left out.
    ///
    /// # Errors
    /// What open(2) answers for the others.
    pub fn open<P: AsRef<Path>>(topmost_first: impl IntoIterator<Item = P>) -> io::Result<Layers> {
        let mut roots = vec![];
        for path in topmost_first {
            match File::open(path) {
                Ok(directory) => roots.push(directory.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Layers { roots })
    }

    /// The contents of a regular file of at most `limit` bytes; none when the container would not see one.
    ///
    /// # Errors
    /// `InvalidData` for a file that is longer, `FilesystemLoop` for too many links, what the system answers.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some((layer, path)) = self.resolve(path)? else {
            return Ok(None);
        };
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = File::from(self.open_in(layer, &path, flags)?);
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut bytes = vec![];
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is longer than {limit} bytes", path.display()),
            ));
        }
        Ok(Some(bytes))
    }

    /// What a path is that leads through directories alone; the last part is not followed.
    pub(super) fn entry(&self, path: &Path) -> io::Result<Found> {
        let mut found = Found::Directory((0..self.roots.len()).collect());
        let mut at = PathBuf::new();
        for name in names(path) {
            at.push(name);
            found = match &found {
                Found::Directory(layers) => self.look(layers, &at)?,
                _ => return Ok(Found::Nothing),
            };
        }
        Ok(found)
    }

    /// The layer that has the link at this path.
    pub(super) fn link_layer(&self, path: &Path) -> io::Result<Option<usize>> {
        for layer in 0..self.roots.len() {
            match self.open_in(layer, path, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
                Ok(_) => return Ok(Some(layer)),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(None)
    }

    /// Names that show in a directory, which shows in these layers.
    pub(super) fn names(&self, layers: &[usize], path: &Path) -> io::Result<BTreeSet<OsString>> {
        let mut found = BTreeSet::new();
        for &layer in layers {
            let dir = self.open_in(layer, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
            for entry in std::fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()))? {
                let name = entry?.file_name();
                if !matches!(self.look(layers, &path.join(&name))?, Found::Nothing) {
                    found.insert(name);
                }
            }
        }
        Ok(found)
    }

    /// An empty file, or a directory in which only such are, in the topmost layer.
    pub(super) fn is_empty(&self, path: &Path) -> bool {
        let Ok(entry) = self.open_in(0, path, OFlag::O_PATH | OFlag::O_NOFOLLOW) else { return false };
        let Ok(stat) = fstat(&entry) else { return false };
        match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFDIR => match std::fs::read_dir(format!("/proc/self/fd/{}/.", entry.as_raw_fd())) {
                Ok(mut names) => names.all(|n| n.is_ok_and(|n| self.is_empty(&path.join(n.file_name())))),
                Err(_) => false,
            },
            SFlag::S_IFREG => stat.st_size == 0,
            _ => false,
        }
    }

    /// In which layer a path lies (the topmost is 0), its links followed. None: nowhere.
    ///
    /// # Errors
    /// As [`Layers::read`].
    pub fn origin(&self, path: &Path) -> io::Result<Option<usize>> {
        Ok(match self.entry(path)? {
            Found::Nothing => None,
            Found::Directory(layers) => layers.first().copied(),
            Found::File(layer) => Some(layer),
            Found::Link(_) => self.resolve(path)?.map(|(layer, _)| layer),
        })
    }

    /// Where the file is: its layer, and its path below it with every link resolved.
    fn resolve(&self, path: &Path) -> io::Result<Option<(usize, PathBuf)>> {
        let mut left: VecDeque<OsString> = names(path).collect();
        let mut links = 0;
        // The directories walked so far: name, and the layers in which each is seen.
        let top: Vec<usize> = (0..self.roots.len()).collect();
        let mut walked: Vec<(OsString, Vec<usize>)> = vec![];
        while let Some(name) = left.pop_front() {
            if name == ".." {
                walked.pop();
                continue;
            }
            let here = walked.last().map_or(&top, |(_, layers)| layers);
            let at: PathBuf = walked.iter().map(|(n, _)| n).chain([&name]).collect();
            match self.look(here, &at)? {
                Found::Nothing => return Ok(None),
                Found::Directory(layers) => walked.push((name, layers)),
                Found::File(layer) if left.is_empty() => return Ok(Some((layer, at))),
                Found::File(_) => return Ok(None),
                Found::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                    let target = Path::new(&target);
                    if target.is_absolute() {
                        walked.clear();
                    }
                    for name in names(target).collect::<Vec<_>>().into_iter().rev() {
                        left.push_front(name);
                    }
                }
            }
        }
        Ok(None)
    }

    /// What `path`, all of whose parents are directories that show in `layers`, is.
    pub(super) fn look(&self, layers: &[usize], path: &Path) -> io::Result<Found> {
        let mut directories = vec![];
        for &layer in layers {
            let entry = match self.open_in(layer, path, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
                Ok(entry) => entry,
                Err(Errno::ENOENT) => continue,
                // A parent is something else in this layer: an upper directory hides it.
                Err(Errno::ENOTDIR | Errno::ELOOP) => break,
                Err(errno) => return Err(errno.into()),
            };
            let stat = fstat(&entry)?;
            let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
            if kind == SFlag::S_IFDIR {
                directories.push(layer);
                if is_opaque(&entry) {
                    break;
                }
                continue;
            }
            if !directories.is_empty() || is_whiteout(kind, &stat) {
                break;
            }
            return Ok(if kind == SFlag::S_IFLNK { Found::Link(readlinkat(&entry, "")?) } else { Found::File(layer) });
        }
        Ok(if directories.is_empty() { Found::Nothing } else { Found::Directory(directories) })
    }

    pub(super) fn open_in(&self, layer: usize, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
        let root = self.roots.get(layer).ok_or(Errno::EBADF)?;
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(root.as_fd(), path, how)
    }
}

fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        _ => None,
    })
}

/// A character device 0:0 says that the name was deleted.
fn is_whiteout(kind: SFlag, stat: &FileStat) -> bool {
    kind == SFlag::S_IFCHR && stat.st_rdev == 0
}

/// `trusted.overlay.opaque` (`user.…` in a user namespace) says that nothing below shows through.
fn is_opaque(directory: &OwnedFd) -> bool {
    // An O_PATH descriptor has no attributes of its own: its name below /proc leads to the directory itself.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
        let mut value = [0u8; 1];
        rustix::fs::getxattr(&path, *name, &mut value) == Ok(1) && value[0] == b'y'
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::call::{Dev, NodeKind};
    use crate::kernel::linux::LinuxKernel;
    use crate::kernel::{Call, Fd, Kernel as _};
    use std::fs;
    use std::os::unix::fs::symlink;

    fn layer(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn read(layers: &[&tempfile::TempDir], path: &str) -> Option<String> {
        let layers = Layers::open(layers.iter().map(|d| d.path())).unwrap();
        layers.read(Path::new(path), 1000).unwrap().map(|b| String::from_utf8(b).unwrap())
    }

    #[test]
    fn the_topmost_layer_wins_and_lower_ones_show_through() {
        let top = layer(&[("etc/passwd", "new")]);
        let low = layer(&[("etc/passwd", "old"), ("etc/group", "g")]);
        assert_eq!(read(&[&top, &low], "/etc/passwd").as_deref(), Some("new"));
        assert_eq!(read(&[&top, &low], "/etc/group").as_deref(), Some("g"));
        assert_eq!(read(&[&top, &low], "/etc/shadow"), None);
        assert_eq!(read(&[&top, &low], "/etc"), None);
    }

    #[test]
    fn a_file_in_place_of_a_directory_hides_what_is_below() {
        let top = layer(&[("etc", "a file now")]);
        let low = layer(&[("etc/passwd", "old")]);
        assert_eq!(read(&[&top, &low], "/etc/passwd"), None);
        let (top, low) = (layer(&[("etc/group", "g")]), layer(&[("etc", "was a file")]));
        assert_eq!(read(&[&top, &low], "/etc/passwd"), None);
    }

    #[test]
    fn links_are_followed_across_layers_and_never_out_of_the_image() {
        let secret = layer(&[("secret", "host")]);
        let top = layer(&[("etc/x", "")]);
        let low = layer(&[("usr/etc/passwd", "real")]);
        symlink("/usr/etc/passwd", top.path().join("etc/passwd")).unwrap();
        symlink("../../../../usr/etc/passwd", top.path().join("etc/up")).unwrap();
        symlink(secret.path().join("secret"), top.path().join("etc/out")).unwrap();
        symlink("/etc/loop", top.path().join("etc/loop")).unwrap();
        assert_eq!(read(&[&top, &low], "/etc/passwd").as_deref(), Some("real"));
        assert_eq!(read(&[&top, &low], "/etc/up").as_deref(), Some("real"));
        assert_eq!(read(&[&top, &low], "/etc/out"), None);
        let layers = Layers::open([top.path(), low.path()]).unwrap();
        assert!(layers.read(Path::new("/etc/loop"), 10).is_err());
        let long = layers.read(Path::new("/etc/passwd"), 3).unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_layer_that_is_not_there_is_left_out() {
        let low = layer(&[("a", "1")]);
        let layers = Layers::open([Path::new("/nonexistent/upper"), low.path()]).unwrap();
        assert_eq!(layers.read(Path::new("a"), 10).unwrap().as_deref(), Some(&b"1"[..]));
    }

    /// Needs CAP_MKNOD and CAP_SYS_ADMIN: says so where it can't run.
    #[test]
    fn whiteouts_and_opaque_directories_hide_what_is_below() {
        let low = layer(&[("etc/passwd", "old"), ("etc/group", "g"), ("opt/a", "1")]);
        let top = layer(&[("etc/x", ""), ("opt/b", "2")]);
        let whiteout = Call::Mknodat {
            dirfd: Fd::Cwd,
            pathname: top.path().join("etc/passwd"),
            kind: NodeKind::Char,
            mode: 0,
            dev: Dev { major: 0, minor: 0 },
        };
        if LinuxKernel.call(&whiteout).is_err() {
            eprintln!("not tested: making a whiteout needs CAP_MKNOD");
            return;
        }
        assert_eq!(read(&[&top, &low], "/etc/passwd"), None);
        assert_eq!(read(&[&top, &low], "/etc/group").as_deref(), Some("g"));
        let opaque = rustix::fs::setxattr(
            top.path().join("opt"),
            "trusted.overlay.opaque",
            b"y",
            rustix::fs::XattrFlags::empty(),
        );
        if opaque.is_err() {
            eprintln!("not tested: an opaque directory needs CAP_SYS_ADMIN");
            return;
        }
        assert_eq!(read(&[&top, &low], "/opt/a"), None);
        assert_eq!(read(&[&top, &low], "/opt/b").as_deref(), Some("2"));
    }
}
