//! Digests: the name of content, computed from the content itself.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use thiserror::Error;

/// `sha256:` and 64 lower-case hex characters; nothing else can be made.
///
/// The image specification knows other algorithms; registries in use serve sha256, and one algorithm
/// keeps every comparison a comparison of content.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

const PREFIX: &str = "sha256:";

/// Why a text is no digest, in the words of Docker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DigestError {
    /// No `algorithm:hex`, or characters that are no lower-case hex.
    #[error("invalid checksum digest format")]
    Format,
    /// The algorithm is known, but this is not as long as its digests are.
    #[error("invalid checksum digest length")]
    Length,
    /// An algorithm other than sha256.
    #[error("unsupported digest algorithm")]
    Unsupported,
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut digester = Digester::new();
        digester.update(bytes);
        digester.finish()
    }

    /// The 64 hex characters after `sha256:`.
    pub fn hex(&self) -> &str {
        self.0.get(PREFIX.len()..).unwrap_or_default()
    }

    /// The first 12 hex characters: how people see ids.
    pub fn short(&self) -> &str {
        self.0.get(PREFIX.len()..PREFIX.len() + 12).unwrap_or_default()
    }

    /// The whole text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError::Format)?;
        if algorithm.is_empty() || hex.is_empty() {
            return Err(DigestError::Format);
        }
        if algorithm != "sha256" {
            return Err(DigestError::Unsupported);
        }
        if hex.len() != 64 {
            return Err(DigestError::Length);
        }
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::Format);
        }
        Ok(Digest(text.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Digest, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// From a descriptor's digest; fails for algorithms other than sha256.
impl TryFrom<&oci_spec::image::Digest> for Digest {
    type Error = DigestError;
    fn try_from(digest: &oci_spec::image::Digest) -> Result<Digest, DigestError> {
        digest.as_ref().parse()
    }
}

/// For building descriptors: `Descriptor::new(media_type, size, &digest)`.
impl From<&Digest> for oci_spec::image::Digest {
    fn from(digest: &Digest) -> oci_spec::image::Digest {
        // 64 hex characters are always a sha256 digest to oci-spec as well.
        match oci_spec::image::Sha256Digest::from_str(digest.hex()) {
            Ok(sha256) => sha256.into(),
            Err(_) => unreachable!("a Digest holds 64 hex characters"),
        }
    }
}

impl From<Digest> for oci_spec::image::Digest {
    fn from(digest: Digest) -> oci_spec::image::Digest {
        (&digest).into()
    }
}

/// Computes a [`Digest`] while bytes pass by.
#[derive(Clone, Default)]
pub struct Digester(sha2::Sha256);

impl Digester {
    pub fn new() -> Digester {
        Digester::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Digest {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(PREFIX.len() + 64);
        text.push_str(PREFIX);
        for byte in self.0.finalize() {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Digest(text)
    }
}

impl io::Write for Digester {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The name of a stack of layers: that of the bottom layer is its diff id, and each further one is the
/// digest of `"<chain id below> <diff id>"`. Two images with the same first layers share their chain
/// ids, and so their snapshots.
pub fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    match parent {
        None => diff_id.clone(),
        Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }

    #[test]
    fn wrong_texts_are_refused_with_dockers_words() {
        let message = |text: &str| text.parse::<Digest>().unwrap_err().to_string();
        assert_eq!(message("e3b0"), "invalid checksum digest format");
        assert_eq!(message("sha256:"), "invalid checksum digest format");
        assert_eq!(message(&EMPTY.replace("e3", "E3")), "invalid checksum digest format");
        assert_eq!(message("sha256:e3b0"), "invalid checksum digest length");
        assert_eq!(message("md5:d41d8cd98f00b204e9800998ecf8427e"), "unsupported digest algorithm");
        assert_eq!(message("sha256:../../../etc/passwd"), "invalid checksum digest length");
    }

    #[test]
    fn serde_checks_what_it_reads() {
        assert_eq!(serde_json::to_string(&Digest::of(b"")).unwrap(), format!("\"{EMPTY}\""));
        assert!(serde_json::from_str::<Digest>("\"sha256:12\"").is_err());
    }

    #[test]
    fn chain_id_of_two_layers_is_the_digest_of_both_names() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(chain_id(None, &a), a);
        assert_eq!(chain_id(Some(&a), &b), Digest::of(format!("{a} {b}").as_bytes()));
    }

    proptest! {
        #[test]
        fn parse_undoes_print(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let digest = Digest::of(&bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest.clone());
            let oci: oci_spec::image::Digest = (&digest).into();
            prop_assert_eq!(Digest::try_from(&oci).unwrap(), digest);
        }

        #[test]
        fn pieces_give_the_digest_of_the_whole(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200
        ) {
            let cut = cut.min(bytes.len());
            let mut digester = Digester::new();
            digester.update(&bytes[..cut]);
            digester.update(&bytes[cut..]);
            prop_assert_eq!(digester.finish(), Digest::of(&bytes));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,90}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }

        /// Splitting the stack anywhere and going on from the chain id of the lower part gives the same name.
        #[test]
        fn chain_id_is_a_fold(layers in proptest::collection::vec(any::<[u8; 4]>(), 1..8), cut in 0usize..8) {
            let ids: Vec<Digest> = layers.iter().map(|l| Digest::of(l)).collect();
            let fold = |from: Option<Digest>, ids: &[Digest]| {
                ids.iter().fold(from, |below, id| Some(chain_id(below.as_ref(), id)))
            };
            let cut = cut.min(ids.len());
            let whole = fold(None, &ids);
            prop_assert_eq!(fold(fold(None, &ids[..cut]), &ids[cut..]), whole.clone());
            if ids.len() > 1 {
                prop_assert_ne!(whole, fold(None, &ids[..ids.len() - 1]));
            }
        }
    }
}
