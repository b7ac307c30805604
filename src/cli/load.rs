//! `rdock load`: images out of a tar archive.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::progress::{self, Where};
use super::verb::Verb;
use bytes::Bytes;
use futures_util::Stream;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Loads images.
#[derive(Debug, clap::Args)]
pub struct Load {
    /// Read from tar archive file, instead of STDIN
    #[arg(short = 'i', long, value_name = "string")]
    input: Option<String>,
    /// Load only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress the load output
    #[arg(short = 'q', long)]
    quiet: bool,
}

impl Verb for Load {
    const NAME: &'static str = "load";
    const ALIASES: &'static [&'static str] = &["image load", "load"];
    const ABOUT: &'static str = "Load an image from a tar archive or STDIN";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::Exactly(0);

    fn told(&self) -> String {
        format!("load, from {}", self.input.as_deref().unwrap_or("standard input"))
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let from: Box<dyn Read + Send> = match self.input.as_deref().filter(|input| !input.is_empty()) {
            Some(path) => Box::new(open(path)?),
            None if io::stdin().is_terminal() => {
                return Err(Failure::new("requested load from stdin, but stdin is empty"));
            }
            None => Box::new(io::stdin()),
        };
        cx.block_on(async {
            let client = cx.client().await?;
            // Bars are drawn on a terminal only.
            let quiet = self.quiet || !io::stdout().is_terminal();
            let messages =
                client.images_load(quiet, self.platform.as_deref(), pieces(from)).await.map_err(explained)?;
            progress::show(messages, Where::Stdout).await.map_err(hinted)?;
            Ok(0)
        })
    }
}

/// Opens a file; Docker's words if it cannot be.
pub fn open(path: &str) -> Result<File, Failure> {
    let words = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Failure::new(format!("open {path}: no such file or directory")),
        _ => Failure::new(format!("open {path}: {e}")),
    };
    let file = File::open(path).map_err(words)?;
    match file.metadata().is_ok_and(|meta| meta.is_dir()) {
        true => Err(Failure::new(format!("read {path}: is a directory"))),
        false => Ok(file),
    }
}

/// How much is read and sent at once, in bytes.
const PIECE: usize = 128 * 1024;

/// What is in there, read on a thread of its own no faster than it is sent.
pub fn pieces(mut from: Box<dyn Read + Send>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (to, pieces) = mpsc::channel(2);
    std::thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = match from.read(&mut piece) {
                Ok(0) => return,
                Ok(n) => {
                    piece.truncate(n);
                    Ok(piece.into())
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
            let failed = read.is_err();
            if to.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    ReceiverStream::new(pieces)
}

/// The daemon's refusal with the way out.
pub fn explained(error: crate::client::ClientError) -> Failure {
    hinted(error.into())
}

/// What helps, by what is wrong with the archive.
pub fn hinted(failure: Failure) -> Failure {
    const HINTS: [(&str, &str); 6] = [
        ("ends in the middle", "the file is not complete: write it or copy it again"),
        ("packed with", "unpack it first (xz -d, bunzip2)"),
        ("holds no images", "a file system without a manifest is imported: rdock import FILE NAME"),
        ("its digest is", "the archive was changed or damaged: get it again from whoever made it"),
        (
            "but the image config has the diff id",
            "the archive was changed or damaged: get it again from whoever made it",
        ),
        ("does not hold it", "the archive is not complete: write it or copy it again"),
    ];
    let hint = HINTS.iter().find(|(words, _)| failure.message.contains(words));
    match hint {
        Some((_, hint)) if failure.hint.is_none() => failure.hint(*hint),
        _ => failure,
    }
}
