//! `rdock push`: upload an image.

use super::args::Arity;
use super::error::Failure;
use super::verb::{Verb, print, tell};
use super::{Context, credentials, progress, pull};
use crate::client::wire::Pushed;
use crate::oci::Reference;
use serde_json::json;

const PLATFORM: &str = "Push a platform-specific manifest as a single-platform image to the registry.\n\
    Image index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n\
    'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)";

/// Pushes an image.
#[derive(Debug, clap::Args)]
pub struct Push {
    /// Push all tags of an image to the repository
    #[arg(short = 'a', long)]
    all_tags: bool,
    /// Skip image signing (default true)
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", action = clap::ArgAction::Set)]
    disable_content_trust: bool,
    #[arg(long, value_name = "string", help = PLATFORM)]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short = 'q', long)]
    quiet: bool,
    #[arg(required = true)]
    image: String,
}

impl Verb for Push {
    const NAME: &'static str = "push";
    const ALIASES: &'static [&'static str] = &["image push", "push"];
    const ABOUT: &'static str = "Upload an image to a registry";
    const USAGE: &'static str = "[OPTIONS] NAME[:TAG]";
    const ARITY: Arity = Arity::Exactly(1);

    fn told(&self) -> String {
        match self.all_tags {
            true => format!("{}, all tags of {}", Self::NAME, self.image),
            false => pull::told(Self::NAME, &self.image),
        }
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let named = Reference::parse(&self.image).map_err(Failure::new)?;
        let bare = named.tag().is_none() && named.digest().is_none();
        match (self.all_tags, named.digest()) {
            (true, _) if !bare => return Err(Failure::new("tag can't be used with --all-tags/-a")),
            (_, Some(_)) => return Err(Failure::new("cannot push a digest reference")),
            _ if !self.disable_content_trust => return Err(pull::no_trust()),
            _ => {}
        }
        if bare && !self.all_tags && !self.quiet {
            print("Using default tag: latest\n")?;
        }
        let reference = if self.all_tags { named } else { named.with_default_tag() };
        let platform = self.platform.as_deref().map(platform_json).transpose()?;
        cx.block_on(async {
            let client = cx.client().await?;
            let who = credentials::for_image(cx, &reference)?;
            let stream = client.image_push(&reference.name(), reference.tag(), platform.as_deref(), &who).await?;
            let place = if self.quiet { progress::Where::Nowhere } else { progress::Where::Stdout };
            let told = progress::show(stream, place).await.map_err(credentials::hinted)?;
            if self.quiet {
                print(&format!("{}\n", reference.familiar()))?;
            }
            for note in told.iter().filter_map(note) {
                tell(note);
            }
            Ok(0)
        })
    }
}

/// Docker's note when a manifest went instead of the index that has it.
fn note(aux: &serde_json::Value) -> Option<String> {
    let pushed: Pushed = serde_json::from_value(aux.clone()).ok()?;
    pushed.manifest_pushed_instead_of_index.then(|| {
        format!(
            "\n Info -> Not all multiplatform-content is present and only the available single-platform image was pushed\n         \
             {} -> {}",
            pushed.original_index.digest, pushed.selected_manifest.digest
        )
    })
}

/// `linux/arm64/v8` as the API wants it.
fn platform_json(text: &str) -> Result<String, Failure> {
    let platform: crate::oci::platform::Platform = text.parse().map_err(Failure::new)?;
    let mut json = json!({ "architecture": platform.architecture, "os": platform.os });
    if let Some(variant) = platform.variant.filter(|v| !v.is_empty()) {
        json["variant"] = variant.into();
    }
    Ok(json.to_string())
}
