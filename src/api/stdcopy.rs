//! stdout and stderr of a container in one stream, as the Engine API frames them.
//!
//! A frame is a header of 8 bytes (stream number, three zero bytes, big-endian length) and that many bytes.
//! A container with a terminal has one stream only, which is not framed.

/// Which of the container's streams a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdin = 0,
    Stdout = 1,
    Stderr = 2,
    /// An error of the daemon in the middle of a stream.
    SystemError = 3,
}

/// Bytes of a header.
pub const HEADER: usize = 8;

/// The header of a frame of `len` bytes.
pub fn header(stream: Stream, len: u32) -> [u8; HEADER] {
    let mut bytes = [stream as u8, 0, 0, 0, 0, 0, 0, 0];
    bytes[4..].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// One frame, header and content.
pub fn frame(stream: Stream, content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut bytes = header(stream, len).to_vec();
    bytes.extend_from_slice(&content[..len as usize]);
    bytes
}

/// The stream is not framed as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized stream: {0}")]
pub struct FrameError(pub u8);

/// Takes a framed stream apart, whatever the pieces it arrives in. Keeps no content: every piece is passed on
/// as soon as it is there, so a frame of any length needs 8 bytes of memory.
#[derive(Debug, Default)]
pub struct Splitter {
    head: [u8; HEADER],
    have: usize,
    left: u32,
}

impl Splitter {
    /// Feeds `piece`; `sink` gets each part of the content with the stream it belongs to. Its error ends the feeding.
    pub fn feed<E: From<FrameError>>(
        &mut self,
        mut piece: &[u8],
        mut sink: impl FnMut(Stream, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !piece.is_empty() {
            if self.left == 0 {
                let n = piece.len().min(HEADER - self.have);
                self.head[self.have..self.have + n].copy_from_slice(&piece[..n]);
                self.have += n;
                piece = &piece[n..];
                if self.have < HEADER {
                    break;
                }
                let [_, _, _, _, a, b, c, d] = self.head;
                self.left = u32::from_be_bytes([a, b, c, d]);
                if self.left == 0 {
                    self.have = 0;
                }
                continue;
            }
            let n = piece.len().min(self.left as usize);
            sink(stream_of(self.head[0])?, &piece[..n])?;
            self.left -= n as u32;
            piece = &piece[n..];
            if self.left == 0 {
                self.have = 0;
            }
        }
        Ok(())
    }

    /// Whether the stream may end here: not within a frame.
    pub fn at_boundary(&self) -> bool {
        self.have == 0
    }
}

fn stream_of(number: u8) -> Result<Stream, FrameError> {
    match number {
        0 => Ok(Stream::Stdin),
        1 => Ok(Stream::Stdout),
        2 => Ok(Stream::Stderr),
        3 => Ok(Stream::SystemError),
        other => Err(FrameError(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(parts: &[(bool, Vec<u8>)]) -> Vec<u8> {
        let mut all = Vec::new();
        for (err, bytes) in parts {
            let stream = if *err { Stream::Stderr } else { Stream::Stdout };
            all.extend(header(stream, bytes.len() as u32));
            all.extend(bytes);
        }
        all
    }

    fn split(pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>), FrameError> {
        let (mut out, mut err, mut splitter) = (Vec::new(), Vec::new(), Splitter::default());
        for piece in pieces {
            splitter.feed(piece, |stream, bytes| {
                match stream {
                    Stream::Stderr => err.extend_from_slice(bytes),
                    _ => out.extend_from_slice(bytes),
                }
                Ok::<(), FrameError>(())
            })?;
        }
        Ok((out, err))
    }

    #[test]
    fn unknown_stream_is_refused() {
        assert_eq!(split(&[b"hello, this is not framed"]), Err(FrameError(b'h')));
    }

    #[test]
    fn end_within_a_frame_is_seen() {
        let mut splitter = Splitter::default();
        splitter.feed(&header(Stream::Stdout, 3), |_, _| Ok::<(), FrameError>(())).unwrap();
        assert!(!splitter.at_boundary());
        splitter.feed(b"abc", |_, _| Ok::<(), FrameError>(())).unwrap();
        assert!(splitter.at_boundary());
    }

    proptest! {
        #[test]
        fn streams_survive_any_cutting(
            parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            cuts in prop::collection::vec(1usize..17, 1..6),
        ) {
            let all = framed(&parts);
            let mut pieces = Vec::new();
            let mut rest = &all[..];
            for n in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, tail) = rest.split_at((*n).min(rest.len()));
                pieces.push(piece);
                rest = tail;
            }
            let (out, err) = split(&pieces).unwrap();
            let want = |which: bool| -> Vec<u8> {
                parts.iter().filter(|(e, _)| *e == which).flat_map(|(_, b)| b.clone()).collect()
            };
            prop_assert_eq!(out, want(false));
            prop_assert_eq!(err, want(true));
        }
    }
}
