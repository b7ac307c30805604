//! A process that is prepared before a container is asked for: it sits in control groups made in advance and, when
//! the container is asked for, makes its first process, which is born in those groups ([`plan::prepare`] says why).

use super::packet::Connection;
use super::protocol::Start;
use super::server::{listen_in, plan_of, spec_of};
use crate::kernel::linux::{self, LinuxKernel};
use crate::kernel::traced::{Past, Recorded, Traced};
use crate::kernel::{Call, Errno, Kernel, Ret};
use crate::runtime::facts::Facts;
use crate::runtime::interpret::{Interpreter, NoParent, StepError};
use crate::runtime::lifecycle::{self, Mother, failed};
use crate::runtime::plan::{self, Preparation};
use crate::runtime::seccomp;
use crate::trace::{self, Actor};
use nix::sched::CloneFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsRawFd as _, OwnedFd};

/// The shim's hold on it.
pub(super) struct Prepared {
    /// Name of the groups.
    pub cgroup: String,
    preparation: Preparation,
    socket: Option<Connection>,
    pid: i32,
    /// Calls that were made before anybody could listen; told when somebody does.
    past: Vec<Past>,
}

/// Shim → mother, after [`Start`]: the streams and init's end of the socket come beside it.
#[derive(Serialize, Deserialize)]
struct Go {}

/// Mother → shim, first: it sits in its groups now (none), or could not join (why).
#[derive(Serialize, Deserialize)]
struct Ready {
    failure: Option<String>,
}

/// Mother → shim, once: what [`Mother::bear`] gives back (the pidfd comes beside it).
#[derive(Serialize, Deserialize)]
struct Born {
    result: Result<i32, Failed>,
}

#[derive(Serialize, Deserialize)]
struct Failed {
    op: String,
    errno: i32,
    message: String,
}

impl Prepared {
    /// Makes the groups and the process. None where there is nothing to gain, nothing could be made, or nobody is there
    /// any more who would ask for it.
    pub(super) fn make(cgroup: String, daemon: &Connection) -> Option<Prepared> {
        let preparation = plan::prepare(&cgroup, &Facts::read())?;
        // Both processes find it compiled: while a client waits there is no time for it. It takes long enough for the
        // daemon to end meanwhile, so nothing is made before.
        seccomp::warm_up();
        if daemon.is_closed() {
            return None;
        }
        let kernel = Recorded::new(LinuxKernel);
        let ends = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let mut shim = Interpreter::new(&kernel, NoParent);
        let (Ok(()), Ok((mine, theirs))) = (shim.run(&preparation.before), ends) else {
            shim.run_all(&preparation.after);
            return None;
        };
        let clone = Call::Clone3 { flags: CloneFlags::empty(), exit_signal: "SIGCHLD", cgroup: None };
        let why = "a process that joins the groups in advance, since joining takes longer than all else";
        match crate::kernel::traced::because(Actor::Shim, why, || kernel.call(&clone)) {
            Ok(Ret::Child(_)) => {
                drop(mine);
                wait_and_bear(&Connection::new(theirs), &preparation, &cgroup)
            }
            Ok(Ret::Pid { pid, pidfd }) => {
                drop(linux::adopt(pidfd));
                let socket = Connection::new(mine);
                Some(Prepared { cgroup, preparation, socket: Some(socket), pid, past: kernel.take() })
            }
            _ => {
                Interpreter::new(&kernel, NoParent).run_all(&preparation.after);
                None
            }
        }
    }

    /// Waits until the process sits in its groups: only then may they be renamed, since it joins them by name.
    pub(super) fn ready(&mut self) -> bool {
        let told = self.socket.as_ref().map(Connection::receive::<Ready>);
        matches!(told, Some(Ok(Some((Ready { failure: None }, _)))))
    }

    /// The container that was asked for, and where events go.
    pub(super) fn expect(&mut self, start: &Start, trace: Option<i32>) {
        // It plans while the shim does: the same inputs give the same plan.
        if let Some(socket) = &self.socket {
            let _ = socket.send(start, &Vec::from_iter(trace));
        }
    }

