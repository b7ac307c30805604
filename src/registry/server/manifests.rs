//! Manifests: read by tag or digest, pushed when all that they name is there, deleted.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, StatusCode};
use oci_spec::image::Descriptor;
use serde_json::json;

use super::Served;
use super::answer::{self, CONTENT_DIGEST, Refusal};
use super::manifest::Manifest;
use super::repository::{Link, Repository};
use super::uploads::digest;
use crate::oci::{Digest, media};
use crate::registry::client::MAX_MANIFEST;
use crate::trace::{self, Actor};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// A tag, or a digest.
enum Part<'a> {
    Tag(&'a str),
    Digest(Digest),
}

impl Part<'_> {
    fn of(text: &str) -> Result<Part<'_>, Refusal> {
        if text.contains(':') { digest(text).map(Part::Digest) } else { Ok(Part::Tag(text)) }
    }
}

/// `GET` and `HEAD`.
pub(super) fn get(hub: &Served, repository: &Repository, part: &str, with_body: bool) -> Result<Response, Refusal> {
    let found = match Part::of(part)? {
        Part::Tag(tag) => repository.by_tag(&hub.store, tag)?,
        Part::Digest(digest) => repository.by_digest(&hub.store, &digest)?,
    };
    let found = found.and_then(|d| Some((Digest::try_from(d.digest()).ok()?, d)));
    let Some((digest, descriptor)) = found else { return Err(Refusal::ManifestUnknown) };
    if !hub.store.has(&digest) {
        // An index that was added for one platform only names children that are not here.
        return Err(Refusal::ManifestUnknown);
    }
    let bytes = hub.store.read(&digest)?;
    let length = bytes.len() as u64;
    let body = if with_body { Body::from(bytes) } else { Body::empty() };
    Ok(answer::content(&digest, descriptor.media_type().as_ref(), length, body))
}

