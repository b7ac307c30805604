//! The tags of a repository, page by page.

use bytes::Bytes;
use http::header::LINK;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::endpoint::{Endpoint, join};
use super::error::RegistryError;
use super::exchange::{Answer, Ask, bad, parse, read};
use super::patience::Patience;
use super::{Client, Inner};
use crate::oci::Reference;

/// As large as one page may be.
const MAX_PAGE: u64 = 4 * 1024 * 1024;
/// More tags than this are no repository but an attack.
const MAX_TAGS: usize = 100_000;

#[derive(Deserialize)]
struct Page {
    /// `null` for a repository without tags.
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of the repository that the reference names, in the order of the registry; mirrors first, as for
    /// manifests.
    pub async fn tags(&self, reference: &Reference) -> Result<Vec<String>, RegistryError> {
        let mirrors = self.inner.config.mirrors.iter().filter(|m| m.for_domain == reference.domain());
        for endpoint in mirrors.map(Endpoint::mirror) {
            match self.inner.tags(reference, &endpoint).await {
                Err(error) if error.try_elsewhere() => {}
                answer => return answer,
            }
        }
        self.inner.tags(reference, &self.inner.home(reference).await?).await
    }
}

impl Inner {
    async fn tags(&self, reference: &Reference, endpoint: &Endpoint) -> Result<Vec<String>, RegistryError> {
        let mut tags = Vec::new();
        let mut thing = Some("tags/list".to_owned());
        while let Some(asked) = thing {
            let why = "all tags are wanted: the registry has the list, in pages when it is long";
            let mut ask = Ask::get("registry.tags.get", why, endpoint, reference, &asked);
            if asked.contains("://") {
                ask.url = asked;
            }
            let url = parse(&ask.url)?;
            let (headers, bytes) = self.page(&ask, endpoint).await?;
            let page: Page = serde_json::from_slice(&bytes).map_err(|e| bad(&url, &format!("no list of tags: {e}")))?;
            tags.extend(page.tags.unwrap_or_default());
            if tags.len() > MAX_TAGS {
                return Err(bad(&url, "a list of tags without end"));
            }
            // Only more of the same place: the next page is no way to send us elsewhere.
            thing = next(&headers).and_then(|l| join(&url, &l)).filter(|n| *n != url).map(|n| n.to_string());
        }
        Ok(tags)
    }

    async fn page(&self, ask: &Ask<'_>, endpoint: &Endpoint) -> Result<(HeaderMap, Bytes), RegistryError> {
        let mut patience = Patience::new(&self.config);
        loop {
            let answer = self.ask(ask).await?;
            if answer.response.status() == StatusCode::OK {
                let Answer { step, response, url, .. } = answer;
                let headers = response.headers().clone();
                let body = read(response.into_body(), MAX_PAGE, self.transport.limits().idle).await;
                return match body {
                    Ok(bytes) => {
                        step.ok(json!({"status": 200, "size": bytes.len()}), || format!("200, {} bytes", bytes.len()));
                        Ok((headers, bytes))
                    }
                    Err(e) => {
                        let error = RegistryError::BadAnswer { url, cause: e.to_string() };
                        step.fail(error.code(), &error, || error.to_string());
                        Err(error)
                    }
                };
            }
            let what = format!("repository {}", ask.reference.familiar_name());
            let error = self.refused(ask, answer, &what).await;
            if endpoint.is_mirror() || !patience.again(&error).await {
                return Err(error);
            }
        }
    }
}

/// `</v2/a/tags/list?last=x&n=100>; rel="next"` (RFC 8288).
fn next(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(LINK)?.to_str().ok()?;
    let (link, rest) = text.strip_prefix('<')?.split_once('>')?;
    rest.to_ascii_lowercase().contains("next").then(|| link.to_owned())
}
