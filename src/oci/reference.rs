//! References: what people call an image, and the one full name behind it.
//!
//! `centos` is `docker.io/library/centos`; the rules of that normalisation are Docker's
//! (distribution/reference), and so are the words of the errors. The grammar is the same as that of
//! [`oci_spec::distribution::Reference`], which a test holds this parser to; it is written by hand because
//! a reference is read in every command, and compiling the regular expression takes longer than all the
//! rest of reading the command line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::digest::{Digest, DigestError};

/// The registry of a name that names none.
pub const DOCKER_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const PATH_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// A normalised reference: domain, path, and a tag, a digest, both or none.
///
/// Printed ([`fmt::Display`]) and serialised as [`Reference::canonical`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text names no image, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReferenceError {
    #[error("invalid reference format")]
    Format,
    /// Carries the path as normalised: `library/Bad_Upper`.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// 64 hex characters would be taken for an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    #[error("repository name must not be more than {PATH_MAX} characters")]
    TooLong,
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Reference {
    /// Reads what a person types: `centos`, `mysql:5.7`, `localhost:5000/a/b@sha256:…`.
    pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (domain, rest) = split_domain(text);
        let name = rest.split(':').next().unwrap_or_default();
        if name.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase(name.to_owned()));
        }
        let (before_digest, digest) = match rest.split_once('@') {
            Some((before, digest)) => (before, Some(digest)),
            None => (rest.as_str(), None),
        };
        let (path, tag) = match before_digest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (before_digest, None),
        };
        let well_formed = is_domain(&domain)
            && path.split('/').all(is_path_component)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest_shaped);
        if !well_formed {
            return Err(ReferenceError::Format);
        }
        if path.len() > PATH_MAX {
            return Err(ReferenceError::TooLong);
        }
        Ok(Reference {
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::parse).transpose()?,
            domain,
        })
    }

    /// The registry: `docker.io`, `127.0.0.1:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository in that registry: `library/centos`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// With the tag `latest` if it has neither a tag nor a digest.
    #[must_use]
    pub fn with_default_tag(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository with this tag and no digest; the tag is checked.
    pub fn with_tag(mut self, tag: &str) -> Result<Reference, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format);
        }
        self.tag = Some(tag.to_owned());
        self.digest = None;
        Ok(self)
    }

    /// The same repository, by digest alone.
    #[must_use]
    pub fn with_digest(mut self, digest: Digest) -> Reference {
        self.tag = None;
        self.digest = Some(digest);
        self
    }

    /// The repository as a person names it: `centos`, `user/app`, `127.0.0.1:5000/app`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DOCKER_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(name) if !name.contains('/') => name.to_owned(),
            // `docker.io/localhost/x` must not become `localhost/x`, which is somebody else's.
            _ if self.path.split('/').next().is_some_and(names_a_registry) => {
                format!("{DOCKER_DOMAIN}/{}", self.path)
            }
            _ => self.path.clone(),
        }
    }

    /// As a person names it, with tag and digest: `centos:latest`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// The whole repository name: `docker.io/library/centos`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The one full name: `docker.io/library/centos:latest`. This is the name kept in the content store
    /// (after [`Reference::with_default_tag`]).
    pub fn canonical(&self) -> String {
        self.with_suffix(self.name())
    }

    /// What stands after `/manifests/` in a request: the digest if there is one, else the tag, else `latest`.
    pub fn reference_part(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest.as_str());
        }
        name
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;
    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;
    fn try_from(text: String) -> Result<Reference, ReferenceError> {
        Reference::parse(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.canonical()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.canonical())
    }
}

/// The first component is a registry if it could not be the name of a user there.
fn names_a_registry(component: &str) -> bool {
    component == "localhost" || component.contains(['.', ':']) || component.chars().any(char::is_uppercase)
}

fn split_domain(text: &str) -> (String, String) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DOCKER_DOMAIN.to_owned(), format!("{OFFICIAL}{text}"));
    };
    let (domain, rest) = match first {
        LEGACY_DOMAIN => (DOCKER_DOMAIN, rest),
        _ if names_a_registry(first) => (first, rest),
        _ => (DOCKER_DOMAIN, text),
    };
    if domain == DOCKER_DOMAIN && !rest.contains('/') {
        return (domain.to_owned(), format!("{OFFICIAL}{rest}"));
    }
    (domain.to_owned(), rest.to_owned())
}

/// `host`, `host:port`, `[IPv6]:port`; host components are letters, digits and inner dashes.
fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|d| d.split_once(']')) {
        Some((address, "")) => return is_ipv6_shaped(address),
        Some((address, port)) => match port.strip_prefix(':') {
            Some(port) => return is_ipv6_shaped(address) && is_port(port),
            None => return false,
        },
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    host.split('.').all(|part| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    }) && port.is_none_or(is_port)
}

fn is_ipv6_shaped(address: &str) -> bool {
    !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// Lower-case words and digits, joined by one dot, one or two underscores, or any number of dashes.
fn is_path_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().copied().is_some_and(word) || !bytes.last().copied().is_some_and(word) {
        return false;
    }
    bytes
        .split(|b| word(*b))
        .all(|joint| matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= TAG_MAX
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `algorithm:hex` with at least 32 hex characters; [`Digest`] then says what is wrong with it.
fn is_digest_shaped(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return false;
    };
    hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
        && algorithm.split(['-', '_', '+', '.']).all(|part| {
            part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
