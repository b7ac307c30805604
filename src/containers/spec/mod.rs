//! From a container's configuration to its OCI runtime spec (`config.json`). Pure: values in, values out.
//!
//! What is left unsaid gets Docker's defaults, so that a program finds in the container what it finds in Docker's.

pub mod binds;
mod check;
mod isolation;
mod limits;
mod merge;
mod mounts;
mod security;
mod sent;
pub mod signal;
mod update;

pub use check::Machine;
pub use isolation::{DEFAULT_CAPABILITIES, Device, MASKED_PATHS, READONLY_PATHS};
pub use merge::{argv, merge, warnings};
pub use sent::{read, read_update};
pub use update::{Update, check_update, update};

use super::accounts::Account;
use crate::oci::ErrorKind;
use bollard_stubs::models::{ContainerCreateBody, ExecConfig};
use oci_spec::runtime::{Box as Size, BoxBuilder, Process, Root, Spec, User};
use std::collections::HashMap;
use std::path::PathBuf;

/// Version of the runtime spec that is written.
const OCI_VERSION: &str = "1.2.0";

/// Where programs are looked for when neither image nor client says.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("no command specified")]
    NoCommand,
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDir(String),
    #[error("invalid environment variable: {0}")]
    Env(String),
    #[error("'{0}' holds a NUL byte, which no program can be given")]
    Nul(String),
    #[error("invalid hostname '{0}': at most 63 characters, without spaces")]
    Hostname(String),
    #[error("Invalid signal: {0}")]
    Signal(String),
    #[error("The linux daemon does not support signal {0}")]
    NoSuchSignal(i32),
    #[error("network {0} not found")]
    Network(String),
    #[error("rdock can't do {0} yet")]
    NotYet(&'static str),
    /// In the words of Docker's daemon.
    #[error("{0}")]
    Refused(String),
}

impl SpecError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            SpecError::Network(_) => ErrorKind::NotFound,
            _ => ErrorKind::BadParameter,
        }
    }
}

/// What the spec depends on besides the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The user, as the image knows it.
    pub account: &'a Account,
    /// The host's own name, for containers that share its network or its name.
    pub host_name: &'a str,
    /// `rdock-<tag>-<id>`
    pub cgroup: &'a str,
    /// Devices of the host that were asked for, looked up.
    pub devices: &'a [Device],
    /// The first process of the container whose process numbers are shared (`--pid container:`).
    pub pid_of: Option<i32>,
    /// Likewise for `--ipc container:`.
    pub ipc_of: Option<i32>,
}

/// The name that the container has for itself: what was asked for, else the host's where it is shared, else the
/// first twelve characters of the id.
pub fn hostname(config: &ContainerCreateBody, id: &str, host_name: &str) -> String {
    match config.hostname.as_deref() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ if isolation::shares_network(config) || isolation::shares_name(config) => host_name.to_owned(),
        _ => id.get(..12).unwrap_or(id).to_owned(),
    }
}

/// Builds the spec of a merged configuration ([`merge`]).
pub fn build(config: &ContainerCreateBody, facts: &Facts<'_>) -> Spec {
    let host = config.host_config.as_ref();
    let mut root = Root::default();
    root.set_path("merged".into());
    root.set_readonly(Some(host.and_then(|h| h.readonly_rootfs).unwrap_or(false)));
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.into());
    spec.set_root(Some(root));
    spec.set_process(Some(process(config, facts)));
    let hostname = (!isolation::shares_name(config)).then(|| hostname(config, facts.id, facts.host_name));
    spec.set_hostname(hostname);
    spec.set_domainname(config.domainname.clone().filter(|d| !d.is_empty()));
    spec.set_mounts(Some(mounts::all(config, facts)));
    spec.set_annotations(annotations(config));
    spec.set_linux(Some(isolation::linux(config, facts)));
    spec
}

/// One more process of the container (`exec`): its command, user, directory and variables in place of the container's
/// own, its privileges unless it asks for all.
pub fn exec_process(config: &ContainerCreateBody, exec: &ExecConfig, facts: &Facts<'_>) -> Process {
    let mut config = config.clone();
    config.entrypoint = None;
    config.cmd.clone_from(&exec.cmd);
    config.tty = exec.tty;
    config.env = Some(config.env.into_iter().flatten().chain(exec.env.iter().flatten().cloned()).collect());
    if let Some(dir) = exec.working_dir.as_ref().filter(|d| !d.is_empty()) {
        config.working_dir = Some(dir.clone());
    }
    let mut host = config.host_config.take().unwrap_or_default();
    host.console_size.clone_from(&exec.console_size);
    config.host_config = Some(host);
    let mut process = process(&config, facts);
    if exec.privileged.unwrap_or(false) {
        process.set_capabilities(Some(isolation::all_capabilities()));
    }
    process
}

