//! Runs a plan: the shim's part here, the new process's part there, and undoes everything when either fails.

use super::init::{self, Message, Up};
use super::interpret::{Interpreter, NoParent, StepError};
use super::plan::Plan;
use super::plan::exec::ExecPlan;
use super::program::slot;
use crate::kernel::traced::because;
use crate::kernel::{Call, Errno, Kernel, Ret, linux};
use crate::trace::{self, Actor};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::io::IoSliceMut;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};

/// A container whose process has become its command.
#[derive(Debug)]
pub struct Running {
    /// As this process's pid namespace numbers it.
    pub pid: i32,
    /// Readable when it has ended (pidfd_open(2)).
    pub pidfd: OwnedFd,
    /// The terminal's master, where the spec asks for a terminal.
    pub terminal: Option<OwnedFd>,
    /// Keeps the container's mount namespace: the kernel takes the mounts away when this closes, and not on the way
    /// from the end of the last process to who waits for it, which takes milliseconds.
    pub mounts: Option<OwnedFd>,
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
    mut mother: Option<&mut dyn Mother>,
) -> Result<Running, StepError> {
    let mut shim = Interpreter::new(kernel, NoParent);
    let begun = shim.run(&plan.before);
    let result = begun.and_then(|()| start(kernel, &mut shim, plan, streams, mother.as_deref_mut()));
    if result.is_err() {
        if let Some(mother) = mother {
            mother.dismiss();
        }
        undo(kernel, plan);
    }
    result
}

/// A process that was prepared in advance and makes the container's first process in the caller's place, as a child
/// of the caller (`CLONE_PARENT`).
pub trait Mother {
    /// Hands over the streams and init's end of the socket; gives back pid and pidfd of the new process.
    ///
    /// # Errors
    /// The step that failed over there.
    fn bear(&mut self, streams: [OwnedFd; 3], up: OwnedFd) -> Result<(i32, OwnedFd), StepError>;

    /// Ends the process, if it is still there: groups that it sits in can't be taken away.
    fn dismiss(&mut self);
}

/// In the mother: makes the new process. There, init takes over and this does not come back.
///
/// # Errors
/// What clone3 answered.
pub fn bear<K: Kernel>(
    kernel: &K,
    plan: &Plan,
    streams: &[OwnedFd; 3],
    up: OwnedFd,
) -> Result<(i32, OwnedFd), StepError> {
    let mut mother = Interpreter::new(kernel, NoParent);
    mother.run(&plan.enter)?;
    match mother.step(&plan.clone)? {
        Ret::Child(_) => init::run(kernel, &plan.init, streams, &Up(up), &[]),
        Ret::Pid { pid, pidfd } => Ok((pid, linux::adopt(pidfd))),
        _ => Err(failed("clone3", Errno::EINVAL)),
    }
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
    mother: Option<&mut (dyn Mother + '_)>,
) -> Result<Running, StepError> {
    let (mine, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|errno| failed("socketpair", errno))?;
    // The copy begins with an empty buffer, or the same events would be told twice.
    trace::flush();
    let (pid, pidfd) = match mother {
        Some(mother) => mother.bear(streams, theirs)?,
        None => match shim.run(&plan.enter).and_then(|()| shim.step(&plan.clone))? {
            Ret::Child(_) => {
                drop(mine);
                init::run(kernel, &plan.init, &streams, &Up(theirs), &[])
            }
            Ret::Pid { pid, pidfd } => {
                drop((theirs, streams));
                (pid, linux::adopt(pidfd))
            }
            _ => return Err(failed("clone3", Errno::EINVAL)),
        },
    };
    let mounts = std::fs::File::open(format!("/proc/{pid}/ns/mnt")).ok().map(OwnedFd::from);
    let mut running = Running { pid, pidfd, terminal: None, mounts };
    match wait_for_command(&mine, &mut running, PollTimeout::NONE) {
        Ok(()) => Ok(running),
        Err(error) => {
            end(kernel, pid);
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::__WALL));
            Err(error)
        }
    }
}

/// Nobody has waited for the process yet: the number is its own.
fn end<K: Kernel>(kernel: &K, pid: i32) {
    let why = "a process that did not become its command is nobody's: it goes, whatever it is doing";
    let kill = Call::Kill { pid, sig: nix::libc::SIGKILL };
    let _ = because(Actor::Runtime, why, || kernel.call(&kill));
}

