//! Where a copy goes and what it is called. Docker's rules: into a directory that exists, else under a new name in the
//! directory above; a file never becomes a directory or the other way round.

use crate::api::paths;
use std::io;
use std::path::{Path, PathBuf};

/// Symbolic links that a destination may lead through.
const MAX_LINKS: usize = 10;

/// Why nothing is copied. Docker's words.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("cannot copy directory")]
    DirectoryOntoFile,
    #[error("no such directory")]
    NoSuchDirectory,
    #[error("not a directory")]
    NotADirectory,
    #[error("too many symlinks in {0}")]
    TooManyLinks(String),
    #[error("{call} {path}: {}", words(source))]
    Local { call: &'static str, path: String, source: io::Error },
    /// The names are those of the archive.
    #[error("cannot overwrite {} {old:?} with {} {new:?}", kind(!to_dir), kind(*to_dir))]
    KindChanges { old: PathBuf, new: PathBuf, to_dir: bool },
    #[error("{0:?} is outside of {1:?}")]
    Outside(String, PathBuf),
    #[error("{0}")]
    Archive(io::Error),
}

fn kind(is_dir: bool) -> &'static str {
    if is_dir { "directory" } else { "non-directory" }
}

/// As the C library says it, in small letters, without the number.
fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}

/// One end of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub path: String,
    pub exists: bool,
    pub is_dir: bool,
    /// The name that a copy gets, where it is not the path's own: a link was followed.
    pub name: Option<String>,
}

/// The first `old` in the name of each entry becomes `new`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    pub old: String,
    pub new: String,
}

impl Rename {
    pub fn apply(&self, name: &str) -> String {
        // Names from the root begin with the slash, which stays.
        let old = if self.old == "/" { "" } else { &self.old };
        name.replacen(old, &self.new, 1)
    }
}

/// The directory to unpack in, and how the archive of `from` is to be renamed on the way.
///
/// # Errors
/// What would make a file of a directory, or would need a directory that is not there.
pub fn plan(from: &Place, to: &Place) -> Result<(String, Option<Rename>), CopyError> {
    let (directory, new) = paths::directory_and_entry(&to.path);
    let old = from.name.clone().unwrap_or_else(|| paths::directory_and_entry(&from.path).1);
    match (to.exists, from.is_dir) {
        (true, _) if to.is_dir => Ok((to.path.clone(), None)),
        (true, true) => Err(CopyError::DirectoryOntoFile),
        (false, false) if paths::asserts_directory(&to.path) => Err(CopyError::NoSuchDirectory),
        _ => Ok((directory, Some(Rename { old, new }))),
    }
}

/// A local path to copy to. Links at its end are followed.
///
/// # Errors
/// The directory that it would be made in is not there.
pub fn destination(path: &str) -> Result<Place, CopyError> {
    let failed = |call, path: &str| {
        let path = path.to_owned();
        move |source| CopyError::Local { call, path, source }
    };
    let mut at = path.to_owned();
    for _ in 0..=MAX_LINKS {
        let meta = match Path::new(&at).symlink_metadata() {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let (parent, _) = paths::directory_and_entry(&at);
                let above = Path::new(&parent).metadata().map_err(failed("stat", &parent))?;
                let missing = Place { path: at, ..Place::default() };
                return if above.is_dir() { Ok(missing) } else { Err(CopyError::NotADirectory) };
            }
            Err(e) => return Err(failed("lstat", &at)(e)),
        };
        if !meta.is_symlink() {
            return Ok(Place { path: at, exists: true, is_dir: meta.is_dir(), name: None });
        }
        let target = Path::new(&at).read_link().map_err(failed("readlink", &at))?;
        let target = target.to_string_lossy().into_owned();
        at = match target.starts_with('/') {
            true => target,
            false => paths::clean(&format!("{}/{target}", paths::directory_and_entry(&at).0)),
        };
    }
    Err(CopyError::TooManyLinks(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str, is: &str) -> Place {
        Place { path: path.into(), exists: is != "missing", is_dir: is == "dir", name: None }
    }

    fn planned(from: (&str, &str), to: (&str, &str)) -> String {
        match plan(&place(from.0, from.1), &place(to.0, to.1)) {
            Ok((dir, None)) => format!("in {dir}"),
            Ok((dir, Some(r))) => format!("in {dir}, {} is {}", r.old, r.new),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn the_table_of_docker_cp() {
        let (file, dir) = (("/s/f", "file"), ("/s/d", "dir"));
        assert_eq!(planned(file, ("/t/d", "dir")), "in /t/d");
        assert_eq!(planned(file, ("/t/f2", "file")), "in /t, f is f2");
        assert_eq!(planned(file, ("/t/new", "missing")), "in /t, f is new");
        assert_eq!(planned(file, ("/t/new/", "missing")), "no such directory");
        assert_eq!(planned(file, ("/t/new/.", "missing")), "no such directory");
        assert_eq!(planned(dir, ("/t/d2", "dir")), "in /t/d2");
        assert_eq!(planned(dir, ("/t/f2", "file")), "cannot copy directory");
        assert_eq!(planned(dir, ("/t/new", "missing")), "in /t, d is new");
        assert_eq!(planned(("/s/d/.", "dir"), ("/t/new", "missing")), "in /t, . is new");
        assert_eq!(planned(("/s/d/.", "dir"), ("/t/d2", "dir")), "in /t/d2");
    }

    #[test]
    fn entries_are_renamed_at_their_beginning() {
        let rename = |old: &str, new: &str, name: &str| Rename { old: old.into(), new: new.into() }.apply(name);
        assert_eq!(rename("d", "new", "d/d/f"), "new/d/f");
        assert_eq!(rename(".", "new", "./a.txt"), "new/a.txt");
        assert_eq!(rename("/", "new", "/etc/passwd"), "new/etc/passwd");
    }

    #[test]
    fn a_destination_is_where_its_links_lead() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("{}/{name}", home.path().display());
        std::fs::create_dir(at("dir")).unwrap();
        std::os::unix::fs::symlink("dir", at("link")).unwrap();
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        assert_eq!(destination(&at("link")).unwrap(), place(&at("dir"), "dir"));
        assert_eq!(destination(&at("new")).unwrap(), place(&at("new"), "missing"));
        assert!(matches!(destination(&at("loop")), Err(CopyError::TooManyLinks(_))));
        let missing = destination(&at("no/new")).unwrap_err().to_string();
        assert_eq!(missing, format!("stat {}: no such file or directory", at("no")));
    }
}
