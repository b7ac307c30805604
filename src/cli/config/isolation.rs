//! Options about what keeps a container apart: privileges, namespaces, devices, files.

use super::values;
use crate::cli::config::mount::{self, Mount};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Privileges, namespaces, devices and mounts.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Isolation {
    /// Add Linux capabilities
    #[arg(long, value_name = "list")]
    pub cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "list")]
    pub cap_drop: Vec<String>,
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true,
        help = "Cgroup namespace to use (host|private)\n'host':    Run the container in the Docker host's cgroup namespace\n'private': Run the container in its own private cgroup namespace\n'':        Use the cgroup namespace as configured by the\n           default-cgroupns-mode option on the daemon (default)"
    )]
    pub cgroupns: String,
    /// Add a host device to the container
    #[arg(long, value_name = "list")]
    pub device: Vec<String>,
    /// Add a rule to the cgroup allowed devices list
    #[arg(long, value_name = "list", value_parser = values::device_rule)]
    pub device_cgroup_rule: Vec<String>,
    /// GPU devices to add to the container ('all' to pass all GPUs)
    #[arg(long, value_name = "gpu-request", value_parser = values::gpus)]
    pub gpus: Option<i64>,
    /// Add additional groups to join
    #[arg(long, value_name = "list")]
    pub group_add: Vec<String>,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long)]
    pub init: bool,
    /// IPC mode to use
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub ipc: String,
    /// Container isolation technology
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub isolation: String,
    /// Attach a filesystem mount to the container
    #[arg(long, value_name = "mount", value_parser = mount::mount)]
    pub mount: Vec<Mount>,
    /// PID namespace to use
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub pid: String,
    /// Give extended privileges to this container
    #[arg(long)]
    pub privileged: bool,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    pub read_only: bool,
    /// Runtime to use for this container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub runtime: String,
    /// Security Options
    #[arg(long, value_name = "list")]
    pub security_opt: Vec<String>,
    /// Storage driver options for the container
    #[arg(long, value_name = "list")]
    pub storage_opt: Vec<String>,
    /// Sysctl options (default map[])
    #[arg(long, value_name = "map", value_parser = values::sysctl)]
    pub sysctl: Vec<String>,
    /// Mount a tmpfs directory
    #[arg(long, value_name = "list")]
    pub tmpfs: Vec<String>,
    /// User namespace to use
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub userns: String,
    /// UTS namespace to use
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub uts: String,
    /// Bind mount a volume
    #[arg(short = 'v', long, value_name = "list")]
    pub volume: Vec<String>,
    /// Optional volume driver for the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub volume_driver: String,
    /// Mount volumes from the specified container(s)
    #[arg(long, value_name = "list")]
    pub volumes_from: Vec<String>,
}

/// What of `--security-opt` goes into which field.
#[derive(Debug, Default)]
pub struct Security {
    pub options: Vec<String>,
    /// `systempaths=unconfined`: nothing is masked or read-only.
    pub paths_open: bool,
}

impl Isolation {
    pub fn check(&self) -> Result<(), String> {
        let joins = |mode: &str| mode.strip_prefix("container:").is_some_and(|c| !c.is_empty());
        let rules = [
            ("pid", "PID", matches!(self.pid.as_str(), "" | "host") || joins(&self.pid)),
            ("uts", "UTS", matches!(self.uts.as_str(), "" | "host")),
            ("userns", "USER", matches!(self.userns.as_str(), "" | "host")),
            ("cgroupns", "CGROUP", matches!(self.cgroupns.as_str(), "" | "host" | "private")),
        ];
        match rules.into_iter().find(|(_, _, good)| !good) {
            Some((flag, what, _)) => Err(format!("--{flag}: invalid {what} mode")),
            None => Ok(()),
        }
    }

