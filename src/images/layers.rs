//! One layer of a pull: from the registry (or the content store) to a directory.
//!
//! ```text
//! download (async) ─▶ bounded channel ─▶ one blocking thread: digest, keep, inflate, unpack
//! ```
//!
//! Layers do not need each other to be unpacked, so several are under way at once. Two pulls that need the same
//! layer meet at its lock: the second finds it done.

use super::progress::{Progress, human_size};
use super::snapshots::{LayerRecord, Snapshots};
use super::unpack::{Expected, Options, Pieces, Report, UnpackError, Unpacked, unpack, verify};
use crate::content::{BlobWriter, Store};
use crate::kernel::traced::because;
use crate::oci::Digest;
use crate::trace::{self, Actor, Step};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::io::{Read as _, Write};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedMutexGuard, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Downloads at once, in all pulls together (Docker's default).
const AT_ONCE: usize = 3;
/// Pieces between download and unpacking: so much memory a layer, 16 to 64 kB each.
const IN_FLIGHT: usize = 16;
/// A piece of a blob that is here already, in bytes.
const PIECE: usize = 256 * 1024;
/// How often a client hears how far a download is.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// A layer as manifest and image config describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub expected: Expected,
    pub chain_id: Digest,
    pub parent: Option<Digest>,
}

impl Layer {
    fn blob(&self) -> &Digest {
        &self.expected.digest
    }
}

/// All layers of this host.
pub struct Layers {
    pub store: Arc<Store>,
    pub snapshots: Snapshots,
    pub options: Options,
    downloads: Semaphore,
    locks: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

impl Layers {
    pub fn new(store: Arc<Store>, snapshots: Snapshots, options: Options) -> Layers {
        Layers { store, snapshots, options, downloads: Semaphore::new(AT_ONCE), locks: Mutex::default() }
    }

    /// Whether the layer is unpacked, and the blob it came from kept (the content store has to stay a whole OCI image
    /// layout). Another blob is believed to be this layer only after it was looked into.
    pub fn exists(&self, layer: &Layer) -> bool {
        let record = self.snapshots.get(&layer.chain_id);
        record.is_some_and(|record| record.blob == *layer.blob()) && self.store.has(layer.blob())
    }

    /// Whether nothing is missing of a layer of an image that has a name, and so was looked into.
    pub fn is_whole(&self, layer: &Layer) -> bool {
        self.snapshots.get(&layer.chain_id).is_some() && self.store.has(layer.blob())
    }

    /// Gets one layer. `open` starts the download, and is not called if there is nothing to download.
    ///
    /// When this returns, nothing half-made is left and no thread works on the layer any more.
    pub async fn fetch<S, E, F>(
        self: &Arc<Self>,
        layer: &Layer,
        progress: &Progress,
        cancel: &CancellationToken,
        open: impl FnOnce() -> F,
    ) -> Result<(), UnpackError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Display,
        F: Future<Output = Result<S, E>>,
    {
        let turn = tokio::select! {
            turn = self.turn(&layer.chain_id) => turn,
            () = cancel.cancelled() => return Err(UnpackError::Cancelled),
        };
        if self.exists(layer) {
            progress.layer(layer.blob(), "Download complete");
            return Ok(());
        }
        if self.store.has(layer.blob()) {
            let pieces = self.local_pieces(layer.blob())?;
            return self.work(layer, pieces, turn).await;
        }
        let permit = tokio::select! {
            permit = self.permit(layer.blob(), progress) => permit,
            () = cancel.cancelled() => return Err(UnpackError::Cancelled),
        };
        let download = |e: E| UnpackError::Download(e.to_string());
        let stream = tokio::select! {
            stream = open() => stream.map_err(download)?,
            () = cancel.cancelled() => return Err(UnpackError::Cancelled),
        };
        let (pieces, mut from) = mpsc::channel(IN_FLIGHT);
        let work = self.work(layer, Box::new(move || from.blocking_recv()), turn);
        let download = async {
            pump(layer, stream, pieces, progress, cancel).await;
            drop(permit);
        };
        let (done, ()) = tokio::join!(work, download);
        if done.is_ok() {
            let size = layer.expected.size;
            progress.layer(layer.blob(), "Download complete");
            progress.bytes(layer.blob(), "Extracting", size, size);
        }
        done
    }