/// So long one more process may take to join its container: it needs a few milliseconds, and more only where somebody
/// stops it (a container whose groups are frozen).
const JOIN_PATIENCE: u16 = 10_000;

/// Starts one more process in a container that runs. `target` is a pidfd of the container's first process; `trace` the
/// descriptor that the new process tells over.
///
/// # Errors
/// The step that failed; nothing is left of it.
pub fn exec<K: Kernel>(
    kernel: &K,
    plan: &ExecPlan,
    streams: [OwnedFd; 3],
    target: &OwnedFd,
    trace: Option<RawFd>,
) -> Result<Running, StepError> {
    let mut shim = Interpreter::new(kernel, NoParent);
    shim.fill(slot::TARGET, target.as_raw_fd());
    shim.run(&plan.before)?;
    let (mine, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|errno| failed("socketpair", errno))?;
    trace::flush();
    let cloned = shim.step(&plan.clone);
    let group = shim.take(slot::CGROUP).map(linux::adopt);
    let (pid, pidfd) = match cloned? {
        Ret::Child(_) => {
            let mut more = vec![(slot::TARGET, target.as_raw_fd())];
            more.extend(trace.map(|fd| (slot::TRACE, fd)));
            init::run(kernel, &plan.init, &streams, &Up(theirs), &more)
        }
        Ret::Pid { pid, pidfd } => (pid, linux::adopt(pidfd)),
        _ => return Err(failed("clone3", Errno::EINVAL)),
    };
    drop((theirs, streams, group));
    let mut running = Running { pid, pidfd, terminal: None, mounts: None };
    let waited = wait_for_command(&mine, &mut running, PollTimeout::from(JOIN_PATIENCE));
    waited.map(|()| running).inspect_err(|error| {
        end(kernel, pid);
        // One in a frozen group does not end before it thaws: who serves the container reaps it then.
        if error.errno != Errno::ETIMEDOUT {
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::__WALL));
        }
    })
}

/// Reads what init says until its end of the socket closes: by execve, or because init is gone.
fn wait_for_command(socket: &OwnedFd, running: &mut Running, patience: PollTimeout) -> Result<(), StepError> {
    let mut becomes = false;
    loop {
        if patience.is_some() && poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], patience) == Ok(0) {
            return Err(failed("wait for the new process", Errno::ETIMEDOUT));
        }
        let mut bytes = [0u8; 8192];
        let mut space = nix::cmsg_space!([i32; 1]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC);
        let received = match received {
            Ok(message) => message,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(failed("recvmsg", errno)),
        };
        let length = received.bytes;
        let fds = received.cmsgs().map_err(|errno| failed("recvmsg", errno))?.flat_map(|c| match c {
            ControlMessageOwned::ScmRights(fds) => fds,
            _ => vec![],
        });
        let terminal = fds.map(linux::adopt).next();
        if length == 0 {
            // Closed by execve. Killed before it was about to make that call, init is no command that has ended.
            return if becomes || !has_ended(&running.pidfd) { Ok(()) } else { Err(killed_before_command()) };
        }
        match serde_json::from_slice(&bytes[..length]) {
            Ok(Message::Terminal) => running.terminal = terminal,
            Ok(Message::Becomes) => becomes = true,
            Ok(Message::Failed { op, errno, message, exit_code }) => {
                return Err(StepError { op, errno: Errno::from_raw(errno), message, exit_code });
            }
            Err(_) => return Err(failed("recvmsg", Errno::EPROTO)),
        }
    }
}

/// Whether the process of a pidfd has ended (pidfd_open(2): readable then).
fn has_ended(pidfd: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|n| n > 0)
}

fn killed_before_command() -> StepError {
    StepError {
        op: String::new(),
        errno: Errno::ECHILD,
        message: "the container's first process was ended before it could become the command (out of memory?)".into(),
        exit_code: 125,
    }
}

pub(crate) fn failed(what: &str, errno: Errno) -> StepError {
    StepError { op: String::new(), errno, message: format!("{what}: {}", errno.desc().to_lowercase()), exit_code: 125 }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
