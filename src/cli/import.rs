//! `rdock import`: a file system out of a tar archive becomes an image.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::load::{explained, hinted, open, pieces};
use super::progress::{self, Where};
use super::verb::Verb;
use crate::client::ImportRequest;
use crate::oci::Reference;
use std::io::{self, Read};

/// Imports a file system.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// Apply Dockerfile instruction to the created image
    #[arg(short = 'c', long, value_name = "list")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short = 'm', long, value_name = "string")]
    message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    #[arg(required = true)]
    source: String,
    /// The image's name; Docker takes no notice of more.
    name: Vec<String>,
}

impl Verb for Import {
    const NAME: &'static str = "import";
    const ALIASES: &'static [&'static str] = &["image import", "import"];
    const ABOUT: &'static str = "Import the contents from a tarball to create a filesystem image";
    const USAGE: &'static str = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn told(&self) -> String {
        format!("import, from {}", self.source)
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let is_url = ["http://", "https://"].iter().any(|scheme| self.source.starts_with(scheme));
        let from: Box<dyn Read + Send> = match self.source.as_str() {
            "-" => Box::new(io::stdin()),
            _ if is_url => Box::new(io::empty()),
            path => Box::new(open(path)?),
        };
        let reference = self.name.first().map(|name| Reference::parse(name)).transpose().map_err(Failure::new)?;
        let request = ImportRequest {
            from: if is_url { self.source.clone() } else { "-".into() },
            repository: reference.as_ref().map(Reference::familiar_name),
            tag: reference.as_ref().and_then(|r| r.tag().map(str::to_owned)),
            message: self.message.filter(|message| !message.is_empty()),
            changes: self.change,
            platform: self.platform,
        };
        cx.block_on(async {
            let client = cx.client().await?;
            let messages = client.image_import(&request, pieces(from)).await.map_err(explained)?;
            progress::show(messages, Where::Stdout).await.map_err(hinted)?;
            Ok(0)
        })
    }
}
