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
            self.kill_and_wait(entry).await?;
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
        if let Err(error) = &removed {
            let message = error.to_string();
            let noted = self.note(entry, |record| match record.state.status {
                Status::Removing => record.state.removal_failed(&message),
                _ => Ok(()),
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
        let deleted = self.delete_traced(entry).instrument(step.span()).await;
        match deleted {
            Ok(deleted) => {
                step.ok(deleted, || {
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

    async fn delete_traced(self: &Arc<Inner>, entry: &Arc<Entry>) -> Result<serde_json::Value, ContainerError> {
        if entry.record().state.status != Status::Removing {
            self.commit(entry, |record| record.state.removing()).await?;
        }
        let (inner, id, auto_remove) = (self.clone(), entry.id.clone(), entry.record().auto_remove());
        let deleted = blocking(move || {
            if auto_remove {
                // Its record says nothing of the removal: without it the directory is half-made, and goes as such.
                inner.store.forget(&id)?;
            }
            Ok(inner.layers.remove(inner.store.root(), &id)?)
        })
        .await?;
        self.clean_run_dir(&entry.id).await;
        Ok(json!(deleted))
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
