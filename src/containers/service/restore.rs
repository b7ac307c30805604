//! A daemon that starts finds the containers of the one before: connects to shims that are still there, takes down
//! how the others ended, and finishes what was begun.

use super::super::shim_client::{ShimProcess, reconnect};
use super::super::state::Status;
use super::super::store::Loaded;
use super::*;
use crate::shim::protocol::{Reply, Request};
use std::time::Duration;

/// How long a shim may take to say that it is there.
const STATE_PATIENCE: Duration = Duration::from_secs(5);

impl Inner {
    pub(super) async fn restore(self: &Arc<Inner>, loaded: Loaded) {
        for error in &loaded.unreadable {
            tracing::warn!(%error, "a container can't be read and is left alone");
        }
        for name in loaded.half_made {
            self.delete_half_made(name).await;
        }
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
