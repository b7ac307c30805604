//! `rdock attach`: our streams become those of a container that runs.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::start::text;
use super::stdio::{self, Attached, Signals, Target};
use super::verb::Verb;
use crate::client::stream::Ended;
use crate::client::{self, WaitCondition};
use serde_json::Value;

/// Attaches to a running container.
#[derive(Debug, clap::Args)]
pub struct Attach {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process (default true)
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    #[arg(required = true)]
    container: String,
}

impl Verb for Attach {
    const NAME: &'static str = "attach";
    const ALIASES: &'static [&'static str] = &["container attach", "attach"];
    const ABOUT: &'static str = "Attach local standard input, output, and error streams to a running container";
    const USAGE: &'static str = "[OPTIONS] CONTAINER";
    const ARITY: Arity = Arity::Exactly(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            let wait = client.container_wait(&self.container, WaitCondition::NotRunning).await?;
            let container = client.container_inspect(&self.container, false).await?;
            check_state(&container["State"])?;
            let (id, config) = (text(&container["Id"]), &container["Config"]);
            let tty = config["Tty"] == Value::Bool(true);
            let stdin = !self.no_stdin && config["OpenStdin"] == Value::Bool(true);
            stdio::check_tty(stdin, tty)?;
            let keys = stdio::detach_keys(self.detach_keys.as_deref())?;
            let how = Attached { stdin, tty, sig_proxy: self.sig_proxy, keys, redraw: tty };
            let signals = Signals::catch(&how)?;
            let what = client::Attach {
                stdin,
                stdout: true,
                stderr: true,
                detach_keys: stdio::chosen_keys(self.detach_keys.as_deref()),
            };
            let hijacked = client.container_attach(&id, &what).await?;
            if stdio::converse(cx, &client, Target::Container(&id), hijacked, &how, signals).await? == Ended::Detached {
                return Err(Failure::new("read escape sequence"));
            }
            Ok(client.waited(wait).await?.status_code as u8)
        })
    }
}

fn check_state(state: &Value) -> Result<(), Failure> {
    let is = |name: &str| state[name] == Value::Bool(true);
    let sentence = match () {
        () if !is("Running") => "cannot attach to a stopped container, start it first",
        () if is("Paused") => "cannot attach to a paused container, unpause it first",
        () if is("Restarting") => "cannot attach to a restarting container, wait until it is running",
        () => return Ok(()),
    };
    Err(Failure::new(sentence))
}
