//! The files of a container: told, packed, unpacked, compared with its image.
//!
//! While something looks at a container that does not run, it cannot be started: two mounts of one writable layer at
//! once would be undefined (overlayfs, "Changes to underlying filesystems"). One that runs is looked at through its own
//! mounts, volumes and all.

use super::super::changes::{self, Change};
use super::super::layers::Layers;
use super::*;
use crate::images::diff::View;
use crate::images::files::{Extract, FilesError, Joined, Process, Root, Stat, on_layers};
use crate::shim::protocol::{Reply, Request};
use crate::trace::{self, Actor};
use bytes::Bytes;
use serde_json::json;
use std::io::{self, Read, Write};
use std::path::Path;
use tokio::sync::{mpsc, oneshot};

/// Pieces of an archive that wait for the client, and their size in bytes.
const PIECES: usize = 4;
const PIECE: usize = 64 * 1024;
/// How long a process that has ended may take to be told.
const END_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// A path of a container, taken apart by who knows how the API means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As the client gave it, for messages.
    pub asked: String,
    /// From the container's root; all of its links are followed.
    pub directory: PathBuf,
    /// What is meant in it, links not followed; empty: the directory itself.
    pub entry: String,
    /// What an archive of it begins with.
    pub name: String,
}

/// A tar archive in the making. An error in place of a piece: it is not whole.
pub type Pieces = mpsc::Receiver<io::Result<Bytes>>;

/// Where an archive comes from that is to be unpacked.
pub type Archive = Box<dyn Read + Send>;

impl Containers {
    /// What is at a path.
    ///
    /// # Errors
    /// [`ContainerError::NoSuchPath`] in Docker's words, what the system answers.
    pub async fn path_stat(&self, id_or_name: &str, place: Place) -> Result<Stat, ContainerError> {
        let (entry, inner, asked) = self.inner.for_files(id_or_name)?;
        to_the_end(async move {
            let missing = no_such_path(&place, &asked);
            let look = move |root: &Root<'_>| Ok(root.look(&place.directory, &place.entry)?.stat);
            inner.with_root(&entry, &asked, false, look).await.map_err(missing)
        })
        .await
    }

    /// Packs what is at a path. Comes back when it was found; the archive follows.
    ///
    /// # Errors
    /// As [`Containers::path_stat`].
    pub async fn archive(&self, id_or_name: &str, place: Place) -> Result<(Stat, Pieces), ContainerError> {
        let (entry, inner, asked) = self.inner.for_files(id_or_name)?;
        let (found, stat) = oneshot::channel();
        let (mut to, pieces) = Tape::new();
        let missing = no_such_path(&place, &asked);
        let work = async move {
            inner.tell_origin(&entry, &place).await;
            let pack = move |root: &Root<'_>| {
                let there = root.look(&place.directory, &place.entry)?;
                let _ = found.send(there.stat.clone());
                let step = trace::step(Actor::Daemon, "container.archive.get")
                    .why("files travel as a tar archive: names, owners, modes and times go with them")
                    .arg("path", &place.asked);
                let packed = step.span().in_scope(|| there.pack(&place.name, &mut to));
                to.end(&packed);
                tell_packed(step, &packed, &place.asked);
                packed.map(drop)
            };
            let done = inner.with_root(&entry, &asked, false, pack).await;
            if done.is_ok() {
                inner.tell(&entry.record(), "archive-path", []);
            }
            done
        };
        let work = tokio::spawn(work.in_current_span());
        match stat.await {
            Ok(stat) => Ok((stat, pieces)),
            // It was never found: why, the work says.
            Err(_) => match work.await {
                Ok(done) => Err(done.map_err(missing).err().unwrap_or_else(|| gave_up("nothing was packed"))),
                Err(error) => Err(gave_up(error)),
            },
        }
    }

    /// Unpacks an archive in the directory of `place`.
    ///
    /// # Errors
    /// As [`Containers::path_stat`]; [`FilesError`] for what could not be unpacked.
    pub async fn extract(
        &self,
        id_or_name: &str,
        place: Place,
        mut how: Extract,
        own: bool,
        mut archive: Archive,
    ) -> Result<(), ContainerError> {
        let (entry, inner, asked) = self.inner.for_files(id_or_name)?;
        to_the_end(async move {
            let record = entry.record();
            let host = record.config.host_config.as_ref();
            how.read_only = host.and_then(|h| h.readonly_rootfs).unwrap_or(false);
            if own {
                how.owner = inner.owner(&record).await?;
            }
            let missing = no_such_path(&place, &asked);
            let upper = inner.store.bundle(&record.id).upper();
            let unpack = move |root: &Root<'_>| {
                let step = trace::step(Actor::Daemon, "container.archive.put")
                    .why("the archive is unpacked below the container's root: no name in it leads out")
                    .arg("path", &place.asked);
                let was_there = is_in(&upper, &place.directory);
                let done = step.span().in_scope(|| root.extract(&place.directory, how, &mut archive));
                tell_unpacked(step, &done, &place.asked);
                if done.is_ok() && !was_there && is_in(&upper, &place.directory) {
                    tell_copied_up(&place.directory);
                }
                done.map(drop)
            };
            inner.with_root(&entry, &asked, true, unpack).await.map_err(missing)?;
            inner.tell(&record, "extract-to-dir", []);
            Ok(())
        })
        .await
    }

    /// Packs all files of a container.
    ///
    /// # Errors
    /// No such container; what goes wrong later is in the pieces.
    pub async fn export(&self, id_or_name: &str) -> Result<Pieces, ContainerError> {
        let (entry, inner, asked) = self.inner.for_files(id_or_name)?;
        let (mut to, pieces) = Tape::new();
        let (opened, ready) = oneshot::channel();
        let work = async move {
            let pack = move |root: &Root<'_>| {
                let _ = opened.send(());
                let step = trace::step(Actor::Daemon, "container.export")
                    .why("all layers joined, as the container sees them, become one flat archive");
                let packed = step.span().in_scope(|| root.pack_all(&mut to));
                to.end(&packed);
                tell_packed(step, &packed, "/");
                packed.map(drop)
            };
            let done = inner.with_root(&entry, &asked, false, pack).await;
            if done.is_ok() {
                inner.tell(&entry.record(), "export", []);
            }
            done
        };
        let work = tokio::spawn(work.in_current_span());
        match ready.await {
            Ok(()) => Ok(pieces),
            Err(_) => match work.await {
                Ok(done) => Err(done.err().unwrap_or_else(|| gave_up("nothing was packed"))),
                Err(error) => Err(gave_up(error)),
            },
        }
    }

    /// What the container has added, changed and deleted.
    ///
    /// # Errors
    /// No such container, the first file that could not be read.
    pub async fn changes(&self, id_or_name: &str) -> Result<Vec<Change>, ContainerError> {
        let record = self.inner.find(id_or_name)?.record();
        let inner = self.inner.clone();
        blocking(move || inner.changes(&record)).await
    }
}

