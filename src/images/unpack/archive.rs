//! Reads a tar stream entry by entry, in constant memory.
//!
//! The header fields are decoded by the `tar` crate. The walk over the stream is ours, for three reasons: an
//! extended header of any size must not end up in memory, a PAX value may hold any byte (a file capability with
//! a newline in it), and two readers must never see two different archives (an extended header that describes
//! nothing, a data part behind a directory).
//!
//! Sources: POSIX.1-2001 pax(1) "pax Header Block" and "pax Extended Header"; GNU tar manual, "Basic Tar Format".

use std::io::{self, Read};
use std::num::ParseIntError;

/// Longest extended header (PAX records, GNU long name) that is read: 1 MiB.
pub const MAX_EXTENSION: u64 = 1 << 20;

/// Size of a tar block in bytes.
pub const BLOCK: usize = 512;

/// Why a tar stream could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The stream below failed or ended early (`UnexpectedEof`).
    #[error("{0}")]
    Read(#[from] io::Error),
    /// Not a tar stream, or a damaged one.
    #[error("entry {entry} of the tar stream is malformed: {what}")]
    Malformed { entry: u64, what: String },
    /// A valid entry of a kind that layers do not have.
    #[error("{what} is not supported in a layer: {path}")]
    Unsupported { path: String, what: String },
}

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Dir,
    Symlink,
    HardLink,
    Char,
    Block,
    Fifo,
}

/// One entry, with its extended headers applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// As the archive has it; not yet cleaned.
    pub path: Vec<u8>,
    /// Target of a symbolic or hard link, else empty.
    pub link: Vec<u8>,
    /// Permission bits with setuid, setgid and sticky: at most 0o7777.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds since the epoch.
    pub mtime: (i64, i64),
    /// Bytes of content that follow; 0 for all but files.
    pub size: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes (`SCHILY.xattr.NAME`), in the archive's order.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tar stream.
pub struct Archive<R> {
    reader: R,
    /// Bytes of the current entry's content that have not been read.
    content: u64,
    /// Bytes that fill the content's last block.
    padding: u64,
    /// Number of the current header, from 1, extended ones counted.
    number: u64,
    ended: bool,
    /// The end was marked, as it should be.
    marked: bool,
}

/// What extended headers said about the entry that follows them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, i64)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: bool,
    any: bool,
}

impl<R: Read> Archive<R> {
    pub fn new(reader: R) -> Self {
        Archive { reader, content: 0, padding: 0, number: 0, ended: false, marked: false }
    }

