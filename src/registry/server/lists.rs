//! What there is: tags, repositories, referrers (distribution-spec, "Content Discovery").

use std::collections::BTreeSet;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::header::{HeaderName, LINK};
use serde_json::{Value, json};

use super::Served;
use super::View;
use super::answer::{self, Refusal};
use super::repository::{GUEST_DOMAIN, Repository};
use super::routes::Params;
use super::uploads::digest;
use crate::oci::{DOCKER_DOMAIN, Reference, media};

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// The tags of a repository.
pub(super) fn tags(hub: &Served, repository: &Repository, name: &str, params: &Params) -> Result<Response, Refusal> {
    let mut tags: BTreeSet<String> = repository.tags(&hub.store)?.into_iter().map(|(tag, _)| tag).collect();
    tags.extend(hub.promised(repository).flat_map(|recipe| recipe.tags.iter().cloned()));
    if tags.is_empty() && !repository.exists(&hub.store)? {
        return Err(Refusal::NameUnknown);
    }
    let path = format!("/v2/{name}/tags/list");
    Ok(listed(&path, params, tags, |tags| json!({"name": name, "tags": tags})))
}

/// All repositories.
pub(super) fn catalog(hub: &Served, params: &Params) -> Result<Response, Refusal> {
    let names = repositories(hub)?;
    Ok(listed("/v2/_catalog", params, names, |names| json!({"repositories": names})))
}

/// The paths of all repositories that this door shows.
pub(super) fn repositories(hub: &Served) -> Result<BTreeSet<String>, Refusal> {
    let shown = |reference: &Reference| match reference.domain() {
        DOCKER_DOMAIN => true,
        GUEST_DOMAIN => hub.view == View::All,
        _ => false,
    };
    let entries = hub.store.entries()?.into_iter();
    let named = entries.filter_map(|(name, _)| Reference::parse(&name).ok());
    let mut names: BTreeSet<String> = named.filter(shown).map(|r| r.path().to_owned()).collect();
    names.extend(hub.catalog.iter().flat_map(|c| c.recipes()).map(crate::registry::lab_images::Recipe::repository));
    if hub.view == View::All {
        names.extend(super::repository::guests(&hub.store).iter().map(|g| g.path().to_owned()));
    }
    Ok(names)
}

/// Everything that says something about a manifest: signatures, lists of parts, … An empty list for one that nobody
/// knows, as the specification wants it.
pub(super) fn referrers(
    hub: &Served,
    repository: &Repository,
    subject: &str,
    params: &Params,
) -> Result<Response, Refusal> {
    let subject = digest(subject)?;
    let wanted = params.get("artifactType").filter(|t| !t.is_empty());
    let mut found = Vec::new();
    for link in repository.links(&hub.store)? {
        let artifact = link.descriptor.artifact_type().as_ref().map(ToString::to_string);
        if link.subject.as_ref() == Some(&subject) && wanted.is_none_or(|w| artifact.as_deref() == Some(w)) {
            found.push(link.descriptor);
        }
    }
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": found});
    let mut response = answer::json_as(media::OCI_INDEX, &index);
    if wanted.is_some() {
        answer::set(&mut response, FILTERS, "artifactType");
    }
    Ok(response)
}

/// A list in pages: `?n=10&last=x` gives the ten after `x`, with a `Link` to the rest (RFC 8288).
fn listed(path: &str, params: &Params, names: BTreeSet<String>, shape: impl FnOnce(&[String]) -> Value) -> Response {
    let last = params.get("last").unwrap_or_default();
    let mut names: Vec<String> = names.into_iter().filter(|name| last.is_empty() || name.as_str() > last).collect();
    let limit = params.number("n").unwrap_or(usize::MAX);
    let more = names.len() > limit;
    names.truncate(limit);
    let mut response = Json(shape(&names)).into_response();
    if let (true, Some(last)) = (more, names.last()) {
        answer::set(&mut response, LINK, &format!("<{path}?n={limit}&last={last}>; rel=\"next\""));
    }
    answer::marked(response)
}
