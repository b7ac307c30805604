//! The containers of one home, and what can be done with them.
//!
//! Rules that keep racing clients and crashes harmless:
//!
//! - Commands on one container that change it (start, restart, attach, rename, remove) take its `command` lock, one after another.
//! - Every change of state is written to disk before anybody is told of it ([`Inner::commit`]).
//! - A command that was begun is carried out to its end in a task of its own, even if its client goes away
//!   ([`to_the_end`]): a request that is cut off never leaves half a container.
//! - Nothing is assumed: a container has ended when its shim says so, or when its shim is gone.

mod attach;
mod commit;
mod control;
mod create;
mod end;
mod exec;
mod files;
mod health;
mod host;
mod logs;
mod look;
mod pause;
mod remove;
mod rename;
mod restart;
mod restore;
mod start;
#[cfg(test)]
mod tests;
mod update;
mod wait;

pub use attach::AttachOptions;
pub use commit::Commit;
pub use create::CreateAnswer;
pub use files::{Archive, Pieces, Place};
pub use logs::LogStream;
pub use remove::RemoveOptions;
pub use wait::{WaitAnswer, WaitCondition, Waiting};

use super::error::ContainerError;
use super::execs::Exec;
use super::image_source::ImageSource;
use super::inspect;
use super::list::{self, ListOptions};
use super::logs::Watcher;
use super::names;
use super::shim_client::{Client, Launch, lock};
use super::state::IllegalTransition;
use super::store::{Record, Store, StoreError};
use crate::events::{Attributes, Bus, Kind};
use crate::images::WritableLayers;
use crate::images::files::Files;
use crate::shim::leftovers::Leftovers;
use crate::shim::protocol::{Attach, TraceContext};
use bollard_stubs::models::ContainerSummary;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tracing::Instrument as _;

/// Gives a new process a way to tell what it does, when somebody listens to the trace that the caller is in.
pub trait Producers: Send + Sync {
    /// The trace, and the socket that goes to the shim.
    fn attach(&self) -> Option<(TraceContext, OwnedFd)>;
}

/// What the service is made of.
pub struct Parts {
    /// `data/containers`: what stays of each container.
    pub data: PathBuf,
    /// The directory of what lives as long as the machine runs: `shim.log`, `containers/<id>/shim.sock`.
    pub run: PathBuf,
    /// Names this home system-wide, in the names of control groups.
    pub tag: String,
    pub images: Arc<dyn ImageSource>,
    pub layers: WritableLayers,
    pub files: Files,
    pub leftovers: Leftovers,
    pub shims: Arc<dyn Launch>,
    pub producers: Option<Arc<dyn Producers>>,
    pub events: Bus,
}

/// All containers of a home. Cheap to clone; clones are the same containers.
#[derive(Clone)]
pub struct Containers {
    inner: Arc<Inner>,
}

struct Inner {
    run: PathBuf,
    tag: String,
    store: Store,
    images: Arc<dyn ImageSource>,
    layers: WritableLayers,
    files: Files,
    leftovers: Leftovers,
    shims: Arc<dyn Launch>,
    producers: Option<Arc<dyn Producers>>,
    events: Bus,
    watcher: Watcher,
    table: Mutex<Table>,
}

/// Which containers there are, and which names are theirs (or are about to be).
#[derive(Default)]
struct Table {
    entries: HashMap<String, Arc<Entry>>,
    /// Name → id.
    names: HashMap<String, String>,
    /// More processes, by their own ids.
    execs: HashMap<String, Arc<Exec>>,
}

/// One container.
struct Entry {
    id: String,
    /// What is on disk.
    record: RwLock<Arc<Record>>,
    /// Held by a command that changes the container, from its first look to its answer.
    command: tokio::sync::Mutex<()>,
    /// Held while a process joins it and while it is paused or unpaused.
    freezing: tokio::sync::Mutex<()>,
    /// Held while the record is being written.
    saving: tokio::sync::Mutex<()>,
    /// The connection to its shim, while there is one.
    shim: Mutex<Option<Arc<Client>>>,
    /// Streams that were attached before the start.
    pending: Mutex<Vec<(Attach, OwnedFd)>>,
    /// The shim of the last run on its way out: the kernel takes the container's mounts away with it.
    leaving: Mutex<Option<tokio::task::JoinHandle<()>>>,
    /// The wait before its last restart by policy.
    back_off: Mutex<Option<Duration>>,
    /// `docker restart` is at it: the end that comes now removes nothing.
    kept: AtomicBool,
    /// Its directories are being deleted.
    removing: AtomicBool,
    life: watch::Sender<Life>,
}

