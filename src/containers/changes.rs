//! `docker diff`: what a container has added, changed and deleted, seen from its image.
//!
//! The container's own layer says where to look; whether something there is a change is seen by comparing it with the
//! image's layers. A directory counts as changed when something in it is: so does Docker, which compares both trees.

use super::layers::{Found, Layers};
use crate::images::diff::{self, DiffError, Seen, View};
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Changed,
    Added,
    Deleted,
}

/// One difference; the path begins with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub path: PathBuf,
    pub kind: Kind,
}

/// The differences could not be told.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    #[error(transparent)]
    Diff(#[from] DiffError),
    #[error("compare {}: {source}", path.display())]
    Compare { path: PathBuf, source: io::Error },
}

/// What the engine itself makes in a container, to mount on: no change of the container's.
const MOUNT_POINTS: [&str; 10] = [
    "/dev",
    "/dev/console",
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/proc",
    "/sys",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
];

/// Compares the layer at `upper` with the layers below it, in the order of the tree.
///
/// # Errors
/// The first file that could not be read.
pub fn changes(upper: &Path, view: View, lower: &Layers) -> Result<Vec<Change>, ChangesError> {
    let own = Layers::open([upper]).map_err(|source| ChangesError::Compare { path: upper.into(), source })?;
    let mut list: Vec<(PathBuf, Kind)> = Vec::new();
    let mut failed = None;
    diff::visit(upper, view, &mut |path, seen| {
        if failed.is_none()
            && let Err(source) = compare(&own, lower, path, seen, &mut list)
        {
            failed = Some(ChangesError::Compare { path: path.into(), source });
        }
    })?;
    let made = made_by_engine(upper, lower).map_err(|source| ChangesError::Compare { path: upper.into(), source })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(with_parents(list, &made)),
    }
}

fn compare(own: &Layers, lower: &Layers, path: &Path, seen: Seen, list: &mut Vec<(PathBuf, Kind)>) -> io::Result<()> {
    let before = lower.entry(path)?;
    let old = match &before {
        Found::Nothing => None,
        Found::Directory(layers) => layers.first().copied(),
        Found::File(layer) => Some(*layer),
        Found::Link(_) => lower.link_layer(path)?,
    };
    match (seen, old) {
        (Seen::Whiteout, Some(_)) => list.push((path.into(), Kind::Deleted)),
        (Seen::Whiteout, None) => {}
        (_, None) => list.push((path.into(), Kind::Added)),
        (_, Some(layer)) => {
            if differs(&stat(lower, layer, path)?, &stat(own, 0, path)?) {
                list.push((path.into(), Kind::Changed));
            }
            if let (Seen::Directory { opaque: true }, Found::Directory(layers)) = (seen, &before) {
                for name in lower.names(layers, path)? {
                    let child = path.join(name);
                    if matches!(own.entry(&child)?, Found::Nothing) {
                        list.push((child, Kind::Deleted));
                    }
                }
            }
        }
    }
    Ok(())
}

fn stat(layers: &Layers, layer: usize, path: &Path) -> io::Result<FileStat> {
    Ok(fstat(layers.open_in(layer, path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?)?)
}

/// Size and time of a directory say nothing of the container.
fn differs(old: &FileStat, new: &FileStat) -> bool {
    let directory = new.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
    (old.st_mode, old.st_uid, old.st_gid, old.st_rdev) != (new.st_mode, new.st_uid, new.st_gid, new.st_rdev)
        || (!directory
            && (old.st_mtime, old.st_mtime_nsec, old.st_size) != (new.st_mtime, new.st_mtime_nsec, new.st_size))
}

/// Paths (from the layer's root) of what the engine made in the layer at `upper` to mount on, and /dev and /etc
/// if they are there only for that.
///
/// # Errors
/// The first file that could not be read.
pub fn made_by_engine(upper: &Path, lower: &Layers) -> io::Result<BTreeSet<PathBuf>> {
    let own = Layers::open([upper])?;
    let mut made = BTreeSet::new();
    for path in MOUNT_POINTS.iter().map(|m| Path::new(m.trim_start_matches('/'))) {
        let here = !matches!(own.entry(path)?, Found::Nothing);
        if here && matches!(lower.entry(path)?, Found::Nothing) && own.is_empty(path) {
            made.insert(path.to_owned());
        }
    }
    for path in ["dev", "etc"].map(Path::new) {
        let only_here = matches!((own.entry(path)?, lower.entry(path)?), (Found::Directory(_), Found::Nothing));
        if only_here && own.names(&[0], path)?.iter().all(|name| made.contains(&path.join(name))) {
            made.insert(path.to_owned());
        }
    }
    Ok(made)
}

/// Adds the directories above each change, leaves out what the engine made, and sorts as a walk would.
fn with_parents(list: Vec<(PathBuf, Kind)>, made: &BTreeSet<PathBuf>) -> Vec<Change> {
    let kept: Vec<_> = list.into_iter().filter(|(path, _)| !made.contains(path)).collect();
    let told: BTreeSet<PathBuf> = kept.iter().map(|(path, _)| path.clone()).collect();
    let mut all: BTreeSet<(Vec<std::ffi::OsString>, u8)> = BTreeSet::new();
    let key = |path: &Path| path.iter().map(Into::into).collect::<Vec<_>>();
    for (path, kind) in &kept {
        all.insert((key(path), *kind as u8));
        for parent in path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty() && !told.contains(*p)) {
            all.insert((key(parent), Kind::Changed as u8));
        }
    }
    let kind_of = |n: u8| [Kind::Changed, Kind::Added, Kind::Deleted][usize::from(n)];
    let whole = |parts: Vec<std::ffi::OsString>| Path::new("/").join(parts.iter().collect::<PathBuf>());
    all.into_iter().map(|(parts, kind)| Change { path: whole(parts), kind: kind_of(kind) }).collect()
}
