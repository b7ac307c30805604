//! The processes that `exec` has started in the container: each with streams, an attached client and an end of its own.

use super::attach::{Attached, Stream};
use super::protocol::{Exec, Failure, Reply, RunningExec, Start, TraceContext};
use super::server::spec_of;
use super::streams::{self, Input, read_some};
use crate::kernel::{Fd, Kernel, linux};
use crate::runtime::facts::Facts;
use crate::runtime::lifecycle::{self, Running};
use crate::runtime::plan::exec::{ExecPlan, ExecRequest, plan_exec};
use crate::trace::transport::NdjsonWriter;
use crate::trace::{self, Actor};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use oci_spec::runtime::Process;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of what is told about those that run, so much fits into one packet.
const LIST: usize = 48 * 1024;

/// So long output is read that comes from processes which the one that has ended left behind (as moby has it): who
/// started a service in a container must not wait for the service's end.
const LATE_OUTPUT: Duration = Duration::from_secs(2);

/// All of one container.
#[derive(Default)]
pub(super) struct Sessions(Vec<Session>);

struct Session {
    id: String,
    about: String,
    pid: i32,
    pidfd: OwnedFd,
    tty: bool,
    /// Where output is read: standard output and error, or the terminal alone.
    outputs: Vec<(Stream, OwnedFd)>,
    input: Input,
    attached: Option<Attached>,
    /// Exit status, once it has ended, and when that was seen.
    ended: Option<(i32, Instant)>,
}

impl Sessions {
    /// Starts a process in the container whose first process `target` is; gives back its number.
    pub(super) fn start<K: Kernel>(
        &mut self,
        kernel: &K,
        container: &Start,
        target: &OwnedFd,
        exec: Exec,
        fds: Vec<OwnedFd>,
    ) -> Result<i32, Failure> {
        let mut fds = fds.into_iter();
        let process = read_process(fds.next())?;
        let client = exec.attach.as_ref().and_then(|_| fds.next());
        let (told, trace) = exec.trace.as_ref().zip(fds.next()).and_then(|(c, fd)| listen(c, fd)).unzip();
        let session = trace::within(told, || {
            let session = launch(kernel, container, target, exec, &process, (client, trace));
            trace::flush();
            session
        })?;
        let pid = session.pid;
        self.0.push(session);
        Ok(pid)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What poll(2) is to watch, in the order that [`Sessions::turn`] takes the answers in.
    pub(super) fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.0.iter().flat_map(Session::watched)
    }

    /// Moves what is there. True: somebody has ended, and waits to be reaped.
    pub(super) fn turn(&mut self, mut ready: &[PollFlags], buffer: &mut [u8]) -> bool {
        let mut ended = false;
        for session in &mut self.0 {
            let own = session.watched().len();
            // Who has come since was not watched yet.
            let Some((mine, rest)) = ready.split_at_checked(own) else { break };
            ready = rest;
            ended |= session.turn(mine, buffer);
        }
        ended
    }

    pub(super) fn note_end(&mut self, pid: i32, code: i32) {
        if let Some(session) = self.0.iter_mut().find(|s| s.pid == pid && s.ended.is_none()) {
            session.ended = Some((code, Instant::now()));
        }
    }

    /// Those that have ended and whose output has all been read: what there is to tell. Their streams close when the
    /// client has read the rest.
    pub(super) fn ended(&mut self) -> Vec<Reply> {
        let mut told = vec![];
        for session in &mut self.0 {
            let Some((code, at)) = session.ended.filter(|_| !session.id.is_empty()) else { continue };
            if at.elapsed() >= LATE_OUTPUT {
                session.outputs.clear();
            }
            if session.outputs.is_empty() {
                told.push(Reply::ExecEnded { id: std::mem::take(&mut session.id), code });
            }
        }
        let flushed = |s: &Session| s.attached.as_ref().is_none_or(|a| a.gone() || !a.wants_write());
        self.0.retain(|session| !(session.id.is_empty() && flushed(session)));
        told
    }

