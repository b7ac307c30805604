//! The shim's life: makes the container, moves bytes between it, the log and who is attached, tells how it ended.

use super::attach::{Attached, Stream};
use super::leftovers::Leftovers;
use super::log::{Log, now};
use super::mother::Prepared;
use super::packet::Connection;
use super::protocol::{Attach, Exec, ExitRecord, Failure, Reply, Request, Start, TraceContext};
use super::sessions::{self, Sessions};
use super::streams::{self, Input, read_some};
use crate::kernel::linux::LinuxKernel;
use crate::kernel::traced::Traced;
use crate::kernel::{Call, Fd, Kernel, linux};
use crate::runtime::facts::Facts;
use crate::runtime::interpret::StepError;
use crate::runtime::lifecycle::{self, Running};
use crate::runtime::plan::{self, Overlay, Plan};
use crate::trace::transport::NdjsonWriter;
use crate::trace::{self, Actor};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, bind, listen, socket};
use oci_spec::runtime::Spec;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long clients may take to read the last output of a container that has ended.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A container under way.
pub(super) struct Shim<'k, K: Kernel> {
    kernel: &'k K,
    start: Start,
    plan: Plan,
    running: Running,
    started: Reply,
    listener: OwnedFd,
    connections: Vec<Connection>,
    attached: Vec<Attached>,
    /// Where output is read: standard output and error, or the terminal alone.
    outputs: Vec<(Stream, OwnedFd)>,
    input: Input,
    log: Option<Log>,
    exited: Option<(i32, Option<i32>)>,
    sessions: Sessions,
    /// Looked at when the first process has ended, since the group may be gone later.
    oom_killed: bool,
}

impl Failure {
    pub(super) fn internal(message: String) -> Failure {
        Failure { exit_code: 125, op: String::new(), errno: String::new(), message }
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Failure {
        Failure {
            exit_code: error.exit_code,
            op: error.op,
            errno: crate::kernel::errno_name(error.errno),
            message: error.message,
        }
    }
}

impl<'k, K: Kernel> Shim<'k, K> {
    /// Makes the container and starts its command. The connection comes back with a failure.
    pub(super) fn start(
        kernel: &'k K,
        start: Start,
        mut fds: Vec<OwnedFd>,
        connection: Connection,
        mut prepared: Option<Prepared>,
    ) -> Result<Shim<'k, K>, (Connection, Failure)> {
        let trace = if fds.len() > start.attach.len() { Some(fds.swap_remove(start.attach.len())) } else { None };
        let trace = start.trace.as_ref().zip(trace).and_then(|(context, fd)| listen_in(context, fd));
        // What could not be prepared is made now: dropped, it takes its groups away.
        prepared = prepared.and_then(|mut prepared| prepared.ready().then_some(prepared));
        if let Some(prepared) = &mut prepared {
            prepared.expect(&start, trace);
        }
        match Self::make(kernel, &start, fds, prepared) {
            Ok((plan, running, parts)) => {
                let started = Reply::Started { pid: running.pid, at: now() };
                trace::flush();
                let _ = connection.send(&started, &[]);
                Ok(Shim {
                    kernel,
                    plan,
                    running,
                    started,
                    listener: parts.listener,
                    connections: vec![connection],
                    attached: parts.attached,
                    outputs: parts.outputs,
                    input: parts.input,
                    log: parts.log,
                    exited: None,
                    sessions: Sessions::default(),
                    oom_killed: false,
                    start,
                })
            }
            Err(failure) => {
                let _ = std::fs::remove_file(socket_path(&start));
                Err((connection, failure))
            }
        }
    }

