//! Who asks a registry, on the wire: the header `X-Registry-Auth` and the body of `POST /auth`.
//!
//! The header is JSON in the URL's alphabet of base64 (RFC 4648 section 5), as the Docker command writes it. What is in
//! it is never printed and never part of an explanation.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The header's name.
pub const HEADER: &str = "x-registry-auth";

/// Docker writes padding; others leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Docker's `AuthConfig`. Empty texts are as good as absent ones.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// `base64(username:password)`, of older clients.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth: String,
    /// As in `config.json`: `https://index.docker.io/v1/`, `127.0.0.1:5000`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serveraddress: String,
    /// What a token service gave out at a login, to be used instead of the password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub identitytoken: String,
    /// A token for the registry itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub registrytoken: String,
}

/// Answer of `POST /auth`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct LoggedIn {
    pub status: String,
    pub identity_token: String,
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("serveraddress", &self.serveraddress)
            .finish_non_exhaustive()
    }
}

impl AuthConfig {
    /// The header's value.
    pub fn to_header(&self) -> String {
        BASE64.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads the header's value. An error never quotes it.
    pub fn from_header(text: &str) -> Result<AuthConfig, String> {
        let wrong = || "invalid X-Registry-Auth header: it is no JSON in base64".to_owned();
        let bytes = BASE64.decode(text.trim()).map_err(|_| wrong())?;
        if bytes.is_empty() {
            return Ok(AuthConfig::default());
        }
        serde_json::from_slice(&bytes).map_err(|_| wrong())
    }

    /// User name and password, from wherever they are.
    pub fn pair(&self) -> Option<(String, String)> {
        if !self.username.is_empty() {
            return Some((self.username.clone(), self.password.clone()));
        }
        unpacked(&self.auth)
    }
}

/// `base64(username:password)`, as `config.json` has it; zero bytes at its end are padding.
pub fn unpacked(auth: &str) -> Option<(String, String)> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(auth).ok().filter(|b| !b.is_empty())?;
    let text = String::from_utf8(bytes).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// The other way.
pub fn packed(username: &str, password: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_as_docker_writes_it() {
        assert_eq!(AuthConfig::from_header("e30=").unwrap(), AuthConfig::default());
        assert_eq!(AuthConfig::from_header("e30").unwrap(), AuthConfig::default());
        assert_eq!(AuthConfig::default().to_header(), "e30=");
        let me = AuthConfig { username: "me".into(), password: "p?>~ä".into(), ..AuthConfig::default() };
        assert_eq!(AuthConfig::from_header(&me.to_header()).unwrap(), me);
        assert!(!me.to_header().contains(['+', '/']));
        let secret = base64::engine::general_purpose::STANDARD.encode("hunter2");
        let error = AuthConfig::from_header(&secret).unwrap_err();
        assert!(!error.contains(&secret) && !error.contains("hunter2"));
    }

    #[test]
    fn pairs_are_packed_as_in_config_json() {
        assert_eq!(packed("me", "hunter2"), "bWU6aHVudGVyMg==");
        assert_eq!(unpacked("bWU6aHVudGVyMg=="), Some(("me".to_owned(), "hunter2".to_owned())));
        assert_eq!(unpacked(""), None);
        assert_eq!(unpacked("bWU="), None);
        let old = AuthConfig { auth: packed("me", "a:b"), ..AuthConfig::default() };
        assert_eq!(old.pair(), Some(("me".to_owned(), "a:b".to_owned())));
    }

    #[test]
    fn secrets_are_not_printed() {
        let all = AuthConfig {
            username: "me".into(),
            password: "s3cret".into(),
            auth: "s3cret".into(),
            identitytoken: "s3cret".into(),
            registrytoken: "s3cret".into(),
            ..AuthConfig::default()
        };
        assert!(!format!("{all:?}").contains("s3cret"));
    }
}
