//! What an entry's name means: a path below the layer's root, or one of the marks by which a layer takes away
//! what the layers below it have.
//!
//! OCI image-spec, layer.md, "Whiteouts": `.wh.NAME` hides `NAME` of the layers below; `.wh..wh..opq` hides
//! everything that the layers below have in that directory. Both speak of lower layers only.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A name, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// The layer's root itself.
    Root,
    /// `name` in the directory `parent` (relative to the root; empty: the root).
    Path { parent: PathBuf, name: PathBuf },
    /// Hides `name` of the lower layers.
    Whiteout { parent: PathBuf, name: PathBuf },
    /// Hides all that lower layers have in the directory `dir`.
    Opaque { dir: PathBuf },
    /// Book-keeping of aufs (`.wh..wh.plnk` and the like), which has no meaning here.
    Ignored,
}

impl Name {
    /// Cleans a name of a tar entry: absolute ones start at the root, `.` and empty components go, `..` takes the
    /// one before away. The error is the reason why the name is refused.
    pub fn parse(bytes: &[u8]) -> Result<Name, &'static str> {
        let path = clean(bytes)?;
        if path.components().any(|c| c.as_os_str().as_bytes().starts_with(b".wh..wh."))
            && path.file_name() != Some(OsStr::new(".wh..wh..opq"))
        {
            return Ok(Name::Ignored);
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(Name::Root);
        };
        let reserved = |c: &Path| c.components().any(|c| c.as_os_str().as_bytes().starts_with(b".wh."));
        if reserved(parent) {
            return Err("names that begin with .wh. mark whiteouts and hold nothing");
        }
        let parent = parent.to_path_buf();
        match name.as_bytes().strip_prefix(b".wh.") {
            None => Ok(Name::Path { parent, name: name.into() }),
            Some(b".wh..opq") => Ok(Name::Opaque { dir: parent }),
            // mknod or unlink of `..` would reach the parent directory itself.
            Some(b"" | b"." | b"..") => Err("a whiteout has to name something"),
            Some(hidden) => Ok(Name::Whiteout { parent, name: OsStr::from_bytes(hidden).into() }),
        }
    }
}

/// A name for a message: of a long one, both ends.
pub fn shown(bytes: &[u8]) -> String {
    const EACH: usize = 60;
    if bytes.len() <= 2 * EACH {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let (first, last) = (&bytes[..EACH], &bytes[bytes.len() - EACH..]);
    format!("{}…{}", String::from_utf8_lossy(first), String::from_utf8_lossy(last))
}

/// A path below the root without `.`, `..` and empty components.
pub fn clean(bytes: &[u8]) -> Result<PathBuf, &'static str> {
    if bytes.len() >= libc::PATH_MAX as usize {
        return Err("the name is longer than a path may be");
    }
    if bytes.contains(&0) {
        return Err("the name holds a NUL byte");
    }
    let mut path = PathBuf::new();
    for component in bytes.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." if path.pop() => {}
            b".." => return Err("the name climbs out of the layer"),
            name => path.push(OsStr::from_bytes(name)),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(parent: &str, name: &str) -> Result<Name, &'static str> {
        Ok(Name::Path { parent: parent.into(), name: name.into() })
    }

    #[test]
    fn names_stay_below_the_root() {
        assert_eq!(Name::parse(b"/etc/passwd"), path("etc", "passwd"));
        assert_eq!(Name::parse(b"./a//b/../c/"), path("a", "c"));
        assert_eq!(Name::parse(b"./"), Ok(Name::Root));
        assert_eq!(Name::parse(b""), Ok(Name::Root));
        for hostile in ["..", "../x", "a/../../x", "/../x", "a\0b"] {
            assert!(Name::parse(hostile.as_bytes()).is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn whiteouts_are_told_from_files() {
        let whiteout = |parent: &str, name: &str| Ok(Name::Whiteout { parent: parent.into(), name: name.into() });
        assert_eq!(Name::parse(b"usr/.wh.bin"), whiteout("usr", "bin"));
        assert_eq!(Name::parse(b".wh.x"), whiteout("", "x"));
        assert_eq!(Name::parse(b"a/.wh..wh..opq"), Ok(Name::Opaque { dir: "a".into() }));
        assert_eq!(Name::parse(b".wh..wh..opq"), Ok(Name::Opaque { dir: "".into() }));
        assert_eq!(Name::parse(b".wh..wh.plnk/17.4"), Ok(Name::Ignored));
        assert_eq!(Name::parse(b"a.wh.b"), path("", "a.wh.b"));
        for hostile in [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.a/b"] {
            assert!(Name::parse(hostile.as_bytes()).is_err(), "{hostile:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_parsed_name_has_no_way_up(bytes in proptest::collection::vec(
            proptest::prop_oneof![proptest::prelude::Just(b'.'), proptest::prelude::Just(b'/'),
                proptest::prelude::Just(b'w'), proptest::prelude::Just(b'h'), proptest::prelude::any::<u8>()], 0..40)) {
            let parts = match Name::parse(&bytes) {
                Ok(Name::Path { parent, name } | Name::Whiteout { parent, name }) => {
                    proptest::prop_assert_eq!(name.components().count(), 1);
                    vec![parent, name]
                }
                Ok(Name::Opaque { dir }) => vec![dir],
                _ => vec![],
            };
            for part in parts {
                proptest::prop_assert!(part.components().all(|c| matches!(c, std::path::Component::Normal(_))));
            }
        }
    }
}
