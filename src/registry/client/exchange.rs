//! One question and its answer, with what lies between: a token, a redirect. Each exchange on the wire is
//! one step of the explanation.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue, LOCATION, RANGE, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use serde_json::json;
use tracing::Instrument as _;

use super::auth::{Challenge, TokenBody};
use super::endpoint::{Endpoint, encode, join, origin, refusal, shown};
use super::error::{ErrorBody, RegistryError, printable};
use super::{Inner, transport};
use crate::oci::Reference;
use crate::trace::{self, Actor, Step};

const MAX_REDIRECTS: usize = 5;
const MAX_ERROR_BODY: u64 = 64 * 1024;
const MAX_TOKEN_BODY: u64 = 1024 * 1024;
const AGENT: &str = concat!("rdock/", env!("CARGO_PKG_VERSION"));

/// What is asked.
pub(super) struct Ask<'a> {
    pub op: &'static str,
    pub why: &'static str,
    pub endpoint: &'a Endpoint,
    pub reference: &'a Reference,
    /// After the repository: `manifests/latest`, `blobs/sha256:…`.
    pub thing: String,
    pub accept: Option<&'static str>,
    /// The first byte wanted; 0 for all.
    pub from: u64,
}

/// The last answer: neither a redirect nor a demand for a token that could be met. Its step is open.
pub(super) struct Answer {
    pub step: Step,
    pub response: Response<Incoming>,
    /// Where it came from, for errors.
    pub url: String,
}

