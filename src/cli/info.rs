//! `rdock info`: numbers of containers and images, and what the daemon works with.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::format::{self, WHOLE_HELP};
use super::template::{Record, Value as Data};
use super::verb::{Verb, print};
use crate::ui::units;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::rc::Rc;

/// Shows what the daemon knows about itself.
#[derive(Debug, clap::Args)]
pub struct Info {
    #[arg(short = 'f', long, value_name = "string", help = WHOLE_HELP)]
    format: Option<String>,
}

impl Verb for Info {
    const NAME: &'static str = "info";
    const ALIASES: &'static [&'static str] = &["system info", "info"];
    const ABOUT: &'static str = "Display system-wide information";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::None;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            if let Some(format) = self.format.as_deref().filter(|f| !f.is_empty()) {
                let mut info = cx.client().await?.system_info().await?;
                info["ClientInfo"] = json!({"Debug": false, "Version": env!("CARGO_PKG_VERSION")});
                let info = Data::Record(Rc::new(Record::whole("system.dockerInfo", info)));
                let shown = format::whole("", format, &info);
                print(&shown.map_err(Failure::new)?)?;
                return Ok(0);
            }
            print(&format!("Client:\n Version:    {}\n\nServer:\n", env!("CARGO_PKG_VERSION")))?;
            let info = cx.client().await?.system_info().await?;
            print(&draw(&info))?;
            Ok(0)
        })
    }
}

/// A label, the field that it shows, and its depth.
const LINES: &[(&str, &str, usize)] = &[
    ("Containers", "Containers", 1),
    ("Running", "ContainersRunning", 2),
    ("Paused", "ContainersPaused", 2),
    ("Stopped", "ContainersStopped", 2),
    ("Images", "Images", 1),
    ("Server Version", "ServerVersion", 1),
    ("Storage Driver", "Driver", 1),
    ("", "DriverStatus", 2),
    ("Logging Driver", "LoggingDriver", 1),
    ("Cgroup Driver", "CgroupDriver", 1),
    ("Cgroup Version", "CgroupVersion", 1),
    ("Default Runtime", "DefaultRuntime", 1),
    ("", "SecurityOptions", 1),
    ("Kernel Version", "KernelVersion", 1),
    ("Operating System", "OperatingSystem", 1),
    ("OSType", "OSType", 1),
    ("Architecture", "Architecture", 1),
    ("CPUs", "NCPU", 1),
    ("Total Memory", "MemTotal", 1),
    ("Name", "Name", 1),
    ("ID", "ID", 1),
    ("Docker Root Dir", "DockerRootDir", 1),
    ("Debug Mode", "Debug", 1),
    ("Registry Mirrors", "RegistryConfig", 1),
    ("Experimental", "ExperimentalBuild", 1),
    ("Live Restore Enabled", "LiveRestoreEnabled", 1),
];

fn draw(info: &Value) -> String {
    let mut text = String::new();
    for (label, field, depth) in LINES {
        let (value, indent) = (&info[field], " ".repeat(*depth));
        match *field {
            "DriverStatus" => {
                for pair in value.as_array().into_iter().flatten() {
                    let _ = writeln!(text, "{indent}{}: {}", plain(&pair[0]), plain(&pair[1]));
                }
            }
            "SecurityOptions" => security(value, &mut text),
            "RegistryConfig" => {
                let mirrors = value["Mirrors"].as_array().filter(|m| !m.is_empty());
                if let Some(mirrors) = mirrors {
                    let _ = writeln!(text, " {label}:");
                    for mirror in mirrors {
                        let _ = writeln!(text, "  {}", plain(mirror));
                    }
                }
            }
            "MemTotal" => {
                let _ = writeln!(text, "{indent}{label}: {}", units::size_binary(value.as_u64().unwrap_or(0)));
            }
            _ if value.is_null() => {}
            _ => {
                let _ = writeln!(text, "{indent}{label}: {}", plain(value));
            }
        }
    }
    text
}

/// `name=seccomp,profile=default` becomes ` seccomp` and `  Profile: default`.
fn security(options: &Value, text: &mut String) {
    let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if options.is_empty() {
        return;
    }
    text.push_str(" Security Options:\n");
    for option in options {
        for pair in option.split(',') {
            match pair.split_once('=') {
                Some(("name", name)) => {
                    let _ = writeln!(text, "  {name}");
                }
                Some(("profile", profile)) => {
                    let _ = writeln!(text, "   Profile: {profile}");
                }
                _ => {
                    let _ = writeln!(text, "  {pair}");
                }
            }
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_dockers() {
        let info = json!({"Containers": 2, "ContainersRunning": 1, "Driver": "overlay2",
            "DriverStatus": [["Supports d_type", "true"]], "SecurityOptions": ["name=seccomp,profile=default"],
            "MemTotal": 25_275_000_000u64, "Debug": false});
        assert_eq!(
            draw(&info),
            " Containers: 2\n  Running: 1\n Storage Driver: overlay2\n  Supports d_type: true\n Security Options:\n  seccomp\n   Profile: default\n Total Memory: 23.54GiB\n Debug Mode: false\n"
        );
    }
}