    /// Names as the kernel has them (`CAP_…`), sorted, each once: those to add and those to drop.
    pub fn capabilities(&self) -> (Vec<String>, Vec<String>) {
        let normal = |names: &[String]| -> Vec<String> {
            let whole = |name: &String| match name.trim().to_ascii_uppercase() {
                name if name == "ALL" || name.starts_with("CAP_") => name,
                name => format!("CAP_{name}"),
            };
            names.iter().map(whole).collect::<BTreeSet<_>>().into_iter().collect()
        };
        (normal(&self.cap_add), normal(&self.cap_drop))
    }

    /// `--security-opt`; a seccomp profile is read here, since the daemon may be on another machine.
    pub fn security(&self) -> Result<Security, String> {
        let mut security = Security::default();
        for option in &self.security_opt {
            if option == "systempaths=unconfined" {
                security.paths_open = true;
                continue;
            }
            let (key, value) = match (option.split_once('='), option.split_once(':')) {
                (Some(pair), _) => pair,
                (None, Some(pair)) if !option.starts_with("no-new-privileges") => pair,
                _ => (option.as_str(), ""),
            };
            if value.is_empty() && key != "no-new-privileges" && !key.starts_with("no-new-privileges:") {
                return Err(format!("Invalid --security-opt: {option:?}"));
            }
            security.options.push(match (key, value) {
                ("seccomp", "builtin" | "unconfined") => option.clone(),
                ("seccomp", file) => format!("seccomp={}", profile(file)?),
                _ => option.clone(),
            });
        }
        Ok(security)
    }

    /// Devices of the host, and those that a vendor's description names (CDI).
    pub fn devices(&self) -> Result<(Vec<Value>, Vec<Value>), String> {
        let (mut devices, mut named) = (vec![], vec![]);
        for spec in &self.device {
            if is_named(spec) {
                named.push(spec.clone());
            } else {
                devices.push(device(spec)?);
            }
        }
        let mut requests = vec![];
        if let Some(count) = self.gpus {
            requests.push(
                json!({"Driver": "", "Count": count, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": {}}),
            );
        }
        if !named.is_empty() {
            requests
                .push(json!({"Driver": "cdi", "Count": 0, "DeviceIDs": named, "Capabilities": null, "Options": null}));
        }
        Ok((devices, requests))
    }
}

/// `vendor.com/class=name`
fn is_named(spec: &str) -> bool {
    let Some((kind, name)) = spec.split_once('=') else { return false };
    let starts = |s: &str| s.starts_with(|c: char| c.is_ascii_alphabetic());
    !name.is_empty() && kind.split_once('/').is_some_and(|(vendor, class)| starts(vendor) && starts(class))
}

/// `SOURCE[:TARGET][:rwm]`
fn device(spec: &str) -> Result<Value, String> {
    let access = |mode: &str| {
        let once = |c| mode.matches(c).count() <= 1;
        !mode.is_empty() && mode.chars().all(|c| "rwm".contains(c) && once(c))
    };
    let bad = || format!("bad format for path: {spec}");
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, mode) = match parts[..] {
        ["", ..] => return Err(bad()),
        [source] => (source, source, "rwm"),
        [source, mode] if access(mode) => (source, source, mode),
        [source, target] => (source, target, "rwm"),
        [_, _, mode] if !access(mode) => return Err(format!("bad mode specified: {mode}")),
        [source, target, mode] => (source, target, mode),
        _ => return Err(bad()),
    };
    if !target.starts_with('/') {
        return Err(format!("{target} is not an absolute path"));
    }
    Ok(json!({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode}))
}

fn profile(file: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        let why = match e.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
            _ => e.to_string(),
        };
        format!("opening seccomp profile ({file}) failed: open {file}: {why}")
    })?;
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        return Err(format!("compacting json for seccomp profile ({file}) failed: {error}"));
    }
    Ok(compact(&text))
}

/// Without white space, else letter by letter the same.
fn compact(json: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::with_capacity(json.len()), false, false);
    for c in json.chars() {
        if quoted || !c.is_ascii_whitespace() {
            out.push(c);
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
    }
    out
}
