//! `rdock pause`: hold containers still.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::start::each;
use super::verb::Verb;

/// Hold containers still.
#[derive(Debug, clap::Args)]
pub struct Pause {
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Verb for Pause {
    const NAME: &'static str = "pause";
    const ALIASES: &'static [&'static str] = &["container pause", "pause"];
    const ABOUT: &'static str = "Pause all processes within one or more containers";
    const USAGE: &'static str = "CONTAINER [CONTAINER...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            each(&self.containers, "", async |name| client.container_pause(name).await).await
        })
    }
}
