//! The new process: a copy of the shim that carries out its part of the plan and then becomes the command.

use super::interpret::{Interpreter, Parent, StepError};
use super::program::{Step, slot};
use crate::kernel::{Errno, Kernel, linux};
use crate::trace;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde::{Deserialize, Serialize};
use std::io::IoSlice;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

/// What init tells the shim over their socket (`SOCK_SEQPACKET`, closed by execve): nothing at all is success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "init", rename_all = "snake_case")]
pub(super) enum Message {
    /// The master of the terminal comes beside this message.
    Terminal,
    /// Only the command's execve is left. An end without this one before is no end of a command.
    Becomes,
    /// A step failed; init has ended.
    Failed { op: String, errno: i32, message: String, exit_code: i32 },
}

/// The shim's end, seen from init.
pub(super) struct Up(pub OwnedFd);

impl Up {
    fn send(&self, message: &Message, fds: &[RawFd]) -> Result<(), Errno> {
        let bytes = serde_json::to_vec(message).map_err(|_| Errno::EINVAL)?;
        let rights = [ControlMessage::ScmRights(fds)];
        let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(&bytes)], control, MsgFlags::MSG_NOSIGNAL, None).map(drop)
    }
}

impl Parent for &Up {
    fn send_terminal(&mut self, master: i32) -> Result<(), Errno> {
        self.send(&Message::Terminal, &[master])
    }

    fn becomes(&mut self) {
        // By write(2): hardly a filter of system calls forbids that one.
        if let Ok(bytes) = serde_json::to_vec(&Message::Becomes) {
            let _ = nix::unistd::write(&self.0, &bytes);
        }
    }
}

/// Carries out `program` and does not come back.
///
/// `more`: other descriptors that steps name by slots.
pub(super) fn run<K: Kernel>(
    kernel: &K,
    program: &[Step],
    streams: &[OwnedFd; 3],
    up: &Up,
    more: &[(u16, RawFd)],
) -> ! {
    linux::clear_signals();
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let mut interpreter = Interpreter::new(kernel, up);
    for (number, stream) in [slot::STDIN, slot::STDOUT, slot::STDERR].into_iter().zip(streams) {
        interpreter.fill(number, stream.as_raw_fd());
    }
    interpreter.fill(slot::UP, up.0.as_raw_fd());
    for (number, fd) in more {
        interpreter.fill(*number, *fd);
    }
    let failure = match interpreter.run(program) {
        Err(error) => error,
        // A program ends with execve, which does not come back.
        Ok(()) => StepError {
            op: "kernel.execve".into(),
            errno: Errno::EINVAL,
            message: "the plan does not end with a command".into(),
            exit_code: 125,
        },
    };
    trace::flush();
    let StepError { op, errno, message, exit_code } = failure;
    let _ = up.send(&Message::Failed { op, errno: errno as i32, message, exit_code }, &[]);
    linux::exit_now(1)
}
