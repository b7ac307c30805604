//! A daemon that starts finds the containers of the one before: connects to shims that are still there, takes down
//! how the others ended, and finishes what was begun.

use super::super::restart::Policy;
use super::super::shim_client::{ShimError, ShimProcess, reconnect};
use super::super::state::{State, Status};
use super::super::store::Loaded;
use super::*;
use crate::shim::leftovers::Group;
use crate::shim::protocol::{ExitRecord, Reply, Request};
use futures_util::FutureExt as _;
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long a shim may take to say that it is there, before others are asked.
const STATE_PATIENCE: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(5) };
/// The first wait before a shim that could not be asked is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What has become of a container's shim.
enum Shim {
    /// It was asked; all that it knows is noted.
    Here,
    /// Nobody listens: the container has ended.
    Gone,
    /// It could not be asked. Nothing is known, so nothing may be assumed.
    Unknown(String),
}

impl Inner {
    pub(super) async fn restore(self: &Arc<Inner>, loaded: Loaded) {
        let mut keep = HashSet::new();
        for error in &loaded.unreadable {
            tracing::warn!(%error, "a container can't be read and is left alone");
            keep.extend(error.path.parent().and_then(Path::file_name).map(|id| id.to_string_lossy().into_owned()));
        }
        for name in loaded.half_made {
            self.delete_half_made(name).await;
        }
        let inner = self.clone();
        // Nobody waits for it.
        tokio::task::spawn_blocking(move || loaded.removed.iter().for_each(|name| inner.delete_set_aside(name)));
        let entries: Vec<_> = loaded.records.into_iter().map(Entry::new).collect();
        {
            let mut table = lock(&self.table);
            for entry in &entries {
                table.names.insert(entry.record().name.clone(), entry.id.clone());
                table.entries.insert(entry.id.clone(), entry.clone());
            }
        }
        for entry in &entries {
            self.take_up(entry).await;
        }
        let up = |entry: &&Arc<Entry>| entry.record().state.status.is_up();
        keep.extend(entries.iter().filter(up).map(|entry| entry.id.clone()));
        self.sweep(keep).await;
        // Not before the sweep: what they make would be swept.
        for entry in &entries {
            self.take_up_policy(entry).await;
        }
    }

    /// Takes away what belongs to no container that runs: control groups (a shim that was kept ready may have been
    /// killed together with its daemon) and directories of sockets. A spare that has become a container's shim in
    /// the meantime has renamed its groups: it was waited for when its container was taken up.
    async fn sweep(&self, keep: HashSet<String>) {
        let (leftovers, prefix, run) = (self.leftovers.clone(), self.cgroup(""), self.run_dir(""));
        let swept = blocking(move || {
            let stray = |group: &Group| !group.name.strip_prefix(&prefix).is_some_and(|id| keep.contains(id));
            for group in leftovers.find(&prefix).iter().filter(|group| stray(group)) {
                if let Err(error) = leftovers.remove(group) {
                    tracing::warn!(%error, "a control group stays");
                }
            }
            for entry in std::fs::read_dir(run).into_iter().flatten().flatten() {
                if !keep.contains(&*entry.file_name().to_string_lossy())
                    && let Err(error) = std::fs::remove_dir_all(entry.path())
                {
                    tracing::warn!(path = %entry.path().display(), %error, "a run directory stays");
                }
            }
            Ok(())
        });
        let _ = swept.await;
    }

    /// A directory that never became a container, or was on its way out.
    async fn delete_half_made(self: &Arc<Inner>, name: String) {
        let (inner, shown) = (self.clone(), name.clone());
        let deleted = blocking(move || Ok(inner.layers.remove(inner.store.root(), &name)?));
        if let Err(error) = deleted.await {
            tracing::warn!(name = shown, %error, "a half-made container can't be deleted");
        }
    }

    async fn take_up(self: &Arc<Inner>, entry: &Arc<Entry>) {
        if entry.record().state.status != Status::Removing {
            match self.take_up_shim(entry).await {
                Shim::Here => {}
                Shim::Gone => self.take_up_end(entry).await,
                Shim::Unknown(error) => {
                    tracing::warn!(id = entry.id, error, "a shim can't be asked now");
                    self.ask_again(entry);
                }
            }
        }
        let record = entry.record();
        let over = matches!(record.state.status, Status::Exited | Status::Dead);
        if (record.state.status == Status::Removing || (record.auto_remove() && over))
            && let Err(error) = self.remove_files(entry).await
        {
            tracing::warn!(id = entry.id, %error, "a container can't be removed");
        }
    }

