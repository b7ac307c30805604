//! Makes the entries of a layer below its root, through the kernel seam.
//!
//! Memory does not grow with the layer. That directories get their times although files are made in them later
//! needs no list: whenever work moves on to another directory, the one that is left gets back the time it had
//! when work came to it.

use super::Plain;
use super::archive::{Archive, Entry, Kind};
use super::attributes::{chmod, set_time};
use super::dir::{Dir, remove_tree};
use super::names::Name;
use super::whiteout::Whiteouts;
use crate::kernel::Errno;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How layers are unpacked on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The process is uid 0 of a user namespace: owners that are not mapped, devices and some attributes are
    /// refused by the kernel, which is tolerated and counted.
    pub rootless: bool,
    /// Overlayfs is mounted with `userxattr`: its marks are `user.overlay.*`, not `trusted.overlay.*`.
    pub userxattr: bool,
    /// So many bytes may come out of one layer's blob; none: any number.
    pub max_layer: Option<u64>,
}

/// What was done. Everything that was left out is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Entries made: files, directories, links, devices.
    pub entries: u64,
    /// Bytes of file contents and of the targets of symbolic links.
    pub bytes: u64,
    /// Names of lower layers that are hidden.
    pub whiteouts: u64,
    /// Directories whose lower contents are hidden.
    pub opaque: u64,
    /// The root itself is opaque: no lower layer shows through.
    pub opaque_root: bool,
    /// Whiteouts kept as an attribute, because the kernel refused the device node.
    pub whiteouts_as_xattr: u64,
    /// Files that stayed ours, because their owner is not mapped into the user namespace.
    pub unmapped_owners: u64,
    /// Devices that a user namespace may not make.
    pub skipped_devices: u64,
    /// Attributes that are the host's own business (`trusted.*`, `security.selinux`, …) or that it does not support.
    pub skipped_xattrs: u64,
}

/// Why an entry could not be made.
#[derive(Debug)]
pub enum EntryError {
    Refused(&'static str),
    /// A directory would become something else, or the other way round.
    KindChanges {
        to_dir: bool,
    },
    Call(&'static str, Errno),
    /// The archive's content could not be read.
    Content(io::Error),
}

/// The directory that entries are being made in.
pub(super) struct Current<'k> {
    pub path: PathBuf,
    pub dir: Dir<'k>,
    pub gid: u32,
    pub setgid: bool,
    mtime: (i64, i64),
    changed: bool,
}

impl<'k> Current<'k> {
    fn of(path: PathBuf, dir: Dir<'k>) -> Result<Current<'k>, EntryError> {
        let meta = dir.stat(Path::new(HERE)).map_err(io_at("stat"))?;
        Ok(Current {
            path,
            dir,
            gid: meta.gid(),
            setgid: meta.mode() & libc::S_ISGID != 0,
            mtime: (meta.mtime(), meta.mtime_nsec()),
            changed: false,
        })
    }
}

/// What may be removed for a new entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaces {
    /// The last entry of a name wins.
    Anything,
    /// A directory and another one become one.
    AllButDirectories,
    /// A directory that no entry asked for: only a mark of something hidden may give way.
    Whiteouts,
}

/// What was at a name before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    Whiteout,
    /// A directory, which stays: the new entry is one as well.
    Directory,
}

/// A layer's root while it is being filled.
pub struct Tree<'k> {
    pub(super) root: Dir<'k>,
    /// Where directories that have to go are taken apart; outside the root. Without one they are taken apart in place.
    scratch: Option<Dir<'k>>,
    /// It is no layer that is unpacked.
    pub(super) plain: Option<Plain>,
    /// Directories of a plain archive: their times are the archive's, those of others are the kernel's.
    described: BTreeSet<PathBuf>,
    pub(super) current: Option<Current<'k>>,
    pub(super) options: Options,
    /// Permission bits that come out as asked for (umask and default ACLs take the others away).
    pub(super) honoured: u32,
    /// Owner and group of what this process makes.
    pub(super) owner: (u32, u32),
    pub(super) whiteouts: Whiteouts,
    pub report: Report,
}

pub(super) const HERE: &str = ".";

/// Attaches the call's name to an errno.
pub(super) fn at(call: &'static str) -> impl Fn(Errno) -> EntryError {
    move |errno| EntryError::Call(call, errno)
}

