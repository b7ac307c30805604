//! From the pieces of a blob, as they arrive, to the tar stream in it: everything that has to see the bytes sees
//! them in one pass.
//!
//! ```text
//! pieces ─▶ Intake: blob digest, content store ─▶ inflate ─▶ Digesting: diff id ─▶ tar
//! ```

use super::UnpackError;
use crate::oci::{Digest, Digester};
use bytes::{Buf as _, Bytes};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, Chain, Cursor, Read, Write};

/// Where a blob comes from: one piece at a call, `None` at its end.
pub type Pieces = Box<dyn FnMut() -> Option<Result<Bytes, UnpackError>> + Send>;

/// A blob on its way in. Each piece is digested and kept before anybody reads it.
pub struct Intake<'w> {
    pieces: Pieces,
    piece: Bytes,
    digester: Digester,
    keep: Option<&'w mut (dyn Write + Send)>,
    /// Bytes so far, and bytes that the manifest announced.
    got: u64,
    expected: u64,
    ended: bool,
    /// Why it stopped early; the readers in between see a plain I/O error.
    fault: Option<UnpackError>,
}

impl<'w> Intake<'w> {
    /// `keep` gets every byte (the blob in the content store), `size` is what the manifest announced.
    pub fn new(pieces: Pieces, size: u64, keep: Option<&'w mut (dyn Write + Send)>) -> Self {
        Intake {
            pieces,
            piece: Bytes::new(),
            digester: Digester::new(),
            keep,
            got: 0,
            expected: size,
            ended: false,
            fault: None,
        }
    }

    /// Reads what nobody wanted, so that the digest is that of the whole blob.
    pub fn drain(&mut self) {
        while let Ok([_, ..]) = self.fill_buf() {
            self.piece.clear();
        }
    }

    /// Whether something went wrong before the blob's end.
    pub fn is_faulty(&self) -> bool {
        self.fault.is_some()
    }

    /// The digest of the whole blob, or why it did not come whole.
    pub fn finish(mut self) -> Result<Digest, UnpackError> {
        self.drain();
        match self.fault {
            Some(fault) => Err(fault),
            None if self.got < self.expected => Err(UnpackError::Truncated { got: self.got, expected: self.expected }),
            None => Ok(self.digester.finish()),
        }
    }

    fn take_in(&mut self) -> Result<(), UnpackError> {
        let Some(piece) = (self.pieces)() else {
            self.ended = true;
            return Ok(());
        };
        let piece = piece?;
        self.got += piece.len() as u64;
        if self.got > self.expected {
            return Err(UnpackError::TooLong { expected: self.expected });
        }
        self.digester.update(&piece);
        if let Some(keep) = &mut self.keep {
            keep.write_all(&piece).map_err(|e| UnpackError::state("the content store", e))?;
        }
        self.piece = piece;
        Ok(())
    }
}

impl BufRead for Intake<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() && !self.ended {
            if let Err(fault) = self.take_in() {
                self.ended = true;
                self.fault = Some(fault);
            }
        }
        if self.fault.is_some() {
            return Err(io::Error::other("the blob did not come whole"));
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, n: usize) {
        self.piece.advance(n);
    }
}

impl Read for Intake<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

type Sniffed<R> = Chain<Cursor<Vec<u8>>, R>;

/// The tar stream in a blob, however it is compressed. Like Docker, the bytes decide, not the media type.
pub enum Inflate<R: BufRead> {
    Plain(Sniffed<R>),
    Gzip(Box<MultiGzDecoder<Sniffed<R>>>),
    Zstd(Box<Zstd<Sniffed<R>>>),
}