    fn make(
        kernel: &'k K,
        start: &Start,
        fds: Vec<OwnedFd>,
        mut prepared: Option<Prepared>,
    ) -> Result<(Plan, Running, Parts), Failure> {
        let io = |what: &'static str| move |e: io::Error| Failure::internal(format!("{what}: {e}"));
        let spec = spec_of(start)?;
        let tty = spec.process().as_ref().and_then(|p| p.terminal()).unwrap_or(false);
        let plan = make_plan(start, &spec, prepared.as_ref().map(|p| p.cgroup.as_str()))?;
        let mother = prepared.as_mut().map(|p| p as &mut dyn lifecycle::Mother);
        let listener = listen_on(&socket_path(start)).map_err(io("listen for the daemon"))?;
        let log = start
            .log_path
            .as_deref()
            .map(|path| Log::open(path, start.log_limit.clone()))
            .transpose()
            .map_err(io("open the log"))?;
        let attached = fds.into_iter().zip(&start.attach).map(|(fd, wants)| Attached::new(fd, wants.clone(), tty));
        let attached = attached.collect();
        if tty {
            let streams = streams::nothing().map_err(io("open /dev/null"))?;
            let mut running = lifecycle::launch(kernel, &plan, streams, mother)?;
            let terminal = running.terminal.take();
            let master = terminal.ok_or_else(|| Failure::internal("the container opened no terminal".into()))?;
            linux::set_nonblocking(&master).map_err(|errno| Failure::internal(errno.to_string()))?;
            let writer = master.try_clone().map_err(io("dup the terminal"))?;
            let parts = Parts {
                listener,
                attached,
                outputs: vec![(Stream::Stdout, master)],
                input: Input::new(Some(writer)),
                log,
            };
            return Ok((plan, running, parts));
        }
        let pipes = streams::pipes(start.open_stdin).map_err(io("make pipes"))?;
        let running = lifecycle::launch(kernel, &plan, pipes.container, mother)?;
        let outputs = vec![(Stream::Stdout, pipes.stdout), (Stream::Stderr, pipes.stderr)];
        Ok((plan, running, Parts { listener, attached, outputs, input: Input::new(pipes.stdin), log }))
    }

    /// Serves until the container has ended and everybody has been told.
    pub(super) fn serve(mut self) -> ExitCode {
        let mut buffer = vec![0u8; 64 * 1024];
        while self.exited.is_none() || !self.outputs.is_empty() {
            if self.exited.is_some() && self.attached.iter().any(Attached::is_full) {
                // Output is not read for as long as somebody is full: who does not read now must not keep the end.
                self.flush_attached();
                self.attached.retain(|a| !a.is_full());
            }
            self.turn(&mut buffer, self.sessions.patience());
        }
        self.end_sessions(&mut buffer);
        if let Some(log) = &mut self.log {
            log.finish();
        }
        self.last_words();
        self.finish();
        ExitCode::SUCCESS
    }

    /// Waits for one event and handles all that are there.
    fn turn(&mut self, buffer: &mut [u8], timeout: PollTimeout) {
        let ready = self.wait(timeout);
        let mut ready = ready.into_iter();
        let mut next = || ready.next().unwrap_or(PollFlags::empty());
        let (ended, knock) = (next(), next());
        let asked: Vec<_> = self.connections.iter().map(|_| next()).collect();
        let attached: Vec<_> = self.attached.iter().map(|_| next()).collect();
        let outputs: Vec<_> = self.outputs.iter().map(|_| next()).collect();
        let input = if self.input_waits() { next() } else { PollFlags::empty() };
        let of_sessions: Vec<_> = ready.collect();
        if !input.is_empty() {
            self.input.flush();
        }
        self.move_output(&outputs, buffer);
        self.move_input(&attached);
        if !knock.is_empty() {
            self.accept();
        }
        self.answer(&asked);
        self.attached.retain(|a| !a.gone());
        let some_ended = self.sessions.turn(&of_sessions, buffer);
        if some_ended || (!ended.is_empty() && self.exited.is_none()) {
            self.reap();
        }
        for ended in self.sessions.ended() {
            for connection in &self.connections {
                let _ = connection.send(&ended, &[]);
            }
        }
    }

