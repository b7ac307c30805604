//! `rdock pull`: download an image.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::progress;
use super::verb::{Verb, print};
use crate::client::Client;
use crate::oci::Reference;

pub use progress::Where;

/// Pulls an image.
#[derive(Debug, clap::Args)]
pub struct Pull {
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Skip image verification (default true)
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    #[arg(required = true)]
    image: String,
}

impl Verb for Pull {
    const NAME: &'static str = "pull";
    const ALIASES: &'static [&'static str] = &["image pull", "pull"];
    const ABOUT: &'static str = "Download an image from a registry";
    const USAGE: &'static str = "[OPTIONS] NAME[:TAG|@DIGEST]";
    const ARITY: Arity = Arity::Exactly(1);

    fn told(&self) -> String {
        told(Self::NAME, &self.image)
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let named = Reference::parse(&self.image).map_err(Failure::new)?;
        let bare = named.tag().is_none() && named.digest().is_none();
        let reference = named.with_default_tag();
        cx.block_on(async {
            let client = cx.client().await?;
            if bare && !self.quiet {
                print("Using default tag: latest\n")?;
            }
            pull(&client, &reference, self.platform.as_deref(), self.quiet, Where::Stdout).await?;
            print(&format!("{}\n", reference.canonical()))?;
            Ok(0)
        })
    }
}

/// `run, image centos → docker.io/library/centos:latest`
pub fn told(command: &str, image: &str) -> String {
    match Reference::parse(image).map(Reference::with_default_tag) {
        Ok(reference) => format!("{command}, image {image} → {}", reference.canonical()),
        Err(_) => format!("{command}, image {image}"),
    }
}

/// Pulls `reference` and shows how it goes.
pub async fn pull(
    client: &Client,
    reference: &Reference,
    platform: Option<&str>,
    quiet: bool,
    place: Where,
) -> Result<(), Failure> {
    let stream = client.image_pull(&reference.name(), reference.reference_part(), platform).await?;
    progress::show(stream, if quiet { Where::Nowhere } else { place }).await
}
