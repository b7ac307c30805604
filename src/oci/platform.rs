//! Which child of an index is for this host ([image-spec, image index]): operating system, architecture
//! and, for ARM, the variant; a host runs the variants below its own too.
//!
//! [image-spec, image index]: https://github.com/opencontainers/image-spec/blob/main/image-index.md

use std::fmt;
use std::str::FromStr;

use oci_spec::image::{Descriptor, ImageIndex};
use thiserror::Error;

/// An operating system, an architecture (as Go names them) and a variant: `linux/arm64/v8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

/// A text that names no platform.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is an invalid component of \"{1}\": platform specifier component must match \"^[A-Za-z0-9_.-]+$\"")]
pub struct PlatformError(String, String);

impl Platform {
    /// This machine's.
    pub fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Platform { os: "linux".into(), architecture: architecture.into(), variant: variant.map(Into::into) }
    }

    /// Whether this one, as the platform of a host, runs images of `other`; the smaller the answer, the
    /// better the fit (0 is exact).
    fn distance(&self, other: &oci_spec::image::Platform) -> Option<u32> {
        if other.os().to_string() != self.os || other.architecture().to_string() != self.architecture {
            return None;
        }
        let level = |variant: Option<&str>| -> Option<u32> {
            match variant {
                // Docker's rule: an ARM image without a variant is v8 (arm64) or v7 (arm).
                None if self.architecture == "arm64" => Some(8),
                None if self.architecture == "arm" => Some(7),
                None if self.architecture == "amd64" => Some(1),
                None => Some(0),
                Some(v) => v.strip_prefix('v')?.parse().ok(),
            }
        };
        level(self.variant.as_deref())?.checked_sub(level(other.variant().as_deref())?)
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// `os`, `arch`, `os/arch` or `os/arch/variant`; `x86_64` and `aarch64` are taken as what Go calls them.
    fn from_str(text: &str) -> Result<Platform, PlatformError> {
        let parts: Vec<String> = text.split('/').map(str::to_ascii_lowercase).collect();
        let fine = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if let Some(bad) = parts.iter().find(|p| !fine(p)) {
            return Err(PlatformError(bad.clone(), text.to_owned()));
        }
        let host = Platform::host();
        let (os, architecture, variant) = match parts.as_slice() {
            [one] if one == "linux" || one == "windows" || one == "darwin" => {
                return Ok(Platform { os: one.clone(), ..host });
            }
            [one] => (host.os, one.as_str(), None),
            [os, architecture] => (os.clone(), architecture.as_str(), None),
            [os, architecture, variant] => (os.clone(), architecture.as_str(), Some(variant.clone())),
            _ => return Err(PlatformError(text.to_owned(), text.to_owned())),
        };
        let (architecture, implied) = match architecture {
            "x86_64" | "x86-64" => ("amd64", None),
            "aarch64" | "arm64" => ("arm64", Some("v8")),
            "armhf" | "arm" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            "i386" => ("386", None),
            other => (other, None),
        };
        Ok(Platform { os, architecture: architecture.to_owned(), variant: variant.or_else(|| implied.map(Into::into)) })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// The child of `index` that fits `wanted` best: the nearest variant, then the first in the list. A child
/// without a platform is taken only when it is alone.
pub fn select<'a>(index: &'a ImageIndex, wanted: &Platform) -> Option<&'a Descriptor> {
    let children = index.manifests();
    if let [only] = children.as_slice()
        && only.platform().is_none()
    {
        return Some(only);
    }
    children
        .iter()
        .filter_map(|child| Some((wanted.distance(child.platform().as_ref()?)?, child)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, child)| child)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn index(platforms: &[(&str, &str, Option<&str>)]) -> ImageIndex {
        let manifests: Vec<_> = platforms
            .iter()
            .enumerate()
            .map(|(i, (os, arch, variant))| {
                let mut platform = json!({"os": os, "architecture": arch});
                if let Some(v) = variant {
                    platform["variant"] = json!(v);
                }
                json!({"mediaType": crate::oci::media::OCI_MANIFEST, "size": i,
                       "digest": crate::oci::Digest::of(&[i as u8]), "platform": platform})
            })
            .collect();
        serde_json::from_value(json!({"schemaVersion": 2, "manifests": manifests})).unwrap()
    }

    fn chosen(index: &ImageIndex, wanted: &str) -> Option<u64> {
        select(index, &wanted.parse().unwrap()).map(Descriptor::size)
    }

    #[test]
    fn the_architecture_of_the_host_is_taken() {
        let index = index(&[("linux", "arm64", Some("v8")), ("linux", "amd64", None), ("windows", "amd64", None)]);
        assert_eq!(chosen(&index, "linux/amd64"), Some(1));
        assert_eq!(chosen(&index, "linux/aarch64"), Some(0));
        assert_eq!(chosen(&index, "linux/s390x"), None);
    }

    #[test]
    fn an_arm_host_takes_the_nearest_variant_below_its_own() {
        let arm = index(&[("linux", "arm", Some("v5")), ("linux", "arm", Some("v6")), ("linux", "arm", Some("v8"))]);
        assert_eq!(chosen(&arm, "linux/arm/v7"), Some(1));
        assert_eq!(chosen(&arm, "linux/arm/v4"), None);
        let plain = index(&[("linux", "arm64", None)]);
        assert_eq!(chosen(&plain, "linux/arm64"), Some(0));
    }

    #[test]
    fn attestations_are_never_chosen() {
        let index = index(&[("unknown", "unknown", None)]);
        assert_eq!(chosen(&index, "linux/amd64"), None);
    }

    #[test]
    fn texts_are_read_as_docker_reads_them() {
        for (text, platform) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("arm64", "linux/arm64/v8"),
            ("linux/arm/v6", "linux/arm/v6"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), platform);
        }
        assert_eq!("linux".parse::<Platform>().unwrap(), Platform::host());
        assert!("linux/".parse::<Platform>().is_err());
        assert!("a/b/c/d".parse::<Platform>().is_err());
    }
}
