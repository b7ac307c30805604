//! `rdock export`: all files of a container as one tar archive.

use super::Context;
use super::args::Arity;
use super::cp::stream_out;
use super::error::Failure;
use super::verb::Verb;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

/// Exports a container's files.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// Write to a file, instead of STDOUT
    #[arg(short = 'o', long, value_name = "string")]
    output: Option<String>,
    #[arg(required = true)]
    container: String,
}

impl Verb for Export {
    const NAME: &'static str = "export";
    const ALIASES: &'static [&'static str] = &["container export", "export"];
    const ABOUT: &'static str = "Export a container's filesystem as a tar archive";
    const USAGE: &'static str = "[OPTIONS] CONTAINER";
    const ARITY: Arity = Arity::Exactly(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let output = self.output.as_deref().filter(|o| !o.is_empty());
        match output {
            None if io::stdout().is_terminal() => {
                return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
            }
            Some(path) => check(path)?,
            None => {}
        }
        cx.block_on(async {
            let archive = cx.client().await?.container_export(&self.container).await?;
            let Some(path) = output else { return stream_out(archive).await };
            save(archive, Path::new(path)).await
        })
    }
}

/// The directory has to be there.
fn check(path: &str) -> Result<(), Failure> {
    let directory = crate::client::paths::dir(&crate::client::paths::clean(path));
    if !Path::new(&directory).exists() {
        let words = format!("failed to export container: invalid output path: directory {directory:?} does not exist");
        return Err(Failure::new(words));
    }
    Ok(())
}

/// Under another name until it is whole.
async fn save(mut archive: crate::client::Archive, path: &Path) -> Result<u8, Failure> {
    let failed = |e: io::Error| Failure::new(format!("failed to export container: {}: {e}", path.display()));
    let directory = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    while let Some(piece) = archive.piece().await? {
        file.write_all(&piece).map_err(failed)?;
    }
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(0)
}
