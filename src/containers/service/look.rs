//! Looking at a container that runs: its processes, what it uses.

use super::super::state::Status;
use super::super::{processes, usage};
use super::*;
use crate::trace::{self, Actor};
use serde_json::{Value, json};

impl Containers {
    /// The processes as ps(1) shows them (`GET /containers/{id}/top`).
    ///
    /// # Errors
    /// It does not run; options that ps does not take, or whose output has no PID.
    pub async fn top(&self, id_or_name: &str, options: &str) -> Result<Value, ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let record = entry.record();
        match record.state.status {
            Status::Running | Status::Paused => {}
            Status::Restarting => return Err(ContainerError::Restarting(record.id.clone())),
            _ => return Err(ContainerError::NotRunning(record.id.clone())),
        }
        let step = trace::step(Actor::Daemon, "container.top")
            .why(
                "a container's processes are processes of the host: its control group names them, /proc describes them",
            )
            .arg("id", &record.id)
            .arg("options", options);
        let (inner, options) = (self.inner.clone(), options.to_owned());
        let work = blocking(move || {
            let (groups, pid) = (inner.groups(&record), record.state.pid);
            let pids = processes::of_container(&groups, pid);
            Ok(processes::table(&pids, &options).map_err(ContainerError::PsOptions))
        });
        let table = work.instrument(step.span()).await?;
        match table {
            Ok(table) => {
                let count = table.processes.len();
                step.ok(json!({"processes": count}), || match count {
                    1 => "reads in /proc about 1 process".to_owned(),
                    n => format!("reads in /proc about {n} processes"),
                });
                Ok(json!({"Processes": table.processes, "Titles": table.titles}))
            }
            Err(error) => {
                step.fail("EINVAL", &error, || format!("ps can't: {error}"));
                Err(error)
            }
        }
    }

    /// What a container uses right now (`GET /containers/{id}/stats`), compared with the last time; all zero when it
    /// does not run.
    ///
    /// # Errors
    /// No such container.
    pub async fn stats(&self, id_or_name: &str, before: Option<&Value>) -> Result<Value, ContainerError> {
        let record = self.inner.find(id_or_name)?.record();
        if !record.state.status.is_live() {
            return Ok(usage::nothing(&record.id, &record.name));
        }
        let step = trace::step(Actor::Daemon, "container.stats")
            .why("the kernel counts for each control group what its processes use: the figures are files")
            .arg("id", &record.id);
        let (inner, before) = (self.inner.clone(), before.cloned());
        let work = blocking(move || {
            let groups = inner.groups(&record);
            let limited = record.config.host_config.as_ref().and_then(|h| h.memory).unwrap_or(0) > 0;
            let sample = usage::sample(&groups, record.state.pid, limited);
            Ok((usage::document(&record.id, &record.name, &sample, before.as_ref()), sample.sources))
        });
        let (document, sources) = work.instrument(step.span()).await?;
        step.ok(json!({"files": sources}), || {
            format!("reads {} files: {}", sources.len(), sources.iter().take(3).cloned().collect::<Vec<_>>().join(" "))
        });
        Ok(document)
    }
}
