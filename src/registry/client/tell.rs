//! The lines for a person.

use oci_spec::image::{ImageIndex, ImageManifest};

use crate::oci::{media, platform};

/// `200, OCI index, 482 bytes: linux/amd64 → sha256:5d0d…`
pub(super) fn manifest(media_type: &str, bytes: &[u8]) -> String {
    let head = format!("200, {}, {}", media::spoken(media_type), size(bytes.len() as u64));
    let tail = if media::is_index(media_type) { children(bytes) } else { parts(bytes) };
    match tail {
        Some(tail) => format!("{head}: {tail}"),
        None => head,
    }
}

fn children(bytes: &[u8]) -> Option<String> {
    let index: ImageIndex = serde_json::from_slice(bytes).ok()?;
    let host = platform::Platform::host();
    let (count, noun) = (index.manifests().len(), if index.manifests().len() == 1 { "manifest" } else { "manifests" });
    let Some(child) = platform::select(&index, &host) else {
        return Some(format!("{count} {noun}, none for {host}"));
    };
    let digest = child.digest().to_string();
    let named = match child.platform() {
        Some(p) => format!("{}/{} → {}…", p.os(), p.architecture(), digest.get(..19).unwrap_or(&digest)),
        None => format!("{}…", digest.get(..19).unwrap_or(&digest)),
    };
    Some(if count == 1 { named } else { format!("{count} {noun}, {named}") })
}

fn parts(bytes: &[u8]) -> Option<String> {
    let manifest: ImageManifest = serde_json::from_slice(bytes).ok()?;
    let layers = manifest.layers();
    let total: u64 = layers.iter().map(|l| l.size()).sum::<u64>() + manifest.config().size();
    let noun = if layers.len() == 1 { "layer" } else { "layers" };
    Some(format!("config + {} {noun}, {}", layers.len(), size(total)))
}

/// `482 bytes`, `4.1 MB`: powers of ten, as Docker counts.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 999.95 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use serde_json::json;

    #[test]
    fn sizes_read_well() {
        for (bytes, text) in
            [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (4_123_456, "4.1 MB"), (999_999, "1.0 MB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_manifest_is_told_by_its_parts() {
        let digest = Digest::of(b"x").to_string();
        let part = |size: u64| json!({"mediaType": media::OCI_LAYER_GZIP, "digest": digest, "size": size});
        let image = json!({"schemaVersion": 2, "config": part(100), "layers": [part(4_000_000), part(100_000)]});
        let bytes = image.to_string();
        let told = manifest(media::OCI_MANIFEST, bytes.as_bytes());
        assert_eq!(told, format!("200, OCI manifest, {} bytes: config + 2 layers, 4.1 MB", bytes.len()));
    }

    #[test]
    fn an_index_is_told_by_the_child_for_this_host() {
        let host = platform::Platform::host();
        let digest = Digest::of(b"x").to_string();
        let child = |arch: &str| {
            json!({"mediaType": media::OCI_MANIFEST, "digest": digest, "size": 7,
                                        "platform": {"os": "linux", "architecture": arch}})
        };
        let told = |children: serde_json::Value| {
            let bytes = json!({"schemaVersion": 2, "manifests": children}).to_string();
            let text = manifest(media::OCI_INDEX, bytes.as_bytes());
            text.split_once(": ").unwrap().1.to_owned()
        };
        let named = format!("linux/{} → {}…", host.architecture, &digest[..19]);
        assert_eq!(told(json!([child(&host.architecture)])), named);
        assert_eq!(told(json!([child("mips"), child(&host.architecture)])), format!("2 manifests, {named}"));
        assert_eq!(told(json!([child("mips")])), format!("1 manifest, none for {host}"));
    }
}
