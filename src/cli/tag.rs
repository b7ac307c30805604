//! `rdock tag`: give an image another name.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::Verb;
use crate::oci::{Reference, ReferenceError};

/// Names an image.
#[derive(Debug, clap::Args)]
pub struct Tag {
    #[arg(required = true)]
    source: String,
    #[arg(required = true)]
    target: String,
}

impl Verb for Tag {
    const NAME: &'static str = "tag";
    const ALIASES: &'static [&'static str] = &["image tag", "tag"];
    const ABOUT: &'static str = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE";
    const USAGE: &'static str = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]";
    const ARITY: Arity = Arity::Exactly(2);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let wrong = |name: &str| {
            let name = name.to_owned();
            move |e: ReferenceError| {
                Failure::new(format!("Error parsing reference: {name:?} is not a valid repository/tag: {e}"))
            }
        };
        match Reference::parse(&self.source) {
            // An id is a source too.
            Ok(_) | Err(ReferenceError::LooksLikeId(_)) => {}
            Err(_) if self.source.starts_with("sha256:") => {}
            Err(e) => return Err(wrong(&self.source)(e)),
        }
        let target = Reference::parse(&self.target).map_err(wrong(&self.target))?;
        if target.digest().is_some() {
            return Err(Failure::new("refusing to create a tag with a digest reference"));
        }
        cx.block_on(async {
            cx.client().await?.image_tag(&self.source, &target.with_default_tag()).await?;
            Ok(0)
        })
    }
}
