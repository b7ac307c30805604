//! Manifests, as far as a registry must understand them: what they name, and whether it is there.

use oci_spec::image::Descriptor;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

use super::answer::Refusal;
use crate::content::Store;
use crate::oci::{Digest, media};

/// Media types whose content lies elsewhere: layers that may not be redistributed.
const ELSEWHERE: [&str; 3] = [
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
];
/// Most things that one manifest may name. Docker's own limit for layers is 127.
const MOST: usize = 4096;

/// A manifest or an index, of either family of media types.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    media_type: String,
    document: Document,
}

/// What both kinds have. Unknown fields are for others.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
    subject: Option<Descriptor>,
    annotations: Option<HashMap<String, String>>,
}

impl Manifest {
    /// Reads what a client pushes. `announced` is the request's `Content-Type`.
    pub(super) fn read(announced: Option<&str>, bytes: &[u8]) -> Result<Manifest, Refusal> {
        let invalid = |why: String| Refusal::ManifestInvalid(why);
        let document: Document = serde_json::from_slice(bytes).map_err(|e| invalid(format!("not a manifest: {e}")))?;
        if document.schema_version != 2 {
            let version = document.schema_version;
            return Err(invalid(format!("manifests of schema version {version} are not taken, only of 2")));
        }
        let announced = announced.map(|a| a.split(';').next().unwrap_or(a).trim());
        let media_type = match (announced, document.media_type.as_deref()) {
            (Some(said), Some(own)) if said != own => {
                return Err(invalid(format!("the request says {said} and the manifest {own}")));
            }
            (Some(said), _) => said.to_owned(),
            (None, Some(own)) => own.to_owned(),
            (None, None) => return Err(invalid("neither the request nor the manifest says its media type".into())),
        };
        let manifest = Manifest { media_type, document };
        manifest.shape().map(|()| manifest)
    }

    /// What the store has; none if this is no manifest (or can't be read).
    pub(super) fn stored(store: &Store, descriptor: &Descriptor) -> Option<Manifest> {
        let media_type = descriptor.media_type().to_string();
        if !media::is_index(&media_type) && !media::is_manifest(&media_type) {
            return None;
        }
        let bytes = store.read(&Digest::try_from(descriptor.digest()).ok()?).ok()?;
        Some(Manifest { media_type, document: serde_json::from_slice(&bytes).ok()? })
    }

    fn shape(&self) -> Result<(), Refusal> {
        let invalid = |why: String| Err(Refusal::ManifestInvalid(why));
        let document = &self.document;
        if document.layers.len() + document.manifests.len() > MOST {
            return invalid(format!("it names more than {MOST} things"));
        }
        let (is_index, is_manifest) = (self.is_index(), media::is_manifest(&self.media_type));
        if !is_index && !is_manifest {
            return invalid(format!("{} is no manifest that this hub knows", self.media_type));
        }
        if is_manifest && document.config.is_none() {
            return invalid("a manifest must name its config".into());
        }
        // A document must be one thing to everybody (CVE-2021-41190).
        if (is_index && (document.config.is_some() || !document.layers.is_empty()))
            || (is_manifest && !document.manifests.is_empty())
        {
            return invalid("it is a manifest and an index at once".into());
        }
        Ok(())
    }

    fn is_index(&self) -> bool {
        media::is_index(&self.media_type)
    }

    pub(super) fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The manifests that an index names.
    pub(super) fn children(&self) -> &[Descriptor] {
        if self.is_index() { &self.document.manifests } else { &[] }
    }

