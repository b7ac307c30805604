//! `rdock create`, and the making of a container that `run` shares with it.

use super::args::Arity;
use super::config::{Options, PullPolicy, Streams};
use super::error::Failure;
use super::verb::{Verb, print, tell};
use super::{Context, pull, stdio};
use crate::client::wire::Created;
use crate::client::{Client, terminal};
use crate::oci::Reference;
use crate::oci::platform::Platform;
use std::io::Write as _;
use std::path::Path;

/// Makes a container without starting it.
#[derive(Debug, clap::Args)]
pub struct Create {
    #[command(flatten)]
    options: Options,
}

impl Verb for Create {
    const NAME: &'static str = "create";
    const ALIASES: &'static [&'static str] = &["container create", "create"];
    const ABOUT: &'static str = "Create a new container";
    const USAGE: &'static str = "[OPTIONS] IMAGE [COMMAND] [ARG...]";
    const ARITY: Arity = Arity::AtLeast(1);
    const INTERSPERSED: bool = false;

    fn told(&self) -> String {
        pull::told(Self::NAME, &self.options.image)
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let options = &self.options;
            let streams = options.streams(false)?;
            let (_, created) = create(cx, options, streams).await.map_err(|stage| match stage {
                Stage::Options(failure) => failure.of_command("create"),
                Stage::Daemon(failure) => failure,
            })?;
            print(&format!("{}\n", created.id))?;
            Ok(0)
        })
    }
}

/// Where the making failed: Docker words the two differently for `create`, and alike for `run`.
pub enum Stage {
    Options(Failure),
    Daemon(Failure),
}

impl Stage {
    pub fn failure(self) -> Failure {
        match self {
            Stage::Options(failure) | Stage::Daemon(failure) => failure,
        }
    }
}

/// Makes the container; pulls the image when the daemon says that it is not there.
pub async fn create(cx: &Context, options: &Options, streams: Streams) -> Result<(Client, Created), Stage> {
    let policy = options.pull_policy().map_err(Stage::Options)?;
    if let Some(platform) = &options.platform {
        check_platform(platform).map_err(Stage::Daemon)?;
    }
    let body = options.body(streams, terminal::size()).map_err(Stage::Options)?;
    let cidfile = options.cidfile.as_deref().map(CidFile::reserve).transpose().map_err(Stage::Options)?;
    let reference = Reference::parse(&options.image).map(Reference::with_default_tag);
    let client = cx.client().await.map_err(Stage::Daemon)?;
    if let (PullPolicy::Always, Ok(reference)) = (policy, &reference) {
        fetch(cx, &client, options, reference).await.map_err(Stage::Daemon)?;
    }
    let (name, platform) = (options.name.as_deref(), options.platform.as_deref());
    let created = match client.container_create(name, platform, body.clone()).await {
        Err(e) if e.is_not_found() && policy == PullPolicy::Missing && e.message().contains("No such image") => {
            let reference = reference.map_err(|e| Stage::Options(Failure::new(e)))?;
            if !options.quiet {
                tell(format!("Unable to find image '{}' locally", reference.familiar()));
            }
            fetch(cx, &client, options, &reference).await.map_err(Stage::Daemon)?;
            client.container_create(name, platform, body).await
        }
        answered => answered,
    };
    let created = created.map_err(|e| Stage::Daemon(hinted(e.into())))?;
    stdio::warn(&created.warnings);
    if let Some(cidfile) = cidfile {
        cidfile.write(&created.id).map_err(Stage::Options)?;
    }
    Ok((client, created))
}

/// A way around what rdock has not got yet.
fn hinted(failure: Failure) -> Failure {
    let ways = [
        (
            "can't do --publish yet",
            "a container has no network but its own loopback yet; with --network host it has the host's ports",
        ),
        ("can't do named volumes yet", "share a directory instead: -v /some/directory:/place/in/the/container"),
        ("can't do volumes yet", "share a directory instead: --mount type=bind,source=/some/directory,target=/place"),
        (
            "invalid mount config for type \"bind\": bind source path does not exist",
            "-v makes the directory, --mount does not",
        ),
        ("non-shareable IPC", "start the other container with --ipc shareable"),
    ];
    match ways.into_iter().find(|(words, _)| failure.message.contains(words)) {
        Some((_, hint)) => failure.hint(hint),
        None => failure,
    }
}

fn check_platform(text: &str) -> Result<(), Failure> {
    text.parse::<Platform>().map(drop).map_err(|_| {
        let why = "cannot parse platform specifier: invalid argument";
        Failure::new(format!("error parsing specified platform: {text:?}: {why}"))
    })
}

async fn fetch(cx: &Context, client: &Client, options: &Options, reference: &Reference) -> Result<(), Failure> {
    pull::pull(cx, client, reference, options.platform.as_deref(), options.quiet, pull::Where::Stderr).await
}

/// `--cidfile`: reserved before the container is made, and removed again when it is not.
struct CidFile<'a> {
    path: &'a Path,
    file: Option<std::fs::File>,
}

impl<'a> CidFile<'a> {
    fn reserve(path: &'a Path) -> Result<CidFile<'a>, Failure> {
        let file = std::fs::File::options().write(true).create_new(true).open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => Failure::new(format!(
                "container ID file found, make sure the other container isn't running or delete {}",
                path.display()
            )),
            _ => Failure::new(format!("failed to create the container ID file: open {}: {e}", path.display())),
        })?;
        Ok(CidFile { path, file: Some(file) })
    }

    fn write(mut self, id: &str) -> Result<(), Failure> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        file.write_all(id.as_bytes()).map_err(|e| {
            Failure::new(format!("failed to write the container ID ({id}) to file {}: {e}", self.path.display()))
        })
    }
}

impl Drop for CidFile<'_> {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = std::fs::remove_file(self.path);
        }
    }
}
