//! `POST /auth`, and who asks in other requests (`X-Registry-Auth`).

use crate::api::auth::{AuthConfig, HEADER, LoggedIn};
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, json};
use crate::oci::{DOCKER_DOMAIN, ErrorKind};
use crate::registry::client::{Credentials, RegistryError};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};

pub fn routes() -> Router<Engine> {
    Router::new().route("/auth", post(login))
}

/// Whether a registry takes what a person has for it.
async fn login(State(engine): State<Engine>, Json(auth): Json<AuthConfig>) -> Answer {
    let who = credentials(&auth).ok_or_else(|| Refusal::bad("a user name and a password are needed"))?;
    let identity_token = engine.images.login(&domain(&auth.serveraddress), &who).await.map_err(|error| {
        let kind = match &error {
            RegistryError::Unauthorized { .. } | RegistryError::Login { .. } => ErrorKind::Unauthorized,
            other => other.kind(),
        };
        Refusal::new(kind, &error)
    })?;
    let answer = LoggedIn { status: "Login Succeeded".to_owned(), identity_token: identity_token.unwrap_or_default() };
    Ok(json(StatusCode::OK, &answer))
}

/// Who asks, of a request that pulls or pushes; nobody when nothing is said.
pub fn who_asks(headers: &HeaderMap) -> Result<Option<Credentials>, Refusal> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Refusal::bad("invalid X-Registry-Auth header"))?;
    Ok(credentials(&AuthConfig::from_header(text).map_err(Refusal::bad)?))
}

/// What a registry is told of who asks; nothing where nothing is said.
pub fn credentials(auth: &AuthConfig) -> Option<Credentials> {
    if !auth.registrytoken.is_empty() {
        return Some(Credentials::Bearer { token: auth.registrytoken.clone() });
    }
    if !auth.identitytoken.is_empty() {
        return Some(Credentials::Identity { token: auth.identitytoken.clone() });
    }
    let (username, password) = auth.pair()?;
    Some(Credentials::Password { username, password })
}

/// The domain of references for a server's address: `https://index.docker.io/v1/` is Docker's own.
fn domain(server: &str) -> String {
    let host = server.rsplit_once("://").map_or(server, |(_, rest)| rest);
    match host.split('/').next().unwrap_or_default() {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_DOMAIN.to_owned(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_domain() {
        for (server, name) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("", "docker.io"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("https://registry.lan/v2/", "registry.lan"),
        ] {
            assert_eq!(domain(server), name);
        }
    }

    #[test]
    fn the_strongest_of_several_is_used() {
        let auth = AuthConfig { username: "me".into(), identitytoken: "t".into(), ..AuthConfig::default() };
        assert_eq!(credentials(&auth), Some(Credentials::Identity { token: "t".into() }));
        assert_eq!(credentials(&AuthConfig::default()), None);
        let mut headers = HeaderMap::new();
        assert_eq!(who_asks(&headers).unwrap(), None);
        headers.insert(HEADER, "e30=".parse().unwrap());
        assert_eq!(who_asks(&headers).unwrap(), None);
        headers.insert(HEADER, "?".parse().unwrap());
        assert!(who_asks(&headers).is_err());
    }
}