    async fn permit(&self, blob: &Digest, progress: &Progress) -> Option<tokio::sync::SemaphorePermit<'_>> {
        if let Ok(permit) = self.downloads.try_acquire() {
            return Some(permit);
        }
        progress.layer(blob, "Waiting");
        // Never closed.
        self.downloads.acquire().await.ok()
    }

    /// Unpacks a layer whose blob is here, on a thread that may block.
    pub fn register(&self, layer: &Layer) -> Result<(), UnpackError> {
        let _turn = self.lock_of(&layer.chain_id).blocking_lock_owned();
        if self.exists(layer) {
            return Ok(());
        }
        self.make(layer, self.local_pieces(layer.blob())?)
    }

    /// Waits until nobody else makes this layer.
    async fn turn(&self, chain_id: &Digest) -> OwnedMutexGuard<()> {
        self.lock_of(chain_id).lock_owned().await
    }

    fn lock_of(&self, chain_id: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(chain_id).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        locks.insert(chain_id.clone(), Arc::downgrade(&lock));
        lock
    }

    fn local_pieces(&self, blob: &Digest) -> Result<Pieces, UnpackError> {
        let path = self.store.blob_path(blob);
        let fail = move |e| UnpackError::state(&path, e);
        let mut file = self.store.open_blob(blob).map_err(&fail)?;
        Ok(Box::new(move || {
            let mut piece = vec![0; PIECE];
            match file.read(&mut piece) {
                Ok(0) => None,
                Ok(n) => {
                    piece.truncate(n);
                    Some(Ok(piece.into()))
                }
                Err(e) => Some(Err(fail(e))),
            }
        }))
    }

    /// Digests, keeps and unpacks what comes, on a thread of its own, which holds the layer's turn to its end even
    /// if nobody waits for the result any more.
    async fn work(
        self: &Arc<Self>,
        layer: &Layer,
        pieces: Pieces,
        turn: OwnedMutexGuard<()>,
    ) -> Result<(), UnpackError> {
        let (layers, layer) = (Arc::clone(self), layer.clone());
        // The thread explains what it does where this task does.
        let span = tracing::Span::current();
        let listener = tracing::dispatcher::get_default(Clone::clone);
        let thread = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            tracing::dispatcher::with_default(&listener, || span.in_scope(|| layers.make(&layer, pieces)))
        });
        thread.await.unwrap_or(Err(UnpackError::Cancelled))
    }

    fn make(&self, layer: &Layer, pieces: Pieces) -> Result<(), UnpackError> {
        let mut writer = match self.store.has(layer.blob()) {
            true => None,
            false => Some(self.store.writer().map_err(UnpackError::store)?),
        };
        if self.snapshots.get(&layer.chain_id).is_none() {
            return self.unpack(layer, pieces, writer);
        }
        let keep = writer.as_mut().map(|w| w as &mut (dyn Write + Send));
        let checked = verify(self.options, &layer.expected, pieces, keep);
        tell_verified(layer, checked.as_ref().err());
        checked.and_then(|()| commit(writer, layer))
    }

    fn unpack(&self, layer: &Layer, pieces: Pieces, mut writer: Option<BlobWriter>) -> Result<(), UnpackError> {
        let begun = Instant::now();
        let step = trace::step(Actor::Layer, "layer.unpack")
            .why("a layer is a tar archive of what one step of the build changed; it becomes a directory of its own")
            .arg("digest", layer.blob())
            .arg("diffId", &layer.expected.diff_id)
            .arg("chainId", &layer.chain_id);
        let made = step.span().in_scope(|| {
            because(Actor::Layer, "makes what the layer's tar archive describes", || {
                self.unpack_into_snapshot(layer, pieces, &mut writer)
            })
        });
        tell_verified(layer, made.as_ref().err());
        let made = made.and_then(|record| commit(writer, layer).map(|()| record));
        tell_unpacked(step, layer, begun, made)
    }

    fn unpack_into_snapshot(
        &self,
        layer: &Layer,
        pieces: Pieces,
        writer: &mut Option<BlobWriter>,
    ) -> Result<Unpacked, UnpackError> {
        let failed = |e: super::snapshots::SnapshotError| UnpackError::state(e.path, e.source);
        let pending = self.snapshots.begin(&layer.chain_id).map_err(failed)?;
        let place = pending.place().map_err(failed)?;
        let keep = writer.as_mut().map(|w| w as &mut (dyn Write + Send));
        let unpacked = unpack(place, self.options, &layer.expected, pieces, keep)?;
        let record = LayerRecord {
            chain_id: layer.chain_id.clone(),
            parent: layer.parent.clone(),
            diff_id: layer.expected.diff_id.clone(),
            blob: layer.blob().clone(),
            blob_size: layer.expected.size,
            size: 0,
            entries: 0,
            opaque_root: false,
        };
        pending.commit(&record.with_report(&unpacked.report)).map_err(failed)?;
        Ok(unpacked)
    }
}

