//! `rdock save`: images as one tar archive.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::Verb;
use crate::client::Archive;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;

/// Saves images.
#[derive(Debug, clap::Args)]
pub struct Save {
    /// Write to a file, instead of STDOUT
    #[arg(short = 'o', long, value_name = "string")]
    output: Option<String>,
    /// Save only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    #[arg(required = true)]
    images: Vec<String>,
}

impl Verb for Save {
    const NAME: &'static str = "save";
    const ALIASES: &'static [&'static str] = &["image save", "save"];
    const ABOUT: &'static str = "Save one or more images to a tar archive (streamed to STDOUT by default)";
    const USAGE: &'static str = "[OPTIONS] IMAGE [IMAGE...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn told(&self) -> String {
        format!("save, {}", self.images.join(", "))
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let output = self.output.as_deref().filter(|output| !output.is_empty());
        match output {
            None if io::stdout().is_terminal() => {
                return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
            }
            Some(path) => check(Path::new(path))?,
            None => {}
        }
        cx.block_on(async {
            let archive = cx.client().await?.images_save(&self.images, self.platform.as_deref()).await?;
            match output {
                Some(path) => to_file(archive, Path::new(path)).await,
                None => copy(archive, &mut io::stdout()).await?.map_err(of_stdout),
            }
            .map(|()| 0)
        })
    }
}

/// The directory has to be there, and the file has to be one that can be replaced.
fn check(path: &Path) -> Result<(), Failure> {
    let invalid = |why: String| Err(Failure::new(format!("failed to save image: invalid output path: {why}")));
    let directory = directory_of(path);
    if !directory.is_dir() {
        return invalid(format!("stat {}: no such file or directory", directory.display()));
    }
    if path.is_dir() {
        return invalid(format!("{} is a directory", path.display()));
    }
    Ok(())
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Under another name until it is whole: an archive that was cut is no archive. A device is written as it is.
async fn to_file(archive: Archive, path: &Path) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::new(format!("failed to save image: {}: {e}", path.display()));
    if path.metadata().is_ok_and(|meta| !meta.is_file()) {
        let mut file = std::fs::OpenOptions::new().write(true).open(path).map_err(failed)?;
        return copy(archive, &mut file).await?.map_err(failed);
    }
    let mut file = tempfile::NamedTempFile::new_in(directory_of(path)).map_err(failed)?;
    copy(archive, &mut file).await?.map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error)).map(drop)
}

/// The outer error is the daemon's, the inner one the file's.
async fn copy(mut archive: Archive, to: &mut dyn Write) -> Result<io::Result<()>, Failure> {
    while let Some(piece) = archive.piece().await? {
        if let Err(e) = to.write_all(&piece) {
            return Ok(Err(e));
        }
    }
    Ok(to.flush())
}

fn of_stdout(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(141),
        _ => Failure::new(format!("cannot write the output: {error}")),
    }
}
