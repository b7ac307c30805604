//! `/_ping`, `/version`, `/info`

use crate::api::version;
use crate::containers::state::Status;
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, json};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

pub fn routes() -> Router<Engine> {
    Router::new().route("/_ping", get(ping).head(ping)).route("/version", get(version)).route("/info", get(info))
}

/// Is anybody there? `HEAD` asks the same without a body. The versions are in the headers that every answer has.
async fn ping(method: Method) -> Response {
    let mut response = if method == Method::HEAD { "".into_response() } else { "OK".into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

async fn version() -> Answer {
    let (own, kernel) = (env!("CARGO_PKG_VERSION"), host().kernel);
    let (newest, oldest) = (version::MAX.to_string(), version::MIN.to_string());
    let details = json!({
        "ApiVersion": newest, "Arch": arch(), "BuildTime": "", "Experimental": "false", "GitCommit": "",
        "GoVersion": "", "KernelVersion": kernel, "MinAPIVersion": oldest, "Os": "linux",
    });
    let answer = json!({
        "Platform": {"Name": "rdock"},
        "Components": [{"Name": "Engine", "Version": own, "Details": details}],
        "Version": own, "ApiVersion": newest, "MinAPIVersion": oldest, "GitCommit": "", "GoVersion": "",
        "Os": "linux", "Arch": arch(), "KernelVersion": kernel, "BuildTime": "",
    });
    Ok(json(StatusCode::OK, &answer))
}

async fn info(State(engine): State<Engine>) -> Answer {
    let host = host();
    let images = engine.images.list().map(|list| list.len()).unwrap_or(0);
    let states: Vec<_> = engine.containers.records().iter().map(|r| r.state.status).collect();
    let running = states.iter().filter(|s| **s == Status::Running).count();
    let paused = states.iter().filter(|s| **s == Status::Paused).count();
    let mut security = vec!["name=seccomp,profile=default".to_owned()];
    security.extend(engine.about.rootless.map(|_| "name=rootless".to_owned()));
    let mirrors: Vec<String> = engine.sources.hub_url().into_iter().collect();
    let controllers = controllers();
    let can = |name: &str| controllers.iter().any(|c| c == name);
    let mut answer = json!({
        "ID": engine.about.id, "Containers": states.len(), "ContainersRunning": running,
        "ContainersPaused": paused, "ContainersStopped": states.len() - running - paused,
        "Images": images, "Driver": "overlay2", "DriverStatus": driver_status(&engine),
        "Plugins": {"Volume": [], "Network": ["none"], "Authorization": null, "Log": ["json-file"]},
        "MemoryLimit": can("memory"), "SwapLimit": can("memory"), "CpuCfsPeriod": can("cpu"), "CpuCfsQuota": can("cpu"),
        "CPUShares": can("cpu"), "CPUSet": can("cpuset"), "PidsLimit": can("pids"), "IPv4Forwarding": forwards(), "Debug": false, "NFd": 0, "OomKillDisable": false,
        "NGoroutines": 0, "SystemTime": now(), "LoggingDriver": "json-file", "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroup_version(), "NEventsListener": engine.events.listeners(),
    });
    let rest = json!({
        "KernelVersion": host.kernel, "OperatingSystem": operating_system(), "OSVersion": "", "OSType": "linux",
        "Architecture": std::env::consts::ARCH, "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {}, "Mirrors": mirrors},
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from), "MemTotal": memory(),
        "GenericResources": null, "DockerRootDir": engine.about.data.display().to_string(), "HttpProxy": "",
        "HttpsProxy": "", "NoProxy": "", "Name": host.name, "Labels": [], "ExperimentalBuild": false,
        "ServerVersion": env!("CARGO_PKG_VERSION"), "Runtimes": {"rdock": {"path": "rdock"}}, "DefaultRuntime": "rdock",
        "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "", "RemoteManagers": null},
        "LiveRestoreEnabled": true, "Isolation": "", "InitBinary": "", "ContainerdCommit": {"ID": "", "Expected": ""},
        "RuncCommit": {"ID": "", "Expected": ""}, "InitCommit": {"ID": "", "Expected": ""}, "SecurityOptions": security,
        "Warnings": null,
    });
    if let (Value::Object(answer), Value::Object(rest)) = (&mut answer, rest) {
        answer.extend(rest);
    }
    Ok(json(StatusCode::OK, &answer))
}

fn driver_status(engine: &Engine) -> Value {
    json!([["Supports d_type", "true"], ["userxattr", engine.about.rootless.is_some().to_string()]])
}

/// This machine's architecture as the API names it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

struct Host {
    kernel: String,
    name: String,
}

/// uname(2)
fn host() -> Host {
    let uname = nix::sys::utsname::uname();
    let text = |f: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
        uname.as_ref().map(|u| f(u).to_string_lossy().into_owned()).unwrap_or_default()
    };
    Host { kernel: text(|u| u.release()), name: text(|u| u.nodename()) }
}

/// `PRETTY_NAME` of os-release(5).
fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |n| n.trim_matches('"').to_owned())
}

/// Bytes of memory (`MemTotal` of /proc/meminfo, proc(5)).
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// `2` when /sys/fs/cgroup is the unified hierarchy (cgroups(7)).
fn cgroup_version() -> &'static str {
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "2" } else { "1" }
}

/// The controllers that limits can be set with: `cgroup.controllers` of the unified hierarchy, else those that the
/// kernel has switched on (cgroups(7), /proc/cgroups).
fn controllers() -> Vec<String> {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let unified = text("/sys/fs/cgroup/cgroup.controllers");
    if !unified.is_empty() {
        return unified.split_whitespace().map(str::to_owned).collect();
    }
    let enabled = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.get(3) == Some(&"1")).then(|| words[0].to_owned())
    };
    text("/proc/cgroups").lines().filter_map(enabled).collect()
}

fn forwards() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1")
}

fn now() -> String {
    use time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}
