//! The client of the OCI distribution specification: manifests and blobs, from mirrors and registries.
//!
//! | file           | what it is                                                          |
//! | -------------- | ------------------------------------------------------------------- |
//! | `endpoint`     | addresses, and the rule that only this machine is asked in plain HTTP |
//! | `transport`    | connections, TLS, time limits                                       |
//! | `roots`        | certificate authorities                                             |
//! | `auth`         | challenges, tokens, passwords                                       |
//! | `exchange`     | a question with its redirects and tokens; one step each             |
//! | `manifest`     | manifests: small, verified, unambiguous                             |
//! | `blob`         | blobs: streamed, resumed                                            |
//! | `search`       | what a registry has by name and description                         |
//! | `error`        | failures, in Docker's words                                         |
//! | `tell`         | the lines for a person                                              |

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use oci_spec::image::Descriptor;
use rustls_pki_types::CertificateDer;

use crate::oci::{Digest, Reference};

mod auth;
mod blob;
mod endpoint;
mod error;
mod exchange;
mod manifest;
mod roots;
mod search;
mod tell;
#[cfg(test)]
mod tests;
mod transport;

pub use auth::Credentials;
pub use blob::BlobStream;
pub use endpoint::{Endpoint, Mirror};
pub use error::RegistryError;
pub use manifest::{Fetched, MAX_MANIFEST};
pub use search::SearchResult;
pub use transport::Limits;

/// How to reach registries.
#[derive(Debug, Clone)]
pub struct Config {
    /// Asked first, in this order, for references of their domain.
    pub mirrors: Vec<Mirror>,
    /// Domains whose registry is not at the usual address: domain → base address.
    pub upstreams: HashMap<String, String>,
    /// By domain.
    pub credentials: HashMap<String, Credentials>,
    /// Certificate authorities to believe besides the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// How often a blob that makes no progress is asked for again.
    pub retries: u32,
    /// The wait before the first of these; doubles each time.
    pub backoff: Duration,
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            mirrors: Vec::new(),
            upstreams: HashMap::new(),
            credentials: HashMap::new(),
            extra_roots: Vec::new(),
            retries: 3,
            backoff: Duration::from_millis(100),
            limits: Limits::default(),
        }
    }
}

/// A client of all registries. Cheap to clone: connections and tokens are shared.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    transport: transport::Transport,
    grants: auth::Grants,
}

impl Client {
    /// Connects to nothing yet.
    pub fn new(config: Config) -> Client {
        let transport = transport::Transport::new(config.limits, config.extra_roots.clone());
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
                    if !matches!(error, RegistryError::Unreachable { .. }) {
                        without.push(endpoint.base);
                    }
                }
                answer => return answer,
            }
        }
        let endpoint = match self.inner.config.upstreams.get(reference.domain()) {
            Some(base) => Endpoint::at(reference.domain(), base),
            None => Endpoint::usual(reference.domain()),
        };
        match self.ask_for(reference, &endpoint).await {
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

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("mirrors", &self.inner.config.mirrors).finish_non_exhaustive()
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
