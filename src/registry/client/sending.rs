//! What a request carries: nothing, a document, or part of a file that is read while it is sent.

use std::io::{self, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::transport::Body;

/// Bytes of a file that are in memory at once.
const PIECE: usize = 64 * 1024;

/// See the module.
#[derive(Clone)]
pub(super) enum Sending {
    Nothing,
    Bytes(Bytes),
    File(FilePart),
}

/// A part of a file, and who hears how much of it has gone.
#[derive(Clone)]
pub(super) struct FilePart {
    pub path: PathBuf,
    pub from: u64,
    pub length: u64,
    pub sent: Arc<Sent>,
}

/// Counts what has gone out.
pub(super) struct Sent {
    /// Of this request.
    pub count: AtomicU64,
    /// Told the position in the file.
    pub tell: Box<dyn Fn(u64) + Send + Sync>,
}

impl Sending {
    /// The body, from its beginning: a request that must be made again reads the file again.
    pub(super) fn body(&self) -> io::Result<Body> {
        Ok(match self {
            Sending::Nothing => Empty::new().map_err(|never| match never {}).boxed_unsync(),
            Sending::Bytes(bytes) => Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync(),
            Sending::File(part) => part.body()?,
        })
    }

    /// In bytes; none when there is no body.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Sending::Nothing => None,
            Sending::Bytes(bytes) => Some(bytes.len() as u64),
            Sending::File(part) => Some(part.length),
        }
    }

    pub(super) fn sent(&self) -> Option<&AtomicU64> {
        match self {
            Sending::File(part) => Some(&part.sent.count),
            _ => None,
        }
    }
}

impl FilePart {
    fn body(&self) -> io::Result<Body> {
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.from))?;
        let (sent, from) = (self.sent.clone(), self.from);
        sent.count.store(0, Ordering::Relaxed);
        let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(file).take(self.length), PIECE);
        let counted = stream.inspect_ok(move |bytes| {
            let before = sent.count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            (sent.tell)(from + before + bytes.len() as u64);
        });
        Ok(StreamBody::new(counted.map_ok(Frame::data)).boxed_unsync())
    }
}
