//! Answers: the headers that every one has, and the errors of the specification.

use std::io;
use std::path::Path;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{HeaderName, HeaderValue};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::content::ContentError;
use crate::oci::Digest;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Why a request is refused: the codes of the specification ([distribution-spec, error codes]), with a sentence where
/// the code alone does not say enough.
///
/// [distribution-spec, error codes]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    BlobUnknown,
    BlobUploadInvalid(String),
    BlobUploadUnknown,
    DigestInvalid(String),
    ManifestBlobUnknown(Digest),
    ManifestInvalid(String),
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid(String),
    /// The asker may not do this.
    Denied(String),
    /// Nobody may do this here.
    Unsupported(String),
    /// More than the hub takes.
    TooLarge(String),
    TooMany(String),
    NoSuchRoute,
    RangeInvalid,
    /// The hub's own failure: a disk that is full, a damaged file, a bug.
    Broken(String),
}

impl Refusal {
    fn words(self) -> (StatusCode, &'static str, String) {
        use Refusal::*;
        let plain = |status, code, message: &str| (status, code, message.to_owned());
        match self {
            BlobUnknown => plain(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry"),
            BlobUploadInvalid(why) => (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", why),
            BlobUploadUnknown => plain(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
            DigestInvalid(why) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID", why),
            ManifestBlobUnknown(digest) => (
                StatusCode::BAD_REQUEST,
                "MANIFEST_BLOB_UNKNOWN",
                format!("the manifest names {digest}, which this repository does not have"),
            ),
            ManifestInvalid(why) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID", why),
            ManifestUnknown => plain(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown"),
            NameInvalid => plain(StatusCode::BAD_REQUEST, "NAME_INVALID", "invalid repository name"),
            NameUnknown => plain(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository name not known to registry"),
            SizeInvalid(why) => (StatusCode::BAD_REQUEST, "SIZE_INVALID", why),
            Denied(why) => (StatusCode::FORBIDDEN, "DENIED", why),
            Unsupported(why) => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", why),
            TooLarge(why) => (StatusCode::PAYLOAD_TOO_LARGE, "DENIED", why),
            TooMany(why) => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", why),
            NoSuchRoute => plain(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such route"),
            RangeInvalid => plain(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", "no such range"),
            Broken(why) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", why),
        }
    }

    /// The code, for the explanation.
    pub(super) fn code(&self) -> &'static str {
        self.clone().words().1
    }

    /// The sentence, for the explanation.
    pub(super) fn sentence(&self) -> String {
        self.clone().words().2
    }

    pub(super) fn answer(self) -> Response {
        let (status, code, message) = self.words();
        let body = Json(json!({"errors": [{"code": code, "message": message, "detail": null}]}));
        marked((status, body).into_response())
    }

    /// What a file system said no to.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Refusal {
        let path = path.to_owned();
        move |source| Refusal::from(ContentError::Io { what, path, source })
    }
}

impl From<ContentError> for Refusal {
    fn from(cause: ContentError) -> Refusal {
        match cause {
            _ if cause.is_disk_full() => Refusal::TooLarge("the disk of the hub is full".to_owned()),
            ContentError::NotFound(_) => Refusal::BlobUnknown,
            // Where a file of the hub lies is nothing for its guests.
            ContentError::Io { what, source, .. } => Refusal::Broken(format!("the hub can't {what} a file: {source}")),
            other => Refusal::Broken(other.to_string()),
        }
    }
}

/// With the header by which clients know a registry of this kind.
pub(super) fn marked(mut response: Response) -> Response {
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

/// A status and headers, no body.
pub(super) fn bare(status: StatusCode, headers: &[(HeaderName, &str)]) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    for (name, value) in headers {
        set(&mut response, name.clone(), value);
    }
    set(&mut response, header::CONTENT_LENGTH, "0");
    marked(response)
}

/// JSON of a media type of its own.
pub(super) fn json_as(media_type: &'static str, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    set(&mut response, header::CONTENT_TYPE, media_type);
    marked(response)
}

pub(super) fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Content by its digest: `length` bytes of body are announced, whether or not (HEAD) they follow.
pub(super) fn content(digest: &Digest, media_type: &str, length: u64, body: Body) -> Response {
    let mut response = Response::new(body);
    set(&mut response, header::CONTENT_TYPE, media_type);
    set(&mut response, header::CONTENT_LENGTH, &length.to_string());
    set(&mut response, header::ETAG, &etag(digest));
    set(&mut response, CONTENT_DIGEST, digest.as_str());
    // A document of whoever built the image is never taken for a page.
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    marked(response)
}

/// Content never changes under its digest, so the digest is the entity tag.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}