    /// How long to wait at most for something to happen.
    pub(super) fn patience(&self) -> PollTimeout {
        let late = self.0.iter().filter(|s| !s.outputs.is_empty()).filter_map(|s| s.ended);
        let left = late.map(|(_, at)| LATE_OUTPUT.saturating_sub(at.elapsed())).min();
        // A moment more, so that the time has passed and is not almost over.
        left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::NONE)
        })
    }

    /// Ends those that the end of the container's first process has not ended (they share the host's processes).
    pub(super) fn kill(&self) {
        for session in self.0.iter().filter(|s| s.ended.is_none()) {
            let pid = nix::unistd::Pid::from_raw(session.pid);
            // Not waited for yet, so the number is nobody else's.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }

    /// The process of one that has not been waited for: its number can't be somebody else's.
    pub(super) fn pid(&self, id: &str) -> Option<i32> {
        self.0.iter().find(|s| s.id == id && s.ended.is_none()).map(|s| s.pid)
    }

    /// The terminal of one of them.
    pub(super) fn terminal(&self, id: &str) -> Option<Fd> {
        let session = self.0.iter().find(|s| s.id == id && s.tty)?;
        session.outputs.first().map(|(_, fd)| Fd::Raw(fd.as_raw_fd()))
    }

    pub(super) fn running(&self) -> Vec<RunningExec> {
        let mut room = LIST;
        let running = self.0.iter().filter(|s| s.ended.is_none());
        let fits = running.take_while(|s| {
            let size = s.about.len() + s.id.len() + 64;
            let fits = size <= room;
            room -= size.min(room);
            fits
        });
        fits.map(|s| RunningExec { id: s.id.clone(), pid: s.pid, about: s.about.clone() }).collect()
    }
}

impl Session {
    fn watched(&self) -> Vec<PollFd<'_>> {
        let when = |on: bool, flag: PollFlags| if on { flag } else { PollFlags::empty() };
        let full = self.attached.as_ref().is_some_and(Attached::is_full);
        let mut fds = vec![];
        if self.ended.is_none() {
            fds.push(PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN));
        }
        fds.extend(self.outputs.iter().map(|(_, fd)| PollFd::new(fd.as_fd(), when(!full, PollFlags::POLLIN))));
        fds.extend(self.attached.as_ref().map(|a| {
            let read = when(a.input_open() && !self.input.is_full(), PollFlags::POLLIN);
            PollFd::new(a.fd(), read | when(a.wants_write(), PollFlags::POLLOUT))
        }));
        if let (Some(fd), true) = (self.input.fd(), self.input.wants_write()) {
            fds.push(PollFd::new(fd, PollFlags::POLLOUT));
        }
        fds
    }

    fn turn(&mut self, ready: &[PollFlags], buffer: &mut [u8]) -> bool {
        let mut ready = ready.iter().copied();
        let mut next = || ready.next().unwrap_or(PollFlags::empty());
        let ended = self.ended.is_none() && !next().is_empty();
        let outputs: Vec<_> = self.outputs.iter().map(|_| next()).collect();
        let attached = if self.attached.is_some() { next() } else { PollFlags::empty() };
        if !next().is_empty() {
            self.input.flush();
        }
        self.move_output(&outputs, buffer);
        self.move_input(attached);
        ended
    }

    fn move_output(&mut self, ready: &[PollFlags], buffer: &mut [u8]) {
        let mut at = 0;
        let full = self.attached.as_ref().is_some_and(Attached::is_full);
        self.outputs.retain(|(stream, fd)| {
            let ready = ready.get(at).is_some_and(|flags| !flags.is_empty());
            at += 1;
            if !ready || full {
                return true;
            }
            match read_some(fd.as_fd(), buffer) {
                Some(0) => false,
                Some(n) => {
                    if let Some(attached) = &mut self.attached {
                        attached.push(*stream, &buffer[..n]);
                    }
                    true
                }
                None => true,
            }
        });
    }

    fn move_input(&mut self, ready: PollFlags) {
        let Some(attached) = &mut self.attached else { return };
        if ready.contains(PollFlags::POLLOUT) {
            attached.flush();
        }
        if attached.input_open() && ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP) {
            match attached.read() {
                Some(data) if !data.is_empty() => self.input.push(&data),
                Some(_) if !self.tty => self.input.close(),
                _ => {}
            }
        }
        if ready.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL)
            || (ready.contains(PollFlags::POLLHUP) && !attached.input_open())
        {
            attached.hung_up();
        }
        if attached.gone() {
            // Its process goes on and writes to nobody; a program that waits for input reads the end of it.
            self.attached = None;
            if !self.tty {
                self.input.close();
            }
        }
    }
}

