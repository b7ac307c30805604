//! `rdock restart`: stop containers and start them again.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::start::each;
use super::verb::Verb;

/// Restarts containers.
#[derive(Debug, clap::Args)]
pub struct Restart {
    /// Signal to send to the container
    #[arg(short = 's', long, value_name = "string")]
    signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(short = 't', long, alias = "time", value_name = "int", allow_negative_numbers = true)]
    timeout: Option<i64>,
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Verb for Restart {
    const NAME: &'static str = "restart";
    const ALIASES: &'static [&'static str] = &["container restart", "restart"];
    const ABOUT: &'static str = "Restart one or more containers";
    const USAGE: &'static str = "[OPTIONS] CONTAINER [CONTAINER...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            let signal = self.signal.as_deref();
            each(&self.containers, "", async |name| client.container_restart(name, signal, self.timeout).await).await
        })
    }
}