/// The same for what std did.
pub(super) fn io_at(call: &'static str) -> impl Fn(io::Error) -> EntryError {
    move |e| EntryError::Call(call, e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

impl<'k> Tree<'k> {
    /// `place` is a fresh directory; the root is made in it as `diff`.
    pub fn create(place: Dir<'k>, options: Options) -> Result<Tree<'k>, EntryError> {
        let name = Path::new("diff");
        place.mkdir(name, 0o777).map_err(at("mkdirat"))?;
        let root = place.open_child(name).map_err(at("openat2"))?;
        let made = root.stat(Path::new(HERE)).map_err(io_at("stat"))?;
        // A layer that says nothing of its root gets the usual one.
        chmod(&root, Path::new(HERE), 0o755)?;
        Ok(Tree {
            root,
            scratch: Some(place),
            plain: None,
            described: BTreeSet::new(),
            current: None,
            options,
            honoured: made.mode() & 0o777,
            owner: (made.uid(), nix::unistd::getegid().as_raw()),
            whiteouts: Whiteouts::new(options.userxattr),
            report: Report::default(),
        })
    }

    /// A directory that has files already.
    pub fn onto(root: Dir<'k>, plain: Plain) -> Tree<'k> {
        let options = Options { rootless: plain.rootless, ..Options::default() };
        Tree {
            root,
            scratch: None,
            plain: Some(plain),
            described: BTreeSet::new(),
            current: None,
            options,
            honoured: 0,
            owner: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
            whiteouts: Whiteouts::new(options.userxattr),
            report: Report::default(),
        }
    }

    /// An entry of an archive that is no layer: every name is a name.
    fn apply_plain<R: Read>(
        &mut self,
        entry: &Entry,
        archive: &mut Archive<R>,
        buffer: &mut [u8],
    ) -> Result<(), EntryError> {
        let path = super::names::clean(&entry.path).map_err(EntryError::Refused)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        self.enter(parent)?;
        if entry.kind == Kind::Dir {
            self.described.insert(path.clone());
        }
        self.make(entry, Path::new(name), archive, buffer)
    }

    /// Makes one entry; a file's content is read from `archive` through `buffer`.
    pub fn apply<R: Read>(
        &mut self,
        entry: &Entry,
        archive: &mut Archive<R>,
        buffer: &mut [u8],
    ) -> Result<(), EntryError> {
        if self.plain.is_some() {
            return self.apply_plain(entry, archive, buffer);
        }
        match Name::parse(&entry.path).map_err(EntryError::Refused)? {
            Name::Ignored => Ok(()),
            Name::Root if entry.kind == Kind::Dir => {
                self.leave()?;
                self.report.entries += 1;
                self.attributes_of_root(entry)
            }
            Name::Root => Err(EntryError::Refused("the layer's root has to be a directory")),
            Name::Whiteout { parent, name } => {
                self.enter(&parent)?;
                self.hide(&name)
            }
            Name::Opaque { dir } => {
                self.enter(&dir)?;
                self.hide_all()
            }
            Name::Path { parent, name } => {
                self.enter(&parent)?;
                self.make(entry, &name, archive, buffer)
            }
        }
    }

    /// Gives the last directory its time back. Call it once, at the end.
    pub fn finish(mut self) -> Result<Report, EntryError> {
        self.leave()?;
        Ok(self.report)
    }

    // --- moving about ---

    /// Makes `path` the current directory; directories that are missing are made.
    fn enter(&mut self, path: &Path) -> Result<(), EntryError> {
        if self.current.as_ref().is_some_and(|c| c.path == path) {
            return Ok(());
        }
        self.leave()?;
        let mut missing = Vec::new();
        let mut existing = path;
        let dir = loop {
            match (self.root.open_in_root(existing), existing.parent()) {
                (Ok(dir), _) => break dir,
                (Err(Errno::ENOENT | Errno::ENOTDIR), Some(parent)) => {
                    missing.extend(existing.file_name());
                    existing = parent;
                }
                (Err(errno), _) => return Err(EntryError::Call("openat2", errno)),
            }
        };
        self.current = Some(Current::of(existing.to_path_buf(), dir)?);
        for name in missing.into_iter().rev() {
            self.descend(Path::new(name))?;
        }
        Ok(())
    }

    /// Makes a directory that no entry described (so far), and makes it the current one.
    fn descend(&mut self, name: &Path) -> Result<(), EntryError> {
        let before = self.place(name, Replaces::Whiteouts, "mkdirat", |dir| dir.mkdir(name, 0o755))?;
        let honoured = self.honoured;
        let current = self.current()?;
        if 0o755 & !honoured != 0 || current.setgid {
            chmod(&current.dir, name, 0o755)?;
        }
        let path = current.path.join(name);
        let dir = current.dir.open_child(name).map_err(at("openat2"))?;
        self.leave()?;
        self.current = Some(Current::of(path, dir)?);
        if before == Before::Whiteout {
            self.hide_all()?;
        }
        Ok(())
    }

    /// Leaves the current directory as an observer would expect it: with the time it had.
    fn leave(&mut self) -> Result<(), EntryError> {
        match self.current.take() {
            Some(current) if current.changed && (self.plain.is_none() || self.described.contains(&current.path)) => {
                set_time(&current.dir, Path::new(HERE), current.mtime)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn current(&mut self) -> Result<&mut Current<'k>, EntryError> {
        self.current.as_mut().ok_or(EntryError::Call("openat2", Errno::EBADF))
    }

    // --- making way ---

    /// Runs `make`, which makes `name` in the current directory by the call named; what is in its way is removed.
    pub(super) fn place(
        &mut self,
        name: &Path,
        replaces: Replaces,
        call: &'static str,
        mut make: impl FnMut(&Dir<'k>) -> Result<(), Errno>,
    ) -> Result<Before, EntryError> {
        let current = self.current()?;
        current.changed = true;
        match make(&current.dir) {
            Err(Errno::EEXIST) => {}
            made => return made.map(|()| Before::Nothing).map_err(at(call)),
        }
        let before = self.make_way(name, replaces)?;
        if before != Before::Directory {
            make(&self.current()?.dir).map_err(at(call))?;
        }
        Ok(before)
    }

    fn make_way(&mut self, name: &Path, replaces: Replaces) -> Result<Before, EntryError> {
        let Some(current) = &self.current else {
            return Ok(Before::Nothing);
        };
        let meta = current.dir.stat(name).map_err(io_at("stat"))?;
        let whiteout = self.plain.is_none() && self.whiteouts.is(&current.path, name, &meta);
        let to_dir = replaces != Replaces::Anything;
        if self.plain.is_some_and(|p| p.keep_kinds) && meta.is_dir() != to_dir {
            return Err(EntryError::KindChanges { to_dir });
        }
        if replaces == Replaces::Whiteouts && !whiteout {
            return Err(EntryError::Refused("what should be its directory is none"));
        }
        if meta.is_dir() {
            if replaces == Replaces::AllButDirectories {
                return Ok(Before::Directory);
            }
            let Some(scratch) = &self.scratch else {
                remove_tree(&current.dir, name).map_err(io_at("unlinkat"))?;
                return Ok(Before::Nothing);
            };
            // Moved out of the layer, so that taking it apart never shows in there.
            let away = Path::new("replaced");
            current.dir.rename(name, scratch, away).map_err(at("renameat"))?;
            remove_tree(scratch, away).map_err(io_at("unlinkat"))?;
            return Ok(Before::Nothing);
        }
        self.whiteouts.forget(&current.path, name);
        current.dir.unlink(name).map_err(at("unlinkat"))?;
        Ok(if whiteout { Before::Whiteout } else { Before::Nothing })
    }

    // --- hiding what lower layers have ---

    /// A whiteout speaks of lower layers only (image-spec): what this layer has itself stays, whichever comes first.
    fn hide(&mut self, name: &Path) -> Result<(), EntryError> {
        let current = self.current.as_mut().ok_or(EntryError::Call("openat2", Errno::EBADF))?;
        self.report.whiteouts += 1;
        match current.dir.stat(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                current.changed = true;
                let as_xattr = self.whiteouts.hide(&current.dir, &current.path, name)?;
                self.report.whiteouts_as_xattr += u64::from(as_xattr);
                Ok(())
            }
            Err(e) => Err(io_at("stat")(e)),
            Ok(meta) if meta.is_dir() => {
                let dir = current.dir.open_child(name).map_err(at("openat2"))?;
                self.whiteouts.opaque(&dir, &current.path.join(name))
            }
            Ok(_) => Ok(()),
        }
    }

    /// Hides all that lower layers have in the current directory.
    pub(super) fn hide_all(&mut self) -> Result<(), EntryError> {
        let current = self.current.as_mut().ok_or(EntryError::Call("openat2", Errno::EBADF))?;
        current.changed = true;
        self.report.opaque += 1;
        if current.path.as_os_str().is_empty() {
            // Overlayfs always merges the roots: whoever mounts leaves the lower layers out.
            self.report.opaque_root = true;
            return Ok(());
        }
        self.whiteouts.opaque(&current.dir, &current.path)
    }
}
