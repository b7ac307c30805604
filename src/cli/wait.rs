//! `rdock wait`: block until containers stop, print their exit statuses.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::{Verb, print, tell};
use crate::client::{Client, ClientError, WaitCondition};

/// Waits for containers.
#[derive(Debug, clap::Args)]
pub struct Wait {
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Verb for Wait {
    const NAME: &'static str = "wait";
    const ALIASES: &'static [&'static str] = &["container wait", "wait"];
    const ABOUT: &'static str = "Block until one or more containers stop, then print their exit codes";
    const USAGE: &'static str = "CONTAINER [CONTAINER...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            let mut failed = false;
            for name in &self.containers {
                match status_of(&client, name).await {
                    Ok(status) => print(&format!("{status}\n"))?,
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

async fn status_of(client: &Client, name: &str) -> Result<i64, ClientError> {
    let wait = client.container_wait(name, WaitCondition::NotRunning).await?;
    Ok(client.waited(wait).await?.status_code)
}
