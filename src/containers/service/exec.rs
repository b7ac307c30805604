//! More processes in a container that runs (`exec`).
//!
//! An exec is made first (`POST /containers/{id}/exec`) and started later (`POST /exec/{id}/start`), by whoever knows its
//! id. The shim owns the process: it goes on when the daemon is killed, and the next daemon finds it again.

use super::super::error::ContainerError;
use super::super::execs::{Exec, ExecError, LOST_EXIT_CODE};
use super::super::shim_client::ShimError;
use super::super::spec::{self, Facts};
use super::super::state::Status;
use super::*;
use crate::shim::packet::long_message;
use crate::shim::protocol::{self, Failure, Reply, Request};
use crate::trace::{self, Actor};
use bollard_stubs::models::ExecConfig;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a shim may take to start a process.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Of what a daemon that was restarted wants to find again, so much goes into one packet.
const MAX_ABOUT: usize = 4096;

impl Containers {
    /// Makes an exec; nothing runs yet. Its id.
    ///
    /// # Errors
    /// No such container, or it does not run; no command.
    pub async fn exec_create(&self, id_or_name: &str, config: ExecConfig) -> Result<String, ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        may_exec(&entry, id_or_name)?;
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            return Err(ExecError::NoCommand.into());
        }
        let id = names::new_id().map_err(|e| ContainerError::Random(e.to_string()))?;
        let exec = Arc::new(Exec::new(id.clone(), entry.id.clone(), config));
        let mut table = lock(&self.inner.table);
        let Table { entries, execs, .. } = &mut *table;
        execs.retain(|_, exec| !exec.is_over() && entries.contains_key(&exec.container));
        execs.insert(id.clone(), exec.clone());
        drop(table);
        let action = format!("exec_create: {}", exec.command());
        self.inner.tell(&entry.record(), action, [("execID", id.clone())]);
        Ok(id)
    }

    /// What was asked for and how far it has come (`GET /exec/{id}/json`).
    ///
    /// # Errors
    /// No such exec.
    pub fn exec_inspect(&self, id: &str) -> Result<Value, ContainerError> {
        Ok(self.inner.exec(id)?.document())
    }

    /// What was asked for, where it can be started.
    ///
    /// # Errors
    /// No such exec; its container does not run; it has run already.
    pub fn exec_config(&self, id: &str) -> Result<ExecConfig, ContainerError> {
        let exec = self.inner.exec(id)?;
        let entry = self.inner.find(&exec.container)?;
        may_exec(&entry, &exec.container)?;
        Ok(exec.config.clone())
    }

    /// Starts it; the stream ends when its exit status is known. Its output is framed (raw with a terminal) and its input read at `stream`, if there is one. Returns
    /// when the command runs.
    ///
    /// # Errors
    /// It has run already; the container does not run; the command can't be run ([`ExecError::Failed`]).
    pub async fn exec_start(&self, id: &str, stream: Option<OwnedFd>) -> Result<(), ContainerError> {
        let exec = self.inner.exec(id)?;
        let entry = self.inner.find(&exec.container)?;
        may_exec(&entry, &exec.container)?;
        exec.begin()?;
        let inner = self.inner.clone();
        to_the_end(async move {
            let started = inner.exec_start(&entry, &exec, stream).await;
            if let Err(error) = &started {
                exec.ended(match error {
                    ContainerError::Exec(ExecError::Failed { code, .. }) => *code,
                    _ => 126,
                });
            }
            started
        })
        .await
    }

    /// Somebody has left its terminal by the keys for it; the process goes on.
    pub fn exec_left(&self, id: &str) {
        if let Ok(exec) = self.inner.exec(id)
            && let Ok(entry) = self.inner.find(&exec.container)
        {
            self.inner.tell(&entry.record(), "exec_detach", [("execID", exec.id.clone())]);
        }
    }

    /// Waits for its end: the exit status.
    ///
    /// # Errors
    /// No such exec.
    pub async fn exec_end(&self, id: &str) -> Result<i64, ContainerError> {
        let exec = self.inner.exec(id)?;
        Ok(exec.end().await)
    }

    /// Gives its terminal the size of the client's window.
    ///
    /// # Errors
    /// No such exec, or it does not run; the shim refuses when there is no terminal.
    pub async fn exec_resize(&self, id: &str, width: u16, height: u16) -> Result<(), ContainerError> {
        let exec = self.inner.exec(id)?;
        let entry = self.inner.find(&exec.container)?;
        let shim = entry.shim().ok_or_else(|| ContainerError::NotRunning(entry.id.clone()))?;
        Ok(shim.ask(&Request::ResizeExec { id: exec.id.clone(), width, height }, vec![]).await?)
    }
}

