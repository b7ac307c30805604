//! Manifests: small JSON documents that must be what their digest says, and only one thing at a time.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;
use serde_json::json;

use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::exchange::{Answer, Ask, BodyError, read};
use super::patience::Patience;
use super::{Inner, tell};
use crate::oci::{Digest, Reference, media};

/// As large as a manifest may be; the distribution specification asks registries to accept this much.
pub const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

const DIGEST_HEADER: &str = "docker-content-digest";

/// A manifest or an index, verified.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Media type, digest and size of `bytes`.
    pub descriptor: Descriptor,
    /// The document as it came: its digest is that of these bytes.
    pub bytes: Bytes,
    /// Who had it; ask there for what it names.
    pub source: Endpoint,
}

impl Fetched {
    /// The digest of the document.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Whether it is an index of manifests for several platforms.
    pub fn is_index(&self) -> bool {
        media::is_index(self.descriptor.media_type().as_ref())
    }
}

impl Inner {
    /// Gets one manifest from one place. `chart` says that this step decides the flow chart's question
    /// "on the registry?".
    pub(super) async fn manifest_from(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        part: &str,
        expected: Option<&Digest>,
        chart: bool,
    ) -> Result<Fetched, RegistryError> {
        let mut patience = Patience::new(&self.config);
        loop {
            match self.one_manifest(endpoint, reference, part, expected, chart).await {
                // A mirror that is busy has the registry behind it.
                Err(error) if !endpoint.is_mirror() && patience.again(&error).await => {}
                answer => return answer,
            }
        }
    }

    async fn one_manifest(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        part: &str,
        expected: Option<&Digest>,
        chart: bool,
    ) -> Result<Fetched, RegistryError> {
        let why = "the manifest names the config and the layers that make the image";
        let ask = Ask::get("registry.manifest.get", why, endpoint, reference, &format!("manifests/{part}"))
            .header(ACCEPT, media::ACCEPT_MANIFESTS);
        let what = format!("manifest for {}", reference.clone().with_default_tag().familiar());
        let mut answer = self.ask(&ask).await?;
        let status = answer.response.status();
        if status != StatusCode::OK {
            let missing = matches!(status.as_u16(), 401 | 403 | 404);
            if chart && missing {
                answer.step.branch("remote-missing");
            }
            return Err(self.refused(&ask, answer, &what).await);
        }
        let Answer { mut step, response, url, .. } = answer;
        let headers = response.headers().clone();
        let body = read(response.into_body(), MAX_MANIFEST, self.transport.limits().idle).await;
        let checked = body
            .map_err(|e| unread(e, &what, &url, &headers))
            .and_then(|bytes| Ok((check(&bytes, &headers, expected, &what, &url)?, bytes)));
        match checked {
            Ok((descriptor, bytes)) => {
                if chart {
                    step.branch("remote-found");
                }
                step.ok(
                    json!({"status": 200, "media_type": descriptor.media_type(), "size": descriptor.size(),
                           "digest": descriptor.digest().to_string()}),
                    || tell::manifest(descriptor.media_type().as_ref(), &bytes),
                );
                Ok(Fetched { descriptor, bytes, source: endpoint.clone() })
            }
            Err(error) => {
                step.fail(error.code(), &error, || error.to_string());
                Err(error)
            }
        }
    }
}

fn unread(error: BodyError, what: &str, url: &str, headers: &HeaderMap) -> RegistryError {
    match error {
        BodyError::TooLarge(limit) => RegistryError::TooLarge { what: what.to_owned(), url: url.to_owned(), limit },
        BodyError::Cut { received, cause } => RegistryError::Truncated {
            what: what.to_owned(),
            url: url.to_owned(),
            expected: super::content_length(headers).unwrap_or(0),
            received,
            cause: format!(" ({cause})"),
        },
    }
}

/// The two shapes a document could have at once; which it claims must be which it is (the confusion of
/// the two is CVE-2021-41190).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
}

