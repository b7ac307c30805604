//! Starting a container: its spec is written, a shim is started, and the shim is asked to make the process.

use super::super::accounts::{self, Account};
use super::super::error::StartFailure;
use super::super::layers::Layers;
use super::super::shim_client::{Launched, ShimProcess};
use super::super::spec::{self, Facts};
use super::super::state::Status;
use super::host;
use super::*;
use crate::shim::protocol::{Reply, Request, Rootfs, Start};
use crate::trace::{self, Actor};
use serde_json::json;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long a shim may take to make a container: its work takes milliseconds, so one that needs more than this hangs.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a container that was killed may take to end.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// passwd(5) and group(5) of an image may be this long.
const MAX_ACCOUNT_FILE: u64 = 4 << 20;

/// A shim whose container runs.
struct Up {
    client: Arc<Client>,
    process: ShimProcess,
    pid: i32,
    at: String,
}

/// Why there is no container.
enum NotStarted {
    /// The shim says so, and has undone everything.
    Undone(StartFailure),
    /// The shim is gone, or gives no answer: what it made is still there.
    Lost(StartFailure),
}

fn note_in(record: &mut Record, pid: i32, at: &str) -> Result<(), IllegalTransition> {
    record.state.started(pid, at)?;
    super::health::beginning(record);
    Ok(())
}

/// The host's own name.
pub(super) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

impl Containers {
    /// Starts a container that does not run.
    ///
    /// # Errors
    /// [`ContainerError::AlreadyStarted`] (nothing to do), [`ContainerError::Start`] in Docker's words, …
    pub async fn start(&self, id_or_name: &str) -> Result<(), ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let (inner, asked) = (self.inner.clone(), id_or_name.to_owned());
        to_the_end(async move { inner.start(&entry, &asked).await }).await
    }
}

impl Inner {
    async fn start(self: &Arc<Inner>, entry: &Arc<Entry>, asked: &str) -> Result<(), ContainerError> {
        let _command = entry.command.lock().await;
        if entry.is_removed() {
            return Err(names::LookupError::NoSuch(asked.into()).into());
        }
        self.start_by_hand(entry).await
    }

    /// Starts it because somebody asked for it. The caller holds its `command` lock.
    pub(super) async fn start_by_hand(self: &Arc<Inner>, entry: &Arc<Entry>) -> Result<(), ContainerError> {
        let record = entry.record();
        match record.state.status {
            Status::Running | Status::Restarting => return Err(ContainerError::AlreadyStarted(record.id.clone())),
            Status::Paused => return Err(ContainerError::Paused),
            Status::Removing => return Err(ContainerError::MarkedForRemoval),
            Status::Created | Status::Exited | Status::Dead => {}
        }
        lock(&entry.back_off).take();
        let begun = self.note(entry, |record| {
            record.state.begun_by_hand();
            Ok(())
        });
        begun.await?;
        self.start_again(entry).await
    }

    /// Starts it, whoever asked for it. The caller holds its `command` lock.
    pub(super) async fn start_again(self: &Arc<Inner>, entry: &Arc<Entry>) -> Result<(), ContainerError> {
        let record = entry.record();
        // Two mounts of one writable layer at once would be undefined (overlayfs, Changes to underlying filesystems).
        let leaving = lock(&entry.leaving).take();
        if let Some(leaving) = leaving {
            let _ = leaving.await;
        }
        let attached = std::mem::take(&mut *lock(&entry.pending));
        let begun = self.bring_up(&record, attached).await;
        match begun {
            Ok(up) => self.note_start(entry, up).await,
            Err(error) => {
                self.note_failure(entry, &error).await;
                Err(error)
            }
        }
    }

    /// Writes down that it runs, tells it, and watches for the end.
    async fn note_start(self: &Arc<Inner>, entry: &Arc<Entry>, up: Up) -> Result<(), ContainerError> {
        let Up { client, process, pid, at } = up;
        let record = match self.commit(entry, |record| note_in(record, pid, &at)).await {
            Ok(record) => record,
            Err(error) => {
                // A container that the next daemon would not know of must not run.
                let _ = client.ask(&Request::Kill { signal: libc::SIGKILL, trace: None }, vec![]).await;
                let _ = tokio::time::timeout(KILL_PATIENCE, client.ended()).await;
                drop(client);
                process.reap().await;
                self.note_failure(entry, &error).await;
                return Err(error);
            }
        };
        *lock(&entry.shim) = Some(client.clone());
        entry.life.send_modify(|life| life.up = true);
        self.tell(&record, "start", []);
        self.watch_health(entry);
        let (inner, entry) = (self.clone(), entry.clone());
        tokio::spawn(async move { inner.watch(entry, client, process).await }.in_current_span());
        Ok(())
    }

