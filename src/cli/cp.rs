//! `rdock cp`: files from a container to here, or from here to a container.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::{Verb, print_bytes, tell};
use crate::client::copy::{self, CopyError, Place, Rename};
use crate::client::paths;
use crate::client::wire::{MODE_DIR, MODE_SPECIAL, MODE_SYMLINK};
use crate::client::{Archive, Client, ClientError};
use crate::ui::units;
use bytes::Bytes;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Pieces of an archive between the files and the connection, and their size in bytes.
const PIECES: usize = 4;
const PIECE: usize = 64 * 1024;

/// Writes the archive that goes to the daemon, in a thread that may wait.
type Packing = Box<dyn FnOnce(Counted) -> Result<(), CopyError> + Send>;

/// Copies files.
#[derive(Debug, clap::Args)]
pub struct Cp {
    /// Archive mode (copy all uid/gid information)
    #[arg(short = 'a', long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached
    #[arg(short = 'q', long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    quiet: Option<bool>,
    #[arg(required = true)]
    paths: Vec<String>,
}

impl Verb for Cp {
    const NAME: &'static str = "cp";
    const ALIASES: &'static [&'static str] = &["container cp", "cp"];
    const ABOUT: &'static str = "Copy files/folders between a container and the local filesystem\n\n\
        Use '-' as the source to read a tar archive from stdin\nand extract it to a directory destination in a container.\n\
        Use '-' as the destination to stream a tar archive of a\ncontainer source to stdout.";
    const USAGE: &'static str =
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\trdock cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH";
    const ARITY: Arity = Arity::Exactly(2);

    fn told(&self) -> String {
        let shown = |path: &String| match split(path) {
            (Some(_), _) => path.clone(),
            (None, _) => "this side".to_owned(),
        };
        format!("cp from {} to {}", shown(&self.paths[0]), shown(&self.paths[1]))
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let [from, to] = self.paths.as_slice() else { return Err(Failure::silent(1)) };
        match (from.is_empty(), to.is_empty()) {
            (true, _) => return Err(Failure::new("source can not be empty")),
            (_, true) => return Err(Failure::new("destination can not be empty")),
            _ => {}
        }
        match (split(from), split(to)) {
            ((Some(container), from), (None, to)) => {
                cx.block_on(async { self.copy_out(&cx.client().await?, container, from, to).await })
            }
            ((None, from), (Some(container), to)) => {
                cx.block_on(async { self.copy_in(&cx.client().await?, container, from, to).await })
            }
            ((Some(_), _), (Some(_), _)) => Err(Failure::new("copying between containers is not supported")),
            _ => Err(Failure::new("must specify at least one container source")),
        }
    }
}

/// `CONTAINER:PATH`, or a local path: one that begins with `/` or `.`, or has no colon.
fn split(argument: &str) -> (Option<&str>, &str) {
    match argument.split_once(':') {
        Some((container, path)) if !argument.starts_with('/') && !container.starts_with('.') => (Some(container), path),
        _ => (None, argument),
    }
}

/// A local path from the root, with the end that it had.
fn local(path: &str) -> Result<String, Failure> {
    let here = std::env::current_dir().map_err(|e| Failure::new(format!("getwd: {e}")))?;
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", here.display()) };
    Ok(paths::keep_end(paths::clean(&whole), path))
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Failure {
        Failure::new(error)
    }
}

impl Cp {
    fn quiet(&self) -> bool {
        self.quiet.unwrap_or_else(|| !io::stdout().is_terminal())
    }

    async fn copy_out(&self, client: &Client, container: &str, from: &str, to: &str) -> Result<u8, Failure> {
        let to = if to == "-" { to.to_owned() } else { local(to)? };
        check_output(&to)?;
        let (from, name) = match self.follow_link {
            true => follow(client, container, from).await?,
            false => (from.to_owned(), None),
        };
        let (stat, archive) = client.container_archive(container, &from).await?;
        if to == "-" {
            return stream_out(archive).await;
        }
        let is_dir = stat.mode & MODE_DIR != 0;
        let top = name.clone().map(|new| Rename { old: paths::directory_and_entry(&from).1, new });
        let source = Place { path: from, exists: true, is_dir, name };
        let (directory, rename) = copy::plan(&source, &copy::destination(&to)?)?;
        let count = Arc::new(AtomicU64::new(0));
        let pieces = Pieces::of(archive, count.clone());
        let renames = Renames { first: top, then: rename };
        let (into, unpacking) = (directory.clone(), renames.one());
        let done = pieces
            .read_by(move |reader| copy::unpack(reader, Path::new(&into), unpacking.as_ref()).map_err(Failure::from))
            .await;
        if !self.quiet() {
            summary(count.load(Ordering::Relaxed), &to);
        }
        done.map(|()| 0)
    }

