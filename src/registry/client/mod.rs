//! The client of the OCI distribution specification: manifests and blobs, from mirrors and registries.
//!
//! | file           | what it is                                                          |
//! | -------------- | ------------------------------------------------------------------- |
//! | `config`       | what a client is told; insecure registries                          |
//! | `endpoint`     | addresses, and the rule that only this machine is asked in plain HTTP |
//! | `transport`    | connections, time limits                                            |
//! | `proxy`        | connections through proxies                                         |
//! | `tls`, `roots` | whom to believe, who we are: the system's authorities, `certs.d`    |
//! | `auth`, `token` | challenges, tokens, passwords                                      |
//! | `exchange`     | a question with its redirects and tokens; one step each             |
//! | `sending`      | what a question carries                                             |
//! | `patience`     | when to ask again                                                   |
//! | `manifest`     | manifests: small, verified, unambiguous                             |
//! | `blob`         | blobs: streamed, resumed                                            |
//! | `search`       | what a registry has by name and description                         |
//! | `upload`       | blobs and manifests the other way                                   |
//! | `tags`         | the tags of a repository                                            |
//! | `login`        | whether a registry knows us                                         |
//! | `error`        | failures, in Docker's words                                         |
//! | `telling`      | which explanation a registry on this machine belongs to             |
//! | `tell`         | the lines for a person                                              |

use std::sync::Arc;

use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use oci_spec::image::Descriptor;

use crate::oci::{Digest, Reference};

mod auth;
mod blob;
mod config;
mod endpoint;
mod error;
mod exchange;
mod login;
mod manifest;
mod patience;
mod proxy;
mod roots;
mod search;
mod sending;
mod tags;
mod tell;
mod telling;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod transport;
mod upload;

pub use auth::Credentials;
pub use blob::BlobStream;
pub use config::{Config, Insecure};
pub use endpoint::{Endpoint, Mirror};
pub use error::RegistryError;
pub use manifest::{Fetched, MAX_MANIFEST};
pub use proxy::Proxies;
pub use search::SearchResult;
pub use transport::Limits;
pub use upload::{Placed, Told};

/// A client of all registries. Cheap to clone: connections and tokens are shared.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    transport: Arc<transport::Transport>,
    grants: auth::Grants,
}

impl Client {
    /// Connects to nothing yet.
    pub fn new(config: Config) -> Client {
        let transport = Arc::new(transport::Transport::new(config.limits, config.proxies.clone()));
        Client { inner: Arc::new(Inner { transport, grants: auth::Grants::default(), config }) }
    }

    /// The same registries for somebody: connections are shared, tokens are not.
    #[must_use]
    pub fn of(&self, domain: &str, who: Credentials) -> Client {
        let mut config = self.inner.config.clone();
        config.credentials.insert(domain.to_owned(), who);
        let transport = self.inner.transport.clone();
        Client { inner: Arc::new(Inner { transport, grants: auth::Grants::default(), config }) }
    }

    /// What the reference names: a manifest, or an index of manifests. Mirrors of its domain are asked
    /// first; when one has not got it or does not answer, the registry itself.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::Denied`] and [`RegistryError::Unreachable`] in Docker's
    /// words; [`RegistryError::NotFoundAndUnreachable`] when the mirrors have not got it and the registry
    /// could not be asked; the others when an answer can't be believed.
    pub async fn manifest(&self, reference: &Reference) -> Result<Fetched, RegistryError> {
        let mut without = Vec::new();
        let mirrors = self.inner.config.mirrors.iter().filter(|m| m.for_domain == reference.domain());
        for endpoint in mirrors.map(Endpoint::mirror) {
            match self.ask_for(reference, &endpoint).await {
                Err(error) if error.try_elsewhere() => {
                    if !error.is_silence() {
                        without.push(endpoint.base);
                    }
                }
                answer => return answer,
            }
        }
        let asked = async { self.ask_for(reference, &self.inner.home(reference).await?).await };
        match asked.await {
            Err(error @ RegistryError::Unreachable { .. }) if !without.is_empty() => {
                Err(RegistryError::NotFoundAndUnreachable {
                    what: format!("manifest for {}", reference.clone().with_default_tag().familiar()),
                    mirrors: format!("the mirror {} does not have it", without.join(", ")),
                    domain: reference.domain().to_owned(),
                    cause: error.to_string(),
                })
            }
            answer => answer,
        }
    }

    /// A child of an index, from the place that had the index.
    pub async fn manifest_at(
        &self,
        reference: &Reference,
        digest: &Digest,
        source: &Endpoint,
    ) -> Result<Fetched, RegistryError> {
        self.inner.manifest_from(source, reference, digest.as_str(), Some(digest), false).await
    }

    /// The bytes of a blob, from the place that had the manifest. A cut connection is taken up again where
    /// it was cut. The reader checks the digest.
    pub async fn blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: &Endpoint,
    ) -> Result<BlobStream, RegistryError> {
        self.inner.blob(reference, descriptor, source).await
    }

    async fn ask_for(&self, reference: &Reference, endpoint: &Endpoint) -> Result<Fetched, RegistryError> {
        let part = reference.reference_part();
        self.inner.manifest_from(endpoint, reference, part, reference.digest(), true).await
    }
}

impl Inner {
    /// Where the registry of a reference is. Only of a registry that may do without TLS must be found out how it
    /// speaks.
    async fn home(&self, reference: &Reference) -> Result<Endpoint, RegistryError> {
        let mut places = Endpoint::candidates(reference.domain(), &self.config);
        let last = places.pop().unwrap_or_else(|| Endpoint::at(reference.domain(), ""));
        for endpoint in places {
            if self.base(reference, &endpoint, login::Purpose::Speech).await.is_ok() {
                return Ok(endpoint);
            }
        }
        Ok(last)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("mirrors", &self.inner.config.mirrors).finish_non_exhaustive()
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