    /// What the container writes to goes with it; what was started in it besides has ended with it, or ends now.
    fn end_sessions(&mut self, buffer: &mut [u8]) {
        let deadline = Instant::now() + LAST_WORDS;
        self.sessions.kill();
        while !self.sessions.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            self.turn(buffer, PollTimeout::try_from(left).unwrap_or(PollTimeout::NONE));
        }
    }

    fn input_waits(&self) -> bool {
        self.input.fd().is_some() && self.input.wants_write()
    }

    /// poll(2) over everything, in the order that [`Shim::turn`] takes it apart.
    fn wait(&self, timeout: PollTimeout) -> Vec<PollFlags> {
        let full = self.attached.iter().any(Attached::is_full);
        let when = |on: bool, flag: PollFlags| if on { flag } else { PollFlags::empty() };
        let alive = when(self.exited.is_none(), PollFlags::POLLIN);
        let mut fds =
            vec![PollFd::new(self.running.pidfd.as_fd(), alive), PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.connections.iter().map(|c| PollFd::new(c.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.attached.iter().map(|a| {
            let read = when(a.input_open() && !self.input.is_full(), PollFlags::POLLIN);
            PollFd::new(a.fd(), read | when(a.wants_write(), PollFlags::POLLOUT))
        }));
        fds.extend(self.outputs.iter().map(|(_, fd)| PollFd::new(fd.as_fd(), when(!full, PollFlags::POLLIN))));
        if let (Some(fd), true) = (self.input.fd(), self.input.wants_write()) {
            fds.push(PollFd::new(fd, PollFlags::POLLOUT));
        }
        fds.extend(self.sessions.watched());
        let _ = poll(&mut fds, timeout);
        fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect()
    }

    fn move_output(&mut self, ready: &[PollFlags], buffer: &mut [u8]) {
        let mut ended = vec![];
        let full = self.attached.iter().any(Attached::is_full);
        for (i, ready) in ready.iter().enumerate() {
            if ready.is_empty() || full {
                continue;
            }
            let (stream, fd) = &self.outputs[i];
            match read_some(fd.as_fd(), buffer) {
                Some(0) => ended.push(i),
                Some(n) => {
                    let data = &buffer[..n];
                    if let Some(log) = &mut self.log {
                        log.write(*stream, data);
                    }
                    self.attached.iter_mut().for_each(|a| a.push(*stream, data));
                }
                None => {}
            }
        }
        for i in ended.into_iter().rev() {
            self.outputs.remove(i);
        }
    }

    fn move_input(&mut self, ready: &[PollFlags]) {
        let tty = self.outputs.len() == 1 && self.start.open_stdin && self.is_terminal();
        for (attached, ready) in self.attached.iter_mut().zip(ready) {
            if ready.contains(PollFlags::POLLOUT) {
                attached.flush();
            }
            if attached.input_open() && ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP) {
                match attached.read() {
                    Some(data) if !data.is_empty() => self.input.push(&data),
                    Some(_) if self.start.stdin_once && !tty => self.input.close(),
                    _ => {}
                }
            }
            if ready.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL)
                || (ready.contains(PollFlags::POLLHUP) && !attached.input_open())
            {
                attached.hung_up();
            }
        }
    }

    fn is_terminal(&self) -> bool {
        self.plan.init.iter().any(|s| matches!(s.act, crate::runtime::program::Act::Terminal { .. }))
    }

    fn accept(&mut self) {
        if let Ok(fd) = accept4(self.listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            self.connections.push(Connection::new(linux::adopt(fd)));
        }
    }

    fn answer(&mut self, ready: &[PollFlags]) {
        let mut closed = vec![];
        for (i, ready) in ready.iter().enumerate() {
            if ready.is_empty() {
                continue;
            }
            match self.connections[i].receive::<Request>() {
                Ok(Some((request, fds))) => {
                    let reply = self.handle(request, fds);
                    trace::flush();
                    let _ = self.connections[i].send(&reply, &[]);
                }
                Ok(None) => closed.push(i),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let reply = Reply::Refused { message: format!("that is no request: {error}") };
                    let _ = self.connections[i].send(&reply, &[]);
                }
                Err(_) => closed.push(i),
            }
        }
        for i in closed.into_iter().rev() {
            self.connections.remove(i);
        }
    }

    fn handle(&mut self, request: Request, fds: Vec<OwnedFd>) -> Reply {
        let refused = |message: &str| Reply::Refused { message: message.to_owned() };
        match request {
            Request::Start(_) | Request::Prepare { .. } => refused("this shim has its container already"),
            Request::State => self.started.clone(),
            Request::Attach(wants) => self.attach(wants, fds),
            Request::Kill { signal, trace: context } => {
                let told = context.as_ref().zip(fds.into_iter().next()).and_then(|(c, fd)| sessions::listen(c, fd));
                trace::within(told.map(|(told, _)| told), || {
                    let reply = self.kill(signal);
                    trace::flush();
                    reply
                })
            }
            Request::Exec(exec) => self.exec(*exec, fds),
            Request::ResizeExec { id, width, height } => match self.sessions.terminal(&id) {
                Some(fd) => {
                    let call = Call::IoctlTiocswinsz { fd, ws_row: height, ws_col: width };
                    self.done(&call, "the terminal takes the size of the client's window")
                }
                None => refused("the process has no terminal"),
            },
            Request::KillExec { id, signal } => match self.sessions.pid(&id) {
                Some(pid) => self.done(&Call::Kill { pid, sig: signal }, "the signal goes to a process that was added"),
                None => refused("the process has ended"),
            },
            Request::Execs => Reply::Execs { running: self.sessions.running() },
            Request::Resize { width, height } => {
                let tty = self.is_terminal();
                match (self.outputs.first(), tty) {
                    (Some((_, fd)), true) => {
                        let fd = Fd::Raw(fd.as_raw_fd());
                        let call = Call::IoctlTiocswinsz { fd, ws_row: height, ws_col: width };
                        self.done(&call, "the terminal takes the size of the client's window")
                    }
                    _ => refused("the container has no terminal"),
                }
            }
        }
    }

    fn attach(&mut self, wants: Attach, fds: Vec<OwnedFd>) -> Reply {
        match fds.into_iter().next() {
            Some(fd) => {
                let raw = self.is_terminal();
                let after_log = wants.after_log;
                let mut attached = Attached::new(fd, wants, raw);
                let reply = match &self.log {
                    Some(log) if after_log => match log.end() {
                        Ok((inode, size, unfinished)) => {
                            for (stream, text) in [Stream::Stdout, Stream::Stderr].into_iter().zip(unfinished) {
                                attached.push(stream, text);
                            }
                            Reply::Attached { inode, size }
                        }
                        Err(error) => return Reply::Refused { message: format!("look at the log: {error}") },
                    },
                    _ => Reply::Done,
                };
                self.attached.push(attached);
                reply
            }
            None => Reply::Refused { message: "attach needs a socket".into() },
        }
    }

    fn exec(&mut self, exec: Exec, fds: Vec<OwnedFd>) -> Reply {
        if self.exited.is_some() {
            return Reply::Refused { message: "the container has ended".into() };
        }
        match self.sessions.start(self.kernel, &self.start, &self.running.pidfd, exec, fds) {
            Ok(pid) => Reply::ExecStarted { pid },
            Err(failure) => Reply::Failed(failure),
        }
    }

    fn kill(&mut self, signal: i32) -> Reply {
        if self.exited.is_some() {
            return Reply::Refused { message: "the container has ended".into() };
        }
        // The shim has not waited for the process yet, so the number can't have been given to another one.
        let call = Call::Kill { pid: self.running.pid, sig: signal };
        self.done(
            &call,
            "a signal is a number that the kernel leaves with a process: what it does then is the program's own choice",
        )
    }

    fn done(&self, call: &Call, why: &'static str) -> Reply {
        match crate::kernel::traced::because(Actor::Shim, why, || self.kernel.call(call)) {
            Ok(_) => Reply::Done,
            Err(errno) => Reply::Refused { message: format!("{call}: {}", errno.desc().to_lowercase()) },
        }
    }

    fn reap(&mut self) {
        while let Some((pid, code, signal)) = linux::reap() {
            if pid == self.running.pid {
                self.exited = Some((code, signal));
                self.oom_killed = plan::cgroups::oom_killed(&self.plan.after);
                self.end_the_others();
            } else {
                self.sessions.note_end(pid, code);
            }
        }
    }

    /// Where the first process is not number 1 of a pid namespace of its own, the kernel does not end the others with it.
    fn end_the_others(&self) {
        if self.plan.has_own_processes() {
            return;
        }
        if let Err(error) = Leftovers::new(Arc::new(Traced(LinuxKernel))).clear(&self.start.cgroup) {
            eprintln!("rdock shim: {error}");
        }
    }

    /// Everybody attached gets all of the output; who does not read it in time is left behind.
    fn last_words(&mut self) {
        self.flush_attached();
        self.attached.iter_mut().for_each(Attached::close);
        self.attached.clear();
    }

    /// Sends what is queued, for a bounded time.
    fn flush_attached(&mut self) {
        let deadline = Instant::now() + LAST_WORDS;
        self.attached.iter_mut().for_each(Attached::flush);
        while self.attached.iter().any(|a| a.wants_write() && !a.gone()) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                break;
            };
            let mut fds: Vec<_> = self
                .attached
                .iter()
                .map(|a| PollFd::new(a.fd(), if a.wants_write() { PollFlags::POLLOUT } else { PollFlags::empty() }))
                .collect();
            let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::NONE));
            self.attached.iter_mut().for_each(Attached::flush);
        }
    }

    /// Writes how it ended, takes away what is left, tells everybody.
    fn finish(&mut self) {
        let (code, signal) = self.exited.unwrap_or((125, None));
        let record = ExitRecord { code, signal, oom_killed: self.oom_killed, at: now() };
        lifecycle::undo(self.kernel, &self.plan);
        if let Err(error) = persist(&self.start.exit_path, &record) {
            eprintln!("rdock shim: write {}: {error}", self.start.exit_path.display());
        }
        let _ = std::fs::remove_file(socket_path(&self.start));
        trace::flush();
        for connection in &self.connections {
            let _ = connection.send(&Reply::Exited(record.clone()), &[]);
        }
    }
}

