//! `rdock start`: start containers that are stopped, perhaps attached.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::stdio::{self, Attached, Signals, Target};
use super::verb::{Verb, print, tell};
use crate::client::stream::Ended;
use crate::client::{Attach, Client, WaitCondition};
use serde_json::Value;

/// Starts containers.
#[derive(Debug, clap::Args)]
pub struct Start {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short = 'a', long)]
    attach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Attach container's STDIN
    #[arg(short = 'i', long)]
    interactive: bool,
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Verb for Start {
    const NAME: &'static str = "start";
    const ALIASES: &'static [&'static str] = &["container start", "start"];
    const ABOUT: &'static str = "Start one or more stopped containers";
    const USAGE: &'static str = "[OPTIONS] CONTAINER [CONTAINER...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            match (self.attach || self.interactive, self.containers.as_slice()) {
                (true, [one]) => self.attended(cx, &client, one).await,
                (true, _) => Err(Failure::new("you cannot start and attach multiple containers at once")),
                (false, many) => {
                    each(many, "failed to start containers", async |name| client.container_start(name, None).await)
                        .await
                }
            }
        })
    }
}

impl Start {
    async fn attended(&self, cx: &Context, client: &Client, name: &str) -> Result<u8, Failure> {
        let container = client.container_inspect(name, false).await?;
        let (id, config) = (text(&container["Id"]), &container["Config"]);
        let tty = config["Tty"] == Value::Bool(true);
        let stdin = self.interactive && config["OpenStdin"] == Value::Bool(true);
        let keys = stdio::detach_keys(self.detach_keys.as_deref())?;
        stdio::check_tty(stdin, tty)?;
        let how = Attached { stdin, tty, sig_proxy: true, keys, redraw: false };
        let signals = Signals::catch(&how)?;
        let what =
            Attach { stdin, stdout: true, stderr: true, detach_keys: stdio::chosen_keys(self.detach_keys.as_deref()) };
        let hijacked = client.container_attach(&id, &what).await?;
        let removed = container["HostConfig"]["AutoRemove"] == Value::Bool(true);
        let condition = if removed { WaitCondition::Removed } else { WaitCondition::NextExit };
        let wait = client.container_wait(&id, condition).await?;
        client.container_start(&id, self.detach_keys.as_deref()).await?;
        if stdio::converse(cx, client, Target::Container(&id), hijacked, &how, signals).await? == Ended::Detached {
            return Ok(0);
        }
        let waited = client.waited(wait).await?;
        match waited.error {
            Some(error) => Err(Failure::new(error.message)),
            None => Ok(waited.status_code as u8),
        }
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Does something to each of `names`, prints the names of those where it worked, and the errors of the others.
/// The last sentence names those that failed, when Docker says one.
pub async fn each(
    names: &[String],
    sentence: &str,
    act: impl AsyncFn(&str) -> Result<(), crate::client::ClientError>,
) -> Result<u8, Failure> {
    let mut failed = Vec::new();
    for name in names {
        match act(name).await {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(error) => {
                tell(error.to_string());
                failed.push(name.as_str());
            }
        }
    }
    match (failed.is_empty(), sentence) {
        (true, _) => Ok(0),
        (false, "") => Err(Failure::silent(1)),
        (false, sentence) => Err(Failure::new(format!("{sentence}: {}", failed.join(", ")))),
    }
}
