//! `rdock rename`: give a container another name.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::{Verb, tell};

/// Renames a container.
#[derive(Debug, clap::Args)]
pub struct Rename {
    #[arg(required = true)]
    container: String,
    #[arg(required = true)]
    name: String,
}

impl Verb for Rename {
    const NAME: &'static str = "rename";
    const ALIASES: &'static [&'static str] = &["container rename", "rename"];
    const ABOUT: &'static str = "Rename a container";
    const USAGE: &'static str = "CONTAINER NEW_NAME";
    const ARITY: Arity = Arity::Exactly(2);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let (old, new) = (self.container.trim(), self.name.trim());
        if old.is_empty() || new.is_empty() {
            return Err(Failure::new("Error: Neither old nor new names may be empty"));
        }
        cx.block_on(async {
            let client = cx.client().await?;
            match client.container_rename(old, new).await {
                Ok(()) => Ok(0),
                Err(error) => {
                    tell(error.to_string());
                    Err(Failure::new(format!("Error: failed to rename container named {old}")))
                }
            }
        })
    }
}