    /// The next entry; what was left of the content of the one before is skipped. `None` at the end of the archive.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_content()?;
            let Some(block) = self.header_block()? else {
                if extensions.any {
                    return Err(self.malformed("an extended header describes no entry"));
                }
                return Ok(None);
            };
            self.number += 1;
            let header = tar::Header::from_byte_slice(&block);
            self.check_sum(header)?;
            match header.as_bytes()[156] {
                b'x' => self.read_pax(header, &mut extensions)?,
                b'L' => extensions.path = Some(self.read_long_name(header, &mut extensions.any)?),
                b'K' => extensions.link = Some(self.read_long_name(header, &mut extensions.any)?),
                // Global records (git archive writes one with a comment) say nothing that a layer needs.
                b'g' => self.begin_content(self.size(header)?)?,
                kind => return self.finish_entry(header, kind, extensions).map(Some),
            }
        }
    }

    /// Reads content of the current entry; 0 at its end.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.reader.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.content -= n as u64;
        Ok(n)
    }

    /// Whether the archive has ended with a mark. Without one it may have been cut, between two files.
    pub fn is_marked(&self) -> bool {
        self.marked
    }

    /// The stream behind the archive's end marker.
    pub fn into_inner(self) -> R {
        self.reader
    }

    fn malformed(&self, what: impl Into<String>) -> ArchiveError {
        ArchiveError::Malformed { entry: self.number, what: what.into() }
    }

    fn field<T>(&self, value: io::Result<T>) -> Result<T, ArchiveError> {
        value.map_err(|e| self.malformed(e.to_string()))
    }

    /// A numeric field; a blank one is 0.
    fn number(&self, raw: &[u8], value: io::Result<u64>) -> Result<u64, ArchiveError> {
        if raw.iter().all(|b| matches!(b, 0 | b' ')) {
            return Ok(0);
        }
        self.field(value)
    }

    /// A user or group id: the extended header's, or the field's own.
    fn id(&self, raw: &[u8], own: io::Result<u64>, extended: Option<u64>) -> Result<u32, ArchiveError> {
        let id = extended.map_or_else(|| self.number(raw, own), Ok)?;
        // u32::MAX is chown(2)'s "leave it".
        u32::try_from(id)
            .ok()
            .filter(|&id| id != u32::MAX)
            .ok_or_else(|| self.malformed(format!("{id} is no user or group id")))
    }

    fn size(&self, header: &tar::Header) -> Result<u64, ArchiveError> {
        self.number(&header.as_old().size, header.entry_size())
    }

    fn begin_content(&mut self, size: u64) -> Result<(), ArchiveError> {
        if size > i64::MAX as u64 {
            return Err(self.malformed("its size is beyond any file"));
        }
        self.content = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let left = self.content + self.padding;
        (self.content, self.padding) = (0, 0);
        if left > 0 && io::copy(&mut (&mut self.reader).take(left), &mut io::sink())? < left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// The next header; `None` at the end: a block of zeros (followed by another, or by nothing), or no block.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        if self.ended {
            return Ok(None);
        }
        let first = self.block()?;
        let end = |block: &Option<[u8; BLOCK]>| block.is_none_or(|b| b.iter().all(|&byte| byte == 0));
        if !end(&first) {
            return Ok(first);
        }
        self.ended = true;
        self.marked = first.is_some();
        if first.is_some() && !end(&self.block()?) {
            return Err(self.malformed("a block of zeros is followed by another entry"));
        }
        Ok(None)
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(Some(block))
    }

    fn check_sum(&self, header: &tar::Header) -> Result<(), ArchiveError> {
        let bytes = header.as_bytes();
        let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|&b| u32::from(b)).sum();
        // The field itself counts as eight spaces.
        if self.field(header.cksum())? != sum + 8 * 32 {
            return Err(self.malformed("the header's checksum is wrong"));
        }
        Ok(())
    }

    fn read_extension(&mut self, header: &tar::Header) -> Result<Vec<u8>, ArchiveError> {
        let size = self.size(header)?;
        if size > MAX_EXTENSION {
            return Err(self.malformed(format!("an extended header of {size} bytes, {MAX_EXTENSION} are allowed")));
        }
        self.begin_content(size)?;
        let mut bytes = vec![0; size as usize];
        self.reader.read_exact(&mut bytes)?;
        self.content = 0;
        Ok(bytes)
    }

    fn read_long_name(&mut self, header: &tar::Header, any: &mut bool) -> Result<Vec<u8>, ArchiveError> {
        *any = true;
        let mut name = self.read_extension(header)?;
        if let Some(end) = name.iter().position(|&b| b == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn read_pax(&mut self, header: &tar::Header, to: &mut Extensions) -> Result<(), ArchiveError> {
        to.any = true;
        let bytes = self.read_extension(header)?;
        for record in (PaxRecords { rest: &bytes }) {
            let (key, value) = record.map_err(|what| self.malformed(what))?;
            to.record(key, value).map_err(|what| self.malformed(what))?;
        }
        Ok(())
    }

    fn finish_entry(&mut self, header: &tar::Header, kind: u8, extensions: Extensions) -> Result<Entry, ArchiveError> {
        let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let unsupported = |what: String| ArchiveError::Unsupported { path: super::names::shown(&path), what };
        if extensions.sparse || kind == b'S' {
            return Err(unsupported("a sparse file".into()));
        }
        let kind =
            kind_of(kind, &path).ok_or_else(|| unsupported(format!("an entry of type {:?}", char::from(kind))))?;
        let size = match kind {
            Kind::File => extensions.size.map_or_else(|| self.size(header), Ok)?,
            // Whatever the size field says, only files have content (as Go's reader has it, which made most layers).
            _ => 0,
        };
        let old = header.as_old();
        let uid = self.id(&old.uid, header.uid(), extensions.uid)?;
        let gid = self.id(&old.gid, header.gid(), extensions.gid)?;
        let mode = self.number(&old.mode, header.mode().map(u64::from))? as u32 & 0o7777;
        let device = match kind {
            Kind::Char | Kind::Block => {
                (self.field(header.device_major())?.unwrap_or(0), self.field(header.device_minor())?.unwrap_or(0))
            }
            _ => (0, 0),
        };
        let link = match kind {
            Kind::Symlink | Kind::HardLink => {
                extensions.link.or_else(|| header.link_name_bytes().map(|name| name.into_owned())).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let entry = Entry {
            kind,
            link,
            mode,
            uid,
            gid,
            mtime: match extensions.mtime {
                Some(time) => time,
                // Two's complement: a time before the epoch is a large number here.
                None => (self.number(&old.mtime, header.mtime())? as i64, 0),
            },
            size,
            device,
            xattrs: extensions.xattrs,
            path,
        };
        self.begin_content(size)?;
        Ok(entry)
    }
}

/// What a type flag makes.
fn kind_of(flag: u8, path: &[u8]) -> Option<Kind> {
    Some(match flag {
        // Archives older than POSIX tell a directory by its name.
        0 if path.ends_with(b"/") => Kind::Dir,
        0 | b'0' | b'7' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Char,
        b'4' => Kind::Block,
        b'5' => Kind::Dir,
        b'6' => Kind::Fifo,
        _ => return None,
    })
}

impl Extensions {
    /// Takes one PAX record in. An empty value takes an earlier one back (pax(1)).
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let text = || std::str::from_utf8(value).map_err(|e| e.to_string());
        let number = || -> Result<Option<u64>, String> {
            match text()? {
                "" => Ok(None),
                digits => digits.parse().map(Some).map_err(|e: ParseIntError| format!("{digits}: {e}")),
            }
        };
        let bytes = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = bytes(),
            b"linkpath" => self.link = bytes(),
            b"size" => self.size = number()?,
            b"uid" => self.uid = number()?,
            b"gid" => self.gid = number()?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => {
                self.mtime = Some(parse_time(text()?).ok_or_else(|| format!("{:?} is no time", text()))?);
            }
            key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
            key => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.retain(|(other, _)| other != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// `LENGTH KEY=VALUE\n`, LENGTH being that of the whole record: the value may hold any byte.
struct PaxRecords<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for PaxRecords<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.split();
        if record.is_none() {
            self.rest = &[];
        }
        Some(record.ok_or("a PAX record is not LENGTH KEY=VALUE"))
    }
}

impl<'a> PaxRecords<'a> {
    fn split(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let space = self.rest.iter().take(20).position(|&b| b == b' ')?;
        let length: usize = std::str::from_utf8(&self.rest[..space]).ok()?.parse().ok()?;
        if length > self.rest.len() || length < space + 4 {
            return None;
        }
        let (record, rest) = self.rest.split_at(length);
        let body = record[space + 1..].strip_suffix(b"\n")?;
        let equals = body.iter().position(|&b| b == b'=').filter(|&at| at > 0)?;
        self.rest = rest;
        Some((&body[..equals], &body[equals + 1..]))
    }
}

/// `SECONDS[.FRACTION]`, either side of the epoch, as seconds (rounded down) and nanoseconds.
fn parse_time(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: i64 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
