//! Holding a container still and letting it go on: the freezer of its control groups.

use super::super::state::Status;
use super::*;
use crate::shim::groups::Groups;
use crate::trace::{self, Actor};
use serde_json::json;
use std::time::Duration;

/// How long the end of a container that has no groups any more may take to be told.
const ENDING: Duration = Duration::from_secs(2);

impl Containers {
    /// Stops all processes of a container where they are.
    ///
    /// # Errors
    /// It does not run, or is paused already; the kernel refuses.
    pub async fn pause(&self, id_or_name: &str) -> Result<(), ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let inner = self.inner.clone();
        to_the_end(async move { inner.pause(&entry).await }).await
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// [`ContainerError::NotPaused`].
    pub async fn unpause(&self, id_or_name: &str) -> Result<(), ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let inner = self.inner.clone();
        to_the_end(async move {
            match inner.let_go_on(&entry).await? {
                true => Ok(()),
                false => Err(ContainerError::NotPaused(entry.id.clone())),
            }
        })
        .await
    }
}

impl Inner {
    pub(super) async fn pause(&self, entry: &Arc<Entry>) -> Result<(), ContainerError> {
        let _still = entry.freezing.lock().await;
        match entry.record().state.status {
            Status::Running => {}
            Status::Paused => return Err(ContainerError::AlreadyPaused(entry.id.clone())),
            Status::Restarting => return Err(ContainerError::Restarting(entry.id.clone())),
            _ => return Err(ContainerError::NotRunning(entry.id.clone())),
        }
        if let Err(error) = self.hold(entry, true).await {
            // The groups of one that is ending go a moment before its end is told here.
            let mut life = entry.life.subscribe();
            let ended = tokio::time::timeout(ENDING, life.wait_for(|life| !life.up)).await;
            return Err(if ended.is_ok() { ContainerError::NotRunning(entry.id.clone()) } else { error });
        }
        if let Err(error) = self.commit(entry, |record| record.state.paused()).await {
            self.hold(entry, false).await?;
            return Err(error);
        }
        self.tell(&entry.record(), "pause", []);
        Ok(())
    }

    /// If it is paused, it goes on. Whether it was.
    pub(super) async fn let_go_on(&self, entry: &Entry) -> Result<bool, ContainerError> {
        let _still = entry.freezing.lock().await;
        if entry.record().state.status != Status::Paused {
            return Ok(false);
        }
        self.hold(entry, false).await?;
        // One that ends now is on its way to another state.
        if self.note(entry, |record| record.state.unpaused()).await.is_ok() {
            self.tell(&entry.record(), "unpause", []);
        }
        Ok(true)
    }

    async fn hold(&self, entry: &Entry, still: bool) -> Result<(), ContainerError> {
        let (op, why) = match still {
            true => ("container.pause", "its processes keep their memory and files, and get no processor time"),
            false => ("container.unpause", "its processes go on where they were stopped"),
        };
        let step = trace::step(Actor::Daemon, op).why(why).arg("id", &entry.id);
        let (control, groups) = (self.leftovers.control(), self.groups(&entry.record()));
        let work = blocking(move || {
            let done = if still { control.freeze(&groups) } else { control.thaw(&groups) };
            done.map_err(|error| ContainerError::CantPause { id: String::new(), reason: error.to_string() })
        });
        let short = entry.record().short_id().to_owned();
        match work.instrument(step.span()).await {
            Ok(()) => {
                let what = if still { "stands still" } else { "goes on" };
                step.ok(json!(null), || format!("container {short} {what}"));
                Ok(())
            }
            Err(ContainerError::CantPause { reason, .. }) => {
                step.fail("EIO", &reason, || format!("container {short} can't be paused or unpaused: {reason}"));
                Err(ContainerError::CantPause { id: entry.id.clone(), reason })
            }
            Err(error) => Err(error),
        }
    }

    /// Where the control groups of a container that runs are.
    pub(super) fn groups(&self, record: &Record) -> Groups {
        Groups::of(record.state.pid, &self.cgroup(&record.id))
    }

    /// What a container of an earlier daemon is: the record of one that is removed at its end does not tell.
    pub(super) async fn note_whether_paused(&self, entry: &Entry) {
        let record = entry.record();
        let frozen = self.groups(&record).is_frozen();
        let noted = match (record.state.status, frozen) {
            (Status::Running, true) => self.note(entry, |record| record.state.paused()).await,
            (Status::Paused, false) => self.note(entry, |record| record.state.unpaused()).await,
            _ => return,
        };
        if let Err(error) = noted {
            tracing::warn!(id = entry.id, %error, "a container is paused or not, and can't be noted as it is");
        }
    }
}
