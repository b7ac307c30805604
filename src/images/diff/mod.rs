//! Writes a directory as a tar stream: the inverse of [`unpack`](super::unpack).
//!
//! Two views of a directory:
//!
//! - [`View::Layer`]: it is the upper directory of an overlayfs mount. The kernel's marks become those of a layer
//!   (image-spec, layer.md, "Whiteouts"): a whiteout `NAME` → an empty file `.wh.NAME`; an opaque directory → an empty
//!   file `.wh..wh..opq` in it, before all else that it holds.
//! - [`View::Whole`]: it is a tree like any other (`export`).
//!
//! The stream depends on nothing but the tree: names are sorted byte by byte, depth first; times are those of the
//! files, to the nanosecond; users are numbers. The root comes first, as `./`, since a layer may change its mode.
//! Files with several names are written once, the other names are hard links. Holes are written as zeros.
//!
//! The tree was filled by a container and is not trusted: no symbolic link is followed, nothing outside of the root is
//! reached, and depth costs no descriptors. It may even change meanwhile: a file that shrinks is filled up with zeros,
//! one that is gone is left out.
//!
//! ```text
//! walk ─▶ Node ─▶ marks: what it means in a layer ─▶ tape: headers and content
//! ```

mod marks;
mod tape;
#[cfg(test)]
mod tests;
mod walk;

pub use super::unpack::archive::{Entry, Kind};
pub use tape::Tape;

use marks::{Mark, Marks};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use walk::{Node, Walk};

/// How a directory is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Upper directory of an overlay whose marks are `user.overlay.*` (`userxattr`) or `trusted.overlay.*`.
    Layer { userxattr: bool },
    /// What is there, as it is.
    Whole,
}

/// What was written. What a layer cannot hold is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    /// Entries, the root and marks included.
    pub entries: u64,
    /// Bytes of file contents.
    pub bytes: u64,
    /// Names of lower layers that are hidden.
    pub whiteouts: u64,
    /// Directories whose lower contents are hidden.
    pub opaque: u64,
    /// Sockets: they belong to a running process.
    pub sockets: u64,
    /// Names that begin with `.wh.`: in a layer they would hide something.
    pub reserved_names: u64,
}

/// Why a directory could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    #[error("cannot {what} {}: {source}", path.display())]
    Read { what: &'static str, path: PathBuf, source: io::Error },
    /// Overlayfs renamed a directory of a lower layer, or copied up only the metadata of a file, and left a mark
    /// instead of the contents. A layer has no words for that.
    #[error("{} is a mark of overlayfs ({mark}), not a copy: mount with redirect_dir=off,metacopy=off", path.display())]
    Elsewhere { path: PathBuf, mark: &'static str },
    #[error("cannot write the layer: {0}")]
    Write(#[source] io::Error),
}

impl DiffError {
    fn read(what: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> DiffError {
        let path = path.to_path_buf();
        move |errno| DiffError::Read { what, path, source: errno.into() }
    }
}

/// Writes the directory `root` to `to`, the end of the archive included. `to` gets many small writes.
///
/// # Errors
/// The first file that could not be read, or the first write that failed; what was written by then is of no use.
pub fn write(root: &Path, view: View, to: &mut dyn Write) -> Result<Written, DiffError> {
    Diff::new(view, None, to).tree(root)
}

/// As [`write`], without what has one of these paths (from `root`); what is in a directory has to be named too.
///
/// # Errors
/// As there.
pub fn write_without(
    root: &Path,
    view: View,
    left_out: &BTreeSet<PathBuf>,
    to: &mut dyn Write,
) -> Result<Written, DiffError> {
    Diff { left_out: Some(left_out), ..Diff::new(view, None, to) }.tree(root)
}

/// How the entries of an archive for people are named, where it is no layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// Name of the root; what is in it begins with it. `/`: names from the root. None: the root is left out.
    pub top: Option<Vec<u8>>,
    /// Times are cut to seconds: entries need no PAX header for them, and are as long as Docker's.
    pub whole_seconds: bool,
}

impl Naming {
    /// The name of what has this path below the root; none: it is left out.
    fn of(&self, path: &[u8]) -> Option<Vec<u8>> {
        match (self.top.as_deref(), path) {
            (None, b".") => None,
            (None, path) => Some(path.to_vec()),
            (Some(top), b".") => Some(top.to_vec()),
            (Some(top), path) => Some([top.strip_suffix(b"/").unwrap_or(top), b"/", path].concat()),
        }
    }
}

/// As [`write`], the tree as it is, with names of its own.
///
/// # Errors
/// As there.
pub fn write_as(root: &Path, naming: &Naming, to: &mut dyn Write) -> Result<Written, DiffError> {
    Diff::new(View::Whole, Some(naming), to).tree(root)
}

/// Writes `name` of the directory `dir`, which is no directory itself, named as the top is.
///
/// # Errors
/// As [`write`].
pub fn write_one(dir: &Path, name: &OsStr, naming: &Naming, to: &mut dyn Write) -> Result<Written, DiffError> {
    let dir = walk::open(dir)?;
    let node = Node::alone(&dir, name)?;
    let mut diff = Diff::new(View::Whole, Some(naming), to);
    diff.node(&node)?;
    diff.tape.finish().map_err(DiffError::Write)?;
    Ok(diff.written)
}

impl<'w> Diff<'w> {
    fn new(view: View, naming: Option<&'w Naming>, to: &'w mut dyn Write) -> Diff<'w> {
        let (marks, tape) = (Marks::new(view), Tape::new(to));
        Diff { marks, view, naming, left_out: None, tape, links: HashMap::new(), written: Written::default() }
    }

    fn tree(mut self, root: &Path) -> Result<Written, DiffError> {
        let mut walk = Walk::open(root)?;
        while let Some(node) = walk.next()? {
            if self.node(&node)? == Below::Skip {
                walk.skip();
            }
        }
        self.tape.finish().map_err(DiffError::Write)?;
        Ok(self.written)
    }
}

/// What a container's own layer has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Hides what lower layers have.
    Whiteout,
    /// A directory; `opaque`: what lower layers have in it is hidden.
    Directory { opaque: bool },
    /// Anything else.
    Other,
}

