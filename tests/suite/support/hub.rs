//! What the lab hub of a home holds, read from its store as any OCI tool would.

use super::Lab;
use serde_json::Value;
use std::path::PathBuf;

/// `data/hub`, an OCI image layout.
pub struct HubStore(PathBuf);

/// One image for this machine.
pub struct Image {
    /// Digests of the (compressed) layers, bottom first, with their sizes.
    pub layers: Vec<(String, u64)>,
}

impl HubStore {
    pub fn of(lab: &Lab) -> HubStore {
        HubStore(lab.home().join("data/hub"))
    }

    /// A blob by digest.
    pub fn blob(&self, digest: &str) -> Vec<u8> {
        let path = self.0.join("blobs").join(digest.replace(':', "/"));
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn json(&self, digest: &str) -> Value {
        serde_json::from_slice(&self.blob(digest)).unwrap()
    }

    /// The descriptor of what `docker.io/library/NAME:latest` is.
    pub fn descriptor(&self, name: &str) -> Value {
        let index: Value = serde_json::from_slice(&std::fs::read(self.0.join("index.json")).unwrap()).unwrap();
        let wanted = format!("docker.io/library/{name}:latest");
        let manifests = index["manifests"].as_array().unwrap();
        manifests
            .iter()
            .find(|m| m["annotations"]["org.opencontainers.image.ref.name"] == wanted.as_str())
            .unwrap_or_else(|| panic!("no {wanted} in {index}"))
            .clone()
    }

    /// The manifest for this machine: through an index, if it is one.
    fn manifest(&self, name: &str) -> Value {
        let manifest = self.json(self.descriptor(name)["digest"].as_str().unwrap());
        match manifest["manifests"].as_array() {
            Some(children) => self.json(children[0]["digest"].as_str().unwrap()),
            None => manifest,
        }
    }

    /// The image's config, as it is, and its digest: the image's id.
    pub fn config(&self, name: &str) -> (String, Vec<u8>) {
        let manifest = self.manifest(name);
        let digest = manifest["config"]["digest"].as_str().unwrap().to_owned();
        let bytes = self.blob(&digest);
        (digest, bytes)
    }

    pub fn image(&self, name: &str) -> Image {
        let manifest = self.manifest(name);
        let layers = manifest["layers"].as_array().unwrap();
        Image {
            layers: layers
                .iter()
                .map(|l| (l["digest"].as_str().unwrap().to_owned(), l["size"].as_u64().unwrap()))
                .collect(),
        }
    }

    /// What the hub is to serve wrongly: the text of `faults.json`, or nothing to serve everything well again.
    pub fn faults(&self, text: Option<String>) {
        let path = self.0.join("faults.json");
        match text {
            Some(text) => std::fs::write(path, text).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
    }
}
