//! What `run` and `create` say about the container to be: the options, and the request that they become.

mod isolation;
pub mod life;
mod limits;
mod mount;
mod network;
mod ports;
pub mod values;

pub use values::env;

use super::error::Failure;
use crate::client::terminal::Size;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The options that `run` and `create` share, and the image with the command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Add an annotation to the container (passed through to the OCI runtime) (default map[])
    #[arg(long, value_name = "map")]
    pub annotation: Vec<String>,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short = 'a', long, value_name = "list", value_parser = values::stream)]
    pub attach: Vec<String>,
    /// Write the container ID to the file
    #[arg(long, value_name = "string")]
    pub cidfile: Option<PathBuf>,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "string")]
    pub entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short = 'e', long, value_name = "list", value_parser = values::env)]
    pub env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    pub env_file: Vec<PathBuf>,
    /// Container host name
    #[arg(short = 'h', long, value_name = "string", default_value = "", hide_default_value = true)]
    pub hostname: String,
    /// Keep STDIN open even if not attached
    #[arg(short = 'i', long)]
    pub interactive: bool,
    /// Set meta data on a container
    #[arg(short = 'l', long, value_name = "list", value_parser = values::label)]
    pub label: Vec<String>,
    /// Read in a line delimited file of labels
    #[arg(long, value_name = "list")]
    pub label_file: Vec<PathBuf>,
    /// Assign a name to the container
    #[arg(long, value_name = "string")]
    pub name: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    pub platform: Option<String>,
    /// Pull image before running ("always", "missing", "never") (default "missing")
    #[arg(long, value_name = "string", default_value = "missing")]
    pub pull: String,
    /// Suppress the pull output
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Automatically remove the container and its associated anonymous volumes when it exits
    #[arg(long)]
    pub rm: bool,
    /// Allocate a pseudo-TTY
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short = 'u', long, value_name = "string", default_value = "", hide_default_value = true)]
    pub user: String,
    /// Working directory inside the container
    #[arg(short = 'w', long, value_name = "string", default_value = "", hide_default_value = true)]
    pub workdir: String,
    #[command(flatten)]
    pub limits: limits::Limits,
    #[command(flatten)]
    pub isolation: isolation::Isolation,
    #[command(flatten)]
    pub network: network::Network,
    #[command(flatten)]
    pub life: life::Life,
    #[arg(required = true)]
    pub image: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// A JSON object with its fields in this order; what is none is left out, as Go's `omitempty` has it.
fn object(fields: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    Value::Object(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Map<_, _>>())
}

/// A list that Go leaves `null` when nothing was said.
fn list<T: serde::Serialize>(list: &[T]) -> Option<Value> {
    Some(if list.is_empty() { Value::Null } else { json!(list) })
}

/// A map that is left out when it is empty.
fn filled(map: &BTreeMap<&str, &str>) -> Option<Value> {
    (!map.is_empty()).then(|| json!(map))
}

/// When to ask the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    Missing,
    Never,
}

/// The streams of the container that we attach to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

impl Options {
    /// `--pull`
    pub fn pull_policy(&self) -> Result<PullPolicy, Failure> {
        match self.pull.as_str() {
            "always" => Ok(PullPolicy::Always),
            "missing" | "" => Ok(PullPolicy::Missing),
            "never" => Ok(PullPolicy::Never),
            other => Err(Failure::new(format!(
                "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
            ))),
        }
    }

    /// What is attached: nothing in the background; else what `-a` says; else the output, and the input with `-i`.
    pub fn streams(&self, detach: bool) -> Result<Streams, Failure> {
        let has = |name: &str| self.attach.iter().any(|a| a == name);
        match (detach, self.attach.is_empty()) {
            (true, false) => Err(Failure::new("conflicting options: cannot specify both --attach and --detach")),
            (true, true) => Ok(Streams::default()),
            (false, true) => Ok(Streams { stdin: self.interactive, stdout: true, stderr: true }),
            (false, false) => Ok(Streams { stdin: has("stdin"), stdout: has("stdout"), stderr: has("stderr") }),
        }
    }

    /// What can be told to be wrong without asking anybody; Docker looks at these first.
    fn check(&self) -> Result<(), Failure> {
        if self.rm && !matches!(self.life.restart.as_str(), "" | "no") {
            return Err(Failure::new("conflicting options: cannot specify both --restart and --rm"));
        }
        self.limits.check().map_err(Failure::new)?;
        self.isolation.check().map_err(Failure::new)
    }

