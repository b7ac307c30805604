//! Unpacks one layer: a tar stream becomes a directory, in one pass over the bytes as they arrive.
//!
//! On the way the compressed bytes get their digest (the blob's name) and go into the content store, and the
//! uncompressed ones get theirs (the diff id). Neither is known before the last byte, so a layer is made in a
//! place of its own and gets its name only when both were right.
//!
//! A layer is not trusted. No name in it reaches anything outside its root: see [`names`] and [`dir`].

pub(in crate::images) mod archive;
mod attributes;
mod dir;
mod error;
mod make;
mod names;
mod stream;
mod tree;
mod whiteout;

#[cfg(test)]
pub(in crate::images) mod tests;

pub use archive::ArchiveError;
pub(in crate::images) use attributes::is_allowed;
pub use dir::{Dir, Removal, remove_tree};
pub use error::UnpackError;
pub(in crate::images) use names::{clean, shown};
pub(in crate::images) use stream::Inflate;
pub use stream::Pieces;
pub use tree::{Options, Report};

use crate::oci::Digest;
use archive::Archive;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
pub(in crate::images) use stream::TooLarge;
use stream::{Digesting, Intake};
use tree::{EntryError, Tree};

/// How much of a file is read and written at once, in bytes.
const BUFFER: usize = 256 * 1024;

/// What the manifest and the image config say of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Digest of the blob.
    pub digest: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// Digest of the uncompressed tar stream.
    pub diff_id: Digest,
}

/// What came out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    pub report: Report,
    /// `gzip`, `zstd` or `tar`.
    pub compression: &'static str,
}

/// Unpacks the blob that comes in `pieces` into the new directory `diff` of `place`. `keep` gets every byte of it.
/// When this fails the caller removes `place`.
pub fn unpack(
    place: Dir<'_>,
    options: Options,
    expected: &Expected,
    pieces: Pieces,
    keep: Option<&mut (dyn Write + Send)>,
) -> Result<Unpacked, UnpackError> {
    let mut intake = Intake::new(pieces, expected.size, keep);
    let unpacked = inflate_and_make(place, options, &mut intake);
    if let Err(UnpackError::NoSpace { .. } | UnpackError::Call { .. }) = &unpacked
        && !intake.is_faulty()
    {
        // It is this host that failed; the rest of the blob would not change that.
        return unpacked.map(|(unpacked, _)| unpacked);
    }
    // A blob that is not what it should be explains every other error.
    check(intake, expected)?;
    let (unpacked, diff_id) = unpacked?;
    check_diff_id(diff_id, expected)?;
    Ok(unpacked)
}

/// How an archive is unpacked that is no layer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain {
    /// A directory does not give way to a file, nor a file to a directory.
    pub keep_kinds: bool,
    /// Everything belongs to these, whatever the archive says.
    pub owner: Option<(u32, u32)>,
    /// See [`Options::rootless`].
    pub rootless: bool,
}

/// Unpacks an archive in a directory that has files already: `cp`, not a layer. Names that begin with `.wh.` are names
/// like any other; the directory itself stays as it is, whatever the archive says of it.
///
/// # Errors
/// The first entry that could not be made; those before it stay.
pub fn extract(dir: Dir<'_>, plain: Plain, archive: &mut dyn Read) -> Result<Report, UnpackError> {
    let inflate = Inflate::new(BufReader::new(archive)).map_err(UnpackError::Decompress)?;
    let mut archive = Archive::new(BufReader::with_capacity(BUFFER / 4, inflate));
    let mut tree = Tree::onto(dir, plain);
    make_entries(&mut tree, &mut archive, &mut vec![0; BUFFER])?;
    // What comes after the end of the archive is read as well: who sends it waits for that.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(UnpackError::Decompress)?;
    tree.finish().map_err(|e| of_entry(b"/", e))
}

/// Looks into a blob without unpacking it: both digests are checked in the same way. `keep` gets every byte of it.
pub fn verify(
    options: Options,
    expected: &Expected,
    pieces: Pieces,
    keep: Option<&mut (dyn Write + Send)>,
) -> Result<(), UnpackError> {
    let mut intake = Intake::new(pieces, expected.size, keep);
    let diff_id = Inflate::new(&mut intake)
        .and_then(|inflate| Digesting::new(inflate, options.max_layer).finish(&mut vec![0; BUFFER]))
        .map_err(of_content);
    check(intake, expected)?;
    check_diff_id(diff_id?, expected)
}

fn check_diff_id(got: Digest, expected: &Expected) -> Result<(), UnpackError> {
    if got == expected.diff_id {
        return Ok(());
    }
    Err(UnpackError::WrongDiffId { expected: expected.diff_id.clone(), got })
}

fn check(intake: Intake<'_>, expected: &Expected) -> Result<(), UnpackError> {
    let got = intake.finish()?;
    if got == expected.digest {
        return Ok(());
    }
    Err(UnpackError::DigestMismatch { expected: expected.digest.clone(), got })
}

fn inflate_and_make(
    place: Dir<'_>,
    options: Options,
    intake: &mut Intake<'_>,
) -> Result<(Unpacked, Digest), UnpackError> {
    let mut tree = Tree::create(place, options).map_err(|e| of_entry(b"/", e))?;
    let inflate = Inflate::new(intake).map_err(of_content)?;
    let compression = inflate.name();
    let mut archive = Archive::new(BufReader::with_capacity(BUFFER / 4, Digesting::new(inflate, options.max_layer)));
    let mut buffer = vec![0; BUFFER];
    make_entries(&mut tree, &mut archive, &mut buffer)?;
    let diff_id = archive.into_inner().into_inner().finish(&mut buffer).map_err(of_content)?;
    let report = tree.finish().map_err(|e| of_entry(b"/", e))?;
    Ok((Unpacked { report, compression }, diff_id))
}

fn make_entries<R: Read>(tree: &mut Tree<'_>, archive: &mut Archive<R>, buffer: &mut [u8]) -> Result<(), UnpackError> {
    while let Some(entry) = archive.next_entry().map_err(of_archive)? {
        tree.apply(&entry, archive, buffer).map_err(|e| of_entry(&entry.path, e))?;
    }
    Ok(())
}

/// An archive whose stream failed is no malformed archive: the stream is.
fn of_archive(error: ArchiveError) -> UnpackError {
    match error {
        ArchiveError::Read(e) => of_content(e),
        error => UnpackError::Archive(error),
    }
}

fn of_content(error: io::Error) -> UnpackError {
    match error.get_ref().and_then(|e| e.downcast_ref::<TooLarge>()) {
        Some(TooLarge(limit)) => UnpackError::TooLarge { limit: *limit },
        None => UnpackError::Decompress(error),
    }
}

fn of_entry(path: &[u8], error: EntryError) -> UnpackError {
    match error {
        EntryError::Refused(reason) => UnpackError::BadEntry { path: names::shown(path), reason: reason.to_owned() },
        EntryError::KindChanges { to_dir } => {
            let path = std::path::Path::new("/").join(std::ffi::OsStr::from_bytes(path));
            UnpackError::KindChanges { path: path.components().collect(), to_dir }
        }
        EntryError::Call(call, errno) => UnpackError::call(path, call, errno),
        EntryError::Content(e) => of_content(e),
    }
}
