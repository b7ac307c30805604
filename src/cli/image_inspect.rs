//! `rdock image inspect`: everything that is known of images.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::format::WHOLE_HELP;
use super::inspect;
use super::verb::Verb;

/// Inspects images.
#[derive(Debug, clap::Args)]
pub struct ImageInspect {
    #[arg(short = 'f', long, value_name = "string", help = WHOLE_HELP)]
    format: Option<String>,
    #[arg(required = true)]
    images: Vec<String>,
}

impl Verb for ImageInspect {
    const NAME: &'static str = "image inspect";
    const ABOUT: &'static str = "Display detailed information on one or more images";
    const USAGE: &'static str = "[OPTIONS] IMAGE [IMAGE...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        inspect::check(self.format.as_deref())?;
        cx.block_on(async {
            let client = cx.client().await?;
            let (mut found, mut missing) = (Vec::new(), Vec::new());
            for name in &self.images {
                match client.image_inspect(name).await {
                    Ok(value) => found.push(value),
                    Err(error) => missing.push(error.to_string()),
                }
            }
            inspect::told(inspect::show(&found, self.format.as_deref()), &missing)
        })
    }
}
