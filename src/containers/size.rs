//! How much a container has written.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Bytes of the files below a directory, a file of several names counted once; what cannot be read counts nothing.
/// Symbolic links are not followed.
pub fn of_files(root: &Path) -> u64 {
    let (mut bytes, mut seen) = (0, HashSet::new());
    let mut rest: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(dir) = rest.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                rest.push(entry.path());
            } else if meta.nlink() == 1 || seen.insert((meta.dev(), meta.ino())) {
                bytes += meta.len();
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_once_and_links_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/a"), [0; 100]).unwrap();
        fs::hard_link(dir.path().join("sub/a"), dir.path().join("b")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("c")).unwrap();
        assert_eq!(of_files(dir.path()), 104);
        assert_eq!(of_files(&dir.path().join("nowhere")), 0);
    }
}