    /// A start that came to nothing: the status stays, the reason is kept; `--rm` removes the container.
    async fn note_failure(self: &Arc<Inner>, entry: &Arc<Entry>, error: &ContainerError) {
        let exit_code = match error {
            ContainerError::Start(failure) if failure.is_commands_fault() => failure.exit_code,
            _ => 128,
        };
        let message = error.to_string();
        let noted = self.note(entry, |record| {
            record.state.start_failed(exit_code, &message);
            Ok(())
        });
        let _ = noted.await;
        entry.life.send_modify(|life| life.exit_code = exit_code);
        self.clean_run_dir(&entry.id).await;
        if entry.record().auto_remove()
            && let Err(error) = self.remove_files(entry).await
        {
            tracing::warn!(id = entry.id, %error, "a container that did not start could not be removed");
        }
    }

    async fn bring_up(
        self: &Arc<Inner>,
        record: &Arc<Record>,
        attached: Vec<(Attach, OwnedFd)>,
    ) -> Result<Up, ContainerError> {
        let (inner, known) = (self.clone(), record.clone());
        blocking(move || inner.prepare(&known)).await?;
        let launched = self.launch()?;
        let client = Client::new(launched.connection)
            .map_err(|source| ContainerError::Io { step: "talk to the shim", source })?;
        match self.ask_start(record, &client, attached).await {
            Ok((pid, at)) => Ok(Up { client: Arc::new(client), process: launched.process, pid, at }),
            Err(NotStarted::Undone(failure)) => {
                // The shim ends when its connection does.
                drop(client);
                launched.process.reap().await;
                Err(ContainerError::Start(failure))
            }
            Err(NotStarted::Lost(failure)) => {
                drop(client);
                launched.process.kill().await;
                self.clean_groups([self.cgroup(&record.id)].into_iter().chain(launched.spare).collect()).await;
                Err(ContainerError::Start(failure))
            }
        }
    }

