//! `rdock diff`: what a container has changed.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::{Verb, print};

/// Shows changes.
#[derive(Debug, clap::Args)]
pub struct Diff {
    #[arg(required = true)]
    container: String,
}

impl Verb for Diff {
    const NAME: &'static str = "diff";
    const ALIASES: &'static [&'static str] = &["container diff", "diff"];
    const ABOUT: &'static str = "Inspect changes to files or directories on a container's filesystem";
    const USAGE: &'static str = "CONTAINER";
    const ARITY: Arity = Arity::Exactly(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let changes = cx.client().await?.container_changes(&self.container).await?;
            let line = |kind| match kind {
                0 => 'C',
                1 => 'A',
                _ => 'D',
            };
            let lines: String = changes.iter().map(|c| format!("{} {}\n", line(c.kind), c.path)).collect();
            print(&lines).map(|()| 0)
        })
    }
}
