//! `rdock hub add`: puts an image into the hub.

use super::Task;
use crate::cli::Context;
use crate::cli::args::Arity;
use crate::cli::error::Failure;
use crate::cli::verb::{Verb, print};
use crate::ui::units;
use std::path::PathBuf;

/// Copies an image of this host, or of any registry, into the hub.
#[derive(Debug, Clone, clap::Args)]
pub struct Add {
    /// Copy every platform, not only this host's
    #[arg(long)]
    pub all_platforms: bool,
    /// The name that it shall have in the hub
    #[arg(long = "as", value_name = "string")]
    pub name: Option<String>,
    /// Ask its registry even if this host has the image
    #[arg(long)]
    pub pull: bool,
    /// OCI image layout of the hub
    #[arg(long, value_name = "string")]
    pub root: Option<PathBuf>,
    #[arg(required = true)]
    pub image: String,
}

impl Verb for Add {
    const NAME: &'static str = "hub add";
    const ABOUT: &'static str = "Put an image of this host, or of any registry, into the hub";
    const USAGE: &'static str = "[OPTIONS] NAME[:TAG|@DIGEST]";
    const ARITY: Arity = Arity::Exactly(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        for line in (cx.processes().hub)(Task::Add(&self))? {
            print(&format!(
                "Added {}\nDigest: {}\n{}, {}\n",
                line.repository,
                line.digest,
                line.origin,
                units::size(line.size)
            ))?;
        }
        Ok(0)
    }
}
