//! What `run` and `create` say about the container to be: the options, and the request that they become.

use super::error::Failure;
use crate::client::terminal::Size;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The options that `run` and `create` share, and the image with the command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short = 'a', long, value_name = "list", value_parser = parse_stream)]
    pub attach: Vec<String>,
    /// Write the container ID to the file
    #[arg(long, value_name = "string")]
    pub cidfile: Option<PathBuf>,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "string")]
    pub entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short = 'e', long, value_name = "list", value_parser = parse_env)]
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
    #[arg(short = 'l', long, value_name = "list")]
    pub label: Vec<String>,
    /// Assign a name to the container
    #[arg(long, value_name = "string")]
    pub name: Option<String>,
    /// Connect a container to a network
    #[arg(long, alias = "net", value_name = "network", default_value = "default")]
    pub network: String,
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
    /// Signal to stop the container
    #[arg(long, value_name = "string")]
    pub stop_signal: Option<String>,
    /// Allocate a pseudo-TTY
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short = 'u', long, value_name = "string", default_value = "", hide_default_value = true)]
    pub user: String,
    /// Working directory inside the container
    #[arg(short = 'w', long, value_name = "string", default_value = "", hide_default_value = true)]
    pub workdir: String,
    #[arg(required = true)]
    pub image: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

fn parse_stream(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "stdin" | "stdout" | "stderr" => Ok(lower),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".into()),
    }
}

pub fn parse_env(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid environment variable: {text}"));
    }
    Ok(text.to_owned())
}

/// The part of the request about the host as the Docker command sends it when nothing is said.
const HOST_CONFIG: &str = include_str!("config/host-config.json");

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

    /// The body of `POST /containers/create`, field by field as the Docker command sends it.
    pub fn body(&self, streams: Streams, console: Option<Size>) -> Result<Value, Failure> {
        let env = self.environment()?;
        let command = (!self.command.is_empty()).then_some(&self.command);
        let entrypoint = self.entrypoint.as_ref().map(|e| vec![e.clone()]);
        let mut body = json!({
            "Hostname": self.hostname, "Domainname": "", "User": self.user,
            "AttachStdin": streams.stdin, "AttachStdout": streams.stdout, "AttachStderr": streams.stderr,
            "Tty": self.tty, "OpenStdin": self.interactive, "StdinOnce": self.interactive && streams.stdin,
            "Env": if env.is_empty() { Value::Null } else { json!(env) },
            "Cmd": command, "Image": self.image, "Volumes": {}, "WorkingDir": self.workdir,
            "Entrypoint": entrypoint, "OnBuild": null, "Labels": self.labels(),
        });
        if let (Some(signal), Some(fields)) = (&self.stop_signal, body.as_object_mut()) {
            fields.insert("StopSignal".into(), json!(signal));
        }
        if let Some(fields) = body.as_object_mut() {
            fields.insert("HostConfig".into(), self.host_config(console.filter(|_| self.tty)));
            let endpoint = json!({
                "IPAMConfig": null, "Links": null, "Aliases": null, "MacAddress": "", "DriverOpts": null, "GwPriority": 0,
                "NetworkID": "", "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "",
                "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": null,
            });
            let network = self.network.as_str();
            fields.insert("NetworkingConfig".into(), json!({"EndpointsConfig": {network: endpoint}}));
        }
        Ok(body)
    }

    fn host_config(&self, console: Option<Size>) -> Value {
        let mut config: Value = serde_json::from_str(HOST_CONFIG).unwrap_or_default();
        let console = console.map_or([0, 0], |s| [s.rows, s.columns]);
        let cidfile = self.cidfile.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
        config["ContainerIDFile"] = json!(cidfile);
        config["NetworkMode"] = json!(self.network);
        config["AutoRemove"] = json!(self.rm);
        config["ConsoleSize"] = json!(console);
        config
    }

    /// `k=v`, or `k` with an empty value; sorted, as Go writes maps.
    fn labels(&self) -> BTreeMap<&str, &str> {
        self.label.iter().map(|l| l.split_once('=').unwrap_or((l.as_str(), ""))).collect()
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
        env.extend(read_env_file(path)?);
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

/// One `NAME=value` or `NAME` a line; `#` begins a comment line.
fn read_env_file(path: &Path) -> Result<Vec<String>, Failure> {
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
            env.extend(own_value(name));
        }
    }
    Ok(env)
}

#[cfg(test)]
mod tests;
