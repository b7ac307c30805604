//! Uploads under way, on disk: whoever was cut off, or found the hub restarted, goes on where the bytes end.
//!
//! ```text
//! uploads/<32 hex>/repository   the name it was begun for
//! uploads/<32 hex>/data         the bytes so far
//! ```

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::answer::Refusal;
use super::repository::younger;
use crate::content::Store;

/// Whoever sends nothing for so long is gone.
const IDLE: Duration = Duration::from_secs(60);
/// A request waits so long for another one that writes to the same upload: one that was cut is noticed at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many uploads there may be at once.
const MOST: usize = 512;
/// How often a long upload looks whether the hub is full, in bytes.
const LOOK: u64 = 16 << 20;

/// How much a hub takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all blobs and uploads together.
    pub space: u64,
    /// An upload that nobody adds to for so long is removed; so is a blob that no manifest came to name.
    pub abandoned: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { space: 20_000_000_000, abandoned: Duration::from_secs(24 * 3600) }
    }
}

/// All uploads of a hub.
#[derive(Debug)]
pub(super) struct Sessions {
    root: PathBuf,
    store: Arc<Store>,
    limits: Limits,
    /// Whose turn it is to write, by upload.
    turns: Mutex<HashMap<String, Arc<Turn<()>>>>,
}

/// An upload that this request alone writes to.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    dir: PathBuf,
    /// Bytes so far.
    pub(super) length: u64,
    _turn: OwnedMutexGuard<()>,
}

impl Sessions {
    pub(super) fn new(store: Arc<Store>, limits: Limits) -> Sessions {
        Sessions { root: store.root().join("uploads"), store, limits, turns: Mutex::default() }
    }

    /// Begins one.
    pub(super) fn begin(&self, repository: &str) -> Result<String, Refusal> {
        if fs::read_dir(&self.root).map_or(0, Iterator::count) >= MOST {
            return Err(Refusal::TooMany(format!("{MOST} uploads are under way; try again later")));
        }
        self.room_for(0)?;
        let mut random = [0u8; 16];
        getrandom::fill(&mut random).map_err(|e| Refusal::Broken(format!("no random numbers: {e}")))?;
        let id: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let dir = self.root.join(&id);
        let make = || -> io::Result<()> {
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("repository"), repository)?;
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join("data")).map(drop)
        };
        make().map_err(Refusal::io("make", &dir))?;
        Ok(id)
    }

    /// How far the upload has come: bytes. It need not be at rest.
    pub(super) fn length(&self, repository: &str, id: &str) -> Result<u64, Refusal> {
        let dir = self.find(repository, id)?;
        fs::metadata(dir.join("data")).map(|m| m.len()).map_err(|_| Refusal::BlobUploadUnknown)
    }

    /// Takes the upload, when whoever wrote to it has ended.
    pub(super) async fn take(&self, repository: &str, id: &str) -> Result<Session, Refusal> {
        self.find(repository, id)?;
        let turn = self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default().clone();
        let turn = tokio::time::timeout(PATIENCE, turn.lock_owned()).await;
        let turn = turn.map_err(|_| Refusal::BlobUploadInvalid("another request writes to this upload".into()))?;
        // It may have been finished meanwhile.
        let dir = self.find(repository, id)?;
        let length = self.length(repository, id)?;
        Ok(Session { id: id.to_owned(), dir, length, _turn: turn })
    }

    fn find(&self, repository: &str, id: &str) -> Result<PathBuf, Refusal> {
        let well_formed = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let dir = self.root.join(if well_formed { id } else { return Err(Refusal::BlobUploadUnknown) });
        match fs::read_to_string(dir.join("repository")) {
            Ok(name) if name == repository => Ok(dir),
            _ => Err(Refusal::BlobUploadUnknown),
        }
    }

    /// Adds the body to the upload. What arrived before a cut stays: the upload can be resumed.
    pub(super) async fn append(&self, session: &mut Session, body: Body) -> Result<(), Refusal> {
        use tokio::io::AsyncWriteExt as _;
        let path = session.dir.join("data");
        let opened = tokio::fs::OpenOptions::new().append(true).open(&path).await;
        let mut file = opened.map_err(Refusal::io("open", &path))?;
        let mut pieces = body.into_data_stream();
        let mut look_at = 0;
        let mut taken = 0;
        let ended = loop {
            let piece = match tokio::time::timeout(IDLE, pieces.next()).await {
                Ok(None) => break Ok(()),
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(e))) => break Err(Refusal::BlobUploadInvalid(format!("the connection was cut: {e}"))),
                Err(_) => break Err(Refusal::BlobUploadInvalid("nothing came for a minute".into())),
            };
            taken += piece.len() as u64;
            if taken > look_at {
                look_at = taken + LOOK;
                if let Err(full) = self.room_for(piece.len() as u64) {
                    break Err(full);
                }
            }
            if let Err(e) = file.write_all(&piece).await {
                break Err(Refusal::io("write", &path)(e));
            }
        };
        file.flush().await.map_err(Refusal::io("write", &path))?;
        let ended = ended.and_then(|()| self.room_for(0));
        if matches!(ended, Err(Refusal::TooLarge(_))) {
            // What made the hub too full goes, or nobody could push any more.
            file.set_len(session.length).await.map_err(Refusal::io("shorten", &path))?;
        }
        session.length = file.metadata().await.map_err(Refusal::io("read", &path))?.len();
        ended
    }

    /// The file with the bytes, to be adopted by the store.
    pub(super) fn data(&self, session: &Session) -> PathBuf {
        session.dir.join("data")
    }

    /// Ends the upload and removes what is left of it.
    pub(super) fn end(&self, session: Session) -> Result<(), Refusal> {
        self.forget(&session.id);
        fs::remove_dir_all(&session.dir).map_err(Refusal::io("remove", &session.dir))
    }

    fn forget(&self, id: &str) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Removes what nobody has added to for too long; how many.
    pub(super) fn sweep(&self) -> usize {
        let dirs = fs::read_dir(&self.root).into_iter().flatten().flatten().map(|e| e.path());
        let old =
            |dir: &PathBuf| !younger(dir, self.limits.abandoned) && !younger(&dir.join("data"), self.limits.abandoned);
        let mut swept = 0;
        for dir in dirs.filter(old) {
            self.forget(&dir.file_name().unwrap_or_default().to_string_lossy());
            swept += usize::from(fs::remove_dir_all(dir).is_ok());
        }
        swept
    }

    /// Refuses what would be more than the hub may hold.
    pub(super) fn room_for(&self, more: u64) -> Result<(), Refusal> {
        let used = used(&self.store.root().join("blobs")) + used(&self.root);
        if used.saturating_add(more) <= self.limits.space {
            return Ok(());
        }
        let limit = self.limits.space;
        Err(Refusal::TooLarge(format!(
            "the hub is full: it holds {used} bytes and may hold {limit}; its owner can raise that (--max-size) or \
             remove images (rdock hub rm)"
        )))
    }
}

/// Bytes of all files below `dir`; each counts as one page at least, so that many small ones count too.
fn used(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(m) if m.is_dir() => used(&entry.path()),
        Ok(m) => m.size().max(4096),
        Err(_) => 0,
    };
    entries.map(size).sum()
}
