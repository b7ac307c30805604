//! Answers: the headers that every one has, and the errors of the specification.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{HeaderName, HeaderValue};
use http::{StatusCode, header};
use serde_json::json;

use crate::content::ContentError;
use crate::oci::Digest;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Error codes ([distribution-spec, error codes]) with their status and message.
///
/// [distribution-spec, error codes]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    BlobUnknown,
    DigestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    Unsupported,
    NoSuchRoute,
    RangeInvalid,
    /// A bug: the handler panicked.
    Broken,
}

impl Refusal {
    fn words(self) -> (StatusCode, &'static str, &'static str) {
        use Refusal::*;
        match self {
            BlobUnknown => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry"),
            DigestInvalid => (StatusCode::BAD_REQUEST, "DIGEST_INVALID", "provided digest is no digest"),
            ManifestUnknown => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown"),
            NameInvalid => (StatusCode::BAD_REQUEST, "NAME_INVALID", "invalid repository name"),
            NameUnknown => (StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository name not known to registry"),
            Unsupported => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "the lab hub can only be read"),
            NoSuchRoute => (StatusCode::NOT_FOUND, "UNSUPPORTED", "no such route"),
            RangeInvalid => (StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", "no such range"),
            Broken => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the lab hub failed"),
        }
    }

    pub(super) fn answer(self) -> Response {
        let (status, code, message) = self.words();
        error(status, code, message)
    }
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = Json(json!({"errors": [{"code": code, "message": message, "detail": null}]}));
    marked((status, body).into_response())
}

/// The store could not be read: nothing that a client could do about it.
pub(super) fn broken(cause: &ContentError) -> Response {
    error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", &cause.to_string())
}

/// With the header by which clients know a registry of this kind.
pub(super) fn marked(mut response: Response) -> Response {
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

/// Content by its digest: `length` bytes of body are announced, whether or not (HEAD) they follow.
pub(super) fn content(digest: &Digest, media_type: &str, length: u64, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, media_type);
    set(header::CONTENT_LENGTH, &length.to_string());
    set(header::ETAG, &etag(digest));
    set(CONTENT_DIGEST, digest.as_str());
    // A document of whoever built the image is never taken for a page.
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    marked(response)
}

/// Content never changes under its digest, so the digest is the entity tag.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}
