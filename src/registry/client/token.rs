//! Meets a registry's challenge: a password for the registry, or a token from its token service ([distribution, token
//! authentication], and the OAuth2 way for identity tokens).
//!
//! [distribution, token authentication]: https://distribution.github.io/distribution/spec/auth/token/

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use serde_json::json;
use tracing::Instrument as _;

use super::Inner;
use super::auth::{Challenge, Credentials, TokenBody};
use super::endpoint::{encode, shown};
use super::error::RegistryError;
use super::exchange::{Ask, bad, parse, read};
use super::sending::Sending;
use crate::trace::{self, Actor};

const MAX_TOKEN_BODY: u64 = 1024 * 1024;
/// For how long a password that the registry took is sent along without being asked for.
const PASSWORD_GOOD: Duration = Duration::from_secs(300);
/// How we call ourselves at token services.
const CLIENT_ID: &str = "rdock";

/// What to ask again with.
pub(super) struct Met {
    pub authorization: HeaderValue,
    /// The identity token that a login brought.
    pub identity: Option<String>,
}

/// A question to a token service.
struct TokenAsk<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    scopes: &'a [String],
    credentials: Option<&'a Credentials>,
    /// An identity token is wanted too.
    offline: bool,
}

impl Inner {
    /// Meets a challenge that `url` made.
    pub(super) async fn authenticate(
        &self,
        ask: &Ask<'_>,
        challenge: &Challenge,
        url: &Uri,
    ) -> Result<Met, RegistryError> {
        // A mirror is somebody else: it never sees the passwords of the registry that it mirrors.
        let credentials = self.config.credentials.get(ask.endpoint.domain.as_str());
        let credentials = credentials.filter(|_| !ask.endpoint.is_mirror());
        let own = credentials.and_then(Credentials::header);
        let (met, good) = match (challenge, credentials) {
            (_, Some(Credentials::Bearer { .. })) | (Challenge::Basic, _) => {
                let authorization = own.ok_or_else(|| unauthorized(ask, url, "no basic auth credentials"))?;
                (Met { authorization, identity: None }, PASSWORD_GOOD)
            }
            (Challenge::Bearer { realm, service, scope }, _) => {
                // The registry knows best what is needed to look; what else we are up to only we know.
                let scopes = match scope {
                    Some(scope) if !ask.push => std::slice::from_ref(scope),
                    _ => &ask.scopes[..],
                };
                let service = service.as_deref();
                self.token(ask, url, &TokenAsk { realm, service, scopes, credentials, offline: ask.login }).await?
            }
        };
        self.grants.put(ask.endpoint.url(), &ask.scopes.join(" "), met.authorization.clone(), good);
        Ok(met)
    }

    async fn token(
        &self,
        ask: &Ask<'_>,
        registry: &Uri,
        wanted: &TokenAsk<'_>,
    ) -> Result<(Met, Duration), RegistryError> {
        let (url, method, headers, body) = wanted.request()?;
        if registry.scheme_str() == Some("https") && url.scheme_str() != Some("https") {
            return Err(bad(&url, "a token service must be asked over https"));
        }
        let scope = wanted.scopes.join(" ");
        let step = trace::step(Actor::Registry, "registry.token.get")
            .why("the registry wants to know who asks; for a public image everybody gets a token")
            .arg("method", method.as_str())
            .arg("url", shown(&url))
            .arg("service", wanted.service)
            .arg("scope", &scope);
        let answered = self.token_answer(ask, registry, &url, method, headers, &body).instrument(step.span()).await;
        let answered = answered.and_then(|token| {
            let (authorization, good) = token.grant().ok_or_else(|| bad(&url, "no token in it"))?;
            Ok((Met { authorization, identity: token.refresh_token }, good))
        });
        match answered {
            Ok((met, good)) => {
                let seconds = good.as_secs();
                let identity = if met.identity.is_some() { ", and an identity token" } else { "" };
                step.ok(json!({"status": 200, "expires_in": seconds}), || match scope.as_str() {
                    "" => format!("200, a token, good for {seconds} s{identity}"),
                    scope => format!("200, a token for {scope}, good for {seconds} s{identity}"),
                });
                Ok((met, good))
            }
            Err(error) => {
                step.fail(error.code(), &error, || error.to_string());
                Err(error)
            }
        }
    }

    async fn token_answer(
        &self,
        ask: &Ask<'_>,
        registry: &Uri,
        url: &Uri,
        method: Method,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: &Sending,
    ) -> Result<TokenBody, RegistryError> {
        let unreachable = |cause| RegistryError::Unreachable { url: shown(url), cause };
        let response = self.send(method, url, headers, body).await.map_err(unreachable)?;
        let (status, head) = (response.status(), response.headers().clone());
        let body = read(response.into_body(), MAX_TOKEN_BODY, self.transport.limits().idle).await;
        let body = body.map_err(|e| bad(url, &e.to_string()))?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|_| bad(url, "no token in it")),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(unauthorized(ask, registry, "unauthorized: incorrect username or password"))
            }
            s if s.is_server_error() || s == StatusCode::TOO_MANY_REQUESTS => {
                let words = super::error::ErrorBody::parse(&body);
                Err(super::error::of_status(s, &words, &head, ask.reference, "token", &shown(url)))
            }
            s => Err(bad(url, &format!("unexpected status {s}"))),
        }
    }
}

/// Nobody believes us; Docker says of a push only why.
fn unauthorized(ask: &Ask<'_>, url: &Uri, cause: &str) -> RegistryError {
    let cause = cause.to_owned();
    match ask.push {
        true => RegistryError::PushDenied { cause },
        false => RegistryError::Unauthorized { url: shown(url), cause },
    }
}

type TokenRequest = (Uri, Method, Vec<(HeaderName, HeaderValue)>, Sending);

impl TokenAsk<'_> {
    /// GET with a password or with nothing, POST with an identity token.
    fn request(&self) -> Result<TokenRequest, RegistryError> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        if let Some(Credentials::Identity { token }) = self.credentials {
            let scope = self.scopes.join(" ");
            pairs.extend([("grant_type", "refresh_token"), ("client_id", CLIENT_ID), ("scope", scope.as_str())]);
            pairs.extend([("service", self.service.unwrap_or_default()), ("refresh_token", token.as_str())]);
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            let body = Sending::Bytes(Bytes::from(joined(&pairs)));
            return Ok((parse(self.realm)?, Method::POST, vec![(CONTENT_TYPE, form)], body));
        }
        pairs.extend(self.scopes.iter().map(|s| ("scope", s.as_str())));
        pairs.extend(self.service.map(|s| ("service", s)));
        if let Some(Credentials::Password { username, .. }) = self.credentials {
            pairs.push(("account", username));
        }
        if self.offline {
            pairs.extend([("client_id", CLIENT_ID), ("offline_token", "true")]);
        }
        let mark = match (self.realm.contains('?'), pairs.is_empty()) {
            (_, true) => "",
            (true, false) => "&",
            (false, false) => "?",
        };
        let url = parse(&format!("{}{mark}{}", self.realm, joined(&pairs)))?;
        let header = self.credentials.and_then(Credentials::header);
        Ok((url, Method::GET, header.map(|v| (AUTHORIZATION, v)).into_iter().collect(), Sending::Nothing))
    }
}

fn joined(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect::<Vec<_>>().join("&")
}
