//! `rdock system prune`: remove everything that nobody needs.

use super::Context;
use super::args::Arity;
use super::confirm::confirm;
use super::error::Failure;
use super::filter::Condition;
use super::verb::{Verb, print};
use super::{container_prune, image_prune};
use crate::ui::units;

/// Removes unused containers, networks and images.
#[derive(Debug, clap::Args)]
pub struct SystemPrune {
    /// Remove all unused images not just dangling ones
    #[arg(short = 'a', long)]
    all: bool,
    /// Provide filter values (e.g. "label=<key>=<value>")
    #[arg(long, value_name = "filter")]
    filter: Vec<Condition>,
    /// Do not prompt for confirmation
    #[arg(short = 'f', long)]
    force: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
}

impl Verb for SystemPrune {
    const NAME: &'static str = "system prune";
    const ABOUT: &'static str = "Remove unused data";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::None;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        if self.volumes && self.filter.iter().any(|c| c.key() == Some("until")) {
            return Err(Failure::new("ERROR: The \"until\" filter is not supported with \"--volumes\""));
        }
        if !self.force && !confirm(&self.warning())? {
            return Ok(0);
        }
        cx.block_on(async {
            let client = cx.client().await?;
            // Containers first: what they need is free then.
            let containers = container_prune::prune(&client, &self.filter).await?;
            print(&containers.text)?;
            let mut bytes = containers.bytes;
            let networks = client.network_prune(super::filter::json(&self.filter).as_deref()).await?;
            if !networks.is_empty() {
                print(&format!("Deleted Networks:\n{}\n\n", networks.join("\n")))?;
            }
            if self.volumes {
                let (volumes, freed) = client.volume_prune(super::filter::json(&self.filter).as_deref()).await?;
                if !volumes.is_empty() {
                    print(&format!("Deleted Volumes:\n{}\n\n", volumes.join("\n")))?;
                }
                bytes += freed;
            }
            let images = image_prune::prune(&client, &self.filter, self.all).await?;
            print(&images.text)?;
            bytes += images.bytes;
            print(&format!("Total reclaimed space: {}\n", units::size_exact(bytes)))?;
            Ok(0)
        })
    }
}

impl SystemPrune {
    fn warning(&self) -> String {
        let mut text = "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n".to_owned();
        if self.volumes {
            text.push_str("  - all anonymous volumes not used by at least one container\n");
        }
        text.push_str(match self.all {
            true => "  - all images without at least one container associated to them\n  - all build cache\n",
            false => "  - all dangling images\n  - unused build cache\n",
        });
        let conditions: Vec<String> = self.filter.iter().filter_map(Condition::text).collect();
        if !conditions.is_empty() {
            text.push_str("\n  Items to be pruned will be filtered with:\n");
            conditions.iter().for_each(|c| text.push_str(&format!("  - {c}\n")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warning_says_what_goes() {
        let prune = |all, volumes, filter: &[&str]| SystemPrune {
            all,
            volumes,
            force: false,
            filter: filter.iter().map(|f| f.parse().unwrap()).collect(),
        };
        assert_eq!(
            prune(false, false, &["label=x", "until=1h"]).warning(),
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  \
             - all dangling images\n  - unused build cache\n\n  Items to be pruned will be filtered with:\n  - label=x\n  - until=1h\n"
        );
        let all = prune(true, true, &[]).warning();
        assert!(all.contains("  - all anonymous volumes not used by at least one container\n  - all images without"));
        assert!(all.ends_with("  - all build cache\n"));
    }
}
