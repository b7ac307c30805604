//! What a path asks for. Repository names hold slashes, so a path is taken apart from its end.

use std::collections::HashMap;

use axum::extract::Query;
use http::{Method, Uri};

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Ping,
    /// The search of the first registry protocol, which Docker's engine still asks: `/v1/search`.
    Search,
    Catalog,
    Tags {
        name: &'a str,
    },
    Manifest {
        name: &'a str,
        reference: &'a str,
    },
    Blob {
        name: &'a str,
        digest: &'a str,
    },
    /// Where uploads begin.
    Uploads {
        name: &'a str,
    },
    /// One that has begun.
    Upload {
        name: &'a str,
        id: &'a str,
    },
    Referrers {
        name: &'a str,
        digest: &'a str,
    },
}

impl<'a> Route<'a> {
    pub(super) fn of(path: &'a str) -> Option<Route<'a>> {
        let rest = match path {
            "/v2" | "/v2/" => return Some(Route::Ping),
            "/v2/_catalog" => return Some(Route::Catalog),
            "/v1/search" => return Some(Route::Search),
            _ => path.strip_prefix("/v2/")?,
        };
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Some(Route::Tags { name });
        }
        if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
            return Some(Route::Uploads { name });
        }
        let (before, last) = rest.rsplit_once('/')?;
        let (name, kind) = before.rsplit_once('/')?;
        match kind {
            "manifests" => Some(Route::Manifest { name, reference: last }),
            "blobs" => Some(Route::Blob { name, digest: last }),
            "referrers" => Some(Route::Referrers { name, digest: last }),
            "uploads" => name.strip_suffix("/blobs").map(|name| Route::Upload { name, id: last }),
            _ => None,
        }
    }

    /// Whether it would change the hub.
    pub(super) fn writes(&self, method: &Method) -> bool {
        // The status of an upload is for whoever may upload.
        matches!(self, Route::Uploads { .. } | Route::Upload { .. })
            || !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
    }
}

/// The query of a request, decoded.
#[derive(Debug, Clone, Default)]
pub(super) struct Params(HashMap<String, String>);

impl Params {
    pub(super) fn of(uri: &Uri) -> Params {
        Params(Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default())
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(super) fn number(&self, key: &str) -> Option<usize> {
        self.get(key)?.parse().ok()
    }
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
        assert_eq!(Route::of("/v2/a/blobs/uploads/"), Some(Route::Uploads { name: "a" }));
        assert_eq!(Route::of("/v2/a/b/blobs/uploads"), Some(Route::Uploads { name: "a/b" }));
        assert_eq!(Route::of("/v2/a/b/blobs/uploads/7"), Some(Route::Upload { name: "a/b", id: "7" }));
        assert_eq!(Route::of("/v2/a/referrers/sha256:x"), Some(Route::Referrers { name: "a", digest: "sha256:x" }));
        for path in ["/", "/v1/", "/v2/x", "/v2/x/y", "/v2/x/uploads/y", "/v2/manifests/x"] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn reading_is_told_from_writing() {
        let blob = Route::Blob { name: "a", digest: "x" };
        assert!(!blob.writes(&Method::GET) && !blob.writes(&Method::HEAD) && blob.writes(&Method::DELETE));
        assert!(Route::Upload { name: "a", id: "x" }.writes(&Method::GET));
    }

    #[test]
    fn a_query_is_decoded() {
        let params = Params::of(&"/v2/a?digest=sha256%3Aab&n=7&last=".parse().unwrap());
        assert_eq!((params.get("digest"), params.number("n")), (Some("sha256:ab"), Some(7)));
        assert_eq!((params.get("last"), params.get("x")), (Some(""), None));
    }
}
