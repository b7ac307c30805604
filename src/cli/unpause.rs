//! `rdock unpause`: let containers go on.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::start::each;
use super::verb::Verb;

/// Let containers go on.
#[derive(Debug, clap::Args)]
pub struct Unpause {
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Verb for Unpause {
    const NAME: &'static str = "unpause";
    const ALIASES: &'static [&'static str] = &["container unpause", "unpause"];
    const ABOUT: &'static str = "Unpause all processes within one or more containers";
    const USAGE: &'static str = "CONTAINER [CONTAINER...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            each(&self.containers, "", async |name| client.container_unpause(name).await).await
        })
    }
}
