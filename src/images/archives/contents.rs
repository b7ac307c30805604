//! Reads an archive file by file: short documents into memory, everything else into the content store.

use super::ArchiveFault;
use crate::content::{BlobWriter, ContentError, Store};
use crate::images::Lease;
use crate::images::unpack::archive::{Archive, ArchiveError, Entry, Kind};
use crate::images::unpack::{Inflate, clean};
use crate::oci::Digest;
use bytes::{Buf as _, Bytes};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write as _};

/// Where an archive comes from: one piece at a call, `None` at its end, an error if the sender broke off.
pub type Source = Box<dyn FnMut() -> Option<io::Result<Bytes>> + Send>;

/// Longest document that is read into memory, in bytes.
pub const MAX_DOCUMENT: u64 = 8 << 20;
/// Most files in one archive.
const MAX_FILES: usize = 16 * 1024;
/// How much is read and written at once, in bytes.
const BUFFER: usize = 256 * 1024;
/// What is understood at the end, by its name; all else is a blob.
const DOCUMENTS: [&str; 4] = ["manifest.json", "index.json", "oci-layout", "repositories"];

/// A file of the archive, kept under the digest that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub digest: Digest,
    pub size: u64,
}

/// Everything that an archive holds.
#[derive(Default)]
pub struct Contents {
    pub documents: HashMap<String, Vec<u8>>,
    pub files: HashMap<String, Kept>,
    /// Symbolic and hard links: older archives have a layer that occurs twice only once.
    links: HashMap<String, String>,
}

impl Contents {
    /// The file behind a name.
    pub fn file(&self, path: &str) -> Result<&Kept, ArchiveFault> {
        let missing = || ArchiveFault::Missing(path.to_owned());
        let path = name(path.as_bytes()).map_err(|_| missing())?;
        let path = self.links.get(&path).unwrap_or(&path);
        self.files.get(path).ok_or_else(missing)
    }

    /// Reads the whole archive; the lease holds what it brings.
    /// A file that is longer than `limit` is refused before a byte of it is kept.
    pub fn read(
        &mut self,
        source: Source,
        limit: Option<u64>,
        store: &Store,
        lease: &mut Lease,
    ) -> Result<(), ArchiveFault> {
        let inflate = unpacked(source)?;
        let mut archive = Archive::new(BufReader::with_capacity(BUFFER / 4, inflate));
        let mut buffer = vec![0; BUFFER];
        let mut first = true;
        while let Some(entry) = archive.next_entry().map_err(|e| fault_of(e, first))? {
            first = false;
            if self.files.len() + self.links.len() >= MAX_FILES {
                return Err(ArchiveFault::TooMany(MAX_FILES));
            }
            if let Some(limit) = limit.filter(|limit| entry.size > *limit) {
                return Err(ArchiveFault::TooLarge(limit));
            }
            if let Some((path, writer)) = self.take(&entry, &mut archive, store, &mut buffer)? {
                let (digest, size) = (writer.digest(), writer.written());
                lease.add([digest.clone()]);
                if store.size(&digest) != Some(size) {
                    writer.seal()?;
                }
                self.files.insert(path, Kept { digest, size });
            }
        }
        if !archive.is_marked() {
            return Err(ArchiveFault::Cut);
        }
        // The sender writes to the end, so somebody has to read to the end.
        let mut rest = archive.into_inner();
        while rest.read(&mut buffer).map_err(of_read)? > 0 {}
        Ok(())
    }

    fn take<R: Read>(
        &mut self,
        entry: &Entry,
        archive: &mut Archive<R>,
        store: &Store,
        buffer: &mut [u8],
    ) -> Result<Option<(String, BlobWriter)>, ArchiveFault> {
        let path = name(&entry.path)?;
        match entry.kind {
            Kind::File if DOCUMENTS.contains(&path.as_str()) => {
                let bytes = document(&path, entry.size, archive)?;
                self.documents.insert(path, bytes);
            }
            Kind::File => return Ok(Some((path, keep(archive, store, buffer)?))),
            Kind::Symlink => {
                let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
                let target = name(&[dir.as_bytes(), b"/", &entry.link].concat())?;
                self.links.insert(path, target);
            }
            Kind::HardLink => drop(self.links.insert(path, name(&entry.link)?)),
            _ => {}
        }
        Ok(None)
    }
}

/// The content of a file as a blob that has no name yet.
fn keep<R: Read>(archive: &mut Archive<R>, store: &Store, buffer: &mut [u8]) -> Result<BlobWriter, ArchiveFault> {
    let mut writer = store.writer()?;
    loop {
        let n = archive.read_content(buffer).map_err(of_read)?;
        if n == 0 {
            return Ok(writer);
        }
        let failed = |source| ContentError::Io { what: "write", path: store.root().into(), source };
        writer.write_all(&buffer[..n]).map_err(failed)?;
    }
}

/// A document of the archive.
fn document<R: Read>(path: &str, size: u64, archive: &mut Archive<R>) -> Result<Vec<u8>, ArchiveFault> {
    if size > MAX_DOCUMENT {
        return Err(ArchiveFault::TooLong { path: path.to_owned(), size, limit: MAX_DOCUMENT });
    }
    let mut bytes = vec![0; size as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += archive.read_content(&mut bytes[filled..]).map_err(of_read)?;
    }
    Ok(bytes)
}

/// A name without `.`, `..` and empty parts.
fn name(bytes: &[u8]) -> Result<String, ArchiveFault> {
    let shown = || crate::images::unpack::shown(bytes);
    let path = clean(bytes).map_err(|reason| ArchiveFault::Document { path: shown(), reason: reason.to_owned() })?;
    path.into_os_string()
        .into_string()
        .map_err(|_| ArchiveFault::Document { path: shown(), reason: "its name is not UTF-8".to_owned() })
}

/// The tar stream in what comes.
pub fn unpacked(source: Source) -> Result<Inflate<Flow>, ArchiveFault> {
    let mut flow = Flow { source, piece: Bytes::new(), ended: false };
    let start = flow.fill_buf().map_err(of_read)?;
    for (magic, name) in [(&b"\xfd7zXZ\0"[..], "xz"), (b"BZh", "bzip2")] {
        if start.starts_with(magic) {
            return Err(ArchiveFault::Packed(name));
        }
    }
    if start.is_empty() {
        return Err(ArchiveFault::Cut);
    }
    Inflate::new(flow).map_err(of_read)
}

/// The pieces as one stream.
pub struct Flow {
    source: Source,
    piece: Bytes,
    ended: bool,
}

impl BufRead for Flow {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() && !self.ended {
            match (self.source)() {
                Some(piece) => self.piece = piece?,
                None => self.ended = true,
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, n: usize) {
        self.piece.advance(n);
    }
}

impl Read for Flow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

/// A stream that ends too early is cut; one whose sender broke off has nobody to tell.
pub fn of_read(error: io::Error) -> ArchiveFault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveFault::Cut,
        io::ErrorKind::ConnectionAborted => ArchiveFault::Gone,
        _ => ArchiveFault::NoArchive(error.to_string()),
    }
}

fn fault_of(error: ArchiveError, first: bool) -> ArchiveFault {
    match error {
        ArchiveError::Read(e) => of_read(e),
        ArchiveError::Malformed { .. } if first => {
            ArchiveFault::NoArchive("it does not begin with a tar header".into())
        }
        error => ArchiveFault::NoArchive(error.to_string()),
    }
}