/// A container that runs, and is not held still.
fn may_exec(entry: &Entry, asked: &str) -> Result<(), ContainerError> {
    match entry.record().state.status {
        Status::Running => Ok(()),
        Status::Paused => Err(ExecError::Paused(asked.to_owned()).into()),
        Status::Restarting => Err(ContainerError::Restarting(entry.id.clone())),
        _ => Err(ContainerError::NotRunning(entry.id.clone())),
    }
}

impl Inner {
    fn exec(&self, id: &str) -> Result<Arc<Exec>, ContainerError> {
        let found = lock(&self.table).execs.get(id).cloned();
        Ok(found.ok_or_else(|| ExecError::NoSuch(id.to_owned()))?)
    }

    /// Those of one container that were not over yet: `ExecIDs`.
    pub(super) fn exec_ids(&self, container: &str) -> Vec<String> {
        let table = lock(&self.table);
        let live = table
            .execs
            .values()
            .filter(|e| e.container == container && !matches!(e.phase(), super::super::execs::Phase::Ended { .. }));
        let mut ids: Vec<_> = live.map(|e| e.id.clone()).collect();
        ids.sort();
        ids
    }

    async fn exec_start(
        self: &Arc<Inner>,
        entry: &Arc<Entry>,
        exec: &Arc<Exec>,
        stream: Option<OwnedFd>,
    ) -> Result<(), ContainerError> {
        // A process that joins a container while it is being frozen would be frozen half-way.
        let _still = entry.freezing.lock().await;
        may_exec(entry, &exec.container)?;
        let shim = entry.shim().ok_or_else(|| ContainerError::NotRunning(entry.id.clone()))?;
        let record = entry.record();
        let (inner, known, config) = (self.clone(), record.clone(), exec.config.clone());
        let process = blocking(move || inner.exec_process(&known, &config)).await?;
        let ended = shim.exec_ended(&exec.id);
        // The client's stream has ended only when this end of it is closed too: whoever has read it to its end asks for
        // the exit status next, and must get it.
        let io = |source| ContainerError::Io { step: "keep the stream", source };
        let held = stream.as_ref().map(OwnedFd::try_clone).transpose().map_err(io)?;
        let pid = self.ask_exec(&record, exec, &shim, process, stream).await?;
        exec.started(pid);
        let attributes = || [("execID", exec.id.clone())];
        self.tell(&record, format!("exec_start: {}", exec.command()), attributes());
        self.watch_exec(entry.clone(), exec.clone(), ended, held);
        Ok(())
    }

    fn watch_exec(
        self: &Arc<Inner>,
        entry: Arc<Entry>,
        exec: Arc<Exec>,
        ended: tokio::sync::oneshot::Receiver<i32>,
        held: Option<OwnedFd>,
    ) {
        let inner = self.clone();
        tokio::spawn(async move {
            let code = ended.await.map_or(LOST_EXIT_CODE, i64::from);
            exec.ended(code);
            drop(held);
            let attributes = [("execID", exec.id.clone()), ("exitCode", code.to_string())];
            inner.tell(&entry.record(), "exec_die", attributes);
        });
    }

    /// The process as JSON, in a file that is only in memory.
    fn exec_process(&self, record: &Record, config: &ExecConfig) -> Result<OwnedFd, ContainerError> {
        let own = config.user.as_deref().filter(|u| !u.is_empty());
        let user = own.or(record.config.user.as_deref()).unwrap_or("");
        let account = self.account(record, user)?;
        let (host_name, cgroup) = (super::start::host_name(), self.cgroup(&record.id));
        let facts = Facts {
            id: &record.id,
            account: &account,
            host_name: &host_name,
            cgroup: &cgroup,
            devices: &[],
            pid_of: None,
            ipc_of: None,
        };
        let process = spec::exec_process(&record.config, config, &facts);
        if !process.cwd().is_absolute() {
            return Err(failed(126, "Cwd must be an absolute path").into());
        }
        long_message(&process).map_err(|source| ContainerError::Io { step: "write down the process", source })
    }