/// What waiters watch.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    up: bool,
    /// How many times it has ended.
    ends: u64,
    exit_code: i64,
    removed: bool,
}

impl Entry {
    fn new(record: Record) -> Arc<Entry> {
        let life = Life { up: record.state.status.is_up(), exit_code: record.state.exit_code, ..Life::default() };
        Arc::new(Entry {
            id: record.id.clone(),
            record: RwLock::new(Arc::new(record)),
            command: tokio::sync::Mutex::default(),
            freezing: tokio::sync::Mutex::default(),
            saving: tokio::sync::Mutex::default(),
            shim: Mutex::default(),
            pending: Mutex::default(),
            leaving: Mutex::default(),
            back_off: Mutex::default(),
            kept: AtomicBool::new(false),
            removing: AtomicBool::new(false),
            life: watch::Sender::new(life),
        })
    }

    fn record(&self) -> Arc<Record> {
        self.record.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, record: Arc<Record>) {
        *self.record.write().unwrap_or_else(PoisonError::into_inner) = record;
    }

    fn shim(&self) -> Option<Arc<Client>> {
        lock(&self.shim).clone()
    }

    fn is_removed(&self) -> bool {
        self.life.borrow().removed
    }
}

impl Inner {
    fn run_dir(&self, id: &str) -> PathBuf {
        self.run.join("containers").join(id)
    }

    /// Name of a container's control group.
    fn cgroup(&self, id: &str) -> String {
        format!("rdock-{}-{id}", self.tag)
    }

    fn find(&self, wanted: &str) -> Result<Arc<Entry>, ContainerError> {
        let table = lock(&self.table);
        let records: Vec<_> = table.entries.values().map(|e| e.record()).collect();
        let all = records.iter().map(|r| (r.id.as_str(), r.name.as_str()));
        let id = names::find(all, wanted)?;
        let missing = || names::LookupError::NoSuch(wanted.to_owned());
        Ok(table.entries.get(id).cloned().ok_or_else(missing)?)
    }

    /// Changes a container's record: on disk first, then in memory. Nobody is told yet.
    ///
    /// What `--rm` removes is on disk as it was created: while it runs its shim tells the next daemon so, afterwards
    /// the shim's exit record does, and then it is removed.
    async fn commit(
        &self,
        entry: &Entry,
        change: impl FnOnce(&mut Record) -> Result<(), IllegalTransition>,
    ) -> Result<Arc<Record>, ContainerError> {
        let _saving = entry.saving.lock().await;
        let mut next = Record::clone(&entry.record());
        change(&mut next)?;
        let next = Arc::new(next);
        if !next.auto_remove() {
            self.save(next.clone()).await?;
        }
        entry.replace(next.clone());
        Ok(next)
    }

    /// As [`Inner::commit`], for what has happened whether or not it can be written: the shim's own record lets the
    /// next daemon find it out again.
    async fn note(
        &self,
        entry: &Entry,
        change: impl FnOnce(&mut Record) -> Result<(), IllegalTransition>,
    ) -> Result<Arc<Record>, IllegalTransition> {
        let _saving = entry.saving.lock().await;
        let mut next = Record::clone(&entry.record());
        change(&mut next)?;
        let next = Arc::new(next);
        if !next.auto_remove()
            && let Err(error) = self.save(next.clone()).await
        {
            tracing::warn!(id = next.id, %error, "the state of a container could not be written");
        }
        entry.replace(next.clone());
        Ok(next)
    }

    /// Publishes what has been done to a container, with its labels, name and image (as moby does).
    fn tell<const N: usize>(&self, record: &Record, action: impl Into<String>, besides: [(&str, String); N]) {
        let labels = record.config.labels.iter().flatten();
        let mut attributes: Attributes = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
        attributes.insert("image".into(), record.config.image.clone().unwrap_or_default());
        attributes.insert("name".into(), record.name.clone());
        attributes.extend(besides.map(|(key, value)| (key.to_owned(), value)));
        self.events.publish(Kind::Container, action, &record.id, attributes);
    }

    async fn save(&self, record: Arc<Record>) -> Result<(), ContainerError> {
        let store = self.store.clone();
        blocking(move || store.save(&record).map_err(ContainerError::from)).await
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        OpenError(error)
    }
}

