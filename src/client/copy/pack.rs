//! Local files as an archive.

use super::plan::{CopyError, Place, Rename};
use crate::api::paths;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// What is copied.
#[derive(Debug, Clone)]
pub struct Source {
    pub place: Place,
    /// Name of the top of the archive.
    top: String,
}

/// Looks at a local path to copy from; `follow`: a link at its end is followed.
///
/// # Errors
/// It is not there, or is no directory although its end says so.
pub fn source(path: &str, follow: bool) -> Result<Source, CopyError> {
    let resolved = |path: &str| {
        std::fs::canonicalize(path).map(|p| p.to_string_lossy().into_owned()).map_err(|source| match source.kind() {
            io::ErrorKind::NotADirectory => CopyError::NotADirectory,
            _ => CopyError::Local { call: "lstat", path: first_missing(path), source },
        })
    };
    let (real, name) = if follow {
        paths::follow(path, &resolved(path)?)
    } else {
        let (dir, base) = paths::split(path);
        let dir = resolved(dir)?;
        let real = if base.is_empty() { dir } else { format!("{}/{base}", dir.trim_end_matches('/')) };
        let renamed = path.ends_with('/') && paths::base(path) != paths::base(&real);
        (real, renamed.then(|| paths::base(path).to_owned()))
    };
    let meta = Path::new(&real).symlink_metadata();
    let meta = meta.map_err(|source| CopyError::Local { call: "lstat", path: real.clone(), source })?;
    let top = name.clone().unwrap_or_else(|| paths::directory_and_entry(&real).1);
    Ok(Source { place: Place { path: real, exists: true, is_dir: meta.is_dir(), name }, top })
}

/// For messages: the first part of a path that is not there.
fn first_missing(path: &str) -> String {
    let missing = Path::new(path).ancestors().filter(|p| p.symlink_metadata().is_err()).last();
    missing.unwrap_or(Path::new(path)).display().to_string()
}

/// Writes the archive of `source` to `to`, its names changed by `rename`.
///
/// # Errors
/// A file that cannot be read, a write that failed.
pub fn pack(source: &Source, rename: Option<&Rename>, to: impl Write) -> Result<(), CopyError> {
    let mut builder = Builder::new(to);
    // The next one is the last: directories are told before what is in them.
    let mut left = vec![(PathBuf::from(&source.place.path), source.top.clone())];
    while let Some((path, name)) = left.pop() {
        let failed = |call| {
            let path = path.display().to_string();
            move |source| CopyError::Local { call, path, source }
        };
        let meta = path.symlink_metadata().map_err(failed("lstat"))?;
        if meta.is_dir() {
            let mut names = Vec::new();
            for entry in path.read_dir().map_err(failed("open"))? {
                names.push(entry.map_err(failed("read"))?.file_name());
            }
            names.sort_unstable_by(|a, b| b.cmp(a));
            let below = name.trim_end_matches('/');
            left.extend(names.iter().map(|n| (path.join(n), format!("{below}/{}", n.to_string_lossy()))));
        }
        let name = rename.map_or(name.clone(), |r| r.apply(&name));
        append(&mut builder, &path, &meta, &name).map_err(failed("read"))?;
    }
    builder.into_inner().and_then(|mut to| to.flush()).map_err(CopyError::Archive)
}

fn append(builder: &mut Builder<impl Write>, path: &Path, meta: &Metadata, name: &str) -> io::Result<()> {
    let kind = match meta.file_type() {
        t if t.is_dir() => EntryType::Directory,
        t if t.is_symlink() => EntryType::Symlink,
        t if t.is_char_device() => EntryType::Char,
        t if t.is_block_device() => EntryType::Block,
        t if t.is_fifo() => EntryType::Fifo,
        // A socket belongs to a process.
        t if t.is_socket() => return Ok(()),
        _ => EntryType::Regular,
    };
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(meta.mode() & 0o7777);
    header.set_uid(meta.uid().into());
    header.set_gid(meta.gid().into());
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header.set_size(0);
    if matches!(kind, EntryType::Char | EntryType::Block) {
        header.set_device_major(nix::libc::major(meta.rdev()))?;
        header.set_device_minor(nix::libc::minor(meta.rdev()))?;
    }
    match kind {
        EntryType::Regular => {
            header.set_size(meta.len());
            // A file that shrinks meanwhile is filled up, one that grows is cut: the header has been written.
            let content = File::open(path)?.chain(io::repeat(0)).take(meta.len());
            builder.append_data(&mut header, name, content)
        }
        EntryType::Symlink => builder.append_link(&mut header, name, path.read_link()?),
        EntryType::Directory => {
            builder.append_data(&mut header, format!("{}/", name.trim_end_matches('/')), io::empty())
        }
        _ => builder.append_data(&mut header, name, io::empty()),
    }
}