/// From now on this process tells what it does, over `fd`. Gives back the number under which a process that it
/// makes is handed the same.
pub(super) fn listen_in(context: &TraceContext, fd: OwnedFd) -> Option<i32> {
    let raw = fd.as_raw_fd();
    let sink = Arc::new(NdjsonWriter::new(fd).ok()?);
    trace::install_process(context.trace_id.parse().ok()?, context.parent.parse().ok(), sink).ok()?;
    Some(raw)
}

/// What [`Shim::make`] has opened.
struct Parts {
    listener: OwnedFd,
    attached: Vec<Attached>,
    outputs: Vec<(Stream, OwnedFd)>,
    input: Input,
    log: Option<Log>,
}

pub(super) fn spec_of(start: &Start) -> Result<Spec, Failure> {
    let path = start.bundle.join("config.json");
    Spec::load(&path).map_err(|e| Failure::internal(format!("read {}: {e}", path.display())))
}

/// The plan for what the daemon asks for; `prepared` names the groups that were made in advance.
pub(super) fn plan_of(start: &Start, spec: &Spec, prepared: Option<&str>) -> Result<Plan, Failure> {
    let rootfs = start.rootfs.clone();
    let overlay = Overlay {
        base: rootfs.base,
        lower: rootfs.lower,
        upper: rootfs.upper,
        work: rootfs.work,
        merged: rootfs.merged,
        volatile: start.volatile,
    };
    let cgroup = &start.cgroup;
    let request = plan::Request { spec, bundle: &start.bundle, overlay: Some(overlay), cgroup, prepared };
    plan::plan(&request, &Facts::read()).map_err(|error| Failure::internal(error.to_string()))
}

