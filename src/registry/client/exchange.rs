//! One question and its answer, with what lies between: a token, a redirect. Each exchange on the wire is
//! one step of the explanation.

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RANGE,
    USER_AGENT,
};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::json;
use tracing::Instrument as _;

use super::auth::Challenge;
use super::endpoint::{Endpoint, join, origin, refusal, shown};
use super::error::{ErrorBody, RegistryError, printable};
use super::sending::Sending;
use super::{Inner, transport};
use crate::oci::Reference;
use crate::trace::{self, Actor, Step};

const MAX_REDIRECTS: usize = 5;
const MAX_ERROR_BODY: u64 = 64 * 1024;
const AGENT: &str = concat!("rdock/", env!("CARGO_PKG_VERSION"));

/// What is asked.
pub(super) struct Ask<'a> {
    pub op: &'static str,
    pub why: &'static str,
    pub method: Method,
    pub endpoint: &'a Endpoint,
    /// For errors.
    pub reference: &'a Reference,
    pub url: String,
    /// What a token must allow: `repository:library/centos:pull`.
    pub scopes: Vec<String>,
    /// Something is going to be changed there.
    pub push: bool,
    /// An identity token is wanted too.
    pub login: bool,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Sending,
}

/// The last answer: neither a redirect nor a demand for a token that could be met. Its step is open.
pub(super) struct Answer {
    pub step: Step,
    pub response: Response<Incoming>,
    /// Where it came from, for errors.
    pub url: String,
    /// The identity token that a login brought.
    pub identity: Option<String>,
}

impl<'a> Ask<'a> {
    /// A look at something of the repository: `manifests/latest`, `blobs/sha256:…`.
    pub(super) fn get(
        op: &'static str,
        why: &'static str,
        endpoint: &'a Endpoint,
        reference: &'a Reference,
        thing: &str,
    ) -> Ask<'a> {
        let path = reference.path();
        Ask {
            op,
            why,
            method: Method::GET,
            endpoint,
            reference,
            url: format!("{}/v2/{path}/{thing}", endpoint.url()),
            scopes: vec![format!("repository:{path}:pull")],
            push: false,
            login: false,
            headers: Vec::new(),
            body: Sending::Nothing,
        }
    }

    /// The same for what changes something.
    pub(super) fn pushing(mut self, method: Method) -> Ask<'a> {
        self.scopes = vec![format!("repository:{}:pull,push", self.reference.path())];
        (self.method, self.push) = (method, true);
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Ask<'a> {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|v| (name, v)));
        self
    }

    /// The beginning of its step, with what a person may know of it.
    fn step(&self, url: &Uri, proxy: Option<String>) -> Step {
        let mut step = trace::step(Actor::Registry, self.op)
            .why(self.why)
            .arg("method", self.method.as_str())
            .arg("url", shown(url));
        let shown =
            [("accept", ACCEPT), ("range", RANGE), ("content_type", CONTENT_TYPE), ("content_range", CONTENT_RANGE)];
        for (key, name) in shown {
            let value = self.headers.iter().find(|(n, _)| *n == name).and_then(|(_, v)| v.to_str().ok());
            if let Some(value) = value {
                step = step.arg(key, value);
            }
        }
        if let Some(length) = self.body.length() {
            step = step.arg("bytes", length);
        }
        match proxy {
            Some(proxy) => step.arg("proxy", proxy),
            None => step,
        }
    }
}

