//! `rdock version`: the versions of client and daemon.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::format::{self, WHOLE_HELP};
use super::template::{Record, Value as Data};
use super::verb::{Verb, print};
use crate::client::version;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::rc::Rc;

/// Shows versions.
#[derive(Debug, clap::Args)]
pub struct Version {
    #[arg(short = 'f', long, value_name = "string", help = WHOLE_HELP)]
    format: Option<String>,
}

impl Verb for Version {
    const NAME: &'static str = "version";
    const ABOUT: &'static str = "Show the rdock version information";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::None;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let connected = cx.client().await;
            let spoken = connected.as_ref().map_or(version::MAX, |c| c.version());
            if let Some(format) = self.format.as_deref().filter(|f| !f.is_empty()) {
                let server = connected?.system_version().await?;
                let both =
                    Record::whole("system.versionInfo", json!({"Client": client_values(spoken), "Server": server}));
                let shown = format::whole("version", format, &Data::Record(Rc::new(both)));
                print(&shown.map_err(Failure::new)?)?;
                return Ok(0);
            }
            print(&client_block(spoken))?;
            let server = connected?.system_version().await?;
            print(&server_block(&server))?;
            Ok(0)
        })
    }
}

fn client_block(spoken: version::ApiVersion) -> String {
    let api = match spoken == version::MAX {
        true => spoken.to_string(),
        false => format!("{spoken} (downgraded from {})", version::MAX),
    };
    let arch = super::daemon::go_arch();
    format!(
        "Client:\n Version:           {}\n API version:       {api}\n OS/Arch:           linux/{arch}\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// What a template finds under `.Client`.
fn client_values(spoken: version::ApiVersion) -> Value {
    json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": spoken.to_string(),
        "DefaultAPIVersion": version::MAX.to_string(),
        "Os": "linux",
        "Arch": super::daemon::go_arch(),
    })
}

/// The engine first, then whatever other parts the daemon names.
fn server_block(server: &Value) -> String {
    let text = |key: &str| server[key].as_str().unwrap_or_default().to_owned();
    let mut block = "\nServer:\n Engine:\n".to_owned();
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(block, "  {:17}{value}", format!("{label}:"));
        }
    };
    line("Version", text("Version"));
    line("API version", format!("{} (minimum version {})", text("ApiVersion"), text("MinAPIVersion")));
    line("Go version", text("GoVersion"));
    line("Git commit", text("GitCommit"));
    line("Built", text("BuildTime"));
    line("OS/Arch", format!("{}/{}", text("Os"), text("Arch")));
    line("Experimental", (server["Experimental"] == Value::Bool(true)).to_string());
    for part in server["Components"].as_array().into_iter().flatten() {
        let name = part["Name"].as_str().unwrap_or_default();
        if name == "Engine" {
            continue;
        }
        let _ = writeln!(block, " {name}:\n  Version:         {}", part["Version"].as_str().unwrap_or_default());
        if let Some(commit) = part["Details"]["GitCommit"].as_str().filter(|c| !c.is_empty()) {
            let _ = writeln!(block, "  GitCommit:       {commit}");
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_laid_out_as_docker_lays_them_out() {
        let server = json!({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64",
            "Components": [{"Name": "Engine"}, {"Name": "runc", "Version": "1.1.5", "Details": {"GitCommit": "x"}}]});
        assert_eq!(
            server_block(&server),
            "\nServer:\n Engine:\n  Version:         20.10.24\n  API version:     1.41 (minimum version 1.12)\n  \
             OS/Arch:         linux/amd64\n  Experimental:    false\n runc:\n  Version:         1.1.5\n  GitCommit:       x\n"
        );
        let old = version::ApiVersion { major: 1, minor: 41 };
        assert!(client_block(old).contains(" API version:       1.41 (downgraded from 1.47)\n"));
    }
}
