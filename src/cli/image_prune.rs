//! `rdock image prune`: remove images that nobody needs.

use super::Context;
use super::args::Arity;
use super::confirm::confirm;
use super::error::Failure;
use super::filter::{self, Condition};
use super::verb::{Verb, print};
use crate::client::Client;
use crate::ui::units;

/// Removes unused images.
#[derive(Debug, clap::Args)]
pub struct ImagePrune {
    /// Remove all unused images, not just dangling ones
    #[arg(short = 'a', long)]
    all: bool,
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter")]
    filter: Vec<Condition>,
    /// Do not prompt for confirmation
    #[arg(short = 'f', long)]
    force: bool,
}

impl Verb for ImagePrune {
    const NAME: &'static str = "image prune";
    const ABOUT: &'static str = "Remove unused images";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::None;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let what = match self.all {
            true => "WARNING! This will remove all images without at least one container associated to them.",
            false => "WARNING! This will remove all dangling images.",
        };
        if !self.force && !confirm(what)? {
            return Ok(0);
        }
        cx.block_on(async {
            let client = cx.client().await?;
            let pruned = prune(&client, &self.filter, self.all).await?;
            print(&format!("{}Total reclaimed space: {}\n", pruned.text, units::size_exact(pruned.bytes)))?;
            Ok(0)
        })
    }
}

/// What a prune has done.
pub struct Pruned {
    /// What Docker says of it, an empty line at the end; empty if nothing went.
    pub text: String,
    pub bytes: u64,
}

/// Removes images without a tag, or all that no container was made of.
pub async fn prune(client: &Client, conditions: &[Condition], all: bool) -> Result<Pruned, Failure> {
    let mut conditions = conditions.to_vec();
    conditions.push(Condition::new("dangling", if all { "false" } else { "true" }));
    let answer = client.image_prune(filter::json(&conditions).as_deref()).await?;
    if answer.images_deleted.is_empty() {
        return Ok(Pruned { text: String::new(), bytes: answer.space_reclaimed });
    }
    let mut text = "Deleted Images:\n".to_owned();
    for removed in &answer.images_deleted {
        match removed.deleted.as_str() {
            "" => text.push_str(&format!("untagged: {}\n", removed.untagged)),
            digest => text.push_str(&format!("deleted: {digest}\n")),
        }
    }
    text.push('\n');
    Ok(Pruned { text, bytes: answer.space_reclaimed })
}
