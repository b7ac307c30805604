//! The lab hub: a small read-only registry over a content store ([distribution-spec], category "pull"),
//! and the discovery of tags. It serves the teaching images on loopback, as a mirror of docker.io, so that
//! everything works without the internet.
//!
//! A repository `library/centos` holds what the store names `docker.io/library/centos:<tag>`.
//!
//! [distribution-spec]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::content::{ContentError, Store};
use crate::oci::ErrorKind;

mod answer;
mod blobs;
mod catalog;
mod faults;
mod range;
mod routes;
#[cfg(test)]
mod tests;

pub use faults::HubFaults;

/// The hub; see [`Hub::serve`].
pub struct Hub;

/// How a hub behaves besides what its store says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// A JSON file of [`HubFaults`], looked at with every blob; it need not exist. For lessons and tests
    /// about broken downloads: they write it from outside the process.
    pub faults: Option<PathBuf>,
}

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
        let router = routes::router(routes::Hub { store: store.clone(), faults: options.faults });
        tokio::spawn(async move {
            // Fails only when accepting does, which axum retries; the handle's end is the only end.
            let _ = axum::serve(listener, router)
                .with_graceful_shutdown(async move {
                    let _ = stopped.await;
                })
                .await;
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
