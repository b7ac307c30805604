//! The end of a container: seen, written down, told, cleaned up after.

use super::super::clock::{now, seconds_between};
use super::super::ending::{self, End};
use super::super::restart::{Policy, Run};
use super::super::shim_client::{Ended, ShimProcess};
use super::super::state::LOST_EXIT_CODE;
use super::*;
use crate::shim::protocol::ExitRecord;
use crate::trace::{self, Actor};
use serde_json::json;
use std::sync::atomic::Ordering;

/// What is kept as the error of a container whose shim is gone.
const LOST: &str = "its shim was killed, and nobody saw how the container ended";

/// Writes the end down; the answer is how long until its policy starts it again.
fn note_in(
    record: &mut Record,
    exit: Option<&ExitRecord>,
    before: Option<Duration>,
    kept: bool,
) -> Result<Option<Duration>, IllegalTransition> {
    let (code, oom, at) = match exit {
        Some(exit) => (i64::from(exit.code), exit.oom_killed, exit.at.clone()),
        None => (LOST_EXIT_CODE, false, now()),
    };
    record.state.started_unseen(&at)?;
    let lasted = Duration::from_secs(seconds_between(&record.state.started_at, &at));
    let run = Run { exit_code: code, lasted };
    let again = Policy::of(&record.config).after(&record.state, run, before).filter(|_| !kept);
    match (again, exit) {
        (Some(_), _) => record.state.restarting(code, oom, &at)?,
        (None, Some(_)) => record.state.exited(code, oom, &at)?,
        (None, None) => record.state.lost(LOST, &at)?,
    }
    Ok(again)
}

impl Inner {
    /// Waits for the end of a running container.
    pub(super) async fn watch(self: Arc<Inner>, entry: Arc<Entry>, client: Arc<Client>, process: ShimProcess) {
        let exit = match client.ended().await {
            Ended::Exited(exit) => Some(exit),
            Ended::Broken => self.exit_record(&entry.id).await,
        };
        *lock(&entry.shim) = None;
        // Who still asks something holds the connection a moment longer; the shim does not wait for it.
        drop(client);
        // Its last moments, in which the mounts go, are for nobody to wait for but the next start.
        *lock(&entry.leaving) = Some(tokio::spawn(async { _ = process.reap().await }));
        self.note_end(&entry, exit).await;
    }

    /// What the shim wrote when the container ended.
    pub(super) async fn exit_record(&self, id: &str) -> Option<ExitRecord> {
        let path = self.store.bundle(id).exit();
        let read = blocking(move || {
            let io = |source| ContainerError::Io { step: "read exit.json", source };
            serde_json::from_slice(&std::fs::read(path).map_err(io)?).map_err(|e| io(e.into()))
        });
        read.await.ok()
    }

    /// Writes down how the container ended, explains it, tells it; `--rm` then removes the container.
    pub(super) async fn note_end(self: &Arc<Inner>, entry: &Arc<Entry>, exit: Option<ExitRecord>) {
        let step = trace::step(Actor::Container, "container.exit")
            .why("a container lives exactly as long as its first process")
            .lesson("12-detached")
            .arg("id", &entry.id);
        if exit.is_none() {
            self.clean_groups(vec![self.cgroup(&entry.id)]).await;
        }
        let before = *lock(&entry.back_off);
        let mut again = None;
        let kept = entry.kept.load(Ordering::SeqCst);
        // Decided in the moment in which it is written: a stop comes before it, or finds that it is starting again.
        let noted = self
            .note(entry, |record| match note_in(record, exit.as_ref(), before, kept) {
                Ok(wait) => {
                    again = wait;
                    Ok(())
                }
                Err(error) => Err(error),
            })
            .await;
        let record = match noted {
            Ok(record) => record,
            Err(error) => {
                step.fail("EINVAL", error, || format!("an end that does not fit: {error}"));
                return;
            }
        };
        match &exit {
            Some(exit) => {
                let end = End { code: exit.code.into(), signal: exit.signal, oom_killed: exit.oom_killed };
                let value = json!({"code": exit.code, "signal": exit.signal, "oom_killed": exit.oom_killed});
                step.ok(value, || ending::sentence(&record.config, end));
            }
            None => step.fail("EPIPE", LOST, || {
                let short = record.short_id();
                format!("container {short} is dead: {LOST} (status {LOST_EXIT_CODE})")
            }),
        }
        if !record.auto_remove() || kept {
            self.clean_run_dir(&entry.id).await;
        }
        let exit_code = record.state.exit_code;
        if record.state.oom_killed {
            self.tell(&record, "oom", []);
        }
        self.tell(
            &record,
            "die",
            [
                ("execDuration", seconds_between(&record.state.started_at, &record.state.finished_at).to_string()),
                ("exitCode", exit_code.to_string()),
            ],
        );
        entry.life.send_modify(|life| {
            life.up = again.is_some();
            life.ends += 1;
            life.exit_code = exit_code;
        });
        if let Some(wait) = again {
            *lock(&entry.back_off) = Some(wait);
            tokio::spawn(self.clone().restart_after(entry.clone(), wait));
        }
        if record.auto_remove() && !kept {
            let _command = entry.command.lock().await;
            if let Err(error) = self.remove_files(entry).await {
                tracing::warn!(id = entry.id, %error, "a container that has ended could not be removed");
            }
        }
    }

    pub(super) async fn clean_run_dir(&self, id: &str) {
        let path = self.run_dir(id);
        let cleaned = blocking(move || match std::fs::remove_dir_all(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(ContainerError::Io { step: "remove the run directory", source })
            }
            _ => Ok(()),
        });
        if let Err(error) = cleaned.await {
            tracing::warn!(id, %error, "the run directory of a container stays");
        }
    }

    /// What a shim that was killed could not clean up: control groups, and whoever is left in them.
    pub(super) async fn clean_groups(&self, names: Vec<String>) {
        let leftovers = self.leftovers.clone();
        let cleaned = blocking(move || {
            for name in names {
                if let Err(error) = leftovers.clear(&name) {
                    tracing::warn!(%error, "a control group stays");
                }
            }
            Ok(())
        });
        let _ = cleaned.await;
    }
}