    /// All that is on disk before a shim is asked: directories, and the spec with the user looked up.
    fn prepare(&self, record: &Record) -> Result<(), ContainerError> {
        let bundle = self.store.bundle(&record.id);
        let io = |step| move |source| ContainerError::Io { step, source };
        // The last run's record must not be taken for this one's.
        match std::fs::remove_file(bundle.exit()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("remove exit.json")(error)),
            _ => {}
        }
        std::fs::create_dir_all(self.run_dir(&record.id)).map_err(io("make the run directory"))?;
        if !bundle.merged().exists() {
            self.make_layer(&bundle)?;
        }
        if record.auto_remove() {
            self.layers.renew_work(&bundle.dir, "work")?;
        }
        let account = self.account(record, record.config.user.as_deref().unwrap_or(""))?;
        host::make_sources(&record.config)?;
        let (devices, joined) = (host::devices(&record.config)?, self.joined(&record.config)?);
        let facts = Facts {
            id: &record.id,
            account: &account,
            host_name: &host_name(),
            cgroup: &self.cgroup(&record.id),
            devices: &devices,
            pid_of: joined.pid_of,
            ipc_of: joined.ipc_of,
        };
        let spec = spec::to_json(&spec::build(&record.config, &facts));
        let spec = spec.map_err(|error| io("write config.json")(error.into()))?;
        Ok(self.store.save_spec(&record.id, &spec)?)
    }

    /// A user, as the container's own passwd and group know it.
    pub(super) fn account(&self, record: &Record, user: &str) -> Result<Account, ContainerError> {
        let io = |source| ContainerError::Io { step: "read the image's users", source };
        let upper = self.store.bundle(&record.id).upper();
        let lower = record.layers.lower.iter().map(|l| record.layers.base.join(l));
        let layers = Layers::open(std::iter::once(upper).chain(lower)).map_err(io)?;
        let text = |path: &str| {
            let bytes = layers.read(Path::new(path), MAX_ACCOUNT_FILE)?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let (passwd, group) = (text("/etc/passwd").map_err(io)?, text("/etc/group").map_err(io)?);
        let host = record.config.host_config.as_ref();
        let added = host.and_then(|h| h.group_add.clone()).unwrap_or_default();
        accounts::look_up(user, &added, &passwd, &group).map_err(ContainerError::from)
    }

    /// A shim takes away what it has made when its connection ends. One that is too busy for that (or stopped) is killed,
    /// and its groups go after it.
    pub(super) async fn end_spare(&self, spare: Launched) {
        drop(spare.connection);
        if !spare.process.reap().await {
            self.clean_groups(spare.spare.into_iter().collect()).await;
        }
    }

    fn launch(&self) -> Result<Launched, ContainerError> {
        let step = trace::step(Actor::Shim, "shim.start").why(
            "a small process of its own holds the container's output and exit status, so that the daemon may stop and the container goes on",
        );
        let launched = step.span().in_scope(|| self.shims.launch());
        match launched {
            Ok(launched) => {
                let (pid, spare) = (launched.process.pid(), launched.spare.is_some());
                step.ok(json!({"pid": pid, "spare": spare}), || match spare {
                    true => format!("takes the shim that was kept ready (pid {pid})"),
                    false => format!("starts a shim for the container (pid {pid})"),
                });
                Ok(launched)
            }
            Err(source) => {
                step.fail("EIO", &source, || format!("can't start a shim: {source}"));
                Err(ContainerError::Io { step: "start the shim", source })
            }
        }
    }

    async fn ask_start(
        &self,
        record: &Record,
        client: &Client,
        attached: Vec<(Attach, OwnedFd)>,
    ) -> Result<(i32, String), NotStarted> {
        let argv = spec::argv(&record.config);
        let command = argv.join(" ");
        let step = trace::step(Actor::Daemon, "container.start")
            .why("from here on the container has a process; what follows makes its surroundings, then its command")
            .arg("id", &record.id)
            .arg("command", &argv);
        let trace = self.producers.as_ref().and_then(|p| step.span().in_scope(|| p.attach()));
        let (context, socket) = trace.map_or((None, None), |(context, socket)| (Some(context), Some(socket)));
        let (attach, mut fds): (Vec<_>, Vec<_>) = attached.into_iter().unzip();
        fds.extend(socket);
        let start = self.start_message(record, attach, context);
        let request = Request::Start(Box::new(start));
        let reply = client.request(&request, fds).instrument(step.span());
        let log = self.run.join("shim.log");
        let lost = |what: String| NotStarted::Lost(StartFailure::internal(format!("{what} (see {})", log.display())));
        let failed = match tokio::time::timeout(START_PATIENCE, reply).await {
            Err(_) => lost(format!(
                "its shim gave no answer for {} seconds and was killed: start the container again",
                START_PATIENCE.as_secs()
            )),
            Ok(Err(error)) => lost(error.to_string()),
            Ok(Ok(Reply::Started { pid, at })) => {
                let short = record.short_id();
                step.ok(json!({"pid": pid}), || {
                    format!("container {short} runs {command} as process {pid} of the host")
                });
                return Ok((pid, at));
            }
            Ok(Ok(Reply::Failed(failure))) => NotStarted::Undone(failure.into()),
            Ok(Ok(other)) => lost(format!("the shim gave an unknown answer: {other:?}")),
        };
        let (NotStarted::Undone(failure) | NotStarted::Lost(failure)) = &failed;
        step.fail(&failure.errno, failure, || format!("{command} does not start: {}", failure.message));
        Err(failed)
    }

    pub(super) fn start_message(&self, record: &Record, attach: Vec<Attach>, trace: Option<TraceContext>) -> Start {
        let bundle = self.store.bundle(&record.id);
        let host = record.config.host_config.as_ref();
        let log = host.and_then(|h| h.log_config.as_ref()).and_then(|l| l.typ.as_deref());
        Start {
            id: record.id.clone(),
            run_dir: self.run_dir(&record.id),
            rootfs: Rootfs {
                base: record.layers.base.clone(),
                lower: record.layers.lower.clone(),
                upper: bundle.upper(),
                work: bundle.work(),
                merged: bundle.merged(),
            },
            log_path: (log != Some("none")).then(|| bundle.log()),
            log_limit: super::super::logs::limit(&record.config),
            exit_path: bundle.exit(),
            open_stdin: record.config.open_stdin.unwrap_or(false),
            stdin_once: record.config.stdin_once.unwrap_or(false),
            cgroup: self.cgroup(&record.id),
            volatile: record.auto_remove(),
            attach,
            trace,
            bundle: bundle.dir,
        }
    }
}
