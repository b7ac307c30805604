//! Routes: repository names hold slashes, so the path is taken apart from its end.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use http::header::{HeaderValue, LINK};
use http::{HeaderMap, Method, Uri};
use serde_json::json;

use super::answer::{self, Refusal};
use super::{blobs, catalog};
use crate::content::{ContentError, Store};
use crate::oci::{Digest, Reference};

/// What every request needs.
pub(super) struct Hub {
    pub(super) store: Arc<Store>,
    pub(super) faults: Option<PathBuf>,
}

pub(super) fn router(hub: Hub) -> Router {
    Router::new().fallback(dispatch).with_state(Arc::new(hub))
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Ping,
    Catalog,
    Tags { name: &'a str },
    Manifest { name: &'a str, reference: &'a str },
    Blob { name: &'a str, digest: &'a str },
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Route<'a>> {
        let rest = match path {
            "/v2" | "/v2/" => return Some(Route::Ping),
            "/v2/_catalog" => return Some(Route::Catalog),
            _ => path.strip_prefix("/v2/")?,
        };
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Some(Route::Tags { name });
        }
        let (before, last) = rest.rsplit_once('/')?;
        let (name, kind) = before.rsplit_once('/')?;
        match kind {
            "manifests" => Some(Route::Manifest { name, reference: last }),
            "blobs" => Some(Route::Blob { name, digest: last }),
            _ => None,
        }
    }
}

/// The request's body is read by nobody: GET and HEAD have none, and the others are refused.
async fn dispatch(State(hub): State<Arc<Hub>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let with_body = match method {
        Method::GET => true,
        Method::HEAD => false,
        _ => return Refusal::Unsupported.answer(),
    };
    let answered = tokio::task::spawn_blocking(move || {
        let Some(route) = Route::of(uri.path()) else {
            return Ok(Refusal::NoSuchRoute.answer());
        };
        answer(&hub, &route, uri.query(), &headers, with_body)
    });
    match answered.await {
        Ok(Ok(response)) => response,
        Ok(Err(cause)) => answer::broken(&cause),
        Err(_) => Refusal::Broken.answer(),
    }
}

fn answer(
    hub: &Hub,
    route: &Route<'_>,
    query: Option<&str>,
    headers: &HeaderMap,
    with_body: bool,
) -> Result<Response, ContentError> {
    let (name, thing) = match route {
        Route::Ping => return Ok(answer::marked(Json(json!({})).into_response())),
        Route::Catalog => {
            let names = catalog::repositories(&hub.store)?;
            return Ok(listed("/v2/_catalog", query, names, |names| json!({"repositories": names})));
        }
        Route::Tags { name } => (name, None),
        Route::Manifest { name, reference } => (name, Some(reference)),
        Route::Blob { name, digest } => (name, Some(digest)),
    };
    let Some(repository) = catalog::repository(name) else {
        return Ok(Refusal::NameInvalid.answer());
    };
    match (route, thing) {
        (Route::Blob { .. }, Some(digest)) => Ok(match digest.parse::<Digest>() {
            Ok(digest) => blobs::serve(hub, &digest, headers, with_body),
            Err(_) => Refusal::DigestInvalid.answer(),
        }),
        (_, Some(part)) => manifest(hub, &repository, part, with_body),
        (_, None) => {
            let Some(tags) = catalog::tags(&hub.store, &repository)? else {
                return Ok(Refusal::NameUnknown.answer());
            };
            let path = format!("/v2/{name}/tags/list");
            Ok(listed(&path, query, tags, |tags| json!({"name": name, "tags": tags})))
        }
    }
}

fn manifest(hub: &Hub, repository: &Reference, part: &str, with_body: bool) -> Result<Response, ContentError> {
    let found = if part.contains(':') {
        match part.parse::<Digest>() {
            Ok(digest) => catalog::by_digest(&hub.store, repository, &digest)?,
            Err(_) => return Ok(Refusal::DigestInvalid.answer()),
        }
    } else {
        catalog::by_tag(&hub.store, repository, part)?
    };
    let found = found.and_then(|d| Some((Digest::try_from(d.digest()).ok()?, d)));
    let Some((digest, descriptor)) = found else {
        return Ok(Refusal::ManifestUnknown.answer());
    };
    let bytes = hub.store.read(&digest)?;
    let length = bytes.len() as u64;
    let body = if with_body { Body::from(bytes) } else { Body::empty() };
    Ok(answer::content(&digest, descriptor.media_type().as_ref(), length, body))
}

/// A list in pages: `?n=10&last=x` gives the ten after `x`, with a `Link` to the rest.
fn listed(
    path: &str,
    query: Option<&str>,
    mut names: Vec<String>,
    shape: impl FnOnce(&[String]) -> serde_json::Value,
) -> Response {
    let param = |key: &str| {
        let pairs = query.unwrap_or_default().split('&').filter_map(|p| p.split_once('='));
        pairs.filter(|(k, _)| *k == key).map(|(_, v)| v).next()
    };
    if let Some(last) = param("last") {
        names.retain(|name| name.as_str() > last);
    }
    let limit = param("n").and_then(|n| n.parse::<usize>().ok()).unwrap_or(usize::MAX);
    let more = names.len() > limit;
    names.truncate(limit);
    let mut response = Json(shape(&names)).into_response();
    if let (true, Some(last)) = (more, names.last())
        && let Ok(link) = HeaderValue::from_str(&format!("<{path}?n={limit}&last={last}>; rel=\"next\""))
    {
        response.headers_mut().insert(LINK, link);
    }
    answer::marked(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_from_the_end() {
        assert_eq!(Route::of("/v2/"), Some(Route::Ping));
        assert_eq!(
            Route::of("/v2/library/centos/manifests/latest"),
            Some(Route::Manifest { name: "library/centos", reference: "latest" })
        );
        assert_eq!(
            Route::of("/v2/a/manifests/blobs/sha256:x"),
            Some(Route::Blob { name: "a/manifests", digest: "sha256:x" })
        );
        assert_eq!(Route::of("/v2/a/b/c/tags/list"), Some(Route::Tags { name: "a/b/c" }));
        for path in ["/", "/v1/", "/v2/x", "/v2/x/y", "/v2/x/uploads/y", "/v2/manifests/x"] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }
}