    /// The config and the layers that are kept here.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let here = |d: &&Descriptor| {
            let elsewhere = d.urls().as_ref().is_some_and(|u| !u.is_empty());
            !(elsewhere || ELSEWHERE.iter().any(|e| d.media_type().as_ref().starts_with(e)))
        };
        self.document.config.iter().chain(&self.document.layers).filter(here)
    }

    pub(super) fn layers(&self) -> usize {
        self.document.layers.len()
    }

    /// What this manifest says something about.
    pub(super) fn subject(&self) -> Result<Option<Digest>, Refusal> {
        let digest = self.document.subject.as_ref().map(|d| Digest::try_from(d.digest()));
        digest.transpose().map_err(|e| Refusal::DigestInvalid(format!("subject: {e}")))
    }

    /// As the referrers of a subject are listed (distribution-spec, listing referrers): the artifact type is the
    /// config's media type where the manifest names none.
    pub(super) fn descriptor(&self, digest: &Digest, size: u64) -> Result<Descriptor, Refusal> {
        let artifact = self.document.artifact_type.clone().filter(|t| !t.is_empty());
        let config = self.document.config.as_ref().map(|c| c.media_type().to_string());
        let mut value = serde_json::json!({"mediaType": self.media_type, "digest": digest, "size": size});
        if self.document.subject.is_some() {
            value["artifactType"] = artifact.or(config).map_or(Value::Null, Value::String);
            if let Some(annotations) = &self.document.annotations {
                let sorted: std::collections::BTreeMap<_, _> = annotations.iter().collect();
                value["annotations"] = serde_json::json!(sorted);
            }
        }
        serde_json::from_value(value).map_err(|e| Refusal::ManifestInvalid(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn descriptor(media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(b"x"), "size": 1})
    }

    fn refused(announced: Option<&str>, document: &Value) -> String {
        let error = Manifest::read(announced, document.to_string().as_bytes()).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), "MANIFEST_INVALID");
        error.sentence()
    }

    #[test]
    fn both_families_of_media_types_are_read() {
        for (manifest, config, layer) in [
            (media::OCI_MANIFEST, media::OCI_CONFIG, media::OCI_LAYER_GZIP),
            (media::DOCKER_MANIFEST, media::DOCKER_CONFIG, media::DOCKER_LAYER_GZIP),
        ] {
            let document =
                json!({"schemaVersion": 2, "config": descriptor(config), "layers": [descriptor(layer)]}).to_string();
            let read = Manifest::read(Some(manifest), document.as_bytes()).unwrap();
            assert_eq!((read.media_type(), read.blobs().count(), read.children().len()), (manifest, 2, 0));
        }
        for index in [media::OCI_INDEX, media::DOCKER_LIST] {
            let document = json!({"schemaVersion": 2, "mediaType": index, "manifests": [descriptor("x")]}).to_string();
            let read = Manifest::read(None, document.as_bytes()).unwrap();
            assert_eq!((read.media_type(), read.blobs().count(), read.children().len()), (index, 0, 1));
        }
    }

    #[test]
    fn a_manifest_that_means_two_things_is_refused() {
        let config = descriptor(media::OCI_CONFIG);
        let both = json!({"schemaVersion": 2, "config": config, "layers": [], "manifests": [descriptor("x")]});
        assert!(refused(Some(media::OCI_MANIFEST), &both).contains("at once"));
        assert!(refused(Some(media::OCI_INDEX), &both).contains("at once"));
        let own = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "config": config});
        assert!(refused(Some(media::OCI_MANIFEST), &own).contains("the request says"));
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_the_reason() {
        assert!(refused(None, &json!({"schemaVersion": 1})).contains("schema version 1"));
        assert!(refused(None, &json!({"schemaVersion": 2})).contains("media type"));
        assert!(refused(Some("text/plain"), &json!({"schemaVersion": 2})).contains("text/plain"));
        assert!(refused(Some(media::OCI_MANIFEST), &json!({"schemaVersion": 2})).contains("config"));
        assert!(refused(Some(media::OCI_INDEX), &json!([])).contains("not a manifest"));
    }

    #[test]
    fn layers_that_lie_elsewhere_are_not_asked_for() {
        let mut foreign = descriptor(ELSEWHERE[0]);
        foreign["urls"] = json!(["https://example.com/layer"]);
        let document = json!({"schemaVersion": 2, "config": descriptor("c"), "layers": [foreign]}).to_string();
        let read = Manifest::read(Some(media::DOCKER_MANIFEST), document.as_bytes()).unwrap();
        assert_eq!((read.blobs().count(), read.layers()), (1, 1));
    }

    #[test]
    fn a_referrer_is_listed_by_its_artifact_type_or_its_configs() {
        let subject = descriptor(media::OCI_MANIFEST);
        let mut document = json!({"schemaVersion": 2, "config": descriptor("application/x.sig"), "layers": [],
                                  "subject": subject, "annotations": {"a": "b"}});
        let listed = |document: &Value| {
            let read = Manifest::read(Some(media::OCI_MANIFEST), document.to_string().as_bytes()).unwrap();
            assert_eq!(read.subject().unwrap(), Some(Digest::of(b"x")));
            serde_json::to_value(read.descriptor(&Digest::of(b"y"), 9).unwrap()).unwrap()
        };
        assert_eq!(listed(&document)["artifactType"], "application/x.sig");
        document["artifactType"] = json!("application/x.sbom");
        assert_eq!(listed(&document)["artifactType"], "application/x.sbom");
        assert_eq!(listed(&document)["annotations"]["a"], "b");
    }
}
