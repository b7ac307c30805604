//! `rdock container prune`: remove all containers that do not run.

use super::Context;
use super::args::Arity;
use super::confirm::confirm;
use super::error::Failure;
use super::filter::{self, Condition};
use super::image_prune::Pruned;
use super::verb::{Verb, print};
use crate::client::Client;
use crate::ui::units;

/// Removes stopped containers.
#[derive(Debug, clap::Args)]
pub struct ContainerPrune {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter")]
    filter: Vec<Condition>,
    /// Do not prompt for confirmation
    #[arg(short = 'f', long)]
    force: bool,
}

impl Verb for ContainerPrune {
    const NAME: &'static str = "container prune";
    const ABOUT: &'static str = "Remove all stopped containers";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::None;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        if !self.force && !confirm("WARNING! This will remove all stopped containers.")? {
            return Ok(0);
        }
        cx.block_on(async {
            let client = cx.client().await?;
            let pruned = prune(&client, &self.filter).await?;
            print(&format!("{}Total reclaimed space: {}\n", pruned.text, units::size_exact(pruned.bytes)))?;
            Ok(0)
        })
    }
}

/// Removes containers that do not run.
pub async fn prune(client: &Client, conditions: &[Condition]) -> Result<Pruned, Failure> {
    let answer = client.container_prune(filter::json(conditions).as_deref()).await?;
    let text = match answer.containers_deleted.as_slice() {
        [] => String::new(),
        ids => format!("Deleted Containers:\n{}\n\n", ids.join("\n")),
    };
    Ok(Pruned { text, bytes: answer.space_reclaimed })
}
