//! `rdock daemon`: the command line of the daemon; the daemon itself is elsewhere.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::Verb;
use std::path::PathBuf;

/// Runs or stops the daemon.
#[derive(Debug, Clone, clap::Args)]
pub struct Daemon {
    /// Daemon configuration file
    #[arg(long, value_name = "string")]
    pub config: Option<PathBuf>,
    /// Root directory of persistent state
    #[arg(long, value_name = "string")]
    pub data_root: Option<PathBuf>,
    /// Root directory for run-time files and the socket
    #[arg(long, value_name = "string")]
    pub exec_root: Option<PathBuf>,
    /// Daemon socket to listen on (unix:///path)
    #[arg(short = 'H', long, value_name = "string")]
    pub host: Option<String>,
    /// Started by a client: tells on standard output when it listens.
    #[arg(long, hide = true)]
    pub autostarted: bool,
    #[arg(default_value = "run", value_parser = ["run", "stop"])]
    pub action: String,
}

impl Verb for Daemon {
    const NAME: &'static str = "daemon";
    const ABOUT: &'static str = "Run or stop the daemon";
    const USAGE: &'static str = "[OPTIONS] [run|stop]";
    const ARITY: Arity = Arity::AtMost(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        (cx.processes().daemon)(&self).map(|()| 0)
    }
}

/// This machine's architecture as Go (and so the API) names it.
pub fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}