/// Tells everything in a container's own layer, in order, directories before what is in them; not the root.
///
/// # Errors
/// The first file that could not be read.
pub fn visit(root: &Path, view: View, tell: &mut dyn FnMut(&Path, Seen)) -> Result<(), DiffError> {
    let marks = Marks::new(view);
    let mut walk = Walk::open(root)?;
    while let Some(node) = walk.next()? {
        let seen = match marks.of(&node)? {
            Mark::Whiteout => Seen::Whiteout,
            mark if node.is_dir() => Seen::Directory { opaque: mark == Mark::Opaque },
            _ => Seen::Other,
        };
        if !node.path().is_empty() {
            tell(Path::new(OsStr::from_bytes(node.path())), seen);
        }
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Below {
    Visit,
    Skip,
}

struct Diff<'w> {
    view: View,
    naming: Option<&'w Naming>,
    left_out: Option<&'w BTreeSet<PathBuf>>,
    marks: Marks,
    tape: Tape<&'w mut dyn Write>,
    /// First name of each file that has several, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    written: Written,
}

impl Diff<'_> {
    fn node(&mut self, node: &Node<'_>) -> Result<Below, DiffError> {
        if self.view != View::Whole && node.name().starts_with(b".wh.") {
            self.written.reserved_names += 1;
            return Ok(Below::Skip);
        }
        if self.left_out.is_some_and(|paths| paths.contains(Path::new(OsStr::from_bytes(node.path())))) {
            return Ok(Below::Visit);
        }
        let mark = self.marks.of(node)?;
        if mark == Mark::Whiteout {
            self.written.whiteouts += 1;
            self.mark(node.with_name(b".wh.", node.name()))?;
            return Ok(Below::Visit);
        }
        if node.is_socket() {
            self.written.sockets += 1;
            return Ok(Below::Visit);
        }
        self.write_node(node)?;
        if mark == Mark::Opaque {
            self.written.opaque += 1;
            self.mark(node.inside(b".wh..wh..opq"))?;
        }
        Ok(Below::Visit)
    }

    fn write_node(&mut self, node: &Node<'_>) -> Result<(), DiffError> {
        match self.try_node(node) {
            Err(DiffError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn try_node(&mut self, node: &Node<'_>) -> Result<(), DiffError> {
        let mut entry = node.entry()?;
        if let Some(naming) = self.naming {
            let Some(name) = naming.of(&entry.path) else { return Ok(()) };
            entry.path = name;
            entry.mtime.1 *= i64::from(!naming.whole_seconds);
        }
        if let Some(id) = node.shared()
            && let Some(first) = self.links.get(&id)
        {
            (entry.kind, entry.link, entry.size, entry.xattrs) = (Kind::HardLink, first.clone(), 0, Vec::new());
            return self.append(&entry, &mut io::empty());
        }
        if entry.kind == Kind::File && entry.size > 0 {
            self.append(&entry, &mut node.content()?)?;
        } else {
            self.append(&entry, &mut io::empty())?;
        }
        if let Some(id) = node.shared() {
            self.links.insert(id, entry.path);
        }
        Ok(())
    }

    /// An empty file that means something by its name.
    fn mark(&mut self, path: Vec<u8>) -> Result<(), DiffError> {
        let mark = Entry {
            kind: Kind::File,
            path,
            link: Vec::new(),
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            size: 0,
            device: (0, 0),
            xattrs: Vec::new(),
        };
        self.append(&mark, &mut io::empty())
    }

    fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), DiffError> {
        self.tape.append(entry, content).map_err(DiffError::Write)?;
        self.written.entries += 1;
        self.written.bytes += entry.size;
        Ok(())
    }
}
