//! Giving a container other limits and another restart policy.

use super::super::spec::{self, Machine};
use super::super::state::Status;
use super::*;
use crate::trace::{self, Actor};
use bollard_stubs::models::HostConfig;
use oci_spec::runtime::LinuxResources;
use serde_json::json;

impl Containers {
    /// Changes what `asked` says of limits and restart policy, of one that runs at once; all else is as it was. Gives
    /// back warnings.
    ///
    /// # Errors
    /// No such container; what can't be, or not with what there is; the kernel refuses, and then all is as it was.
    pub async fn update(&self, id_or_name: &str, mut asked: HostConfig) -> Result<Vec<String>, ContainerError> {
        let warnings = unweighable(&mut asked);
        spec::check_update(&asked, &Machine::read())?;
        let entry = self.inner.find(id_or_name)?;
        let (inner, name) = (self.inner.clone(), id_or_name.to_owned());
        to_the_end(async move { inner.update(&entry, &name, &asked).await }).await?;
        Ok(warnings)
    }
}

/// Docker takes a weight that this kernel has no file for, and forgets it.
fn unweighable(asked: &mut HostConfig) -> Vec<String> {
    let known = ["/sys/fs/cgroup/blkio/blkio.weight", "/sys/fs/cgroup/blkio/blkio.bfq.weight"];
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    if asked.blkio_weight.unwrap_or(0) == 0 || v2 || known.iter().any(|file| std::path::Path::new(file).exists()) {
        return vec![];
    }
    asked.blkio_weight = None;
    vec!["Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.".into()]
}

impl Inner {
    async fn update(&self, entry: &Arc<Entry>, name: &str, asked: &HostConfig) -> Result<(), ContainerError> {
        let _command = entry.command.lock().await;
        if entry.is_removed() {
            return Err(names::LookupError::NoSuch(name.into()).into());
        }
        let record = entry.record();
        let cant = |reason: &str, conflict| ContainerError::CantUpdate {
            id: entry.id.clone(),
            reason: reason.to_owned(),
            conflict,
        };
        if matches!(record.state.status, Status::Removing | Status::Dead) {
            return Err(cant("container is marked for removal and cannot be \"update\"", false));
        }
        let now = record.config.host_config.clone().unwrap_or_default();
        let spec::Update { host, limits } = spec::update(&now, asked).map_err(|reason| cant(reason, true))?;
        let live = matches!(record.state.status, Status::Running | Status::Paused);
        if live && limits != no_limits() {
            self.limit(entry, limits).await.map_err(|reason| cant(&reason, false))?;
        }
        let record = self.commit(entry, |record| {
            record.config.host_config = Some(host);
            Ok(())
        });
        self.tell(&*record.await?, "update", []);
        Ok(())
    }

    /// Writes limits to the groups of a container that runs: all of them, or none.
    async fn limit(&self, entry: &Entry, limits: LinuxResources) -> Result<(), String> {
        let why = "limits are files of the control group: a number that is written there counts at once";
        let step = trace::step(Actor::Daemon, "container.update").why(why).arg("id", &entry.id);
        let (control, groups) = (self.leftovers.control(), self.groups(&entry.record()));
        let work = blocking(move || Ok(control.limit(&groups, &limits).map_err(|error| error.to_string())));
        let done = work.instrument(step.span()).await.unwrap_or_else(|error| Err(error.to_string()));
        let short = entry.record().short_id().to_owned();
        match &done {
            Ok(()) => step.ok(json!(null), || format!("container {short} has other limits")),
            Err(reason) => step.fail("EIO", reason, || format!("container {short} keeps its limits: {reason}")),
        }
        done
    }
}

fn no_limits() -> LinuxResources {
    let mut none = LinuxResources::default();
    none.set_devices(None);
    none
}