    /// The body of `POST /containers/create`, field by field as the Docker command sends it.
    pub fn body(&self, streams: Streams, console: Option<Size>) -> Result<Value, Failure> {
        self.check()?;
        let (env, labels) = (self.environment()?, self.labels()?);
        let (mut binds, mut volumes) = (vec![], BTreeMap::new());
        for spec in &self.isolation.volume {
            match mount::volume(spec).map_err(Failure::new)? {
                mount::Volume::Bind(bind) => binds.push(bind),
                mount::Volume::Anonymous(place) => drop(volumes.insert(place, json!({}))),
            }
        }
        let ports = self.network.ports().map_err(Failure::new)?;
        let command = (!self.command.is_empty()).then_some(&self.command);
        let entrypoint = self.entrypoint.as_ref().map(|e| vec![e.clone()]);
        let signal = &self.life.stop_signal;
        let host = self.host_config(&binds, &ports, console.filter(|_| self.tty)).map_err(Failure::new)?;
        let endpoints = self.network.endpoints().map_err(Failure::new)?;
        Ok(object([
            ("Hostname", Some(json!(self.hostname))),
            ("Domainname", Some(json!(self.network.domainname))),
            ("User", Some(json!(self.user))),
            ("AttachStdin", Some(json!(streams.stdin))),
            ("AttachStdout", Some(json!(streams.stdout))),
            ("AttachStderr", Some(json!(streams.stderr))),
            ("ExposedPorts", (!ports.exposed.is_empty()).then(|| json!(ports.exposed))),
            ("Tty", Some(json!(self.tty))),
            ("OpenStdin", Some(json!(self.interactive))),
            ("StdinOnce", Some(json!(self.interactive && streams.stdin))),
            ("Env", list(&env)),
            ("Cmd", Some(json!(command))),
            ("Healthcheck", self.life.health().map_err(Failure::new)?),
            ("Image", Some(json!(self.image))),
            ("Volumes", Some(json!(volumes))),
            ("WorkingDir", Some(json!(self.workdir))),
            ("Entrypoint", Some(json!(entrypoint))),
            ("OnBuild", Some(Value::Null)),
            ("Labels", Some(json!(labels))),
            ("StopSignal", (!signal.is_empty()).then(|| json!(signal))),
            ("StopTimeout", self.life.stop_timeout.map(|n| json!(n))),
            ("HostConfig", Some(host)),
            ("NetworkingConfig", Some(json!({"EndpointsConfig": endpoints}))),
        ]))
    }