    /// Looks for the shim of a container; with one it runs, or has just ended.
    async fn take_up_shim(self: &Arc<Inner>, entry: &Arc<Entry>) -> Shim {
        let run_dir = self.run_dir(&entry.id);
        let client = match reconnect(&run_dir).and_then(Client::new) {
            Ok(client) => Arc::new(client),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Shim::Gone;
            }
            Err(error) => return Shim::Unknown(error.to_string()),
        };
        let state = tokio::time::timeout(STATE_PATIENCE, client.request(&Request::State, vec![])).await;
        let (pid, at) = match state {
            Ok(Ok(Reply::Started { pid, at })) => (pid, at),
            Ok(Ok(Reply::Exited(exit))) => {
                self.note_end(entry, Some(exit)).await;
                return Shim::Here;
            }
            Ok(Err(ShimError::Gone)) => return Shim::Gone,
            Ok(Err(error)) => return Shim::Unknown(error.to_string()),
            Ok(Ok(other)) => return Shim::Unknown(format!("{other:?}")),
            Err(_) => return Shim::Unknown("it gives no answer".into()),
        };
        let known = entry.record().state.status.is_live();
        let noted = self.note(entry, |record| if known { Ok(()) } else { record.state.started(pid, &at) });
        if let Err(error) = noted.await {
            tracing::warn!(id = entry.id, %error, "a shim has a container that can't run");
            return Shim::Here;
        }
        self.note_whether_paused(entry).await;
        self.take_up_execs(entry, &client).await;
        *lock(&entry.shim) = Some(client.clone());
        entry.life.send_modify(|life| life.up = true);
        self.watch_health(entry);
        let (inner, entry) = (self.clone(), entry.clone());
        tokio::spawn(async move { inner.watch(entry, client, ShimProcess::foreign()).await });
        Shim::Here
    }

    /// Asks again, less and less often, until it is known what has become of the container: a shim that can't be asked
    /// now (no descriptor is free, the machine is busy) must not cost its container.
    fn ask_again(self: &Arc<Inner>, entry: &Arc<Entry>) {
        let (inner, entry) = (self.clone(), entry.clone());
        tokio::spawn(
            async move {
                let mut wait = ASK_AGAIN;
                loop {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(STATE_PATIENCE);
                    let _command = entry.command.lock().await;
                    if entry.is_removed() || entry.shim().is_some() || !entry.record().state.status.is_live() {
                        return;
                    }
                    match inner.take_up_shim(&entry).await {
                        Shim::Here => return,
                        Shim::Gone => {
                            let exit = inner.new_end(&entry).await;
                            drop(_command);
                            inner.note_end(&entry, exit).await;
                            return;
                        }
                        Shim::Unknown(_) => {}
                    }
                }
            }
            .boxed(),
        );
    }

    /// The exit record, unless it is that of a run known already.
    async fn new_end(&self, entry: &Entry) -> Option<ExitRecord> {
        let known = entry.record().state.finished_at.clone();
        self.exit_record(&entry.id).await.filter(|exit| exit.at != known)
    }

    /// What its restart policy starts when a daemon begins. The ends that this daemon has noted itself have been judged
    /// already.
    async fn take_up_policy(self: &Arc<Inner>, entry: &Arc<Entry>) {
        let record = entry.record();
        let waits = record.state.status == Status::Restarting && lock(&entry.back_off).is_none();
        let ended = matches!(record.state.status, Status::Exited | Status::Dead);
        let begins = waits || (ended && Policy::of(&record.config).at_daemon_start(&record.state));
        if !begins {
            return;
        }
        if ended {
            let noted = self.note(entry, |record| {
                let State { exit_code, oom_killed, finished_at, .. } = record.state.clone();
                record.state.stopped_by_hand = false;
                record.state.restarting(exit_code, oom_killed, &finished_at)
            });
            if noted.await.is_err() {
                return;
            }
        }
        entry.life.send_modify(|life| life.up = true);
        tokio::spawn(self.clone().restart_after(entry.clone(), Duration::ZERO));
    }

    /// A container without a shim has ended; its exit record tells how, unless it is that of a run known already.
    async fn take_up_end(self: &Arc<Inner>, entry: &Arc<Entry>) {
        let exit = self.new_end(entry).await;
        if exit.is_some() || entry.record().state.status.is_live() {
            self.note_end(entry, exit).await;
        }
    }
}