fn make_plan(start: &Start, spec: &Spec, prepared: Option<&str>) -> Result<Plan, Failure> {
    let step = trace::step(Actor::Runtime, "runtime.plan")
        .why("the plan is made before anything is touched: a list of steps, each one call of the kernel")
        .arg("bundle", &start.bundle);
    match plan_of(start, spec, prepared) {
        Ok(plan) => {
            let (before, init) = (plan.before.len(), plan.init.len());
            step.ok(serde_json::json!({"before": before, "init": init}), || {
                format!("plans {before} steps around and {init} steps inside the new process")
            });
            Ok(plan)
        }
        Err(failure) => {
            let message = &failure.message;
            step.fail("EINVAL", message, || format!("can't plan this container: {message}"));
            Err(failure)
        }
    }
}

fn socket_path(start: &Start) -> PathBuf {
    start.run_dir.join("shim.sock")
}

/// Listens where a restarted daemon looks. Paths of unix sockets are short (108 bytes): a longer one is named
/// through its directory's descriptor.
fn listen_on(path: &Path) -> io::Result<OwnedFd> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    // Who may connect may kill and type: nobody but the engine's own user, whatever the umask is.
    std::fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    let directory = std::fs::File::open(directory)?;
    let name = path.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    bind(listener.as_raw_fd(), &UnixAddr::new(&short)?)?;
    listen(&listener, Backlog::new(16)?)?;
    Ok(listener)
}

/// Atomically: a reader sees all of the record or none.
fn persist(path: &Path, record: &ExitRecord) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.persist(path)?;
    Ok(())
}
