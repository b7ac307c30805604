//! Attached streams: output goes out framed as the Engine API wants it, input comes in raw.

use super::protocol::Attach;
use crate::kernel::linux;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

/// Which of the container's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout = 0,
    Stderr = 1,
}

impl Stream {
    pub(super) fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// What may wait for one slow reader before the container's output is no longer read: a stuck client slows its
/// container, as with Docker, and never grows the shim.
const FULL: usize = 1 << 20;

/// One attached client.
pub(super) struct Attached {
    socket: OwnedFd,
    wants: Attach,
    /// With a terminal there is one output and no framing.
    raw: bool,
    out: Vec<u8>,
    sent: usize,
    input_open: bool,
    gone: bool,
}

impl Attached {
    pub(super) fn new(socket: OwnedFd, wants: Attach, raw: bool) -> Attached {
        let gone = linux::set_nonblocking(&socket).is_err();
        let input_open = wants.stdin;
        Attached { socket, wants, raw, out: vec![], sent: 0, input_open, gone }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn wants_write(&self) -> bool {
        self.sent < self.out.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.out.len() - self.sent >= FULL
    }

    pub(super) fn gone(&self) -> bool {
        self.gone
    }

    pub(super) fn input_open(&self) -> bool {
        self.input_open && !self.gone
    }

    /// Queues what the container wrote and sends what goes without waiting.
    pub(super) fn push(&mut self, stream: Stream, data: &[u8]) {
        let wanted = match stream {
            Stream::Stdout => self.wants.stdout,
            Stream::Stderr => self.wants.stderr,
        };
        if !wanted || self.gone || data.is_empty() {
            return;
        }
        if !self.raw {
            let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
            self.out.extend_from_slice(&[stream as u8 + 1, 0, 0, 0]);
            self.out.extend_from_slice(&length);
        }
        self.out.extend_from_slice(data);
        self.flush();
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) {
        while self.wants_write() && !self.gone {
            match send(self.socket.as_raw_fd(), &self.out[self.sent..], MsgFlags::MSG_NOSIGNAL) {
                Ok(n) => self.sent += n,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(_) => self.gone = true,
            }
        }
        if !self.wants_write() {
            self.out.clear();
            self.out.shrink_to(64 * 1024);
            self.sent = 0;
        }
    }

    /// What the client typed; none when it has nothing now; empty at the end of its input.
    pub(super) fn read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0u8; 32 * 1024];
        match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => {
                self.input_open = false;
                Some(vec![])
            }
            Ok(n) => {
                buffer.truncate(n);
                Some(buffer)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            Err(_) => {
                self.input_open = false;
                self.gone = true;
                Some(vec![])
            }
        }
    }

    /// No more output will come.
    pub(super) fn close(&mut self) {
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
    }

    /// Poll said that the other side has closed completely.
    pub(super) fn hung_up(&mut self) {
        self.gone = true;
    }
}
