//! One JSON message a packet over `SOCK_SEQPACKET` (unix(7)), descriptors beside it (`SCM_RIGHTS`).

use super::protocol::MAX_MESSAGE;
use crate::kernel::{Errno, linux};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// How many descriptors one message may carry (the kernel's limit is 253, `SCM_MAX_FD`).
pub const MAX_FDS: usize = 32;

/// One end.
#[derive(Debug)]
pub struct Connection(OwnedFd);

impl Connection {
    pub fn new(socket: OwnedFd) -> Self {
        Connection(socket)
    }

    /// Sends one message with descriptors, which stay open here.
    ///
    /// # Errors
    /// `EMSGSIZE`-like when too long; what sendmsg(2) answers.
    pub fn send<M: Serialize>(&self, message: &M, fds: &[RawFd]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > MAX_MESSAGE || fds.len() > MAX_FDS {
            return Err(Errno::EMSGSIZE.into());
        }
        let rights = [ControlMessage::ScmRights(fds)];
        let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(&bytes)], control, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// The next message with its descriptors; none at the end of the connection.
    ///
    /// # Errors
    /// What recvmsg(2) answers (`WouldBlock` on a non-blocking socket without a message); `InvalidData` for what is
    /// no message of this kind.
    pub fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let mut bytes = vec![0u8; MAX_MESSAGE];
        let mut space = nix::cmsg_space!([RawFd; MAX_FDS]);
        let (length, fds) = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags) {
                Ok(message) => {
                    let fds = message.cmsgs()?.flat_map(|control| match control {
                        ControlMessageOwned::ScmRights(fds) => fds,
                        _ => vec![],
                    });
                    break (message.bytes, fds.map(linux::adopt).collect::<Vec<_>>());
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        if length == 0 {
            return Ok(None);
        }
        Ok(Some((serde_json::from_slice(&bytes[..length])?, fds)))
    }
}

impl Connection {
    /// Whether the other end is closed. What it sent before may still be here to be received.
    pub fn is_closed(&self) -> bool {
        let mut end = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        let hung_up = |fd: &PollFd<'_>| fd.revents().is_some_and(|seen| seen.contains(PollFlags::POLLHUP));
        poll(&mut end, PollTimeout::ZERO).is_ok() && hung_up(&end[0])
    }
}

/// A message that may be longer than a packet: a file that is only in memory (memfd_create(2)), to be sent beside one.
///
/// # Errors
/// What memfd_create(2) and write(2) answer.
pub fn long_message(message: &impl Serialize) -> io::Result<OwnedFd> {
    let mut file = std::fs::File::from(linux::memfd_cloexec(c"message")?);
    file.write_all(&serde_json::to_vec(message)?)?;
    Ok(file.into())
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::protocol::Request;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use std::io::{Read as _, Seek as _};

    #[test]
    fn a_message_arrives_whole_with_its_descriptors() {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let (a, b) = (Connection::new(a), Connection::new(b));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"through").unwrap();
        a.send(&Request::Resize { width: 80, height: 24 }, &[file.as_raw_fd()]).unwrap();
        a.send(&Request::State, &[]).unwrap();
        let (message, mut fds) = b.receive::<Request>().unwrap().unwrap();
        assert_eq!(message, Request::Resize { width: 80, height: 24 });
        let mut received = std::fs::File::from(fds.remove(0));
        received.rewind().unwrap();
        let mut text = String::new();
        received.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        assert_eq!(b.receive::<Request>().unwrap().unwrap().0, Request::State);
        assert!(!b.is_closed());
        drop(a);
        assert!(b.is_closed());
        assert!(b.receive::<Request>().unwrap().is_none());
    }
}