impl Inner {
    fn for_files(self: &Arc<Inner>, asked: &str) -> Result<(Arc<Entry>, Arc<Inner>, String), ContainerError> {
        Ok((self.find(asked)?, self.clone(), asked.to_owned()))
    }

    /// Opens the container's root and does `work` on it, in a thread that may wait.
    async fn with_root<T: Send + 'static>(
        self: &Arc<Inner>,
        entry: &Arc<Entry>,
        asked: &str,
        writable: bool,
        work: impl FnOnce(&Root<'_>) -> Result<T, FilesError> + Send + 'static,
    ) -> Result<T, ContainerError> {
        let command = entry.command.lock().await;
        if entry.is_removed() {
            return Err(names::LookupError::NoSuch(asked.into()).into());
        }
        let files = self.files.clone();
        if let Some((pid, process)) = self.process(entry).await? {
            drop(command);
            return blocking(move || on_layers(|| Ok(work(&files.running(pid, &process)?)?))).await;
        }
        let leaving = lock(&entry.leaving).take();
        if let Some(leaving) = leaving {
            let _ = leaving.await;
        }
        let joined = self.stacked(&entry.record(), writable);
        blocking(move || on_layers(|| Ok(work(&files.stopped(&joined)?)?))).await
    }

    /// The process of a container that runs. Its number is asked of the shim, which started it and has not waited for
    /// it, after it was opened: so it was this process that was opened.
    async fn process(&self, entry: &Entry) -> Result<Option<(i32, Process)>, ContainerError> {
        if !entry.record().state.status.is_live() {
            return Ok(None);
        }
        let pid = entry.record().state.pid;
        if let (Ok(process), Some(shim)) = (Process::open(pid), entry.shim())
            && let Ok(Reply::Started { pid: told, .. }) = shim.request(&Request::State, vec![]).await
            && told == pid
        {
            return Ok(Some((pid, process)));
        }
        // It has just ended: that will be known in a moment.
        let mut life = entry.life.subscribe();
        match tokio::time::timeout(END_PATIENCE, life.wait_for(|life| !life.up)).await {
            Ok(_) => Ok(None),
            Err(_) => Err(ContainerError::Files(FilesError::Gone)),
        }
    }

    fn stacked(&self, record: &Record, writable: bool) -> Joined {
        let bundle = self.store.bundle(&record.id);
        Joined {
            base: record.layers.base.clone(),
            lower: record.layers.lower.clone(),
            upper: bundle.upper(),
            work: bundle.work(),
            merged: bundle.merged(),
            writable,
        }
    }

    /// The layers' directories, the container's own first.
    pub(super) fn layer_dirs(&self, record: &Record) -> Vec<PathBuf> {
        let lower = record.layers.lower.iter().map(|l| record.layers.base.join(l));
        std::iter::once(self.store.bundle(&record.id).upper()).chain(lower).collect()
    }