impl Inner {
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        let (base, repository) = (ask.endpoint.url(), ask.reference.path());
        let address = format!("{base}/v2/{repository}/{}", ask.thing);
        let mut url: Uri = parse(&address)?;
        let home = origin(&url);
        let mut authorization = self.grants.get(base, repository);
        let mut may_authenticate = true;
        let mut redirects = 0;
        loop {
            let at_home = origin(&url) == home;
            let (step, response) = self.exchange(ask, &url, authorization.as_ref().filter(|_| at_home)).await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && at_home && may_authenticate {
                let Some(challenge) = Challenge::of(response.headers()) else {
                    return Ok(Answer { step, response, url: shown(&url) });
                };
                step.ok(json!({"status": 401}), || match &challenge {
                    Challenge::Bearer { realm, .. } => {
                        format!("401, wants a token from {}", host(realm))
                    }
                    Challenge::Basic => "401, wants a user name and a password".to_owned(),
                });
                drain(response).await;
                authorization = Some(self.authenticate(ask, &challenge, &url).await?);
                may_authenticate = false;
                continue;
            }
            let Some(target) = redirect(&response) else {
                return Ok(Answer { step, response, url: shown(&url) });
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

    /// One request and the head of its answer. No answer ends the step as failed.
    async fn exchange(
        &self,
        ask: &Ask<'_>,
        url: &Uri,
        authorization: Option<&HeaderValue>,
    ) -> Result<(Step, Response<Incoming>), RegistryError> {
        let mut step = trace::step(Actor::Registry, ask.op).why(ask.why).arg("method", "GET").arg("url", shown(url));
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        if let Some(accept) = ask.accept {
            step = step.arg("accept", accept);
            headers.push((ACCEPT, HeaderValue::from_static(accept)));
        }
        if ask.from > 0 {
            let range = format!("bytes={}-", ask.from);
            step = step.arg("range", &range);
            headers.extend(HeaderValue::from_str(&range).ok().map(|v| (RANGE, v)));
        }
        headers.extend(authorization.map(|v| (AUTHORIZATION, v.clone())));
        match self.send(url, headers).instrument(step.span()).await {
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
        url: &Uri,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Response<Incoming>, String> {
        if let Some(refusal) = refusal(url) {
            return Err(refusal);
        }
        let mut request = Request::get(url).header(USER_AGENT, AGENT);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
        self.transport.send(request).await
    }

    /// The address in an error: Docker names the registry's `/v2/`, wherever in it was asked.
    fn named(&self, ask: &Ask<'_>, url: &Uri) -> String {
        let base = ask.endpoint.url();
        match base.parse::<Uri>() {
            Ok(home) if origin(&home) == origin(url) => format!("{base}/v2/"),
            _ => shown(url),
        }
    }

    /// Meets a challenge: the `Authorization` to ask again with.
    async fn authenticate(
        &self,
        ask: &Ask<'_>,
        challenge: &Challenge,
        url: &Uri,
    ) -> Result<HeaderValue, RegistryError> {
        // A mirror is somebody else: it never sees the passwords of the registry that it mirrors.
        let credentials = self.config.credentials.get(ask.endpoint.domain.as_str());
        let credentials = credentials.filter(|_| !ask.endpoint.is_mirror());
        let basic = credentials.and_then(super::Credentials::basic);
        let (value, good) = match challenge {
            Challenge::Basic => {
                let value = basic.ok_or_else(|| RegistryError::Unauthorized {
                    url: shown(url),
                    cause: "no basic auth credentials".to_owned(),
                })?;
                (value, std::time::Duration::from_secs(300))
            }
            Challenge::Bearer { realm, service, scope } => {
                let usual = format!("repository:{}:pull", ask.reference.path());
                let scope = scope.as_deref().unwrap_or(&usual);
                self.token(url, realm, service.as_deref(), scope, basic).await?
            }
        };
        self.grants.put(ask.endpoint.url(), ask.reference.path(), value.clone(), good);
        Ok(value)
    }

    async fn token(
        &self,
        registry: &Uri,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        basic: Option<HeaderValue>,
    ) -> Result<(HeaderValue, std::time::Duration), RegistryError> {
        let mut address = realm.to_owned();
        let mut add = |key: &str, value: &str| {
            address.push(if address.contains('?') { '&' } else { '?' });
            address.push_str(&format!("{key}={}", encode(value)));
        };
        add("scope", scope);
        if let Some(service) = service {
            add("service", service);
        }
        let url = parse(&address)?;
        if registry.scheme_str() == Some("https") && url.scheme_str() != Some("https") {
            return Err(bad(&url, "a token service must be asked over https"));
        }
        let step = trace::step(Actor::Registry, "registry.token.get")
            .why("the registry wants to know who asks; for a public image everybody gets a token")
            .arg("method", "GET")
            .arg("url", shown(&url))
            .arg("service", service)
            .arg("scope", scope);
        let headers = basic.map(|v| (AUTHORIZATION, v)).into_iter().collect();
        match self.token_answer(&url, headers).instrument(step.span()).await {
            Ok((value, good)) => {
                let seconds = good.as_secs();
                step.ok(json!({"status": 200, "expires_in": seconds}), || {
                    format!("200, a token for {scope}, good for {seconds} s")
                });
                Ok((value, good))
            }
            Err(error) => {
                step.fail(error.code(), &error, || error.to_string());
                Err(error)
            }
        }
    }

    async fn token_answer(
        &self,
        url: &Uri,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<(HeaderValue, std::time::Duration), RegistryError> {
        let response =
            self.send(url, headers).await.map_err(|cause| RegistryError::Unreachable { url: shown(url), cause })?;
        let status = response.status();
        let body = read(response.into_body(), MAX_TOKEN_BODY, self.transport.limits().idle).await;
        let body = body.map_err(|e| bad(url, &e.to_string()))?;
        match status {
            StatusCode::OK => serde_json::from_slice::<TokenBody>(&body)
                .ok()
                .and_then(|t| t.grant())
                .ok_or_else(|| bad(url, "no token in it")),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Unauthorized {
                url: shown(url),
                cause: "unauthorized: incorrect username or password".to_owned(),
            }),
            s if s.is_server_error() => Err(RegistryError::Unreachable { url: shown(url), cause: s.to_string() }),
            s => Err(bad(url, &format!("unexpected status {s}"))),
        }
    }

    /// The error that a status stands for, with the words of the body; ends the step.
    pub(super) async fn refused(&self, ask: &Ask<'_>, answer: Answer, what: &str) -> RegistryError {
        let Answer { step, response, url } = answer;
        let status = response.status();
        let body = read(response.into_body(), MAX_ERROR_BODY, self.transport.limits().idle).await;
        let body = ErrorBody::parse(&body.unwrap_or_default());
        let error = super::error::of_status(status, &body, ask.reference, what, &url);
        step.ok(json!({"status": status.as_u16()}), || match &error {
            RegistryError::NotFound { cause, .. } | RegistryError::Denied { cause, .. } => {
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
async fn drain(response: Response<Incoming>) {
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