    /// Asks the shim; the pid of the new process.
    async fn ask_exec(
        &self,
        record: &Record,
        exec: &Exec,
        shim: &Client,
        process: OwnedFd,
        stream: Option<OwnedFd>,
    ) -> Result<i32, ContainerError> {
        let command = exec.command();
        let step = trace::step(Actor::Daemon, "exec.start")
            .why("the container's shim makes the process: it is the one who can see how it ends, whatever happens to the daemon")
            .arg("container", &record.id)
            .arg("command", &exec.config.cmd);
        let trace = self.producers.as_ref().and_then(|p| step.span().in_scope(|| p.attach()));
        let (context, socket) = trace.unzip();
        let wants = |f: fn(&ExecConfig) -> Option<bool>| f(&exec.config).unwrap_or(false);
        let attach = stream.is_some().then(|| Attach {
            stdin: wants(|c| c.attach_stdin),
            stdout: wants(|c| c.attach_stdout),
            stderr: wants(|c| c.attach_stderr),
            after_log: false,
        });
        let about = about(&exec.config);
        let request = protocol::Exec { id: exec.id.clone(), about, attach, trace: context };
        let fds = std::iter::once(process).chain(stream).chain(socket).collect();
        let request = Request::Exec(Box::new(request));
        let reply = shim.request(&request, fds).instrument(step.span());
        let error: ContainerError = match tokio::time::timeout(START_PATIENCE, reply).await {
            Ok(Ok(Reply::ExecStarted { pid })) => {
                let short = record.short_id();
                step.ok(json!({"pid": pid}), || {
                    format!("{command} runs in container {short} as process {pid} of the host")
                });
                return Ok(pid);
            }
            Ok(Ok(Reply::Failed(failure))) => in_runcs_words(&failure, &exec.config, record).into(),
            Ok(Ok(other)) => ShimError::Unexpected(format!("{other:?}")).into(),
            Ok(Err(ShimError::Gone | ShimError::Refused(_))) => ContainerError::NotRunning(record.id.clone()),
            Ok(Err(error)) => error.into(),
            Err(_) => ShimError::Silent.into(),
        };
        step.fail("EINVAL", &error, || format!("{command} does not start: {error}"));
        Err(error)
    }

    /// Takes up the processes that an earlier daemon has started and that still run.
    pub(super) async fn take_up_execs(self: &Arc<Inner>, entry: &Arc<Entry>, shim: &Client) {
        let asked = tokio::time::timeout(START_PATIENCE, shim.request(&Request::Execs, vec![])).await;
        let Ok(Ok(Reply::Execs { running })) = asked else { return };
        for found in running {
            let config = serde_json::from_str(&found.about).unwrap_or_default();
            let ended = shim.exec_ended(&found.id);
            let exec = Arc::new(Exec::found(found.id.clone(), entry.id.clone(), config, found.pid));
            lock(&self.table).execs.insert(found.id, exec.clone());
            self.watch_exec(entry.clone(), exec, ended, None);
        }
    }
}

/// What the next daemon should know; without what may be long.
fn about(config: &ExecConfig) -> String {
    let short = ExecConfig { env: None, ..config.clone() };
    let text = serde_json::to_string(&short).unwrap_or_default();
    if text.len() <= MAX_ABOUT {
        return text;
    }
    let first = config.cmd.as_ref().and_then(|c| c.first()).map(|c| c.chars().take(256).collect::<String>());
    let shorter = ExecConfig { cmd: first.map(|c| vec![c]), user: None, working_dir: None, ..short };
    serde_json::to_string(&shorter).unwrap_or_default()
}

fn failed(code: i64, message: impl Into<String>) -> ExecError {
    ExecError::Failed { code, message: message.into() }
}

/// Clients look for these words.
fn in_runcs_words(failure: &Failure, config: &ExecConfig, record: &Record) -> ExecError {
    let own = config.working_dir.as_deref().filter(|d| !d.is_empty());
    let cwd = own.or(record.config.working_dir.as_deref()).unwrap_or("/");
    let code = if failure.exit_code == 127 { 127 } else { 126 };
    let message = match failure.op.as_str() {
        "kernel.chdir" => {
            let reason = match failure.errno.as_str() {
                "ENOENT" => "no such file or directory",
                "EACCES" => "permission denied",
                "ENOTDIR" => "not a directory",
                other => other,
            };
            format!("chdir to cwd ({cwd:?}) set in config.json failed: {reason}")
        }
        _ => failure.message.clone(),
    };
    failed(code, format!("unable to start container process: {message}"))
}
