//! What can go wrong between us and a registry, in Docker's words where Docker has words.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use thiserror::Error;

use crate::oci::{Digest, ErrorKind, Reference};

/// A failed exchange with a registry. Never holds a token or a password; texts of the server are made
/// printable and short.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// The registry answered that it has no such thing.
    #[error("{what} not found: {cause}")]
    NotFound { what: String, cause: String },
    /// The registry does not let us see the repository: it does not exist, or it is private.
    #[error("pull access denied for {name}, repository does not exist or may require 'docker login': {cause}")]
    Denied { name: String, cause: String },
    /// The registry wants to know who asks, and we can't say.
    #[error("Get \"{url}\": {cause}")]
    Unauthorized { url: String, cause: String },
    /// The registry does not let us push there.
    #[error("{cause}")]
    PushDenied { cause: String },
    /// A login that the registry did not take; Docker's words.
    #[error("login attempt to {url} failed with status: {status}")]
    Login { url: String, status: String },
    /// No answer: name lookup, connection, TLS, time out.
    #[error("Get \"{url}\": {cause}")]
    Unreachable { url: String, cause: String },
    /// An answer that says "not now": 5xx. `after`: so long it wants to be left alone.
    #[error("Get \"{url}\": {cause}")]
    Busy { url: String, cause: String, after: Option<Duration> },
    /// We have asked too often (429). `told` says what the registry allows and when to ask again.
    #[error("{cause} ({told})")]
    RateLimited { cause: String, told: String, after: Option<Duration>, exhausted: bool },
    /// A manifest of a kind that was given up.
    #[error(
        "{what} is in Docker's image format of 2014 (manifest version 2, schema 1), which rdock does not take: it has \
             no image config, and nothing in it tells that the layers are the right ones. Whoever pushed it can push it \
             again with any Docker since 1.10"
    )]
    Schema1 { what: String },
    /// A mirror does not have it, and the registry behind the mirror can't be reached.
    #[error("{what} not found: {mirrors} and {domain} can't be reached: {cause}")]
    NotFoundAndUnreachable { what: String, mirrors: String, domain: String, cause: String },
    /// The content is not what its name says.
    #[error("{what} from {url} is not what was asked for: its digest is {actual} instead of {expected}")]
    DigestMismatch { what: String, url: String, expected: Digest, actual: Digest },
    /// The content ended too early, and asking again did not help.
    #[error("{what} from {url} is cut short: {received} bytes instead of {expected}{cause}")]
    Truncated { what: String, url: String, expected: u64, received: u64, cause: String },
    /// More bytes than there should be.
    #[error("{what} from {url} is too large: more than {limit} bytes")]
    TooLarge { what: String, url: String, limit: u64 },
    /// An answer that breaks the rules.
    #[error("{url} gave an answer that can't be used: {cause}")]
    BadAnswer { url: String, cause: String },
}

impl RegistryError {
    pub fn kind(&self) -> ErrorKind {
        use RegistryError::*;
        match self {
            NotFound { .. } | Denied { .. } | NotFoundAndUnreachable { .. } => ErrorKind::NotFound,
            Unauthorized { .. } | PushDenied { .. } | Login { .. } => ErrorKind::Forbidden,
            Unreachable { .. } | Busy { .. } | RateLimited { .. } => ErrorKind::Unavailable,
            Schema1 { .. } => ErrorKind::BadParameter,
            DigestMismatch { .. } | Truncated { .. } | TooLarge { .. } | BadAnswer { .. } => ErrorKind::Internal,
        }
    }

    /// A short symbolic name, for `result.errno` of an explanation: errno style, as trace events have it.
    pub fn code(&self) -> &'static str {
        use RegistryError::*;
        match self {
            NotFound { .. } | NotFoundAndUnreachable { .. } => "ENOENT",
            Denied { .. } | Unauthorized { .. } | PushDenied { .. } | Login { .. } => "EACCES",
            Busy { .. } | RateLimited { .. } => "EAGAIN",
            Schema1 { .. } => "EPROTONOSUPPORT",
            Unreachable { .. } => "EHOSTUNREACH",
            DigestMismatch { .. } => "EBADMSG",
            Truncated { .. } => "EPIPE",
            TooLarge { .. } => "EFBIG",
            BadAnswer { .. } => "EPROTO",
        }
    }

    /// Whether another registry may be asked instead: this one has not got it, or does not answer.
    pub(super) fn try_elsewhere(&self) -> bool {
        use RegistryError::*;
        matches!(self, NotFound { .. } | Denied { .. } | Unreachable { .. } | Busy { .. } | RateLimited { .. })
    }

    /// Whether there was no word about the thing itself.
    pub(super) fn is_silence(&self) -> bool {
        use RegistryError::*;
        matches!(self, Unreachable { .. } | Busy { .. } | RateLimited { .. })
    }
}

