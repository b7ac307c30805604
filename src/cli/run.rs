//! `rdock run`: make a container, attach to it, start it, and end with its exit status.

use super::Context;
use super::args::Arity;
use super::config::{Options, Streams};
use super::create;
use super::error::{ENGINE_FAILED, Failure};
use super::stdio::{self, Attached, Signals, Target};
use super::verb::{Verb, print};
use crate::client::stream::Ended;
use crate::client::{Attach, Client, Hijacked, WaitCondition};

/// Makes and starts a container.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Run container in background and print container ID
    #[arg(short = 'd', long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Proxy received signals to the process (default true)
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    #[command(flatten)]
    options: Options,
}

impl Verb for Run {
    const NAME: &'static str = "run";
    const ALIASES: &'static [&'static str] = &["container run", "run"];
    const ABOUT: &'static str = "Create and run a new container from an image";
    const USAGE: &'static str = "[OPTIONS] IMAGE [COMMAND] [ARG...]";
    const ARITY: Arity = Arity::AtLeast(1);
    const INTERSPERSED: bool = false;

    fn told(&self) -> String {
        super::pull::told(Self::NAME, &self.options.image)
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let streams = self.options.streams(self.detach).map_err(|f| f.status(ENGINE_FAILED))?;
        stdio::check_tty(streams.stdin, self.options.tty)?;
        cx.block_on(self.container(cx, streams))
    }
}

impl Run {
    async fn container(&self, cx: &Context, streams: Streams) -> Result<u8, Failure> {
        let how = Attached {
            stdin: streams.stdin,
            tty: self.options.tty,
            sig_proxy: self.sig_proxy,
            keys: stdio::detach_keys(self.detach_keys.as_deref()).map_err(of_run)?,
            redraw: false,
        };
        let made = create::create(cx, &self.options, streams).await;
        let (client, created) = made.map_err(|stage| of_run(stage.failure()))?;
        if self.detach {
            client.container_start(&created.id, None).await.map_err(|e| of_run(e.into()))?;
            print(&format!("{}\n", created.id))?;
            return Ok(0);
        }
        self.attended(cx, &client, &created.id, streams, &how).await
    }

    /// Attach, wait, start, in this order: nothing that the container writes or how it ends may be missed.
    async fn attended(
        &self,
        cx: &Context,
        client: &Client,
        id: &str,
        streams: Streams,
        how: &Attached,
    ) -> Result<u8, Failure> {
        let signals = Signals::catch(how)?;
        let hijacked = self.attach(client, id, streams).await.map_err(of_run)?;
        let condition = if self.options.rm { WaitCondition::Removed } else { WaitCondition::NextExit };
        let wait = client.container_wait(id, condition).await.map_err(|e| of_run(e.into()))?;
        if let Err(error) = client.container_start(id, self.detach_keys.as_deref()).await {
            if self.options.rm {
                // It is removed although it never ran; afterwards nothing is left.
                let _ = client.waited(wait).await;
            }
            return Err(of_run(error.into()));
        }
        if let Some(hijacked) = hijacked
            && stdio::converse(cx, client, Target::Container(id), hijacked, how, signals).await? == Ended::Detached
        {
            return Ok(0);
        }
        let waited = client.waited(wait).await.map_err(|e| of_run(e.into()))?;
        match waited.error {
            Some(error) => {
                Err(Failure::new(format!("Error waiting for container: {}", error.message)).status(ENGINE_FAILED))
            }
            None => Ok(waited.status_code as u8),
        }
    }

    async fn attach(&self, client: &Client, id: &str, streams: Streams) -> Result<Option<Hijacked>, Failure> {
        if streams == Streams::default() {
            return Ok(None);
        }
        let Streams { stdin, stdout, stderr } = streams;
        let what = Attach { stdin, stdout, stderr, detach_keys: stdio::chosen_keys(self.detach_keys.as_deref()) };
        Ok(Some(client.container_attach(id, &what).await?))
    }
}

fn of_run(failure: Failure) -> Failure {
    failure.of_command("run")
}
