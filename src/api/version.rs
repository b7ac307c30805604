//! Versions of the Engine API: `1.24` to `1.47`, and the prefix of a path that names one.

use std::fmt;
use std::str::FromStr;

/// A version of the Engine API, `major.minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    pub major: u32,
    pub minor: u32,
}

/// The oldest version that is spoken (as of Docker Engine 25).
pub const MIN: ApiVersion = ApiVersion { major: 1, minor: 24 };
/// The newest version that is spoken (that of Docker Engine 27).
pub const MAX: ApiVersion = ApiVersion { major: 1, minor: 47 };

/// The text is not `major.minor`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a version of the API: {0:?}")]
pub struct ParseVersionError(String);

/// A version was asked for that is not spoken. The words are Docker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    #[error("client version {0} is too new. Maximum supported API version is {MAX}")]
    TooNew(ApiVersion),
    #[error(
        "client version {0} is too old. Minimum supported API version is {MIN}, please upgrade your client to a newer version"
    )]
    TooOld(ApiVersion),
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |s: &str| s.parse::<u32>().ok().filter(|_| s.bytes().all(|b| b.is_ascii_digit()));
        text.split_once('.')
            .and_then(|(major, minor)| Some(ApiVersion { major: number(major)?, minor: number(minor)? }))
            .ok_or_else(|| ParseVersionError(text.to_owned()))
    }
}

impl ApiVersion {
    /// The version both sides speak, when the other side says that `self` is its newest.
    pub fn agreed(self) -> ApiVersion {
        self.min(MAX)
    }

    /// Whether the daemon answers requests of this version.
    pub fn check(self) -> Result<(), VersionError> {
        match self {
            v if v > MAX => Err(VersionError::TooNew(v)),
            v if v < MIN => Err(VersionError::TooOld(v)),
            _ => Ok(()),
        }
    }
}

/// Splits `/v1.41/info` into the version and `/info`. A path without such a prefix has no version.
pub fn split_prefix(path: &str) -> (Option<ApiVersion>, &str) {
    let parts = path.strip_prefix("/v").and_then(|rest| {
        let end = rest.find('/').unwrap_or(rest.len());
        let version = rest[..end].parse().ok()?;
        Some((Some(version), if end == rest.len() { "/" } else { &rest[end..] }))
    });
    parts.unwrap_or((None, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_is_split_off_only_when_it_is_a_version() {
        let v = |minor| Some(ApiVersion { major: 1, minor });
        assert_eq!(split_prefix("/v1.41/info"), (v(41), "/info"));
        assert_eq!(split_prefix("/v1.47"), (v(47), "/"));
        assert_eq!(split_prefix("/info"), (None, "/info"));
        assert_eq!(split_prefix("/version"), (None, "/version"));
        assert_eq!(split_prefix("/volumes/v1.2"), (None, "/volumes/v1.2"));
        assert_eq!(split_prefix("/v1.x/info"), (None, "/v1.x/info"));
    }

    #[test]
    fn refusal_has_dockers_words() {
        let said = |text: &str| text.parse::<ApiVersion>().unwrap().check().map_err(|e| e.to_string());
        assert_eq!(said("1.24"), Ok(()));
        assert_eq!(said("1.47"), Ok(()));
        assert_eq!(said("1.99"), Err("client version 1.99 is too new. Maximum supported API version is 1.47".into()));
        assert_eq!(
            said("1.12"),
            Err("client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version".into())
        );
    }

    #[test]
    fn negotiation_takes_the_older_of_both() {
        assert_eq!("1.41".parse::<ApiVersion>().unwrap().agreed().to_string(), "1.41");
        assert_eq!("1.55".parse::<ApiVersion>().unwrap().agreed(), MAX);
        assert!("1.9".parse::<ApiVersion>().unwrap() < "1.24".parse::<ApiVersion>().unwrap());
    }

    #[test]
    fn what_is_not_a_version_is_refused() {
        for text in ["", "1", "1.", ".1", "1.+2", "1.2.3", "v1.2"] {
            assert!(text.parse::<ApiVersion>().is_err(), "{text}");
        }
    }
}
