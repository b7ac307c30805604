//! Answers as HTTP: JSON, errors, streams.

use crate::api::error::{self, ErrorBody};
use crate::oci::ErrorKind;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use std::fmt;

/// A request failed: what kind of failure, and the sentence for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: ErrorKind,
    pub message: String,
}

/// What a handler gives back.
pub type Answer = Result<Response, Refusal>;

impl Refusal {
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Refusal {
        Refusal { kind, message: message.to_string() }
    }

    pub fn bad(message: impl fmt::Display) -> Refusal {
        Refusal::new(ErrorKind::BadParameter, message)
    }

    pub fn not_found(message: impl fmt::Display) -> Refusal {
        Refusal::new(ErrorKind::NotFound, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = error::status(self.kind);
        if status == StatusCode::NOT_MODIFIED {
            return status.into_response();
        }
        json(status, &ErrorBody { message: self.message })
    }
}

/// A JSON answer; with a line feed at the end, as Docker's.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A status and nothing else.
pub fn empty(status: StatusCode) -> Response {
    status.into_response()
}

/// An answer whose headers go out at once and whose body comes piece by piece.
pub fn stream(
    content_type: &'static str,
    pieces: impl futures_util::Stream<Item = Bytes> + Send + 'static,
) -> Response {
    use futures_util::StreamExt as _;
    let mut response = Response::new(Body::from_stream(pieces.map(Ok::<_, std::convert::Infallible>)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Makes the errors of the services answers: all have `kind()`.
macro_rules! refusals {
    ($($error:ty),* $(,)?) => { $(
        impl From<$error> for Refusal {
            fn from(error: $error) -> Refusal {
                Refusal::new(error.kind(), &error)
            }
        }
    )* };
}

impl From<crate::images::remote::RemoteError> for Refusal {
    fn from(error: crate::images::remote::RemoteError) -> Refusal {
        Refusal::new(error.kind, &error.message)
    }
}

refusals!(
    crate::images::ArchiveFault,
    crate::images::ImageError,
    crate::images::PullError,
    crate::images::PushError,
    crate::images::RemoveError,
    crate::containers::ContainerError,
    crate::containers::SpecError
);
