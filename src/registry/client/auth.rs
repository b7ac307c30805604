//! Who asks: Bearer tokens and Basic passwords ([distribution, token authentication]).
//!
//! A registry answers 401 with a challenge that names a token service; whoever may pull gets a token there
//! (also without a password, for public images) and asks again with it.
//!
//! [distribution, token authentication]: https://distribution.github.io/distribution/spec/auth/token/

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Password {
        username: String,
        password: String,
    },
    /// An identity token (OAuth2's refresh token), which the token service gave out at a login.
    Identity {
        token: String,
    },
    /// A token for the registry itself.
    Bearer {
        token: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Password { username, .. } => {
                f.debug_struct("Password").field("username", username).finish_non_exhaustive()
            }
            Credentials::Identity { .. } => f.write_str("Identity"),
            Credentials::Bearer { .. } => f.write_str("Bearer"),
        }
    }
}

impl Credentials {
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Credentials {
        Credentials::Password { username: username.into(), password: password.into() }
    }

    /// The value of an `Authorization` header that the registry itself takes (RFC 7617, RFC 6750).
    pub(super) fn header(&self) -> Option<HeaderValue> {
        match self {
            Credentials::Password { username, password } => {
                let pair = format!("{username}:{password}");
                secret(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
            }
            Credentials::Bearer { token } => secret(&format!("Bearer {token}")),
            Credentials::Identity { .. } => None,
        }
    }
}

/// What a registry demands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    Basic,
}

impl Challenge {
    /// The strongest demand of a 401 that can be met; `None` if there is none.
    pub(super) fn of(headers: &HeaderMap) -> Option<Challenge> {
        let mut basic = None;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let Ok(text) = value.to_str() else { continue };
            for challenge in http_auth::ChallengeParser::new(text).flatten() {
                let param = |name: &str| {
                    let (_, value) = challenge.params.iter().find(|(k, _)| k.eq_ignore_ascii_case(name))?;
                    Some(value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    if let Some(realm) = param("realm") {
                        return Some(Challenge::Bearer { realm, service: param("service"), scope: param("scope") });
                    }
                } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Challenge::Basic);
                }
            }
        }
        basic
    }
}

/// The token service's answer.
#[derive(Deserialize)]
pub(super) struct TokenBody {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
    /// For a login: the identity token.
    pub refresh_token: Option<String>,
}

impl TokenBody {
    /// The `Authorization` value, and for how long it is good. The specification: 60 seconds if not said.
    pub(super) fn grant(&self) -> Option<(HeaderValue, Duration)> {
        let token = self.token.as_deref().or(self.access_token.as_deref()).filter(|t| !t.is_empty())?;
        let value = secret(&format!("Bearer {token}"))?;
        Some((value, Duration::from_secs(self.expires_in.unwrap_or(60).max(60))))
    }
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A grant is for one registry (base address) and what may be done there (`repository:a:pull,push`).
type GrantKey = (String, String);

/// `Authorization` values that worked, for as long as they are good.
#[derive(Default)]
pub(super) struct Grants(Mutex<HashMap<GrantKey, (HeaderValue, Instant)>>);

impl Grants {
    pub(super) fn get(&self, base: &str, scope: &str) -> Option<HeaderValue> {
        let grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, until) = grants.get(&(base.to_owned(), scope.to_owned()))?;
        (Instant::now() < *until).then(|| value.clone())
    }

    pub(super) fn put(&self, base: &str, scope: &str, value: HeaderValue, good: Duration) {
        // A margin, so that a token does not end between our look and the server's.
        let until = Instant::now() + good.mul_f32(0.9);
        let mut grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        grants.retain(|_, (_, until)| Instant::now() < *until);
        grants.insert((base.to_owned(), scope.to_owned()), (value, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        Challenge::of(&headers)
    }

    #[test]
    fn bearer_is_preferred_to_basic() {
        let bearer = Challenge::Bearer {
            realm: "https://auth.io/token".into(),
            service: Some("r.io".into()),
            scope: Some("repository:a:pull".into()),
        };
        let text = r#"Bearer realm="https://auth.io/token",service="r.io",scope="repository:a:pull""#;
        assert_eq!(challenge(&["Basic realm=\"x\"", text]), Some(bearer));
        assert_eq!(challenge(&["basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(challenge(&["Bearer service=\"no realm\"", "Digest realm=\"x\""]), None);
        assert_eq!(challenge(&[]), None);
    }

    #[test]
    fn secrets_are_not_printed() {
        let credentials = Credentials::password("me", "hunter2");
        assert!(!format!("{credentials:?}").contains("hunter2"));
        assert!(!format!("{:?}", credentials.header().unwrap()).contains("Basic"));
    }

    #[test]
    fn a_grant_ends() {
        let grants = Grants::default();
        grants.put("b", "p", HeaderValue::from_static("Bearer x"), Duration::ZERO);
        assert_eq!(grants.get("b", "p"), None);
        grants.put("b", "p", HeaderValue::from_static("Bearer x"), Duration::from_secs(60));
        assert!(grants.get("b", "p").is_some());
        assert_eq!(grants.get("b", "other"), None);
    }

    #[test]
    fn both_names_of_a_token_are_known() {
        let grant = |json: &str| serde_json::from_str::<TokenBody>(json).unwrap().grant();
        assert_eq!(grant(r#"{"access_token":"x","expires_in":300}"#).unwrap().1, Duration::from_secs(300));
        assert_eq!(grant(r#"{"token":"x"}"#).unwrap().1, Duration::from_secs(60));
        assert!(grant("{}").is_none());
    }
}
