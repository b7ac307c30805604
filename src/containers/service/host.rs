//! What a configuration names outside of its container: devices and directories of the host, other containers.

use super::super::spec::{Device, binds};
use super::*;
use bollard_stubs::models::{ContainerCreateBody, HostConfig};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Names in /dev that are not devices of the host, or that each container has for itself.
const NOT_OF_THE_HOST: [&str; 9] = ["pts", "ptmx", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"];

/// Containers whose namespaces are shared: their first processes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Joined {
    pub pid_of: Option<i32>,
    pub ipc_of: Option<i32>,
}

fn mode_of(config: &ContainerCreateBody, mode: fn(&HostConfig) -> &Option<String>) -> Option<&str> {
    let mode = mode(config.host_config.as_ref()?).as_deref()?;
    mode.strip_prefix("container:")
}

impl Inner {
    /// What can be told to be wrong when the container is made: containers and directories that are not there.
    pub(super) fn check_host(&self, config: &ContainerCreateBody) -> Result<(), ContainerError> {
        for name in [mode_of(config, |h| &h.pid_mode), mode_of(config, |h| &h.ipc_mode)].into_iter().flatten() {
            self.find(name)?;
        }
        let shares = config.host_config.as_ref().map_or(Ok(vec![]), binds::shares)?;
        if let Some(share) = shares.iter().find(|share| !share.make_source && !share.source.exists()) {
            let path = share.source.display();
            return Err(ContainerError::BadHost(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {path}"
            )));
        }
        Ok(())
    }

    /// The first processes of the containers that share. They must run, and who shares messages must have said so.
    pub(super) fn joined(&self, config: &ContainerCreateBody) -> Result<Joined, ContainerError> {
        let running = |name: &str| {
            let record = self.find(name)?.record();
            match record.state.pid {
                0 => Err(ContainerError::NotRunning(record.id.clone())),
                _ => Ok(record),
            }
        };
        let mut joined = Joined::default();
        if let Some(name) = mode_of(config, |h| &h.pid_mode) {
            joined.pid_of = Some(running(name)?.state.pid);
        }
        if let Some(name) = mode_of(config, |h| &h.ipc_mode) {
            let donor = running(name)?;
            let mode = donor.config.host_config.as_ref().and_then(|h| h.ipc_mode.as_deref()).unwrap_or("");
            if !matches!(mode, "shareable" | "host") {
                return Err(ContainerError::BadHost(format!(
                    "container {name}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                )));
            }
            joined.ipc_of = Some(donor.state.pid);
        }
        Ok(joined)
    }
}

/// Directories that `--volume` names and that are not there yet.
pub(super) fn make_sources(config: &ContainerCreateBody) -> Result<(), ContainerError> {
    let shares = config.host_config.as_ref().map_or(Ok(vec![]), binds::shares)?;
    for share in shares.into_iter().filter(|share| share.make_source && !share.source.exists()) {
        std::fs::create_dir_all(&share.source)
            .map_err(|source| ContainerError::Io { step: "make the directory to share", source })?;
    }
    Ok(())
}

/// The devices of `--device`, and all of the host's with `--privileged`.
pub(super) fn devices(config: &ContainerCreateBody) -> Result<Vec<Device>, ContainerError> {
    let Some(host) = &config.host_config else { return Ok(vec![]) };
    let mut all = vec![];
    if host.privileged == Some(true) {
        below(Path::new("/dev"), Path::new("/dev"), "rwm", &mut all);
    }
    for asked in host.devices.iter().flatten() {
        let source = asked.path_on_host.as_deref().unwrap_or_default();
        let target = asked.path_in_container.as_deref().filter(|t| !t.is_empty()).unwrap_or(source);
        let access = asked.cgroup_permissions.as_deref().filter(|a| !a.is_empty()).unwrap_or("rwm");
        let failed = |why: &str| {
            ContainerError::Device(format!(
                "error gathering device information while adding custom device {source:?}: {why}"
            ))
        };
        let meta = std::fs::metadata(source).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => failed("no such file or directory"),
            _ => failed(&e.to_string()),
        })?;
        if meta.is_dir() {
            below(Path::new(source), Path::new(target), access, &mut all);
        } else {
            let device = device(&meta, target.into(), access).ok_or_else(|| failed("not a device node"))?;
            all.retain(|d: &Device| d.path != device.path);
            all.push(device);
        }
    }
    Ok(all)
}

fn device(meta: &std::fs::Metadata, path: PathBuf, access: &str) -> Option<Device> {
    let kind = meta.file_type();
    (kind.is_block_device() || kind.is_char_device()).then(|| Device {
        path,
        block: kind.is_block_device(),
        major: libc::major(meta.rdev()).into(),
        minor: libc::minor(meta.rdev()).into(),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        access: access.to_owned(),
    })
}

/// All devices below a directory; links are passed over.
fn below(source: &Path, target: &Path, access: &str, all: &mut Vec<Device>) {
    let mut entries: Vec<_> = std::fs::read_dir(source).into_iter().flatten().flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if NOT_OF_THE_HOST.iter().any(|n| name == *n) {
            continue;
        }
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            below(&entry.path(), &target.join(&name), access, all);
        } else {
            all.extend(device(&meta, target.join(&name), access));
        }
    }
}