/// Gives the blob its name.
fn commit(writer: Option<BlobWriter>, layer: &Layer) -> Result<(), UnpackError> {
    match writer {
        Some(writer) => writer.commit(layer.blob(), Some(layer.expected.size)).map_err(UnpackError::store),
        None => Ok(()),
    }
}

/// Moves the download's pieces over to the thread that unpacks, which sets the pace.
async fn pump<E: Display>(
    layer: &Layer,
    stream: impl Stream<Item = Result<Bytes, E>>,
    to: mpsc::Sender<Result<Bytes, UnpackError>>,
    progress: &Progress,
    cancel: &CancellationToken,
) {
    let mut stream = pin!(stream);
    let (mut current, total) = (0, layer.expected.size);
    let mut told: Option<Instant> = None;
    loop {
        let piece = tokio::select! {
            piece = stream.next() => piece,
            () = cancel.cancelled() => {
                let _ = to.send(Err(UnpackError::Cancelled)).await;
                return;
            }
        };
        let piece = match piece {
            None => break,
            Some(Ok(piece)) => Ok(piece),
            Some(Err(e)) => Err(UnpackError::Download(e.to_string())),
        };
        current += piece.as_ref().map_or(0, |p| p.len() as u64);
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            told = Some(Instant::now());
            progress.bytes(layer.blob(), "Downloading", current, total);
        }
        let over = piece.is_err();
        // Nobody takes it any more: the thread has failed, and says why itself.
        if to.send(piece).await.is_err() || over {
            return;
        }
    }
    progress.layer(layer.blob(), "Verifying Checksum");
}

/// The explanation of the check, which happened while the bytes passed.
fn tell_verified(layer: &Layer, error: Option<&UnpackError>) {
    let short = layer.blob().short();
    let step = trace::step(Actor::Layer, "layer.verify")
        .why("the digest is the layer's name: content that has another one is not what was asked for")
        .arg("digest", layer.blob())
        .arg("diffId", &layer.expected.diff_id);
    match error {
        None => step.ok(json!({ "digest": true, "diffId": true }), || {
            format!("{short}  sha256 verified, of the blob and of the tar archive in it")
        }),
        Some(
            e @ (UnpackError::DigestMismatch { .. }
            | UnpackError::WrongDiffId { .. }
            | UnpackError::Truncated { .. }
            | UnpackError::TooLong { .. }
            | UnpackError::TooLarge { .. }),
        ) => step.fail(&e.code(), e, || format!("{short}  {e}")),
        // It did not come that far.
        Some(e) => step.fail("ECANCELED", e, || format!("{short}  not verified")),
    }
}

fn tell_unpacked(
    step: Step,
    layer: &Layer,
    begun: Instant,
    made: Result<Unpacked, UnpackError>,
) -> Result<(), UnpackError> {
    let short = layer.blob().short();
    match made {
        Ok(Unpacked { report, compression }) => {
            let took = begun.elapsed().as_millis();
            let value = json!({ "blobBytes": layer.expected.size, "compression": compression, "report": &report });
            step.ok(value, || {
                format!(
                    "{short}  {} in {took} ms, unpacked {} {}, {}{}",
                    human_size(layer.expected.size),
                    report.entries,
                    if report.entries == 1 { "file" } else { "files" },
                    human_size(report.bytes),
                    left_out(&report)
                )
            });
            Ok(())
        }
        Err(e) => {
            step.fail(&e.code(), &e, || format!("{short}  {e}"));
            Err(e)
        }
    }
}

/// What a person should know of a layer that could not be made exactly as it is, on this host.
fn left_out(report: &Report) -> String {
    [
        (report.unmapped_owners, "owners that this user may not give away"),
        (report.skipped_devices, "devices that this user may not make"),
        (report.whiteouts_as_xattr, "whiteouts kept as attributes"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("; {count} {what}"))
    .collect()
}
