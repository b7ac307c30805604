//! Writing blobs: bytes get their name only when they are what the name says.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::ContentError;
use super::points::point;
use crate::oci::{Digest, Digester};

/// A blob being written. The digest is computed while the bytes pass; dropped without
/// [`BlobWriter::commit`] or [`BlobWriter::seal`], the file is removed.
pub struct BlobWriter {
    file: NamedTempFile,
    blobs: PathBuf,
    digester: Digester,
    written: u64,
}

impl BlobWriter {
    pub(super) fn begin(ingest: PathBuf, blobs: PathBuf) -> Result<BlobWriter, ContentError> {
        let file = temporary(&ingest)?;
        // Says that somebody still writes here; ends with the process, however it ends.
        file.as_file().lock().map_err(ContentError::io("lock", file.path()))?;
        Ok(BlobWriter { file, blobs, digester: Digester::new(), written: 0 })
    }

    /// Bytes taken so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The digest of the bytes taken so far.
    pub fn digest(&self) -> Digest {
        self.digester.clone().finish()
    }

    /// Keeps the blob if it has this digest (and this size); otherwise nothing of it stays.
    pub fn commit(self, expected: &Digest, size: Option<u64>) -> Result<(), ContentError> {
        if let Some(expected_size) = size.filter(|s| *s != self.written) {
            return Err(ContentError::SizeMismatch {
                digest: expected.clone(),
                expected: expected_size,
                actual: self.written,
            });
        }
        let actual = self.digester.clone().finish();
        if actual != *expected {
            return Err(ContentError::DigestMismatch { expected: expected.clone(), actual });
        }
        self.persist(expected)
    }

    /// Keeps the blob under whatever digest it has; answers the digest and the size in bytes. For content
    /// that is made here, not for what comes from elsewhere.
    pub fn seal(self) -> Result<(Digest, u64), ContentError> {
        let (digest, size) = (self.digester.clone().finish(), self.written);
        self.persist(&digest)?;
        Ok((digest, size))
    }

    fn persist(self, digest: &Digest) -> Result<(), ContentError> {
        let path = self.blobs.join(digest.hex());
        point();
        self.file.as_file().sync_data().map_err(ContentError::io("sync", &path))?;
        point();
        self.file.persist(&path).map_err(|e| ContentError::io("rename", path)(e.error))?;
        Ok(())
    }
}

impl io::Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        point();
        let n = self.file.write(bytes)?;
        self.digester.update(&bytes[..n]);
        self.written += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The names of files that are being written begin so.
const NEW: &str = ".new-";

/// A new file that is removed when dropped and that everybody may read once it has its name.
pub(super) fn temporary(dir: &Path) -> Result<NamedTempFile, ContentError> {
    point();
    tempfile::Builder::new()
        .prefix(NEW)
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(dir)
        .map_err(ContentError::io("make a file in", dir))
}

/// Removes what writers left that were killed: files that nobody holds locked.
pub(super) fn sweep(ingest: &Path) {
    let Ok(entries) = fs::read_dir(ingest) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            point();
            // Best effort: a file that stays is tried again at the next start.
            let _ = fs::remove_file(&path);
        }
    }
}

/// Removes what is left of replaced documents (`index.json`) whose writer was killed. They are written under the lock on
/// the root, which the caller holds.
pub(super) fn sweep_replacements(root: &Path) {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(NEW)) {
        point();
        // Best effort, as above.
        let _ = fs::remove_file(entry.path());
    }
}