/// The error document of the distribution specification.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ErrorBody {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
}

#[derive(Debug, Default, Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl ErrorBody {
    pub(super) fn parse(bytes: &[u8]) -> ErrorBody {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    pub(super) fn has(&self, code: &str) -> bool {
        self.errors.iter().any(|e| e.code == code)
    }

    /// `manifest unknown: manifest unknown`: the code in words, and the server's message.
    pub(super) fn spoken(&self) -> Option<String> {
        let first = self.errors.first().filter(|e| !e.code.is_empty())?;
        let code = first.code.to_lowercase().replace('_', " ");
        Some(match first.message.as_str() {
            "" => printable(&code),
            message => printable(&format!("{code}: {message}")),
        })
    }
}

/// The error that a status of a manifest or blob request stands for. `what` is Docker's name of it
/// (`manifest for centos:8`, `blob sha256:…`), `url` the address that was asked.
pub(super) fn of_status(
    status: StatusCode,
    body: &ErrorBody,
    headers: &HeaderMap,
    reference: &Reference,
    what: &str,
    url: &str,
) -> RegistryError {
    let status_text = || match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    };
    match status {
        StatusCode::NOT_FOUND if body.has("NAME_UNKNOWN") => RegistryError::NotFound {
            what: format!("repository {}", reference.familiar_name()),
            cause: body.spoken().unwrap_or_default(),
        },
        StatusCode::NOT_FOUND => RegistryError::NotFound {
            what: what.to_owned(),
            cause: body.spoken().unwrap_or_else(|| match what.starts_with("blob ") {
                true => "blob unknown: blob unknown to registry".to_owned(),
                false => "manifest unknown: manifest unknown".to_owned(),
            }),
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Denied {
            name: reference.familiar_name(),
            cause: body
                .spoken()
                .filter(|_| body.has("DENIED"))
                .unwrap_or_else(|| "denied: requested access to the resource is denied".to_owned()),
        },
        StatusCode::TOO_MANY_REQUESTS => super::patience::rate_limited(body.spoken(), headers, url),
        s if s.is_server_error() => RegistryError::Busy {
            url: url.to_owned(),
            after: super::patience::retry_after(headers),
            cause: match body.spoken() {
                Some(words) => format!("{}: {words}", status_text()),
                None => status_text(),
            },
        },
        _ => RegistryError::BadAnswer {
            url: url.to_owned(),
            cause: match body.spoken() {
                Some(words) => format!("unexpected status {}: {words}", status_text()),
                None => format!("unexpected status {}", status_text()),
            },
        },
    }
}

/// What a server said, safe for a terminal: one line, no control characters, at most 200 characters.
pub(super) fn printable(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    if text.chars().nth(200).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str, name: &str) -> String {
        let reference = Reference::parse(name).unwrap().with_default_tag();
        let what = format!("manifest for {}", reference.familiar());
        let status = StatusCode::from_u16(status).unwrap();
        of_status(status, &ErrorBody::parse(body.as_bytes()), &HeaderMap::new(), &reference, &what, "https://r/v2/")
            .to_string()
    }

    #[test]
    fn statuses_become_dockers_words() {
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        let words = "manifest for nosuch:latest not found: manifest unknown: manifest unknown";
        assert_eq!(error(404, unknown, "nosuch"), words);
        assert_eq!(error(404, "<html>", "nosuch"), words);
        let denied = "pull access denied for nosuch, repository does not exist or may require 'docker login': \
                      denied: requested access to the resource is denied";
        assert_eq!(error(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"x"}]}"#, "nosuch"), denied);
        assert_eq!(
            error(404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"unknown"}]}"#, "r.io/a"),
            "repository r.io/a not found: name unknown: unknown"
        );
        assert_eq!(error(503, "", "a"), "Get \"https://r/v2/\": 503 Service Unavailable");
    }

    #[test]
    fn what_a_server_says_cannot_play_with_the_terminal() {
        let evil = "{\"errors\":[{\"code\":\"X\",\"message\":\"\\u001b[2Jgone\\r\\n\"}]}";
        let message = error(400, evil, "a");
        assert!(!message.chars().any(char::is_control), "{message:?}");
        assert!(printable(&"x".repeat(9999)).chars().count() <= 201);
    }
}