    async fn copy_in(&self, client: &Client, container: &str, from: &str, to: &str) -> Result<u8, Failure> {
        let from = if from == "-" { from.to_owned() } else { local(from)? };
        let target = container_destination(client, container, to).await?;
        let count = Arc::new(AtomicU64::new(0));
        let (directory, packing): (String, Packing) = match &*from {
            "-" if !target.is_dir => {
                return Err(Failure::new(format!("destination \"{container}:{to}\" must be a directory")));
            }
            "-" => (
                target.path.clone(),
                Box::new(|mut to| {
                    io::copy(&mut io::stdin().lock(), &mut to).and_then(|_| to.flush()).map_err(CopyError::Archive)
                }),
            ),
            path => {
                let source = copy::source(path, self.follow_link)?;
                let (directory, rename) = copy::plan(&source.place, &target)?;
                (directory, Box::new(move |to| copy::pack(&source, rename.as_ref(), to)))
            }
        };
        let (pieces, stream) = mpsc::channel(PIECES);
        let to_daemon = Counted { pieces, buffer: Vec::new(), count: count.clone() };
        let packed = tokio::task::spawn_blocking(move || packing(to_daemon));
        let sent = client.container_extract(container, &directory, self.archive, ReceiverStream::new(stream)).await;
        let packed = packed.await.unwrap_or_else(|e| Err(CopyError::Archive(io::Error::other(e))));
        match (sent, packed) {
            // The connection was cut because the archive could not be made whole.
            (Err(ClientError::Lost { .. }), Err(error)) => return Err(error.into()),
            (sent, _) => sent?,
        }
        if !self.quiet() {
            summary(count.load(Ordering::Relaxed), &format!("{container}:{}", target.path));
        }
        Ok(0)
    }
}

fn summary(bytes: u64, to: &str) {
    tell(format!("Successfully copied {} to {to}", units::size(bytes)));
}

/// Docker's check of a local path to write to.
fn check_output(path: &str) -> Result<(), Failure> {
    let directory = paths::dir(&paths::clean(path));
    if path != "-" && !Path::new(&directory).exists() {
        return Err(Failure::new(format!("invalid output path: directory {directory:?} does not exist")));
    }
    Ok(())
}

/// `-L`: the path that a link leads to, and the name that the copy keeps.
async fn follow(client: &Client, container: &str, path: &str) -> Result<(String, Option<String>), Failure> {
    match client.container_path_stat(container, path).await {
        Ok(stat) if stat.mode & MODE_SYMLINK != 0 => {
            let target = match stat.link_target.starts_with('/') {
                true => stat.link_target,
                false => format!("{}/{}", paths::directory_and_entry(path).0, stat.link_target),
            };
            Ok(paths::follow(path, &target))
        }
        // What is wrong with it the copy itself will say.
        _ => Ok((path.to_owned(), None)),
    }
}

/// What is at the destination. That it is not there is no error: the directory above it may be.
async fn container_destination(client: &Client, container: &str, path: &str) -> Result<Place, Failure> {
    let mut place = Place { path: path.to_owned(), ..Place::default() };
    let Ok(mut stat) = client.container_path_stat(container, path).await else { return Ok(place) };
    if stat.mode & MODE_SYMLINK != 0 {
        place.path = match stat.link_target.starts_with('/') {
            true => stat.link_target.clone(),
            false => format!("{}/{}", paths::directory_and_entry(path).0, stat.link_target),
        };
        match client.container_path_stat(container, &place.path).await {
            Ok(target) => stat = target,
            Err(_) => return Ok(place),
        }
    }
    if MODE_SPECIAL.iter().any(|special| stat.mode & special != 0) {
        let what = if stat.mode & MODE_SPECIAL[0] != 0 { "got a device" } else { "got an irregular file" };
        let words = format!("destination \"{container}:{path}\" must be a directory or a regular file: {what}");
        return Err(Failure::new(words));
    }
    (place.exists, place.is_dir) = (true, stat.mode & MODE_DIR != 0);
    Ok(place)
}

pub(super) async fn stream_out(mut archive: Archive) -> Result<u8, Failure> {
    while let Some(piece) = archive.piece().await? {
        print_bytes(&piece)?;
    }
    Ok(0)
}

/// A followed link's copy is named after the link, and that name is then what the destination's replaces.
struct Renames {
    first: Option<Rename>,
    then: Option<Rename>,
}

impl Renames {
    fn one(self) -> Option<Rename> {
        match (self.first, self.then) {
            (Some(first), Some(then)) => Some(Rename { old: first.old, new: then.new }),
            (first, then) => then.or(first),
        }
    }
}

/// An archive from the daemon on its way to a thread that may wait.
struct Pieces {
    archive: Archive,
    count: Arc<AtomicU64>,
}

impl Pieces {
    fn of(archive: Archive, count: Arc<AtomicU64>) -> Pieces {
        Pieces { archive, count }
    }

    async fn read_by(
        mut self,
        work: impl FnOnce(Reader) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        let (to, pieces) = mpsc::channel(PIECES);
        let working = tokio::task::spawn_blocking(move || work(Reader { pieces, piece: Bytes::new() }));
        let mut lost = Ok(());
        loop {
            match self.archive.piece().await {
                Ok(None) => break,
                Ok(Some(piece)) => {
                    self.count.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    if to.send(Ok(piece)).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    let _ = to.send(Err(io::ErrorKind::UnexpectedEof.into())).await;
                    lost = Err(error);
                    break;
                }
            }
        }
        drop(to);
        let done = working.await.unwrap_or_else(|e| Err(Failure::new(e)));
        lost?;
        done
    }
}

struct Reader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let n = self.piece.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.piece.split_to(n));
        Ok(n)
    }
}

/// Makes pieces of what is written, and counts.
struct Counted {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    count: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.buffer);
        self.count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        self.pieces.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_container() {
        assert_eq!(split("web:/etc"), (Some("web"), "/etc"));
        assert_eq!(split("web:rel/x:y"), (Some("web"), "rel/x:y"));
        for path in ["/a:b", "./a:b", "../a:b", "plain", "-"] {
            assert_eq!(split(path), (None, path));
        }
    }
}
