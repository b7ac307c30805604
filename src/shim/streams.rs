//! The container's standard streams as the shim holds them: pipes, or the master of a terminal.

use crate::kernel::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// What the container gets, and what the shim keeps of it.
pub(super) struct Pipes {
    /// Standard input, output, error of the container.
    pub container: [OwnedFd; 3],
    pub stdin: Option<OwnedFd>,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Three pipes; `/dev/null` for a container without standard input.
pub(super) fn pipes(open_stdin: bool) -> io::Result<Pipes> {
    let (stdin_read, stdin) = if open_stdin {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        crate::kernel::linux::set_nonblocking(&write)?;
        (read, Some(write))
    } else {
        (File::open("/dev/null")?.into(), None)
    };
    let (stdout, stdout_write) = pipe2(OFlag::O_CLOEXEC)?;
    let (stderr, stderr_write) = pipe2(OFlag::O_CLOEXEC)?;
    Ok(Pipes { container: [stdin_read, stdout_write, stderr_write], stdin, stdout, stderr })
}

/// Placeholders for a container with a terminal, whose streams init opens itself.
pub(super) fn nothing() -> io::Result<[OwnedFd; 3]> {
    let null = || File::open("/dev/null").map(OwnedFd::from);
    Ok([null()?, null()?, null()?])
}

/// One thing that poll(2) said is readable: the bytes, empty at the end. A terminal whose last user has gone
/// answers `EIO`, which is its way to say the end (pty(7)).
pub(super) fn read_some(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<usize> {
    match read(fd, buffer) {
        Ok(n) => Some(n),
        Err(Errno::EAGAIN | Errno::EINTR) => None,
        Err(_) => Some(0),
    }
}

/// Input on its way to the container.
#[derive(Default)]
pub(super) struct Input {
    fd: Option<OwnedFd>,
    pending: VecDeque<u8>,
    close_when_empty: bool,
}

/// More than this is not read from clients while the container does not read.
const FULL: usize = 64 * 1024;

impl Input {
    pub(super) fn new(fd: Option<OwnedFd>) -> Input {
        Input { fd, ..Input::default() }
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(|fd| fd.as_fd())
    }

    pub(super) fn wants_write(&self) -> bool {
        self.fd.is_some() && !self.pending.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= FULL
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        if self.fd.is_some() {
            self.pending.extend(data);
            self.flush();
        }
    }

    /// The container reads the end of its input once it has read what is pending.
    pub(super) fn close(&mut self) {
        self.close_when_empty = true;
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        while let (Some(fd), false) = (&self.fd, self.pending.is_empty()) {
            match write(fd, self.pending.as_slices().0) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                // Nobody reads any more.
                Err(_) => self.fd = None,
            }
        }
        if self.close_when_empty {
            self.fd = None;
        }
    }
}
