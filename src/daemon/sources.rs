//! Where images come from: the lab hub first (made on this machine, served by this process, asked over HTTP like any
//! registry), then the registry that the name says.
//!
//! Nothing of it is there before the first pull: neither the hub nor its images slow the daemon's start.

use crate::images::remote::{Found, Remote, RemoteError};
use crate::oci::{DOCKER_DOMAIN, ErrorKind, Reference};
use crate::registry::client::{Client, Config, Credentials, Mirror, SearchResult};
use crate::registry::lab_images::{Catalog, LabError, ensure};
use crate::registry::server::{Hub, HubError, HubHandle, Options, Push, View, was_added};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// How the lab hub is served.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Its image layout.
    pub root: PathBuf,
    /// Where people find it, if anywhere. The daemon's own pulls use another door, on a free port, which is for
    /// reading and shows nothing that was pushed.
    pub listen: Option<SocketAddr>,
}

/// The hub and all registries.
pub struct Sources {
    config: HubConfig,
    registries: Config,
    /// Knows no lab hub.
    client: Client,
    lab: OnceCell<Lab>,
}

/// The hub once it listens, and a client that asks it first.
struct Lab {
    catalog: Arc<Catalog>,
    hub: HubHandle,
    client: Client,
}

impl Sources {
    pub fn new(config: HubConfig, registries: Config) -> Sources {
        Sources { config, client: Client::new(registries.clone()), registries, lab: OnceCell::new() }
    }

    /// Opens the door for people, if there shall be one. It is open as long as what this returns.
    pub async fn open_door(&self) -> Result<Option<HubHandle>, HubError> {
        let Some(listen) = self.config.listen else { return Ok(None) };
        let catalog = Catalog::embedded().ok().map(Arc::new);
        let options = Options { catalog, view: View::All, push: Push::ThisMachine, ..Options::default() };
        Hub::open(&self.config.root, listen, options).await.map(Some)
    }

    /// The hub's address, if it listens already.
    pub fn hub_url(&self) -> Option<String> {
        self.lab.get().map(|lab| lab.hub.url())
    }

    async fn lab(&self) -> Result<&Lab, RemoteError> {
        self.lab.get_or_try_init(|| Lab::open(&self.config, &self.registries)).await
    }
}

impl Lab {
    async fn open(config: &HubConfig, registries: &Config) -> Result<Lab, RemoteError> {
        let internal = |message: String| RemoteError { kind: ErrorKind::Internal, message };
        let catalog = Arc::new(Catalog::embedded().map_err(|e| internal(e.to_string()))?);
        let faults = Some(config.root.join("faults.json"));
        let options = Options { faults, catalog: Some(catalog.clone()), ..Options::default() };
        let hub = Hub::open(&config.root, SocketAddr::from(([127, 0, 0, 1], 0)), options)
            .await
            .map_err(|e| RemoteError { kind: e.kind(), message: e.to_string() })?;
        let mut mirrors = vec![Mirror { url: hub.url(), for_domain: DOCKER_DOMAIN.to_owned() }];
        mirrors.extend(registries.mirrors.iter().cloned());
        let client = Client::new(Config { mirrors, ..registries.clone() });
        Ok(Lab { catalog, hub, client })
    }

    /// Makes the lab image that `reference` names, if there is such a one and it is not made yet.
    async fn provide(&self, reference: &Reference) -> Result<(), LabError> {
        let wanted = (reference.domain() == DOCKER_DOMAIN)
            .then(|| self.catalog.find(reference.path(), reference.tag().unwrap_or("latest")))
            .flatten();
        let Some(recipe) = wanted else { return Ok(()) };
        let named = self.hub.store().resolve(&reference.clone().with_default_tag().canonical());
        if named.is_ok_and(|d| d.is_some_and(|d| was_added(&d))) {
            return Ok(());
        }
        let (store, catalog, name) = (self.hub.store().clone(), self.catalog.clone(), recipe.name.clone());
        let span = tracing::Span::current();
        let making = tokio::task::spawn_blocking(move || span.in_scope(|| ensure(&store, &catalog, &name).map(drop)));
        making.await.unwrap_or(Err(LabError::NoSuchImage(reference.familiar())))
    }
}

impl Sources {
    /// Images whose names or descriptions hold `term`, of the registry that `domain` is.
    pub async fn search(&self, domain: &str, term: &str, limit: usize) -> Result<Vec<SearchResult>, RemoteError> {
        Ok(self.lab().await?.client.search(domain, term, limit).await?)
    }
}

impl Remote for Sources {
    fn find<'a>(
        &'a self,
        reference: &'a Reference,
        who: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Found, RemoteError>> {
        async move {
            let lab = self.lab().await?;
            let provided = lab.provide(reference).await;
            lab.client.find(reference, who).await.map_err(|error| match provided {
                // Why the lab could not make it says more than that nobody else has it.
                Err(lab) => RemoteError { kind: lab.kind(), message: lab.to_string() },
                Ok(()) => error,
            })
        }
        .boxed()
    }

    fn tags<'a>(
        &'a self,
        reference: &'a Reference,
        who: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Vec<String>, RemoteError>> {
        async move {
            let lab = self.lab().await?;
            let named = |tag: &String| reference.clone().with_tag(tag).ok();
            let recipes = lab
                .catalog
                .recipes()
                .filter(|r| reference.domain() == DOCKER_DOMAIN && r.repository() == reference.path());
            for tagged in recipes.flat_map(|r| &r.tags).filter_map(named) {
                // An image that this machine can't make has no tag on its hub.
                let _ = lab.provide(&tagged).await;
            }
            Remote::tags(&lab.client, reference, who).await
        }
        .boxed()
    }

    fn registries(&self) -> &Client {
        &self.client
    }
}