    pub(super) fn changes(&self, record: &Record) -> Result<Vec<Change>, ContainerError> {
        let step = trace::step(Actor::Layer, "layer.compare")
            .why("the container's own layer has all that it changed; the image's layers say what was there before")
            .arg("layers", record.layers.lower.len());
        let dirs = self.layer_dirs(record);
        let lower =
            Layers::open(&dirs[1..]).map_err(|source| ContainerError::Io { step: "open the layers", source })?;
        let view = View::Layer { userxattr: self.files.options().userxattr };
        let list = changes::changes(&dirs[0], view, &lower)?;
        step.ok(json!({"changes": list.len()}), || {
            let marks = "a whiteout is a deletion, a file that no layer below has is new, any other was copied up";
            format!(
                "compares the writable layer with {} below it: {marks}: {}",
                dirs.len() - 1,
                count(list.len() as u64, "change", "changes")
            )
        });
        Ok(list)
    }

    /// For the explanation: which layer a file comes from.
    async fn tell_origin(self: &Arc<Inner>, entry: &Entry, place: &Place) {
        if !trace::enabled() {
            return;
        }
        let (inner, record) = (self.clone(), entry.record());
        let path = place.directory.join(&place.entry);
        let find = move || {
            let step = trace::step(Actor::Layer, "layer.find")
                .why("the layers lie on top of each other: a name is taken from the topmost that has it")
                .arg("path", path.display().to_string());
            let dirs = inner.layer_dirs(&record);
            let count = dirs.len();
            let found = Layers::open(&dirs).and_then(|layers| layers.origin(&path));
            let shown = path.display();
            match found {
                Ok(Some(0)) => step.ok(json!({"layer": 0}), || {
                    format!("{shown} comes from the container's own writable layer, above {} of the image", count - 1)
                }),
                Ok(Some(n)) => step.ok(json!({"layer": n, "dir": record.layers.lower[n - 1]}), || {
                    format!("{shown} comes from layer {} of {} of the image", count - n, count - 1)
                }),
                Ok(None) => step.ok(json!(null), || format!("{shown} is in no layer")),
                Err(error) => step.fail("EIO", &error, || format!("can't look for {shown}: {error}")),
            }
            Ok(())
        };
        let _ = blocking(find).await;
    }

    /// Whom the files belong to that are copied with `-a`: the user that the container runs as.
    async fn owner(self: &Arc<Inner>, record: &Arc<Record>) -> Result<Option<(u32, u32)>, ContainerError> {
        let user = record.config.user.clone().unwrap_or_default();
        if user.is_empty() {
            return Ok(None);
        }
        let (inner, record) = (self.clone(), record.clone());
        blocking(move || inner.account(&record, &user).map(|a| Some((a.uid, a.gid)))).await
    }
}

/// `1 entry`, `2 entries`
fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn gave_up(error: impl std::fmt::Display) -> ContainerError {
    ContainerError::GivenUp(error.to_string())
}

/// Docker's words for a path that is not there.
fn no_such_path(place: &Place, container: &str) -> impl FnOnce(ContainerError) -> ContainerError + use<> {
    let (path, container) = (place.asked.clone(), container.to_owned());
    move |error| match error {
        ContainerError::Files(files) if files.is_not_found() => ContainerError::NoSuchPath { path, container },
        other => other,
    }
}

fn is_in(upper: &Path, directory: &Path) -> bool {
    Layers::open([upper]).and_then(|own| own.origin(directory)).is_ok_and(|found| found.is_some())
}

fn tell_copied_up(directory: &Path) {
    trace::step(Actor::Layer, "layer.copy_up")
        .why("layers of an image are never written to: overlayfs makes the directory in the writable layer first")
        .arg("path", directory.display().to_string())
        .ok((), || {
            format!("{} was only in the image's layers; now it is in the writable layer as well", directory.display())
        });
}

fn tell_packed(step: trace::Step, packed: &Result<crate::images::diff::Written, FilesError>, path: &str) {
    match packed {
        Ok(written) => step.ok(written, || format!("packs {path} as one archive: {} bytes of content", written.bytes)),
        Err(error) => step.fail("EIO", error, || format!("stops packing {path}: {error}")),
    }
}

fn tell_unpacked(step: trace::Step, done: &Result<crate::images::unpack::Report, FilesError>, path: &str) {
    match done {
        Ok(report) => step.ok(report, || {
            format!(
                "unpacks into {path}: {}, {} bytes of content",
                count(report.entries, "entry", "entries"),
                report.bytes
            )
        }),
        Err(error) => step.fail("EIO", error, || format!("can't unpack into {path}: {error}")),
    }
}

/// Collects writes into pieces for the client. A client that has gone is a write that fails.
struct Tape {
    buffer: Vec<u8>,
    to: mpsc::Sender<io::Result<Bytes>>,
}

impl Tape {
    fn new() -> (Tape, Pieces) {
        let (to, pieces) = mpsc::channel(PIECES);
        (Tape { buffer: Vec::with_capacity(PIECE), to }, pieces)
    }

    /// Tells the client that the archive breaks off, if it does.
    fn end<T>(&self, packed: &Result<T, FilesError>) {
        if let Err(error) = packed {
            let _ = self.to.blocking_send(Err(io::Error::other(error.to_string())));
        }
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..n]);
        if self.buffer.len() == PIECE {
            self.flush()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.to.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
