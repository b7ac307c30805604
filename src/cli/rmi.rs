//! `rdock rmi`: remove images.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::{Verb, print, tell};
use crate::client::wire::RemovedImage;

/// Removes images.
#[derive(Debug, clap::Args)]
pub struct Rmi {
    /// Force removal of the image
    #[arg(short = 'f', long)]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    no_prune: bool,
    #[arg(required = true)]
    images: Vec<String>,
}

impl Verb for Rmi {
    const NAME: &'static str = "rmi";
    const ALIASES: &'static [&'static str] = &["image rm", "image remove", "rmi"];
    const ABOUT: &'static str = "Remove one or more images";
    const USAGE: &'static str = "[OPTIONS] IMAGE [IMAGE...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            // All that worked is told before all that did not, as Docker does it.
            let (mut errors, mut fatal) = (Vec::new(), false);
            for name in &self.images {
                match client.image_remove(name, self.force, self.no_prune).await {
                    Ok(removed) => print(&removed.iter().map(line).collect::<String>())?,
                    Err(error) => {
                        // What is not there any more is what `-f` wants.
                        fatal |= !(self.force && error.is_not_found());
                        errors.push(error.to_string());
                    }
                }
            }
            errors.iter().for_each(tell);
            if fatal { Err(Failure::silent(1)) } else { Ok(0) }
        })
    }
}

fn line(removed: &RemovedImage) -> String {
    match removed.deleted.as_str() {
        "" => format!("Untagged: {}\n", removed.untagged),
        digest => format!("Deleted: {digest}\n"),
    }
}
