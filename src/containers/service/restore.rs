//! A daemon that starts finds the containers of the one before: connects to shims that are still there, takes down
//! how the others ended, and finishes what was begun.

use super::super::shim_client::{ShimProcess, reconnect};
use super::super::state::Status;
use super::super::store::Loaded;
use super::*;
use crate::shim::leftovers::Group;
use crate::shim::protocol::{Reply, Request};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

/// How long a shim may take to say that it is there.
const STATE_PATIENCE: Duration = Duration::from_secs(5);

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
        keep.extend(entries.iter().filter(|entry| entry.shim().is_some()).map(|entry| entry.id.clone()));
        self.sweep(keep).await;
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
        if entry.record().state.status != Status::Removing && !self.take_up_shim(entry).await {
            self.take_up_end(entry).await;
        }
        let record = entry.record();
        let over = matches!(record.state.status, Status::Exited | Status::Dead);
        if (record.state.status == Status::Removing || (record.auto_remove() && over))
            && let Err(error) = self.remove_files(entry).await
        {
            tracing::warn!(id = entry.id, %error, "a container can't be removed");
        }
    }

    /// Whether a shim of this container is there; then the container runs, or has just ended.
    async fn take_up_shim(self: &Arc<Inner>, entry: &Arc<Entry>) -> bool {
        let run_dir = self.run_dir(&entry.id);
        let Ok(client) = reconnect(&run_dir).and_then(Client::new) else { return false };
        let client = Arc::new(client);
        let state = tokio::time::timeout(STATE_PATIENCE, client.request(&Request::State, vec![])).await;
        let (pid, at) = match state {
            Ok(Ok(Reply::Started { pid, at })) => (pid, at),
            Ok(Ok(Reply::Exited(exit))) => {
                self.note_end(entry, Some(exit)).await;
                return true;
            }
            _ => return false,
        };
        let known = entry.record().state.status.is_up();
        let noted = self.note(entry, |record| if known { Ok(()) } else { record.state.started(pid, &at) });
        if noted.await.is_err() {
            return false;
        }
        self.note_whether_paused(entry).await;
        self.take_up_execs(entry, &client).await;
        *lock(&entry.shim) = Some(client.clone());
        entry.life.send_modify(|life| life.up = true);
        let (inner, entry) = (self.clone(), entry.clone());
        tokio::spawn(async move { inner.watch(entry, client, ShimProcess::foreign()).await });
        true
    }

    /// A container without a shim has ended; its exit record tells how, unless it is that of a run known already.
    async fn take_up_end(self: &Arc<Inner>, entry: &Arc<Entry>) {
        let record = entry.record();
        let exit = self.exit_record(&entry.id).await.filter(|exit| exit.at != record.state.finished_at);
        if exit.is_some() || record.state.status.is_up() {
            self.note_end(entry, exit).await;
        }
    }
}
