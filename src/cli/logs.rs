//! `rdock logs`: what a container has written.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::start::text;
use super::verb::Verb;
use crate::client::Logs as Wanted;
use crate::client::moment;
use crate::client::stream::{Carry, carry};
use serde_json::Value;

/// Shows the output of a container.
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// Show extra details provided to logs
    #[arg(long)]
    details: bool,
    /// Follow log output
    #[arg(short = 'f', long)]
    follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Number of lines to show from the end of the logs (default "all")
    #[arg(short = 'n', long, value_name = "string", default_value = "all", allow_negative_numbers = true)]
    tail: String,
    /// Show timestamps
    #[arg(short = 't', long)]
    timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string")]
    until: Option<String>,
    #[arg(required = true)]
    container: String,
}

impl Verb for Logs {
    const NAME: &'static str = "logs";
    const ALIASES: &'static [&'static str] = &["container logs", "logs"];
    const ABOUT: &'static str = "Fetch the logs of a container";
    const USAGE: &'static str = "[OPTIONS] CONTAINER";
    const ARITY: Arity = Arity::Exactly(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            let container = client.container_inspect(&self.container, false).await?;
            let tty = container["Config"]["Tty"] == Value::Bool(true);
            let wanted = Wanted {
                follow: self.follow,
                timestamps: self.timestamps,
                details: self.details,
                since: moment(self.since.as_deref(), "since")?,
                until: moment(self.until.as_deref(), "until")?,
                tail: self.tail,
            };
            let streams = client.container_logs(&text(&container["Id"]), &wanted).await?;
            carry(streams, &Carry { stdin: false, tty, detach: None }).await?;
            Ok(0)
        })
    }
}

fn moment(given: Option<&str>, flag: &str) -> Result<Option<String>, Failure> {
    match given {
        None | Some("") => Ok(None),
        Some(given) => {
            let parsed = moment::parse(given).map(Some);
            parsed.map_err(|error| Failure::new(format!("invalid value for {flag:?}: {error}")))
        }
    }
}
