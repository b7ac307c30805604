//! Removing a container: its directories go, the image stays.

use super::super::state::Status;
use super::*;
use crate::trace::{self, Actor};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a container that was killed may take to end.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// `docker rm` and its switches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// A container that runs is killed first.
    pub force: bool,
    /// Its unnamed volumes go too (there are none yet).
    pub volumes: bool,
}

impl Containers {
    /// Removes a container that does not run; with `force` any.
    ///
    /// # Errors
    /// [`ContainerError::StillUp`] in Docker's words, [`ContainerError::RemovalInProgress`], what can't be deleted.
    pub async fn remove(&self, id_or_name: &str, options: RemoveOptions) -> Result<(), ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        if entry.removing.load(Ordering::SeqCst) {
            return Err(ContainerError::RemovalInProgress(entry.id.clone()));
        }
        let (inner, asked) = (self.inner.clone(), id_or_name.to_owned());
        to_the_end(async move { inner.remove(&entry, &asked, options).await }).await
    }
}

impl Inner {
    async fn remove(
        self: &Arc<Inner>,
        entry: &Arc<Entry>,
        asked: &str,
        options: RemoveOptions,
    ) -> Result<(), ContainerError> {
        let _command = entry.command.lock().await;
        if entry.is_removed() {
            return Err(names::LookupError::NoSuch(asked.into()).into());
        }
        let status = entry.record().state.status;
        if status.is_up() {
            if !options.force {
                return Err(still_up(&entry.id, status));
            }
            self.by_hand(entry).await;
            match entry.record().state.status {
                Status::Restarting => self.not_restarted(entry).await,
                _ => self.kill_and_wait(entry).await?,
            }
        }
        self.remove_files(entry).await
    }

    async fn kill_and_wait(&self, entry: &Entry) -> Result<(), ContainerError> {
        let mut life = entry.life.subscribe();
        // That it can't be killed any more means that it is ending.
        let _ = self.send(entry, libc::SIGKILL).await;
        let ended = life.wait_for(|life| !life.up);
        match tokio::time::timeout(KILL_PATIENCE, ended).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ContainerError::DoesNotEnd(entry.id.clone())),
        }
    }

    /// Deletes a container that does not run. The caller holds its `command` lock.
    pub(super) async fn remove_files(self: &Arc<Inner>, entry: &Arc<Entry>) -> Result<(), ContainerError> {
        if entry.is_removed() {
            return Ok(());
        }
        entry.removing.store(true, Ordering::SeqCst);
        let removed = self.delete(entry).await;
        if removed.is_ok() {
            self.images.released(&entry.record().image).await;
        }
        if let Err(error) = &removed {
            let message = error.to_string();
            let noted = self.note(entry, |record| {
                record.state.removing()?;
                record.state.removal_failed(&message)
            });
            let _ = noted.await;
            entry.removing.store(false, Ordering::SeqCst);
        }
        removed
    }

    async fn delete(self: &Arc<Inner>, entry: &Arc<Entry>) -> Result<(), ContainerError> {
        let record = entry.record();
        let (short, image) = (record.short_id(), record.config.image.as_deref().unwrap_or(&record.image));
        let step = trace::step(Actor::Daemon, "container.remove")
            .why("the container's own files are deleted; the image belongs to nobody and stays for the next one")
            .arg("id", &record.id)
            .arg("name", &record.name);
        let removed = self.set_aside(entry).instrument(step.span()).await;
        match removed {
            Ok(aside) => {
                step.ok(aside, || {
                    format!(
                        "removes container {short} with its writable layer, log and configuration; image {image} stays"
                    )
                });
            }
            Err(error) => {
                step.fail("EIO", &error, || format!("container {short} can't be removed: {error}"));
                return Err(error);
            }
        }
        let mut table = lock(&self.table);
        table.entries.remove(&entry.id);
        table.names.retain(|_, id| *id != entry.id);
        drop(table);
        // Nobody can start it any more: who attached and waited for that is told by the end of the stream.
        lock(&entry.pending).clear();
        entry.life.send_modify(|life| {
            life.up = false;
            life.removed = true;
        });
        self.tell(&record, "destroy", []);
        Ok(())
    }

    /// One rename, and the container is gone. Its files are deleted afterwards, in no request: that takes longer than
    /// all else, and nobody has to wait for it. A daemon that is killed before deletes them when it starts again.
    async fn set_aside(self: &Arc<Inner>, entry: &Arc<Entry>) -> Result<serde_json::Value, ContainerError> {
        let (inner, id) = (self.clone(), entry.id.clone());
        blocking(move || Ok(inner.layers.set_aside(inner.store.root(), &id, inner.store.removed())?)).await?;
        let (inner, id) = (self.clone(), entry.id.clone());
        tokio::task::spawn_blocking(move || inner.delete_set_aside(&id));
        self.clean_run_dir(&entry.id).await;
        Ok(json!({"aside": self.store.removed().join(&entry.id)}))
    }

    /// Deletes what was set aside under this name.
    pub(super) fn delete_set_aside(&self, name: &str) {
        if let Err(error) = self.layers.remove(self.store.removed(), name) {
            tracing::warn!(name, %error, "files of a removed container stay until the daemon starts again");
        }
    }
}

fn still_up(id: &str, status: Status) -> ContainerError {
    let (status, advice) = match status {
        Status::Paused => ("paused", "Unpause and then stop the container"),
        Status::Restarting => ("restarting", "Stop the container"),
        _ => ("running", "Stop the container"),
    };
    ContainerError::StillUp { id: id.to_owned(), status, advice }
}
