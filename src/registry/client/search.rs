//! Searching: the question of the first registry protocol (`/v1/search`), which Docker Hub still answers.

use http::header::ACCEPT;
use http::{HeaderValue, Method, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::Instrument as _;

use super::endpoint::{Endpoint, encode, shown};
use super::error::RegistryError;
use super::exchange::{bad, parse, read};
use super::sending::Sending;
use super::{Client, Inner};
use crate::oci::DOCKER_DOMAIN;
use crate::trace::{self, Actor};

/// As large as an answer may be.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;
/// Where Docker Hub answers it.
const DOCKER_INDEX: &str = "https://index.docker.io";

/// One line of the answer, with the fields of Docker Hub's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchResult {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub star_count: i64,
    #[serde(default)]
    pub is_official: bool,
    #[serde(default)]
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<SearchResult>,
}

impl Client {
    /// The images of a registry whose names or descriptions hold `term`, at most `limit`. As with pulls, the mirrors of
    /// the domain are asked first, and the registry itself when they know none.
    ///
    /// # Errors
    /// [`RegistryError::Unreachable`], [`RegistryError::NotFoundAndUnreachable`] and [`RegistryError::BadAnswer`].
    pub async fn search(&self, domain: &str, term: &str, limit: usize) -> Result<Vec<SearchResult>, RegistryError> {
        let mut without = Vec::new();
        for mirror in self.inner.config.mirrors.iter().filter(|m| m.for_domain == domain) {
            let endpoint = Endpoint::mirror(mirror);
            match self.inner.search(endpoint.url(), term, limit).await {
                Ok(found) if !found.is_empty() => return Ok(found),
                Ok(_) => without.push(endpoint.base),
                Err(_) => {}
            }
        }
        let usual = Endpoint::candidates(domain, &self.inner.config).remove(0);
        let base = match self.inner.config.upstreams.get(domain) {
            Some(base) => base.as_str(),
            None if domain == DOCKER_DOMAIN => DOCKER_INDEX,
            None => usual.url(),
        };
        match self.inner.search(base, term, limit).await {
            Err(error @ RegistryError::Unreachable { .. }) if !without.is_empty() => {
                Err(RegistryError::NotFoundAndUnreachable {
                    what: format!("an image for {term:?}"),
                    mirrors: format!("the mirror {} does not have it", without.join(", ")),
                    domain: domain.to_owned(),
                    cause: error.to_string(),
                })
            }
            answer => answer,
        }
    }
}

impl Inner {
    async fn search(&self, base: &str, term: &str, limit: usize) -> Result<Vec<SearchResult>, RegistryError> {
        let address = format!("{base}/v1/search?q={}&n={limit}", encode(term));
        let url = parse(&address)?;
        let step = trace::step(Actor::Registry, "registry.search")
            .why("a registry knows the names, descriptions and stars of its images; this host knows only its own")
            .arg("method", "GET")
            .arg("url", &address);
        match self.found(&url, &address).instrument(step.span()).await {
            Ok(found) => {
                step.ok(json!({"status": 200, "results": found.len()}), || match found.len() {
                    1 => "200, 1 image".to_owned(),
                    n => format!("200, {n} images"),
                });
                Ok(found)
            }
            Err(error) => {
                step.fail(error.code(), &error, || error.to_string());
                Err(error)
            }
        }
    }

    async fn found(&self, url: &Uri, address: &str) -> Result<Vec<SearchResult>, RegistryError> {
        let headers = vec![(ACCEPT, HeaderValue::from_static("application/json"))];
        // Docker's error names the whole question; there is no secret in it.
        let unreachable = |cause: String| RegistryError::Unreachable { url: address.to_owned(), cause };
        let response = self.send(Method::GET, url, headers, &Sending::Nothing).await.map_err(unreachable)?;
        let status = response.status();
        let body = read(response.into_body(), MAX_ANSWER, self.transport.limits().idle).await;
        match status {
            StatusCode::OK => {}
            s if s.is_server_error() || s == StatusCode::TOO_MANY_REQUESTS => {
                return Err(unreachable(format!("Unexpected status code {}", s.as_u16())));
            }
            s => return Err(bad(url, &format!("Unexpected status code {}", s.as_u16()))),
        }
        let body = body.map_err(|e| RegistryError::BadAnswer { url: shown(url), cause: e.to_string() })?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|e| bad(url, &format!("no search result: {e}")))?;
        Ok(answer.results)
    }
}