fn internal(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::internal(format!("{what}: {error}"))
}

fn read_process(fd: Option<OwnedFd>) -> Result<Process, Failure> {
    let mut file = File::from(fd.ok_or_else(|| Failure::internal("exec needs a process".into()))?);
    let mut text = vec![];
    file.rewind().and_then(|()| file.read_to_end(&mut text)).map_err(|e| internal("read the process", e))?;
    serde_json::from_slice(&text).map_err(|e| internal("read the process", e))
}

/// The trace of one request, and the number of the descriptor that the new process tells over.
pub(super) fn listen(context: &TraceContext, fd: OwnedFd) -> Option<(trace::Told, i32)> {
    let raw = fd.as_raw_fd();
    let sink = Arc::new(NdjsonWriter::new(fd).ok()?);
    Some(((context.trace_id.parse().ok()?, context.parent.parse().ok(), sink), raw))
}

fn launch<K: Kernel>(
    kernel: &K,
    container: &Start,
    target: &OwnedFd,
    exec: Exec,
    process: &Process,
    (client, trace): (Option<OwnedFd>, Option<i32>),
) -> Result<Session, Failure> {
    let io = |what: &'static str| move |e: io::Error| internal(what, e);
    let plan = make_plan(container, process)?;
    let tty = process.terminal().unwrap_or(false);
    let wants = exec.attach.unwrap_or_default();
    let attached = client.map(|fd| Attached::new(fd, wants.clone(), tty));
    let start = |streams| lifecycle::exec(kernel, &plan, streams, target, trace);
    let (running, outputs, input) = if tty {
        let mut running = start(streams::nothing().map_err(io("open /dev/null"))?)?;
        let master = running.terminal.take().ok_or_else(|| Failure::internal("it opened no terminal".into()))?;
        linux::set_nonblocking(&master).map_err(|errno| internal("use the terminal", errno))?;
        let writer = master.try_clone().map_err(io("dup the terminal"))?;
        (running, vec![(Stream::Stdout, master)], Some(writer))
    } else if attached.is_none() {
        (start(streams::nothing().map_err(io("open /dev/null"))?)?, vec![], None)
    } else {
        let pipes = streams::pipes(wants.stdin).map_err(io("make pipes"))?;
        let running = start(pipes.container)?;
        (running, vec![(Stream::Stdout, pipes.stdout), (Stream::Stderr, pipes.stderr)], pipes.stdin)
    };
    let Running { pid, pidfd, .. } = running;
    let (id, about, input) = (exec.id, exec.about, Input::new(input));
    Ok(Session { id, about, pid, pidfd, tty, outputs, input, attached, ended: None })
}

fn make_plan(container: &Start, process: &Process) -> Result<ExecPlan, Failure> {
    let step = trace::step(Actor::Runtime, "runtime.plan.exec")
        .why("the plan is made before anything is touched: a list of steps, each one call of the kernel")
        .arg("bundle", &container.bundle);
    let spec = spec_of(container)?;
    let request = ExecRequest { spec: &spec, process, cgroup: &container.cgroup };
    match plan_exec(&request, &Facts::read()) {
        Ok(plan) => {
            let (before, init) = (plan.before.len() + 1, plan.init.len());
            step.ok(serde_json::json!({"before": before, "init": init}), || {
                format!("plans {before} steps around and {init} steps inside the new process")
            });
            Ok(plan)
        }
        Err(error) => {
            step.fail("EINVAL", &error, || format!("can't plan this process: {error}"));
            Err(Failure::internal(error.to_string()))
        }
    }
}