    /// The part about the host, in the order of the Engine API's type.
    fn host_config(&self, binds: &[String], ports: &ports::Ports, console: Option<Size>) -> Result<Value, String> {
        let (apart, net) = (&self.isolation, &self.network);
        let console = console.map_or([0, 0], |s| [s.rows, s.columns]);
        let cidfile = self.cidfile.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
        let (add, drop) = apart.capabilities();
        let security = apart.security()?;
        let (devices, requests) = apart.devices()?;
        let options = match (security.options.is_empty(), security.paths_open) {
            (true, false) => Value::Null,
            _ => json!(security.options),
        };
        let paths = || Some(if security.paths_open { json!([]) } else { Value::Null });
        let tmpfs: Map<_, _> = apart
            .tmpfs
            .iter()
            .map(|t| {
                let (place, options) = t.split_once(':').unwrap_or((t.as_str(), ""));
                (place.to_owned(), json!(options))
            })
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect();
        let dns_options: Vec<_> = net.dns_option.iter().chain(&net.dns_opt).collect();
        let mounts: Vec<Value> = apart.mount.iter().map(mount::Mount::json).collect();
        let head = [
            ("Binds", list(binds)),
            ("ContainerIDFile", Some(json!(cidfile))),
            ("LogConfig", Some(self.life.log()?)),
            ("NetworkMode", Some(json!(net.mode()?))),
            ("PortBindings", Some(json!(ports.bindings))),
            ("RestartPolicy", Some(self.life.restart_policy()?)),
            ("AutoRemove", Some(json!(self.rm))),
            ("VolumeDriver", Some(json!(apart.volume_driver))),
            ("VolumesFrom", list(&apart.volumes_from)),
            ("ConsoleSize", Some(json!(console))),
            ("Annotations", filled(&life::map(&self.annotation))),
            ("CapAdd", list(&add)),
            ("CapDrop", list(&drop)),
            ("CgroupnsMode", Some(json!(apart.cgroupns))),
            ("Dns", Some(json!(net.dns))),
            ("DnsOptions", Some(json!(dns_options))),
            ("DnsSearch", Some(json!(net.dns_search))),
            ("ExtraHosts", list(&net.add_host)),
            ("GroupAdd", list(&apart.group_add)),
            ("IpcMode", Some(json!(apart.ipc))),
            ("Cgroup", Some(json!(""))),
            ("Links", list(&net.link)),
            ("OomScoreAdj", Some(json!(self.limits.oom_score_adj))),
            ("PidMode", Some(json!(apart.pid))),
            ("Privileged", Some(json!(apart.privileged))),
            ("PublishAllPorts", Some(json!(net.publish_all))),
            ("ReadonlyRootfs", Some(json!(apart.read_only))),
            ("SecurityOpt", Some(options)),
            ("StorageOpt", filled(&life::map(&apart.storage_opt))),
            ("Tmpfs", (!tmpfs.is_empty()).then(|| json!(tmpfs))),
            ("UTSMode", Some(json!(apart.uts))),
            ("UsernsMode", Some(json!(apart.userns))),
            ("ShmSize", Some(json!(self.limits.shm_size))),
            ("Sysctls", filled(&life::map(&apart.sysctl))),
            ("Runtime", (!apart.runtime.is_empty()).then(|| json!(apart.runtime))),
            ("Isolation", Some(json!(apart.isolation))),
        ];
        let devices = [
            ("Devices", Some(json!(devices))),
            ("DeviceCgroupRules", list(&apart.device_cgroup_rule)),
            ("DeviceRequests", list(&requests)),
        ];
        let tail = [
            ("CpuCount", Some(json!(0))),
            ("CpuPercent", Some(json!(0))),
            ("IOMaximumIOps", Some(json!(0))),
            ("IOMaximumBandwidth", Some(json!(0))),
            ("Mounts", (!mounts.is_empty()).then(|| json!(mounts))),
            ("MaskedPaths", paths()),
            ("ReadonlyPaths", paths()),
            ("Init", apart.init.then(|| json!(true))),
        ];
        let limits = self.limits.shares().into_iter().chain(devices).chain(self.limits.sizes());
        Ok(object(head.into_iter().chain(limits).chain(tail)))
    }

    /// The files first, then `-l`: `k=v`, or `k` with an empty value; sorted, as Go writes maps.
    fn labels(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut labels = BTreeMap::new();
        let mut put = |label: &str| {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            labels.insert(key.to_owned(), value.to_owned());
        };
        for path in &self.label_file {
            read_env_file(path, |_| None)?.iter().for_each(|label| put(label));
        }
        self.label.iter().for_each(|label| put(label));
        Ok(labels)
    }

    /// The files first, then `-e`. A name alone takes our own value; without one it removes the image's.
    fn environment(&self) -> Result<Vec<String>, Failure> {
        environment(&self.env_file, &self.env)
    }
}

/// `--env-file` and `--env`: the files first. A name alone takes our own value; without one it stays a name.
pub fn environment(files: &[PathBuf], variables: &[String]) -> Result<Vec<String>, Failure> {
    let mut env = Vec::new();
    for path in files {
        env.extend(read_env_file(path, own_value)?);
    }
    env.extend(variables.iter().map(|var| match own_value(var) {
        Some(with_value) if !var.contains('=') => with_value,
        _ => var.clone(),
    }));
    Ok(env)
}

fn own_value(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| format!("{name}={value}"))
}

/// One `NAME=value` or `NAME` a line; `#` begins a comment line. `value` says what a name alone stands for.
fn read_env_file(path: &Path, value: fn(&str) -> Option<String>) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::new(format!("open {}: no such file or directory", path.display())),
        _ => Failure::new(format!("open {}: {e}", path.display())),
    })?;
    let wrong = |what: String| Failure::new(format!("invalid env file ({}): {what}", path.display()));
    let mut env = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_start) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            return Err(wrong(format!("no variable name on line '{line}'")));
        }
        if name.contains(char::is_whitespace) {
            return Err(wrong(format!("variable '{name}' contains whitespaces")));
        }
        if line.contains('=') {
            env.push(line.to_owned());
        } else {
            env.extend(value(name));
        }
    }
    Ok(env)
}

#[cfg(test)]
mod tests;
