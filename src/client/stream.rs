//! Carries bytes between a hijacked connection and the standard streams of this process.

use super::hijack::{Hijacked, Input, Output};
use crate::api::detach::{DetachKeys, Watch};
use crate::api::stdcopy::{FrameError, Splitter, Stream};
use nix::errno::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use tokio::sync::mpsc;

/// Carrying failed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("the connection to the daemon was lost: {0}")]
    Lost(io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Whoever reads our output has gone: nothing to say, nobody to say it to.
    #[error("cannot write the output: {0}")]
    Output(Errno),
}

/// How carrying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The container closed its streams.
    Remote,
    /// The detach keys were typed; the container goes on.
    Detached,
}

/// What to carry.
#[derive(Debug, Clone)]
pub struct Carry {
    /// Send our standard input.
    pub stdin: bool,
    /// The container has a terminal: its output is one unframed stream.
    pub tty: bool,
    /// Watched for when our input is a terminal and so is the container's.
    pub detach: Option<DetachKeys>,
}

enum Typed {
    Bytes(Vec<u8>),
    Detach,
}

/// Carries until the container closes its streams or the detach keys are typed. The end of our input half-closes
/// the connection and does not end the carrying.
pub async fn carry(hijacked: Hijacked, what: &Carry) -> Result<Ended, StreamError> {
    let Hijacked { mut output, mut input } = hijacked;
    let typed = what.stdin.then(|| read_stdin(what.detach.clone()));
    let sending = send(typed, &mut input);
    let receiving = receive(&mut output, what.tty);
    tokio::pin!(sending, receiving);
    tokio::select! {
        ended = &mut receiving => ended.map(|()| Ended::Remote),
        Detached = &mut sending => Ok(Ended::Detached),
    }
}

struct Detached;

/// Ends only when the detach keys were typed: a container may read slowly, or not at all, and still write.
async fn send(typed: Option<mpsc::Receiver<Typed>>, input: &mut Input) -> Detached {
    if let Some(mut typed) = typed {
        loop {
            match typed.recv().await {
                Some(Typed::Detach) => return Detached,
                Some(Typed::Bytes(bytes)) => {
                    // A container that has closed its input is no error: its output tells how it ended.
                    if input.write(&bytes).await.is_err() {
                        break;
                    }
                }
                None => {
                    let _ = input.finish().await;
                    break;
                }
            }
        }
    }
    std::future::pending().await
}

async fn receive(output: &mut Output, tty: bool) -> Result<(), StreamError> {
    let (mut buf, mut splitter) = (Vec::new(), Splitter::default());
    while output.read(&mut buf).await.map_err(StreamError::Lost)? {
        if tty {
            write_all(io::stdout().as_fd(), &buf)?;
            continue;
        }
        splitter.feed(&buf, |stream, bytes| match stream {
            Stream::Stdin | Stream::Stdout => write_all(io::stdout().as_fd(), bytes),
            Stream::Stderr | Stream::SystemError => write_all(io::stderr().as_fd(), bytes),
        })?;
    }
    Ok(())
}

/// Writes without a buffer of ours, so that nothing is kept back and the order of both streams stays.
fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), StreamError> {
    while !bytes.is_empty() {
        match nix::unistd::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut wait = [nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLOUT)];
                let _ = nix::poll::poll(&mut wait, nix::poll::PollTimeout::NONE);
            }
            Err(errno) => return Err(StreamError::Output(errno)),
        }
    }
    Ok(())
}

/// Reads our standard input on a thread of its own: a blocking read(2) of a terminal cannot be called off, and the
/// thread must not keep the process from ending.
fn read_stdin(keys: Option<DetachKeys>) -> mpsc::Receiver<Typed> {
    let (tx, rx) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut watch = keys.map(Watch::new);
        let mut buf = vec![0; 32 * 1024];
        loop {
            let n = match nix::unistd::read(io::stdin(), &mut buf) {
                Ok(0) => break,
                Ok(n) => n,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => {
                    let stdin = io::stdin();
                    let mut wait = [nix::poll::PollFd::new(stdin.as_fd(), nix::poll::PollFlags::POLLIN)];
                    let _ = nix::poll::poll(&mut wait, nix::poll::PollTimeout::NONE);
                    continue;
                }
                Err(_) => break,
            };
            if !pass_on(&buf[..n], watch.as_mut(), &tx) {
                return;
            }
        }
        if let Some(watch) = watch.as_mut() {
            let rest = watch.rest().to_vec();
            let _ = tx.blocking_send(Typed::Bytes(rest));
        }
    });
    rx
}

/// False: nobody wants more.
fn pass_on(typed: &[u8], watch: Option<&mut Watch>, tx: &mpsc::Sender<Typed>) -> bool {
    let Some(watch) = watch else {
        return tx.blocking_send(Typed::Bytes(typed.to_vec())).is_ok();
    };
    let mut bytes = Vec::with_capacity(typed.len() + 1);
    let detach = watch.feed(typed, &mut bytes);
    let sent = bytes.is_empty() || tx.blocking_send(Typed::Bytes(bytes)).is_ok();
    if detach {
        let _ = tx.blocking_send(Typed::Detach);
        return false;
    }
    sent
}