/// The body of a push, as long as a manifest may be.
pub(super) async fn body(body: Body) -> Result<Bytes, Refusal> {
    let mut bytes = Vec::new();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|e| Refusal::ManifestInvalid(format!("the connection was cut: {e}")))?;
        if (bytes.len() + piece.len()) as u64 > MAX_MANIFEST {
            return Err(Refusal::TooLarge(format!("a manifest may have {MAX_MANIFEST} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

/// `PUT`: under a tag, or under its own digest.
pub(super) fn put(
    hub: &Served,
    repository: &Repository,
    part: &str,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<Response, Refusal> {
    let step = trace::step(Actor::Registry, "hub.manifest.keep")
        .why("an image is there when its manifest is; so the hub takes it last, and only if all that it names is there")
        .arg("repository", repository.path())
        .arg("reference", part);
    match keep(hub, repository, part, headers, bytes) {
        Ok((manifest, digest, subject)) => {
            step.ok(json!({"status": 201, "digest": digest}), || {
                let (name, short) = (repository.path(), digest.short());
                let parts = match (manifest.children().len(), manifest.layers()) {
                    (0, 1) => "config and layer are there".to_owned(),
                    (0, n) => format!("config and {n} layers are there"),
                    (1, _) => "the manifest that it names is there".to_owned(),
                    (n, _) => format!("all {n} manifests that it names are there"),
                };
                let tagged = if part.contains(':') { String::new() } else { format!("; {name}:{part} is this now") };
                format!("the hub keeps the manifest {short}: {parts}{tagged}")
            });
            let location = format!("/v2/{}/manifests/{digest}", repository.path());
            let mut headers = vec![(LOCATION, location.as_str()), (CONTENT_DIGEST, digest.as_str())];
            headers.extend(subject.as_ref().map(|s| (SUBJECT, s.as_str())));
            Ok(answer::bare(StatusCode::CREATED, &headers))
        }
        Err(refusal) => {
            step.fail(refusal.code(), refusal.sentence(), || format!("the hub refuses it: {}", refusal.sentence()));
            Err(refusal)
        }
    }
}

fn keep(
    hub: &Served,
    repository: &Repository,
    part: &str,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<(Manifest, Digest, Option<Digest>), Refusal> {
    let announced = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let manifest = Manifest::read(announced, bytes)?;
    let digest = Digest::of(bytes);
    let name = match Part::of(part)? {
        Part::Digest(named) if named != digest => {
            return Err(Refusal::DigestInvalid(format!("the manifest is {digest}, and not {named}")));
        }
        Part::Digest(_) => None,
        Part::Tag(tag) => Some(repository.store_name(tag)?),
    };
    hub.sessions.room_for(bytes.len() as u64)?;
    let _filling = hub.fill()?;
    complete(hub, repository, &manifest)?;
    let subject = manifest.subject()?;
    let descriptor = manifest.descriptor(&digest, bytes.len() as u64)?;
    hub.store.put(bytes)?;
    repository.add_manifest(&hub.store, &digest, &Link { descriptor, subject: subject.clone() })?;
    if let Some(name) = name {
        let plain = Descriptor::new(manifest.media_type().into(), bytes.len() as u64, digest.clone());
        hub.store.tag(&name, &plain)?;
    }
    Ok((manifest, digest, subject))
}

/// Whether all that the manifest names is in the repository, as large as it says.
fn complete(hub: &Served, repository: &Repository, manifest: &Manifest) -> Result<(), Refusal> {
    let store = &hub.store;
    let checked = |d: &Descriptor| {
        Digest::try_from(d.digest()).map_err(|e| Refusal::DigestInvalid(format!("{}: {e}", d.digest())))
    };
    for blob in manifest.blobs() {
        let digest = checked(blob)?;
        if !repository.has_blob(store, &digest)? {
            return Err(Refusal::ManifestBlobUnknown(digest));
        }
        let (size, said) = (store.size(&digest), blob.size());
        if size != Some(said) {
            let size = size.unwrap_or_default();
            return Err(Refusal::SizeInvalid(format!("{digest} has {size} bytes, and not {said}")));
        }
    }
    for child in manifest.children() {
        let digest = checked(child)?;
        if repository.by_digest(store, &digest)?.is_none() || !store.has(&digest) {
            return Err(Refusal::ManifestBlobUnknown(digest));
        }
    }
    Ok(())
}

/// `DELETE`: a tag alone, or a manifest with all its tags. What nothing leads to any more is removed.
pub(super) fn delete(hub: &Served, repository: &Repository, part: &str) -> Result<Response, Refusal> {
    let store = &hub.store;
    match Part::of(part)? {
        Part::Tag(tag) => {
            if !store.untag(&repository.store_name(tag)?)? {
                return Err(Refusal::ManifestUnknown);
            }
        }
        Part::Digest(digest) => {
            let named = used_by_an_index(hub, repository, &digest)?;
            if let Some(index) = named {
                return Err(Refusal::Denied(format!("the index {index} names it; delete that first")));
            }
            let is_it = |d: &Descriptor| d.digest().as_ref() == digest.as_str();
            let mut found = false;
            for (tag, _) in repository.tags(store)?.iter().filter(|(_, d)| is_it(d)) {
                found |= store.untag(&repository.store_name(tag)?)?;
            }
            found |= repository.remove_manifest(store, &digest)?;
            if !found {
                return Err(Refusal::ManifestUnknown);
            }
        }
    }
    hub.collect();
    Ok(answer::bare(StatusCode::ACCEPTED, &[]))
}

/// An index of the repository that names the manifest: without it, the index would be half there.
fn used_by_an_index(hub: &Served, repository: &Repository, digest: &Digest) -> Result<Option<String>, Refusal> {
    for link in repository.links(&hub.store)? {
        if !media::is_index(link.descriptor.media_type().as_ref()) {
            continue;
        }
        let children = Manifest::stored(&hub.store, &link.descriptor);
        let names = |m: &Manifest| m.children().iter().any(|c| c.digest().as_ref() == digest.as_str());
        if children.as_ref().is_some_and(names) {
            return Ok(Some(link.descriptor.digest().to_string()));
        }
    }
    Ok(None)
}
