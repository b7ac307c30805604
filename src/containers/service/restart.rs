//! Starting a container again: because its policy says so, or because somebody asked (`docker restart`).

use super::super::state::Status;
use super::*;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::sync::atomic::Ordering;

impl Containers {
    /// Stops the container if it is up, and starts it. What `--rm` would remove stays.
    ///
    /// # Errors
    /// As for stop and start.
    pub async fn restart(
        &self,
        id_or_name: &str,
        signal: Option<&str>,
        patience: Option<Duration>,
    ) -> Result<(), ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let (inner, asked, signal) = (self.inner.clone(), id_or_name.to_owned(), signal.map(str::to_owned));
        to_the_end(async move { inner.restart(&entry, &asked, signal.as_deref(), patience).await }).await
    }
}

impl Inner {
    async fn restart(
        self: &Arc<Inner>,
        entry: &Arc<Entry>,
        asked: &str,
        signal: Option<&str>,
        patience: Option<Duration>,
    ) -> Result<(), ContainerError> {
        let _command = entry.command.lock().await;
        if entry.is_removed() {
            return Err(names::LookupError::NoSuch(asked.into()).into());
        }
        if entry.life.borrow().up {
            entry.kept.store(true, Ordering::SeqCst);
            let stopped = self.stop_locked(entry, signal, patience).await;
            entry.kept.store(false, Ordering::SeqCst);
            match stopped {
                Err(ContainerError::AlreadyStopped(_)) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        self.start_by_hand(entry).await?;
        self.tell(&entry.record(), "restart", []);
        Ok(())
    }

    /// Starts a container that restarts, after a while, unless somebody stops or removes it before.
    ///
    /// A start leads to an end and an end to a start: this is where the types of the two futures are cut apart.
    pub(super) fn restart_after(self: Arc<Inner>, entry: Arc<Entry>, wait: Duration) -> BoxFuture<'static, ()> {
        self.restart_in_time(entry, wait).boxed()
    }

    async fn restart_in_time(self: Arc<Inner>, entry: Arc<Entry>, wait: Duration) {
        let mut life = entry.life.subscribe();
        let _ = tokio::time::timeout(wait, life.wait_for(|life| !life.up || life.removed)).await;
        let _command = entry.command.lock().await;
        if entry.is_removed() || entry.record().state.status != Status::Restarting {
            return;
        }
        if entry.record().state.stopped_by_hand {
            self.not_restarted(&entry).await;
            return;
        }
        if let Err(error) = self.start_again(&entry).await {
            tracing::warn!(id = entry.id, %error, "a container could not be started again");
            self.not_restarted(&entry).await;
        }
    }

    /// It waited for its restart, and is not started again. The caller holds its `command` lock.
    pub(super) async fn not_restarted(&self, entry: &Entry) {
        if self.note(entry, |record| record.state.not_restarted()).await.is_ok() {
            entry.life.send_modify(|life| life.up = false);
        }
    }
}