    /// The connection is the process's life line: without it, it ends.
    fn end(&mut self) {
        if self.socket.take().is_some() {
            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(self.pid), None);
        }
    }
}

impl Drop for Prepared {
    /// What was made in advance and not used (not renamed) goes.
    fn drop(&mut self) {
        self.end();
        Interpreter::new(&LinuxKernel, NoParent).run_all(&self.preparation.after);
    }
}

impl Mother for Prepared {
    fn bear(&mut self, streams: [OwnedFd; 3], up: OwnedFd) -> Result<(i32, OwnedFd), StepError> {
        let io = |e: std::io::Error| failed("ask the prepared process", Errno::from_raw(e.raw_os_error().unwrap_or(0)));
        let [stdin, stdout, stderr] = &streams;
        let fds = [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd(), up.as_raw_fd()];
        let socket = self.socket.as_ref().ok_or_else(|| failed("ask the prepared process", Errno::ENOTCONN))?;
        socket.send(&Go {}, &fds).map_err(io)?;
        let answer = socket.receive::<Born>();
        drop((streams, up));
        self.end();
        let (born, fds) = answer.map_err(io)?.ok_or_else(|| failed("the prepared process ended", Errno::ECHILD))?;
        self.past.drain(..).for_each(|call| call.tell());
        match (born.result, fds.into_iter().next()) {
            (Ok(pid), Some(pidfd)) => {
                // The groups are the container's now.
                self.preparation.after.clear();
                Ok((pid, pidfd))
            }
            (Ok(_), None) => Err(failed("the prepared process gave no pidfd", Errno::EBADF)),
            (Err(Failed { op, errno, message }), _) => {
                Err(StepError { op, errno: Errno::from_raw(errno), message, exit_code: 125 })
            }
        }
    }

    fn dismiss(&mut self) {
        self.end();
    }
}

/// The prepared process: joins, waits, makes one child of the shim, tells of it, ends.
fn wait_and_bear(socket: &Connection, preparation: &Preparation, cgroup: &str) -> ! {
    let recorded = Recorded::new(LinuxKernel);
    let joined = Interpreter::new(&recorded, NoParent).run(&preparation.join);
    let _ = socket.send(&Ready { failure: joined.as_ref().err().map(ToString::to_string) }, &[]);
    let Ok(Some((start, fds))) = socket.receive::<Start>() else { linux::exit_now(0) };
    // What the new process tells goes straight to the daemon.
    // (An explanation that nobody reads costs nothing: no descriptor comes then.)
    if let (Some(context), Some(fd)) = (&start.trace, fds.into_iter().next()) {
        listen_in(context, fd);
        recorded.take().iter().for_each(Past::tell);
    }
    let plan = spec_of(&start).and_then(|spec| plan_of(&start, &spec, Some(cgroup)));
    let Ok(Some((Go {}, fds))) = socket.receive::<Go>() else { linux::exit_now(0) };
    let mut fds = fds.into_iter();
    let (Some(stdin), Some(stdout), Some(stderr), Some(up)) = (fds.next(), fds.next(), fds.next(), fds.next()) else {
        linux::exit_now(1)
    };
    let born = match (joined, plan) {
        (Ok(()), Ok(plan)) => lifecycle::bear(&Traced(LinuxKernel), &plan, &[stdin, stdout, stderr], up),
        (Err(error), _) => Err(error),
        (_, Err(failure)) => Err(failed(&failure.message, Errno::EINVAL)),
    };
    let (result, fds) = match &born {
        Ok((pid, pidfd)) => (Ok(*pid), vec![pidfd.as_raw_fd()]),
        Err(e) => (Err(Failed { op: e.op.clone(), errno: e.errno as i32, message: e.message.clone() }), vec![]),
    };
    let _ = socket.send(&Born { result }, &fds);
    // The shim waits for the end of this process before it answers: what is written here is there by then.
    trace::flush();
    linux::exit_now(0)
}
