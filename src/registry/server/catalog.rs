//! From the names of the store to repositories, tags and manifests.

use oci_spec::image::{Descriptor, ImageIndex};

use crate::content::{ContentError, Store};
use crate::oci::{DOCKER_DOMAIN, Digest, Reference, media};

/// A repository of the hub: `library/centos`. A name without a namespace means the official one, so that
/// `127.0.0.1:5050/centos` works as well.
pub(super) fn repository(name: &str) -> Option<Reference> {
    Reference::parse(&format!("{DOCKER_DOMAIN}/{name}")).ok().filter(|r| r.tag().is_none() && r.digest().is_none())
}

/// All names of the store that are references, with what they stand for.
fn entries(store: &Store) -> Result<Vec<(Reference, Descriptor)>, ContentError> {
    let entries = store.entries()?.into_iter();
    Ok(entries.filter_map(|(name, d)| Some((Reference::parse(&name).ok()?, d))).collect())
}

/// The manifest with this tag.
pub(super) fn by_tag(store: &Store, repository: &Reference, tag: &str) -> Result<Option<Descriptor>, ContentError> {
    match repository.clone().with_tag(tag) {
        Ok(reference) => store.resolve(&reference.canonical()),
        Err(_) => Ok(None),
    }
}

/// The manifest with this digest, if a tag of the repository stands for it or for an index that names it.
pub(super) fn by_digest(
    store: &Store,
    repository: &Reference,
    digest: &Digest,
) -> Result<Option<Descriptor>, ContentError> {
    let is_it = |d: &Descriptor| d.digest().as_ref() == digest.as_str();
    for (reference, descriptor) in entries(store)? {
        if reference.name() != repository.name() {
            continue;
        }
        if is_it(&descriptor) {
            return Ok(Some(descriptor));
        }
        if media::is_index(descriptor.media_type().as_ref())
            && let Some(child) = children(store, &descriptor)?.into_iter().find(is_it)
        {
            return Ok(Some(child));
        }
    }
    Ok(None)
}

fn children(store: &Store, index: &Descriptor) -> Result<Vec<Descriptor>, ContentError> {
    let Ok(digest) = Digest::try_from(index.digest()) else {
        return Ok(Vec::new());
    };
    let bytes = store.read(&digest)?;
    let index: Option<ImageIndex> = serde_json::from_slice(&bytes).ok();
    Ok(index.map(|i| i.manifests().clone()).unwrap_or_default())
}

/// The tags of a repository, sorted; `None` if there is no such repository.
pub(super) fn tags(store: &Store, repository: &Reference) -> Result<Option<Vec<String>>, ContentError> {
    let mut tags: Vec<String> = entries(store)?
        .into_iter()
        .filter(|(r, _)| r.name() == repository.name())
        .filter_map(|(r, _)| r.tag().map(str::to_owned))
        .collect();
    tags.sort();
    tags.dedup();
    Ok(Some(tags).filter(|t| !t.is_empty()))
}

/// All repositories, sorted.
pub(super) fn repositories(store: &Store) -> Result<Vec<String>, ContentError> {
    let entries = entries(store)?.into_iter();
    let mut names: Vec<String> =
        entries.filter(|(r, _)| r.domain() == DOCKER_DOMAIN).map(|(r, _)| r.path().to_owned()).collect();
    names.sort();
    names.dedup();
    Ok(names)
}