impl<R: BufRead> Inflate<R> {
    pub fn new(mut reader: R) -> io::Result<Inflate<R>> {
        let mut first = Vec::with_capacity(4);
        (&mut reader).take(4).read_to_end(&mut first)?;
        let gzip = first.starts_with(&[0x1f, 0x8b]);
        let zstd = zstd_magic(&first);
        let reader = Read::chain(Cursor::new(first), reader);
        Ok(if gzip {
            // Several members in a row are one stream (RFC 1952, 2.2): eStargz layers have one for each file.
            Inflate::Gzip(Box::new(MultiGzDecoder::new(reader)))
        } else if zstd.is_some() {
            Inflate::Zstd(Box::new(Zstd { reader, decoder: FrameDecoder::new(), in_frame: false }))
        } else {
            Inflate::Plain(reader)
        })
    }

    /// `gzip`, `zstd` or `tar`.
    pub fn name(&self) -> &'static str {
        match self {
            Inflate::Plain(_) => "tar",
            Inflate::Gzip(_) => "gzip",
            Inflate::Zstd(_) => "zstd",
        }
    }
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Inflate::Plain(reader) => reader.read(buffer),
            Inflate::Gzip(reader) => reader.read(buffer),
            Inflate::Zstd(reader) => reader.read(buffer),
        }
    }
}

#[derive(PartialEq)]
enum ZstdFrame {
    Data,
    Skippable,
}

/// What begins with these four bytes (RFC 8878, 3.1).
fn zstd_magic(bytes: &[u8]) -> Option<ZstdFrame> {
    match bytes {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(ZstdFrame::Data),
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(ZstdFrame::Skippable),
        _ => None,
    }
}

/// A sequence of zstd frames. (ruzstd's own reader ends after the first; zstd:chunked layers have one for each
/// file, and skippable ones with a table of contents.)
pub struct Zstd<R> {
    reader: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    /// Goes to the next frame with data in it; false at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            let mut magic = [0; 4];
            if self.reader.fill_buf()?.is_empty() {
                return Ok(false);
            }
            self.reader.read_exact(&mut magic)?;
            match zstd_magic(&magic) {
                Some(ZstdFrame::Data) => {
                    let frame = Read::chain(Cursor::new(magic), &mut self.reader);
                    self.decoder.reset(frame).map_err(io::Error::other)?;
                    return Ok(true);
                }
                Some(ZstdFrame::Skippable) => {
                    let mut length = [0; 4];
                    self.reader.read_exact(&mut length)?;
                    let length = u64::from(u32::from_le_bytes(length));
                    let skipped = io::copy(&mut (&mut self.reader).take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                None => return Err(io::Error::other("what follows a zstd frame is none")),
            }
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.in_frame {
                if self.decoder.can_collect() > 0 {
                    return self.decoder.read(buffer);
                }
                if !self.decoder.is_finished() {
                    self.decoder
                        .decode_blocks(&mut self.reader, BlockDecodingStrategy::UptoBlocks(1))
                        .map_err(io::Error::other)?;
                    continue;
                }
            }
            self.in_frame = self.next_frame()?;
            if !self.in_frame {
                return Ok(0);
            }
        }
    }
}

/// More comes out of a blob than this host allows: so many bytes.
#[derive(Debug, thiserror::Error)]
#[error("more than {0} bytes come out of it")]
pub struct TooLarge(pub u64);

/// Digests what passes: the uncompressed tar stream, whose digest is the diff id. A stream that is longer than allowed
/// ends with [`TooLarge`]: a kilobyte of gzip can stand for a megabyte, and a manifest announces only the former.
pub struct Digesting<R> {
    reader: R,
    digester: Digester,
    passed: u64,
    limit: Option<u64>,
}

impl<R: Read> Digesting<R> {
    pub fn new(reader: R, limit: Option<u64>) -> Self {
        Digesting { reader, digester: Digester::new(), passed: 0, limit }
    }

    /// Reads to the end (tar streams are padded behind their end) and gives the digest of all.
    pub fn finish(mut self, buffer: &mut [u8]) -> io::Result<Digest> {
        while self.read(buffer)? > 0 {}
        Ok(self.digester.finish())
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.passed += n as u64;
        if let Some(limit) = self.limit.filter(|limit| self.passed > *limit) {
            return Err(io::Error::other(TooLarge(limit)));
        }
        self.digester.update(&buffer[..n]);
        Ok(n)
    }
}
