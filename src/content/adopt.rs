//! Blobs that were written elsewhere, piece by piece, perhaps by several processes: uploads that could be resumed.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::ContentError;
use super::store::Store;
use crate::oci::{Digest, Digester};

/// Bytes read at once.
const PIECE: usize = 1 << 20;

impl Store {
    /// Makes the file `path`, which lies in the same file system and which nobody writes to any more, the blob
    /// `expected`; its size in bytes. A file with another digest stays where it is.
    pub fn adopt(&self, path: &Path, expected: &Digest) -> Result<u64, ContentError> {
        let (actual, size) = digest_of(path).map_err(ContentError::io("read", path))?;
        if actual != *expected {
            return Err(ContentError::DigestMismatch { expected: expected.clone(), actual });
        }
        let keep = || -> io::Result<()> {
            fs::set_permissions(path, Permissions::from_mode(0o644))?;
            File::open(path)?.sync_all()?;
            fs::rename(path, self.blob_path(expected))
        };
        keep().map_err(ContentError::io("keep", path))?;
        Ok(size)
    }
}

fn digest_of(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = File::open(path)?;
    let (mut digester, mut size) = (Digester::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let n = file.read(&mut piece)?;
        if n == 0 {
            return Ok((digester.finish(), size));
        }
        digester.update(&piece[..n]);
        size += n as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_the_blob_that_it_is_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        let file = dir.path().join("upload");
        fs::write(&file, b"bytes").unwrap();
        let error = store.adopt(&file, &Digest::of(b"others")).unwrap_err();
        assert!(matches!(error, ContentError::DigestMismatch { .. }) && file.exists());
        assert_eq!(store.adopt(&file, &Digest::of(b"bytes")).unwrap(), 5);
        assert_eq!(store.read(&Digest::of(b"bytes")).unwrap(), b"bytes");
        assert!(!file.exists() && !store.has(&Digest::of(b"others")));
    }
}
