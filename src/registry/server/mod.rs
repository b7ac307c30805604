//! The lab hub: a registry ([distribution-spec] 1.1: pull, push, content discovery, content management) over a content
//! store. It serves the teaching images on loopback, as a mirror of docker.io, so that everything works without the
//! internet; and what learners push.
//!
//! | file           | what it is                                                               |
//! | -------------- | ------------------------------------------------------------------------ |
//! | `dispatch`     | one request: who may ask it, who answers it                              |
//! | `routes`       | paths and queries, taken apart                                           |
//! | `repository`   | whose a name is, what a repository holds; the links on disk              |
//! | `manifest`     | what a manifest names                                                    |
//! | `manifests`    | reading, pushing and deleting manifests                                  |
//! | `blobs`        | reading and deleting blobs; broken on purpose (`faults`), in part (`range`) |
//! | `uploads`      | pushing blobs: whole, streamed, in chunks, mounted                       |
//! | `sessions`     | uploads under way, on disk                                               |
//! | `lists`        | tags, repositories, referrers                                            |
//! | `search`       | `/v1/search`                                                             |
//! | `shelf`        | the owner's side: what is in the hub, adding and removing                |
//! | `state`        | the rules of one door, and the sweep                                     |
//! | `answer`       | headers and errors of the specification                                  |
//!
//! One store can have several doors, also in several processes: the daemon's own, read-only and showing only what the
//! lab or the owner vouches for; and one for people, with guests' pushes.
//!
//! [distribution-spec]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::content::{ContentError, Store};
use crate::oci::ErrorKind;
use crate::registry::lab_images::Catalog;

mod answer;
mod blobs;
mod dispatch;
mod faults;
mod lists;
mod manifest;
mod manifests;
mod range;
mod repository;
mod routes;
mod search;
mod sessions;
mod shelf;
mod state;
#[cfg(test)]
mod tests;
mod uploads;

pub use faults::HubFaults;
pub use sessions::Limits;
pub(crate) use shelf::was_added;
pub use shelf::{Added, Origin, Shelf, ShelfError, Source, Stored};

use answer::Refusal;
use state::Served;

/// The hub; see [`Hub::serve`].
pub struct Hub;

/// Which repositories a door shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum View {
    /// Only what the lab made and the hub's owner added: for those who take the hub for docker.io.
    #[default]
    Mirror,
    /// What was pushed, too.
    All,
}

/// Whose pushes and deletions a door takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Push {
    #[default]
    Nobody,
    /// Loopback addresses.
    ThisMachine,
    Everybody,
}

/// How a hub behaves besides what its store says.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A JSON file of [`HubFaults`], looked at with every blob; it need not exist. For lessons and tests
    /// about broken downloads: they write it from outside the process.
    pub faults: Option<PathBuf>,
    /// The lab images that are made when somebody asks for them.
    pub catalog: Option<Arc<Catalog>>,
    pub view: View,
    pub push: Push,
    pub limits: Limits,
}

/// How often what nobody came back for is swept.
const SWEEP: Duration = Duration::from_secs(600);

/// A hub that listens. Dropped, it stops accepting connections and ends those that are idle.
pub struct HubHandle {
    addr: SocketAddr,
    store: Arc<Store>,
    stop: Option<oneshot::Sender<()>>,
}

/// Why a hub can't listen.
#[derive(Debug, Error)]
pub enum HubError {
    #[error(
        "the lab hub can't listen on {0}: another program already does (stop it, or choose another address; port 0 takes a free one)"
    )]
    PortTaken(SocketAddr),
    #[error("the lab hub can't listen on {addr}: {source}")]
    Listen { addr: SocketAddr, source: io::Error },
    /// Its images can't be kept where they should be.
    #[error(transparent)]
    Store(#[from] ContentError),
}

impl HubError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            HubError::PortTaken(_) => ErrorKind::Conflict,
            HubError::Listen { .. } | HubError::Store(_) => ErrorKind::Internal,
        }
    }
}

impl Hub {
    /// Listens on `listen` (port 0: a free one, see [`HubHandle::addr`]) and serves `store` until the handle
    /// is dropped. Must be called on a tokio runtime.
    pub async fn serve(store: Arc<Store>, listen: SocketAddr) -> Result<HubHandle, HubError> {
        Hub::serve_with(store, listen, Options::default()).await
    }

    /// Opens (makes) the image layout at `root` and serves it; see [`Hub::serve`].
    pub async fn open(root: &Path, listen: SocketAddr, options: Options) -> Result<HubHandle, HubError> {
        Hub::serve_with(Arc::new(Store::open(root)?), listen, options).await
    }

    /// The same, with [`Options`].
    pub async fn serve_with(store: Arc<Store>, listen: SocketAddr, options: Options) -> Result<HubHandle, HubError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => HubError::PortTaken(listen),
            _ => HubError::Listen { addr: listen, source },
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let served = Arc::new(Served {
            sessions: sessions::Sessions::new(store.clone(), options.limits),
            store: store.clone(),
            faults: options.faults,
            catalog: options.catalog,
            view: options.view,
            push: options.push,
            abandoned: options.limits.abandoned,
        });
        let app = dispatch::router(served.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move {
            let sweeping = (served.push != Push::Nobody).then(|| tokio::spawn(sweep_now_and_then(served)));
            // Fails only when accepting does, which axum retries; the handle's end is the only end.
            let _ = axum::serve(listener, app)
                .with_graceful_shutdown(async move {
                    let _ = stopped.await;
                })
                .await;
            if let Some(sweeping) = sweeping {
                sweeping.abort();
            }
        });
        Ok(HubHandle { addr, store, stop: Some(stop) })
    }
}

impl HubHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The images that it serves: what is put there is served from then on.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The base address for a [`crate::registry::client::Mirror`].
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for HubHandle {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Nobody waits any more if the server has ended already.
            let _ = stop.send(());
        }
    }
}

async fn sweep_now_and_then(hub: Arc<Served>) {
    let mut times = tokio::time::interval(SWEEP);
    loop {
        times.tick().await;
        let hub = hub.clone();
        let _ = tokio::task::spawn_blocking(move || hub.sweep()).await;
    }
}

/// Does what waits for the disk, within the explanation at hand.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.unwrap_or_else(|_| Err(Refusal::Broken("the lab hub failed".into())))
}
