//! Broken on purpose: blobs that are not what they should be.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// Which blobs are served badly, as `faults.json` has it: `{"corrupt":"sha256:…","truncate":"sha256:…"}`.
/// Manifests are never touched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubFaults {
    /// Served with its first byte changed: the digest is wrong, the size is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Digest>,
    /// Announced whole, but the connection is cut in the middle of the blob, every time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate: Option<Digest>,
}

impl HubFaults {
    /// What the file says; no faults if there is no file or it says nothing sensible.
    pub fn read(path: &Path) -> HubFaults {
        std::fs::read(path).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default()
    }
}
