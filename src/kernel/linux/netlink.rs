//! rtnetlink(7) by hand: one request, one acknowledgement. The messages are a few dozen bytes.

use super::*;
use crate::kernel::call::Netlink;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::os::fd::AsRawFd as _;

/// `struct nlmsghdr` is 16 bytes, `struct ifinfomsg` 16 (netlink(7), rtnetlink(7)).
const NLMSG_HDR: u32 = 16;
const IFINFOMSG: u32 = 16;

pub(super) fn request(request: &Netlink) -> Result<(), Errno> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let message = match request {
        Netlink::LinkUp { index, .. } => link_up(*index),
    };
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut answer = [0u8; 1024];
    let n = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    acknowledged(&answer[..n])
}

/// `RTM_NEWLINK`: sets `IFF_UP` and leaves the other flags alone (`ifi_change` is the mask).
fn link_up(index: i32) -> Vec<u8> {
    let mut m = Vec::with_capacity(32);
    m.extend((NLMSG_HDR + IFINFOMSG).to_ne_bytes());
    m.extend(libc::RTM_NEWLINK.to_ne_bytes());
    m.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    m.extend(1u32.to_ne_bytes()); // nlmsg_seq
    m.extend(0u32.to_ne_bytes()); // nlmsg_pid: the kernel fills it in
    m.extend([libc::AF_UNSPEC as u8, 0]); // ifi_family, padding
    m.extend(0u16.to_ne_bytes()); // ifi_type
    m.extend(index.to_ne_bytes());
    m.extend((libc::IFF_UP as u32).to_ne_bytes()); // ifi_flags
    m.extend((libc::IFF_UP as u32).to_ne_bytes()); // ifi_change
    m
}

/// `NLMSG_ERROR` carries a negative errno, 0 for success (netlink(7)).
fn acknowledged(answer: &[u8]) -> Result<(), Errno> {
    let kind = answer.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(16..20).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
    match (kind.map(i32::from), code) {
        (Some(libc::NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(libc::NLMSG_ERROR), Some(code)) => Err(Errno::from_raw(-code)),
        _ => Err(Errno::EPROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_up_message_has_the_length_that_its_header_says() {
        let m = link_up(1);
        assert_eq!(u32::from_ne_bytes(m[..4].try_into().unwrap()) as usize, m.len());
    }

    #[test]
    fn a_refusal_is_the_errno_of_the_kernel() {
        let mut answer = vec![0u8; 36];
        answer[4..6].copy_from_slice(&(libc::NLMSG_ERROR as u16).to_ne_bytes());
        answer[16..20].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
        assert_eq!(acknowledged(&answer), Err(Errno::EPERM));
        assert_eq!(acknowledged(&answer[..10]), Err(Errno::EPROTO));
    }
}
