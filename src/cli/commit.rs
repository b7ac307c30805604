//! `rdock commit`: an image of a container as it is now.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::{Verb, print};
use crate::client;
use crate::oci::Reference;

/// Makes an image of a container.
#[derive(Debug, clap::Args)]
pub struct Commit {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short = 'a', long, value_name = "string", default_value = "")]
    author: String,
    /// Apply Dockerfile instruction to the created image
    #[arg(short = 'c', long, value_name = "list")]
    change: Vec<String>,
    /// Commit message
    #[arg(short = 'm', long, value_name = "string", default_value = "")]
    message: String,
    /// Pause container during commit (default true)
    #[arg(short = 'p', long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    pause: bool,
    #[arg(required = true)]
    names: Vec<String>,
}

impl Verb for Commit {
    const NAME: &'static str = "commit";
    const ALIASES: &'static [&'static str] = &["container commit", "commit"];
    const ABOUT: &'static str = "Create a new image from a container's changes";
    const USAGE: &'static str = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]";
    const ARITY: Arity = Arity::Between(1, 2);

    fn told(&self) -> String {
        format!("commit {}", self.names.join(" "))
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let name = self.names.get(1).map(|name| reference(name)).transpose()?;
        let commit = client::Commit {
            container: self.names.first().cloned().unwrap_or_default(),
            repository: name.as_ref().map(Reference::name),
            tag: name.as_ref().and_then(Reference::tag).map(str::to_owned),
            author: self.author,
            message: self.message,
            changes: self.change,
            pause: self.pause,
        };
        cx.block_on(async {
            let id = cx.client().await?.container_commit(&commit).await?;
            print(&format!("{id}\n")).map(|()| 0)
        })
    }
}

fn reference(name: &str) -> Result<Reference, Failure> {
    let name = Reference::parse(name).map_err(Failure::new)?;
    match name.digest() {
        Some(_) => Err(Failure::new("refusing to create a tag with a digest reference")),
        None => Ok(name.with_default_tag()),
    }
}