impl Inner {
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        let base = ask.endpoint.url();
        let home = origin(&parse(base)?);
        let mut url: Uri = parse(&ask.url)?;
        let mut authorization = self.grants.get(base, &ask.scopes.join(" "));
        let (mut may_authenticate, mut identity) = (true, None);
        let mut redirects = 0;
        loop {
            let at_home = origin(&url) == home;
            let (step, response) = self.exchange(ask, &url, authorization.as_ref().filter(|_| at_home)).await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && at_home && may_authenticate {
                let Some(challenge) = Challenge::of(response.headers()) else {
                    return Ok(Answer { step, response, url: shown(&url), identity });
                };
                step.ok(json!({"status": 401}), || match &challenge {
                    Challenge::Bearer { realm, .. } => {
                        format!("401, wants a token from {}", host(realm))
                    }
                    Challenge::Basic => "401, wants a user name and a password".to_owned(),
                });
                drain(response).await;
                let met = self.authenticate(ask, &challenge, &url).await?;
                (authorization, identity, may_authenticate) = (Some(met.authorization), met.identity, false);
                continue;
            }
            let looking = matches!(ask.method, Method::GET | Method::HEAD);
            let Some(target) = redirect(&response).filter(|_| looking) else {
                return Ok(Answer { step, response, url: shown(&url), identity });
            };
            redirects += 1;
            let next = follow(&url, &target, redirects)?;
            step.ok(json!({"status": status.as_u16(), "location": shown(&next)}), || {
                format!("{}, it is at {}", status.as_u16(), host(&next.to_string()))
            });
            drain(response).await;
            url = next;
        }
    }

    /// The first answer, whatever it is.
    pub(super) async fn ask_once(&self, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        let url: Uri = parse(&ask.url)?;
        let (step, response) = self.exchange(ask, &url, None).await?;
        Ok(Answer { step, response, url: shown(&url), identity: None })
    }

    /// One request and the head of its answer. No answer ends the step as failed.
    async fn exchange(
        &self,
        ask: &Ask<'_>,
        url: &Uri,
        authorization: Option<&HeaderValue>,
    ) -> Result<(Step, Response<Incoming>), RegistryError> {
        let step = ask.step(url, self.transport.proxy(url));
        let mut headers = ask.headers.clone();
        headers.extend(authorization.map(|v| (AUTHORIZATION, v.clone())));
        headers.extend(step.span().in_scope(|| super::telling::traceparent(url)));
        match self.send(ask.method.clone(), url, headers, &ask.body).instrument(step.span()).await {
            Ok(response) => Ok((step, response)),
            Err(cause) => {
                let error = RegistryError::Unreachable { url: self.named(ask, url), cause };
                step.fail(error.code(), &error, || error.to_string());
                Err(error)
            }
        }
    }

    pub(super) async fn send(
        &self,
        method: Method,
        url: &Uri,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: &Sending,
    ) -> Result<Response<Incoming>, String> {
        if let Some(refusal) = refusal(url, &self.config.insecure) {
            return Err(refusal);
        }
        let mut request = Request::builder().method(method).uri(url).header(USER_AGENT, AGENT);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(length) = body.length() {
            request = request.header(CONTENT_LENGTH, length);
        }
        let content = body.body().map_err(|e| transport::io_reason(&e))?;
        let request = request.body(content).map_err(|e| e.to_string())?;
        self.transport.send(&self.config, request, body.sent()).await
    }

    /// The address in an error: Docker names the registry's `/v2/`, wherever in it was asked.
    fn named(&self, ask: &Ask<'_>, url: &Uri) -> String {
        let base = ask.endpoint.url();
        match base.parse::<Uri>() {
            Ok(home) if origin(&home) == origin(url) => format!("{base}/v2/"),
            _ => shown(url),
        }
    }

    /// The error that a status stands for, with the words of the body; ends the step.
    pub(super) async fn refused(&self, ask: &Ask<'_>, answer: Answer, what: &str) -> RegistryError {
        let Answer { step, response, url, .. } = answer;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read(response.into_body(), MAX_ERROR_BODY, self.transport.limits().idle).await;
        let body = ErrorBody::parse(&body.unwrap_or_default());
        let error = match super::error::of_status(status, &body, &headers, ask.reference, what, &url) {
            RegistryError::Denied { cause, .. } if ask.push => RegistryError::PushDenied { cause },
            error => error,
        };
        step.ok(json!({"status": status.as_u16()}), || match &error {
            RegistryError::NotFound { cause, .. }
            | RegistryError::Denied { cause, .. }
            | RegistryError::PushDenied { cause } => {
                // The code in words and the server's message are often the same.
                let told =
                    cause.split_once(": ").filter(|(code, message)| code == message).map_or(&**cause, |(one, _)| one);
                format!("{}, {told}", status.as_u16())
            }
            other => other.to_string(),
        });
        error
    }
}

/// Why a body could not be read whole.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("more than {0} bytes")]
    TooLarge(u64),
    #[error("cut after {received} bytes: {cause}")]
    Cut { received: u64, cause: String },
}

/// Reads a small body whole.
pub(super) async fn read(mut body: Incoming, limit: u64, idle: std::time::Duration) -> Result<Bytes, BodyError> {
    let mut bytes = Vec::new();
    loop {
        let cut = |cause: String| BodyError::Cut { received: bytes.len() as u64, cause };
        match tokio::time::timeout(idle, body.frame()).await {
            Err(_) => return Err(cut(format!("nothing for {} seconds", idle.as_secs()))),
            Ok(None) => return Ok(bytes.into()),
            Ok(Some(Err(e))) => return Err(cut(cut_reason(&e))),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    if (bytes.len() + data.len()) as u64 > limit {
                        return Err(BodyError::TooLarge(limit));
                    }
                    bytes.extend_from_slice(&data);
                }
            }
        }
    }
}

/// Why a body ended early, in few words.
pub(super) fn cut_reason(error: &hyper::Error) -> String {
    use std::error::Error as _;
    if error.is_incomplete_message() {
        return "the connection was closed".to_owned();
    }
    let io = error.source().and_then(|s| s.downcast_ref::<std::io::Error>());
    match io {
        Some(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
        Some(io) => transport::io_reason(io),
        None => printable(&error.to_string()),
    }
}

/// Reads away a body that nobody wants, so that the connection can be used again.
pub(super) async fn drain(response: Response<Incoming>) {
    let _ = read(response.into_body(), MAX_ERROR_BODY, std::time::Duration::from_secs(2)).await;
}

fn redirect(response: &Response<Incoming>) -> Option<String> {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308)
        .then(|| response.headers().get(LOCATION)?.to_str().ok().map(str::to_owned))
        .flatten()
}

/// Where a redirect leads; never from https to plain http, and not for ever.
fn follow(url: &Uri, target: &str, redirects: usize) -> Result<Uri, RegistryError> {
    if redirects > MAX_REDIRECTS {
        return Err(bad(url, "too many redirects"));
    }
    let next = join(url, target).ok_or_else(|| bad(url, "a redirect to no address"))?;
    if url.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
        return Err(bad(url, &format!("a redirect from https to {}", shown(&next))));
    }
    Ok(next)
}

fn host(address: &str) -> String {
    address.parse::<Uri>().ok().and_then(|u| u.host().map(str::to_owned)).unwrap_or_else(|| printable(address))
}

pub(super) fn parse(address: &str) -> Result<Uri, RegistryError> {
    address.parse().map_err(|e: http::uri::InvalidUri| RegistryError::BadAnswer {
        url: printable(address.split('?').next().unwrap_or_default()),
        cause: e.to_string(),
    })
}

pub(super) fn bad(url: &Uri, cause: &str) -> RegistryError {
    RegistryError::BadAnswer { url: shown(url), cause: printable(cause) }
}
