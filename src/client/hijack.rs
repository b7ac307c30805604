//! A connection that stopped speaking HTTP and carries a container's streams.

use super::http::Sender;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// The two directions of a container's streams.
pub struct Hijacked {
    pub output: Output,
    pub input: Input,
}

/// What the container writes, in pieces.
pub enum Output {
    Socket {
        first: Bytes,
        half: OwnedReadHalf,
    },
    Upgraded(tokio::io::ReadHalf<TokioIo<Upgraded>>),
    /// A daemon that answered 200: its output is the body. The sender keeps the connection open.
    Body(Incoming, Sender),
}

/// What the container reads.
pub enum Input {
    Socket(OwnedWriteHalf),
    Upgraded(tokio::io::WriteHalf<TokioIo<Upgraded>>),
    /// Nothing can be sent.
    None,
}

impl Hijacked {
    /// After a 101: the socket itself, without any layer between.
    pub(super) fn upgraded(upgraded: Upgraded) -> Hijacked {
        match upgraded.downcast::<TokioIo<UnixStream>>() {
            Ok(parts) => {
                let (half, input) = parts.io.into_inner().into_split();
                Hijacked { output: Output::Socket { first: parts.read_buf, half }, input: Input::Socket(input) }
            }
            Err(upgraded) => {
                let (output, input) = tokio::io::split(TokioIo::new(upgraded));
                Hijacked { output: Output::Upgraded(output), input: Input::Upgraded(input) }
            }
        }
    }

    pub(super) fn body(body: Incoming, sender: Sender) -> Hijacked {
        Hijacked { output: Output::Body(body, sender), input: Input::None }
    }
}

impl Output {
    /// Reads the next piece into `buf` (which is replaced); false at the end.
    pub async fn read(&mut self, buf: &mut Vec<u8>) -> io::Result<bool> {
        buf.clear();
        match self {
            Output::Socket { first, half } => {
                if !first.is_empty() {
                    buf.extend_from_slice(&std::mem::take(first));
                    return Ok(true);
                }
                buf.reserve(64 * 1024);
                Ok(half.read_buf(buf).await? > 0)
            }
            Output::Upgraded(half) => {
                buf.reserve(64 * 1024);
                Ok(half.read_buf(buf).await? > 0)
            }
            Output::Body(body, _) => loop {
                match body.frame().await {
                    None => return Ok(false),
                    Some(Err(e)) => return Err(io::Error::other(e)),
                    Some(Ok(frame)) => {
                        if let Some(data) = frame.data_ref() {
                            buf.extend_from_slice(data);
                            return Ok(true);
                        }
                    }
                }
            },
        }
    }
}

impl Input {
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Input::Socket(half) => half.write_all(bytes).await,
            Input::Upgraded(half) => half.write_all(bytes).await,
            Input::None => Ok(()),
        }
    }

    /// Tells the container that its input has ended; its output goes on.
    pub async fn finish(&mut self) -> io::Result<()> {
        match self {
            Input::Socket(half) => half.shutdown().await,
            Input::Upgraded(half) => half.shutdown().await,
            Input::None => Ok(()),
        }
    }
}
