//! `rdock rm`: remove containers.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::{Verb, print, tell};

/// Removes containers.
#[derive(Debug, clap::Args)]
pub struct Rm {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short = 'f', long)]
    force: bool,
    /// Remove the specified link
    #[arg(short = 'l', long)]
    link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short = 'v', long)]
    volumes: bool,
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Verb for Rm {
    const NAME: &'static str = "rm";
    const ALIASES: &'static [&'static str] = &["container rm", "container remove", "rm"];
    const ABOUT: &'static str = "Remove one or more containers";
    const USAGE: &'static str = "[OPTIONS] CONTAINER [CONTAINER...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            let remove = async |name: &str| {
                let removed =
                    client.container_remove(name.trim_start_matches('/'), self.force, self.volumes, self.link);
                match removed.await {
                    // What is not there any more is what `-f` wants; Docker says it and goes on.
                    Err(e) if self.force && e.is_not_found() => {
                        tell(e.to_string());
                        Ok(false)
                    }
                    other => other.map(|()| true),
                }
            };
            let mut failed = false;
            for name in &self.containers {
                match remove(name).await {
                    Ok(true) => print(&format!("{name}\n"))?,
                    Ok(false) => {}
                    Err(error) => {
                        tell(error.to_string());
                        failed = true;
                    }
                }
            }
            if failed { Err(Failure::silent(1)) } else { Ok(0) }
        })
    }
}