/// The containers of a home can't be read at all.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct OpenError(StoreError);

impl Containers {
    /// Reads the containers of a home, takes up those that run, finishes what a killed daemon had begun. Needs a
    /// tokio runtime.
    ///
    /// # Errors
    /// When `data/containers` can't be made or read.
    pub async fn open(parts: Parts) -> Result<Containers, OpenError> {
        let Parts { data, run, tag, images, layers, files, leftovers, shims, producers, events } = parts;
        let store = Store::open(data)?;
        let loaded = store.load()?;
        let table = Mutex::default();
        let inner = Inner {
            run,
            tag,
            store,
            images,
            layers,
            files,
            leftovers,
            shims,
            producers,
            events,
            watcher: Watcher::default(),
            table,
        };
        let inner = Arc::new(inner);
        inner.restore(loaded).await;
        Ok(Containers { inner })
    }

    /// Lists containers, the youngest first; with the bytes that they take when that is asked for (then it reads
    /// directories: not for a thread that others wait for).
    ///
    /// # Errors
    /// A filter that is not known.
    pub fn list(&self, options: &ListOptions) -> Result<Vec<ContainerSummary>, ContainerError> {
        let mut list = list::summaries(self.records(), options)?;
        if options.size {
            for line in &mut list {
                let (id, image) = (line.id.as_deref().unwrap_or(""), line.image_id.as_deref().unwrap_or(""));
                let own = super::size::of_files(&self.inner.store.bundle(id).upper());
                line.size_rw = i64::try_from(own).ok();
                line.size_root_fs = i64::try_from(own + self.inner.images.size(image)).ok();
            }
        }
        Ok(list)
    }

    /// Everything about one container, as `docker inspect` shows it.
    ///
    /// # Errors
    /// No such container.
    pub fn inspect(&self, id_or_name: &str) -> Result<serde_json::Value, ContainerError> {
        let record = self.inner.find(id_or_name)?.record();
        let mut document = inspect::document(&record, &self.inner.store.bundle(&record.id));
        let execs = self.inner.exec_ids(&record.id);
        if !execs.is_empty() {
            document["ExecIDs"] = serde_json::json!(execs);
        }
        Ok(document)
    }

    /// Bytes of a container's own files, and of all its files.
    ///
    /// # Errors
    /// No such container.
    pub fn sizes(&self, id_or_name: &str) -> Result<(u64, u64), ContainerError> {
        let record = self.inner.find(id_or_name)?.record();
        let own = self.written(&record);
        Ok((own, own + self.inner.images.size(&record.image)))
    }

    /// What is kept of one container.
    ///
    /// # Errors
    /// No such container.
    pub fn record(&self, id_or_name: &str) -> Result<Arc<Record>, ContainerError> {
        Ok(self.inner.find(id_or_name)?.record())
    }

    /// What is kept of all containers, in no order.
    pub fn records(&self) -> Vec<Arc<Record>> {
        lock(&self.inner.table).entries.values().map(|e| e.record()).collect()
    }

    /// Bytes of the files that a container has written.
    pub fn written(&self, record: &Record) -> u64 {
        super::size::of_files(&self.inner.store.bundle(&record.id).upper())
    }

    /// Makes the next start faster: call when the daemon has nothing else to do.
    pub fn prepare_next(&self) {
        self.inner.shims.prepare_next();
    }

    /// The daemon ends: so does what was made ready for the next start, and this returns when nothing of it is left.
    /// Containers go on.
    pub async fn close(&self) {
        let spares = self.inner.shims.give_up().into_iter();
        futures_util::future::join_all(spares.map(|spare| self.inner.end_spare(spare))).await;
    }
}

/// Runs file work where it does not hold up other tasks, within the same trace.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ContainerError> + Send + 'static,
) -> Result<T, ContainerError> {
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.map_err(|error| ContainerError::GivenUp(error.to_string()))?
}

/// Runs a command in a task of its own, so that it is carried out even if nobody waits for it any more.
async fn to_the_end<T: Send + 'static>(
    command: impl Future<Output = Result<T, ContainerError>> + Send + 'static,
) -> Result<T, ContainerError> {
    let done = tokio::spawn(command.in_current_span()).await;
    done.map_err(|error| ContainerError::GivenUp(error.to_string()))?
}
