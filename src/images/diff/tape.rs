//! Writes a tar stream entry by entry.
//!
//! A header is POSIX ustar; what does not fit in its fields (long names, large numbers, fractions of a second, extended
//! attributes) goes into a PAX header before it (POSIX.1-2001 pax(1), "pax Extended Header"), as Docker's does.

use crate::images::unpack::archive::{BLOCK, Entry, Kind, MAX_EXTENSION};
use std::io::{self, Read, Write};

/// Largest number of a field with so many bytes: octal digits and a NUL.
const fn largest(bytes: u32) -> u64 {
    (1 << (3 * (bytes - 1))) - 1
}

/// Size of the buffer that contents pass through, in bytes.
const BUFFER: usize = 256 * 1024;

/// A tar stream in the making.
pub struct Tape<W> {
    to: W,
    buffer: Vec<u8>,
}

impl<W: Write> Tape<W> {
    pub fn new(to: W) -> Tape<W> {
        Tape { to, buffer: Vec::new() }
    }

    /// Writes the entry and `entry.size` bytes of content. Content that ends early is filled up with zeros: the file
    /// shrank after it was looked at.
    pub fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        self.begin(entry)?;
        self.content(content, entry.size)
    }

    /// Two blocks of zeros: the end.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&[0; 2 * BLOCK])?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        let mut pax = Pax::default();
        let mut path = entry.path.clone();
        if entry.kind == Kind::Dir && !path.ends_with(b"/") {
            path.push(b'/');
        }
        pax.bytes(&mut header, 0..100, "path", &path);
        pax.bytes(&mut header, 157..257, "linkpath", &entry.link);
        header.set_entry_type(tar::EntryType::new(flag(entry.kind)));
        header.set_mode(entry.mode & 0o7777);
        header.set_uid(pax.number("uid", entry.uid.into(), largest(8)));
        header.set_gid(pax.number("gid", entry.gid.into(), largest(8)));
        header.set_size(pax.number("size", entry.size, largest(12)));
        header.set_mtime(pax.time(entry.mtime));
        header.set_device_major(entry.device.0)?;
        header.set_device_minor(entry.device.1)?;
        for (name, value) in &entry.xattrs {
            pax.record(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        self.extension(&pax.records)?;
        header.set_cksum();
        self.to.write_all(header.as_bytes())
    }

    fn extension(&mut self, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let size = records.len() as u64;
        if size > MAX_EXTENSION {
            return Err(io::Error::other(format!("names and attributes of {size} bytes, {MAX_EXTENSION} are allowed")));
        }
        let mut header = tar::Header::new_ustar();
        let name = b"././@PaxHeader";
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.to.write_all(header.as_bytes())?;
        self.to.write_all(records)?;
        self.pad(size)
    }

    fn content(&mut self, content: &mut dyn Read, size: u64) -> io::Result<()> {
        let mut left = size;
        if left > 0 {
            self.buffer.resize(BUFFER, 0);
        }
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let n = match content.read(&mut self.buffer[..most]) {
                Ok(0) => {
                    self.buffer[..most].fill(0);
                    most
                }
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            self.to.write_all(&self.buffer[..n])?;
            left -= n as u64;
        }
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.to.write_all(&[0; BLOCK][..padding as usize])
    }
}

fn flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Char => b'3',
        Kind::Block => b'4',
        Kind::Dir => b'5',
        Kind::Fifo => b'6',
    }
}

/// What does not fit in the header.
#[derive(Default)]
struct Pax {
    records: Vec<u8>,
}

impl Pax {
    /// A name in its field; one that is too long is cut there, for readers that know nothing of PAX.
    fn bytes(&mut self, header: &mut tar::Header, field: std::ops::Range<usize>, key: &str, value: &[u8]) {
        let field = &mut header.as_mut_bytes()[field];
        let fits = value.len().min(field.len());
        field[..fits].copy_from_slice(&value[..fits]);
        if fits < value.len() {
            self.record(key.as_bytes(), value);
        }
    }

    /// The number for the field.
    fn number(&mut self, key: &str, value: u64, largest: u64) -> u64 {
        if value <= largest {
            return value;
        }
        self.record(key.as_bytes(), value.to_string().as_bytes());
        0
    }

    /// Seconds for the field; what is before the epoch, after the year 2242 or no whole second needs a record.
    fn time(&mut self, (seconds, nanoseconds): (i64, i64)) -> u64 {
        let whole = u64::try_from(seconds).ok().filter(|s| *s <= largest(12));
        if nanoseconds != 0 || whole.is_none() {
            self.record(b"mtime", time_text(seconds, nanoseconds).as_bytes());
        }
        whole.unwrap_or(0)
    }

    /// `LENGTH KEY=VALUE\n`, LENGTH being that of the whole record, its own digits included.
    fn record(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        self.records.extend_from_slice(format!("{length} ").as_bytes());
        self.records.extend_from_slice(key);
        self.records.push(b'=');
        self.records.extend_from_slice(value);
        self.records.push(b'\n');
    }
}

/// `SECONDS[.FRACTION]`: 0.75 s after -2 is -1.25.
fn time_text(seconds: i64, nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    let (sign, whole, fraction) = match seconds {
        0.. => ("", seconds.unsigned_abs(), nanoseconds),
        _ => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds),
    };
    let digits = format!("{fraction:09}");
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}