/// The document's descriptor, if it has the digest, says one thing only, and can be read.
fn check(
    bytes: &[u8],
    headers: &HeaderMap,
    expected: Option<&Digest>,
    what: &str,
    url: &str,
) -> Result<Descriptor, RegistryError> {
    let actual = Digest::of(bytes);
    let announced: Option<Digest> =
        headers.get(DIGEST_HEADER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    if let Some(expected) = expected.or(announced.as_ref()).filter(|d| **d != actual) {
        return Err(RegistryError::DigestMismatch {
            what: what.to_owned(),
            url: url.to_owned(),
            expected: expected.clone(),
            actual,
        });
    }
    let bad = |cause: String| RegistryError::BadAnswer { url: url.to_owned(), cause: super::error::printable(&cause) };
    let shape: Shape =
        serde_json::from_slice(bytes).map_err(|e| bad(format!("the manifest is no JSON object: {e}")))?;
    let header = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let header = header.map(|v| v.split(';').next().unwrap_or(v).trim());
    let known = |t: &&str| media::is_index(t) || media::is_manifest(t);
    let (claimed, served) = (shape.media_type.as_deref(), header.filter(known));
    let media_type = match (claimed, served) {
        (Some(claimed), Some(served)) if claimed != served => {
            return Err(bad(format!("the manifest says it is {claimed}, the registry says {served}")));
        }
        (Some(claimed), _) => claimed,
        (None, Some(served)) => served,
        (None, None) => header.unwrap_or("without a media type"),
    };
    let readable = match media_type {
        t if media::is_index(t) && shape.config.is_none() && shape.layers.is_none() => {
            serde_json::from_slice::<ImageIndex>(bytes).map(drop)
        }
        t if media::is_manifest(t) && shape.manifests.is_none() => {
            serde_json::from_slice::<ImageManifest>(bytes).map(drop)
        }
        t if known(&t) => {
            return Err(bad("the manifest is an index and an image at once".to_owned()));
        }
        t if media::is_schema1(t) => return Err(RegistryError::Schema1 { what: what.to_owned() }),
        t => return Err(bad(format!("manifests of the type {t} are not supported"))),
    };
    readable.map_err(|e| bad(format!("the manifest can't be read: {e}")))?;
    Ok(Descriptor::new(MediaType::from(media_type), bytes.len() as u64, &actual))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn image() -> serde_json::Value {
        json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
               "config": {"mediaType": media::OCI_CONFIG, "digest": Digest::of(b"c").to_string(), "size": 1},
               "layers": []})
    }

    fn checked(document: &serde_json::Value, content_type: &'static str) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        check(document.to_string().as_bytes(), &headers, None, "manifest for a:1", "http://r/")
            .map(|d| d.media_type().to_string())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_media_type_is_the_one_both_sides_claim() {
        assert_eq!(checked(&image(), media::OCI_MANIFEST).unwrap(), media::OCI_MANIFEST);
        assert_eq!(checked(&image(), "application/json").unwrap(), media::OCI_MANIFEST);
        let mut silent = image();
        silent.as_object_mut().unwrap().remove("mediaType");
        assert_eq!(
            checked(&silent, "application/vnd.oci.image.manifest.v1+json; charset=utf-8").unwrap(),
            media::OCI_MANIFEST
        );
        assert!(checked(&silent, "text/html").unwrap_err().contains("text/html are not supported"));
        assert!(checked(&image(), media::OCI_INDEX).unwrap_err().contains("the registry says"));
    }

    #[test]
    fn a_document_that_is_two_things_is_refused() {
        let mut both = image();
        both["manifests"] = json!([]);
        assert!(checked(&both, media::OCI_MANIFEST).unwrap_err().contains("at once"));
        assert!(checked(&json!([]), media::OCI_MANIFEST).unwrap_err().contains("no JSON object"));
        assert!(checked(&json!({"layers": 1}), media::OCI_MANIFEST).unwrap_err().contains("can't be read"));
    }
}
