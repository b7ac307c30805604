//! Runs a plan: the shim's part here, the new process's part there, and undoes everything when either fails.

use super::init::{self, Message, Up};
use super::interpret::{Interpreter, NoParent, StepError};
use super::plan::Plan;
use crate::kernel::{Errno, Kernel, Ret, linux};
use crate::trace;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair,
};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd as _, OwnedFd};

/// A container whose process has become its command.
#[derive(Debug)]
pub struct Running {
    /// As this process's pid namespace numbers it.
    pub pid: i32,
    /// Readable when it has ended (pidfd_open(2)).
    pub pidfd: OwnedFd,
    /// The terminal's master, where the spec asks for a terminal.
    pub terminal: Option<OwnedFd>,
}

/// Makes the container and starts its command. `streams` are standard input, output and error of a container
/// without a terminal.
///
/// # Errors
/// The step that failed; everything made so far is undone.
pub fn launch<K: Kernel>(
    kernel: &K,
    plan: &Plan,
    streams: [OwnedFd; 3],
) -> Result<Running, StepError> {
    let mut shim = Interpreter::new(kernel, NoParent);
    let result = shim
        .run(&plan.before)
        .and_then(|()| start(kernel, &mut shim, plan, streams));
    if result.is_err() {
        undo(kernel, plan);
    }
    result
}

/// Takes away what the kernel does not take away by itself when the container's last process has ended.
pub fn undo<K: Kernel>(kernel: &K, plan: &Plan) {
    Interpreter::new(kernel, NoParent).run_all(&plan.after);
}

fn start<K: Kernel>(
    kernel: &K,
    shim: &mut Interpreter<'_, K, NoParent>,
    plan: &Plan,
    streams: [OwnedFd; 3],
) -> Result<Running, StepError> {
    let (mine, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .map_err(|errno| failed("socketpair", errno))?;
    // The copy begins with an empty buffer, or the same events would be told twice.
    trace::flush();
    let (pid, pidfd) = match shim.step(&plan.clone)? {
        Ret::Child(_) => {
            drop(mine);
            init::run(kernel, &plan.init, &streams, &Up(theirs))
        }
        Ret::Pid { pid, pidfd } => (pid, linux::adopt(pidfd)),
        _ => return Err(failed("clone3", Errno::EINVAL)),
    };
    drop((theirs, streams));
    let mut running = Running {
        pid,
        pidfd,
        terminal: None,
    };
    match wait_for_command(&mine, &mut running) {
        Ok(()) => Ok(running),
        Err(error) => {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::__WALL));
            Err(error)
        }
    }
}

/// Reads what init says until its end of the socket closes: by execve, or because init is gone.
fn wait_for_command(socket: &OwnedFd, running: &mut Running) -> Result<(), StepError> {
    loop {
        let mut bytes = [0u8; 8192];
        let mut space = nix::cmsg_space!([i32; 1]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg::<()>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        );
        let received = match received {
            Ok(message) => message,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(failed("recvmsg", errno)),
        };
        let length = received.bytes;
        let fds = received
            .cmsgs()
            .map_err(|errno| failed("recvmsg", errno))?
            .flat_map(|c| match c {
                ControlMessageOwned::ScmRights(fds) => fds,
                _ => vec![],
            });
        let terminal = fds.map(linux::adopt).next();
        if length == 0 {
            return alive(running);
        }
        match serde_json::from_slice(&bytes[..length]) {
            Ok(Message::Terminal) => running.terminal = terminal,
            Ok(Message::Failed {
                op,
                errno,
                message,
                exit_code,
            }) => {
                return Err(StepError {
                    op,
                    errno: Errno::from_raw(errno),
                    message,
                    exit_code,
                });
            }
            Err(_) => return Err(failed("recvmsg", Errno::EPROTO)),
        }
    }
}

/// The socket also closes when init was killed before it became the command; a command that ended at once looks
/// the same from outside, but its program has taken the place of ours: only the exit status 128+9 with no word
/// from init is ambiguous, and then the container has ended either way.
fn alive(_running: &Running) -> Result<(), StepError> {
    Ok(())
}

fn failed(what: &str, errno: Errno) -> StepError {
    StepError {
        op: String::new(),
        errno,
        message: format!("{what}: {}", errno.desc().to_lowercase()),
        exit_code: 125,
    }
}
