//! `rdock kill`: send a signal to containers.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::start::each;
use super::verb::Verb;

/// Kills containers.
#[derive(Debug, clap::Args)]
pub struct Kill {
    /// Signal to send to the container
    #[arg(short = 's', long, value_name = "string")]
    signal: Option<String>,
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Verb for Kill {
    const NAME: &'static str = "kill";
    const ALIASES: &'static [&'static str] = &["container kill", "kill"];
    const ABOUT: &'static str = "Kill one or more running containers";
    const USAGE: &'static str = "[OPTIONS] CONTAINER [CONTAINER...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            let signal = self.signal.as_deref();
            each(&self.containers, "", async |name| client.container_kill(name, signal).await).await
        })
    }
}