/// The client's annotations, and ours: which filter of system calls the runtime is to load.
fn annotations(config: &ContainerCreateBody) -> Option<HashMap<String, String>> {
    let host = config.host_config.as_ref();
    let mut all = host.and_then(|h| h.annotations.clone()).unwrap_or_default();
    let options = host.map_or(Ok(security::Filter::Builtin), |h| security::options(h).map(|o| o.filter));
    if options == Ok(security::Filter::Builtin) {
        all.insert(security::BUILTIN_SECCOMP.0.into(), security::BUILTIN_SECCOMP.1.into());
    }
    let init = host.and_then(|h| h.init).unwrap_or(false) && !isolation::shares_processes(config);
    if init {
        all.insert(crate::shim::words::INIT.0.into(), crate::shim::words::INIT.1.into());
    }
    (!all.is_empty()).then_some(all)
}

/// The spec as JSON, in an order that does not change from run to run (sets of capabilities are sorted).
///
/// # Errors
/// None in practice: the type has no maps with odd keys.
pub fn to_json(spec: &Spec) -> Result<serde_json::Value, serde_json::Error> {
    let mut json = serde_json::to_value(spec)?;
    for place in ["/annotations", "/linux/sysctl"] {
        if let Some(map) = json.pointer_mut(place).and_then(|m| m.as_object_mut()) {
            map.sort_keys();
        }
    }
    if let Some(sets) = json.pointer_mut("/process/capabilities").and_then(|c| c.as_object_mut()) {
        for set in sets.values_mut().filter_map(|v| v.as_array_mut()) {
            set.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    Ok(json)
}

fn process(config: &ContainerCreateBody, facts: &Facts<'_>) -> Process {
    let tty = config.tty.unwrap_or(false);
    let mut user = User::default();
    user.set_uid(facts.account.uid);
    user.set_gid(facts.account.gid);
    user.set_additional_gids(Some(facts.account.additional_gids.clone()));
    let cwd = config.working_dir.as_deref().filter(|d| !d.is_empty());
    let mut process = Process::default();
    process.set_terminal(Some(tty));
    process.set_console_size(console_size(config).filter(|_| tty));
    process.set_user(user);
    process.set_args(Some(argv(config)));
    process.set_env(Some(environment(config, facts)));
    process.set_cwd(PathBuf::from(cwd.unwrap_or("/")));
    process.set_capabilities(Some(isolation::capabilities(config, facts.account.uid)));
    process.set_rlimits(limits::of_processes(config));
    process.set_oom_score_adj(limits::oom_score(config));
    process.set_no_new_privileges(Some(isolation::no_new_privileges(config)));
    process
}

/// `HostConfig.ConsoleSize` is height, width.
fn console_size(config: &ContainerCreateBody) -> Option<Size> {
    let size = config.host_config.as_ref()?.console_size.as_ref()?;
    let (height, width) = (*size.first()? as u64, *size.get(1)? as u64);
    if height == 0 || width == 0 {
        return None;
    }
    BoxBuilder::default().height(height).width(width).build().ok()
}

/// PATH, HOSTNAME and TERM, then the configuration's own (which win), then HOME from the image's passwd. A name
/// without `=` takes the variable away.
fn environment(config: &ContainerCreateBody, facts: &Facts<'_>) -> Vec<String> {
    let key = |v: &str| v.split('=').next().unwrap_or_default().to_owned();
    let mut env = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={}", hostname(config, facts.id, facts.host_name))];
    if config.tty.unwrap_or(false) {
        env.push("TERM=xterm".to_owned());
    }
    let mut removed = vec![];
    for variable in config.env.iter().flatten() {
        let name = key(variable);
        if !variable.contains('=') {
            env.retain(|v| key(v) != name);
            removed.push(name);
        } else if let Some(at) = env.iter().position(|v| key(v) == name) {
            env[at].clone_from(variable);
        } else {
            env.push(variable.clone());
        }
    }
    if !removed.contains(&"HOME".to_owned()) && !env.iter().any(|v| key(v) == "HOME") {
        env.push(format!("HOME={}", facts.account.home));
    }
    env
}

#[cfg(test)]
mod tests;
