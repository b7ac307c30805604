//! `rdock pull`: download an image.

use super::args::Arity;
use super::error::Failure;
use super::progress;
use super::verb::{Verb, print};
use super::{Context, credentials};
use crate::client::Client;
use crate::oci::Reference;

pub use progress::Where;

/// Pulls an image.
#[derive(Debug, clap::Args)]
pub struct Pull {
    /// Download all tagged images in the repository
    #[arg(short = 'a', long)]
    all_tags: bool,
    /// Skip image verification (default true)
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", action = clap::ArgAction::Set)]
    disable_content_trust: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short = 'q', long)]
    quiet: bool,
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
        match self.all_tags {
            true => format!("{}, all tags of {}", Self::NAME, self.image),
            false => told(Self::NAME, &self.image),
        }
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let named = Reference::parse(&self.image).map_err(Failure::new)?;
        let bare = named.tag().is_none() && named.digest().is_none();
        if self.all_tags && !bare {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        if !self.disable_content_trust {
            return Err(no_trust());
        }
        let reference = if self.all_tags { named } else { named.with_default_tag() };
        cx.block_on(async {
            let client = cx.client().await?;
            if bare && !self.all_tags && !self.quiet {
                print("Using default tag: latest\n")?;
            }
            pull(cx, &client, &reference, self.platform.as_deref(), self.quiet, Where::Stdout).await?;
            let name = if self.all_tags { reference.name() } else { reference.canonical() };
            print(&format!("{name}\n"))?;
            Ok(0)
        })
    }
}

/// Signatures were Docker's own way, which it has given up itself.
pub fn no_trust() -> Failure {
    Failure::new("rdock does not know Docker Content Trust, whose servers are being shut down")
        .hint("leave --disable-content-trust=false out: every image is checked against its digest anyway")
}

/// `run, image centos → docker.io/library/centos:latest`
pub fn told(command: &str, image: &str) -> String {
    match Reference::parse(image).map(Reference::with_default_tag) {
        Ok(reference) => format!("{command}, image {image} → {}", reference.canonical()),
        Err(_) => format!("{command}, image {image}"),
    }
}

/// Pulls `reference` (without tag and digest: all tags) and shows how it goes.
pub async fn pull(
    cx: &Context,
    client: &Client,
    reference: &Reference,
    platform: Option<&str>,
    quiet: bool,
    place: Where,
) -> Result<(), Failure> {
    let who = credentials::for_image(cx, reference)?;
    let named = reference.tag().is_some() || reference.digest().is_some();
    let part = named.then(|| reference.reference_part());
    let stream = client.image_pull(&reference.name(), part, platform, &who).await;
    let stream = stream.map_err(|e| credentials::hinted(e.into()))?;
    progress::show(stream, if quiet { Where::Nowhere } else { place }).await.map(drop).map_err(credentials::hinted)
}
