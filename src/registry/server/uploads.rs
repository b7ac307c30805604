//! Pushing blobs (distribution-spec, "Pushing blobs"): whole in one request, in one stream, or in chunks; and mounting
//! what another repository has already.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

use super::Served;
use super::answer::{self, CONTENT_DIGEST, Refusal};
use super::repository::Repository;
use super::routes::Params;
use super::sessions::Session;
use crate::content::ContentError;
use crate::oci::Digest;
use crate::trace::{self, Actor};

const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// `POST …/blobs/uploads/`: mounts (`mount`), takes a whole blob (`digest`), or begins an upload.
pub(super) async fn begin(
    hub: &Served,
    repository: &Repository,
    params: &Params,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let name = repository.path();
    if let Some(wanted) = params.get("mount") {
        let wanted = digest(wanted)?;
        if let Some(from) = mount(hub, repository, &wanted, params.get("from"))? {
            trace::step(Actor::Registry, "hub.blob.mount")
                .why("a blob that another repository has need not be sent again")
                .arg("digest", &wanted)
                .arg("from", &from)
                .ok(json!({"status": 201}), || format!("the hub has {} in {from}: nothing to send", wanted.short()));
            return Ok(created(name, &wanted));
        }
        // As the specification wants it: an upload begins instead.
    }
    let whole = params.get("digest").map(digest).transpose()?;
    let id = hub.sessions.begin(name)?;
    let Some(expected) = whole else {
        return Ok(progress(StatusCode::ACCEPTED, name, &id, 0));
    };
    let mut session = hub.sessions.take(name, &id).await?;
    let taken = match announced(headers).map_or(Ok(()), |n| hub.sessions.room_for(n)) {
        Ok(()) => hub.sessions.append(&mut session, body).await,
        full => full,
    };
    match taken {
        Ok(()) => finish(hub, repository, session, expected).await,
        Err(refusal) => {
            hub.sessions.end(session)?;
            Err(refusal)
        }
    }
}

/// The repository that the blob was mounted from; none if nobody has it.
fn mount(hub: &Served, into: &Repository, wanted: &Digest, from: Option<&str>) -> Result<Option<String>, Refusal> {
    let _filling = hub.fill()?;
    let store = &hub.store;
    let candidates = match from {
        Some(from) => vec![Repository::guest(from)?, Repository::vouched(from)?],
        // distribution-spec 1.1: without `from` the registry may look by itself. All can be read by everybody here.
        None => super::repository::guests(store),
    };
    for from in candidates {
        if from.has_blob(store, wanted)? {
            into.add_blob(store, wanted)?;
            return Ok(Some(from.path().to_owned()));
        }
    }
    Ok(None)
}

/// `GET`, `PATCH`, `PUT` and `DELETE` of an upload.
pub(super) async fn go_on(
    hub: &Served,
    repository: &Repository,
    id: &str,
    method: &Method,
    params: &Params,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let name = repository.path();
    match *method {
        Method::GET | Method::HEAD => {
            let length = hub.sessions.length(name, id)?;
            Ok(progress(StatusCode::NO_CONTENT, name, id, length))
        }
        Method::DELETE => {
            let session = hub.sessions.take(name, id).await?;
            hub.sessions.end(session)?;
            Ok(answer::bare(StatusCode::NO_CONTENT, &[]))
        }
        Method::PATCH => {
            let mut session = hub.sessions.take(name, id).await?;
            if let Some(refused) = out_of_place(&session, name, headers)? {
                return Ok(refused);
            }
            add(hub, &mut session, headers, body).await?;
            Ok(progress(StatusCode::ACCEPTED, name, id, session.length))
        }
        Method::PUT => {
            let wanted = params.get("digest").ok_or_else(|| Refusal::DigestInvalid("no digest was given".into()));
            let expected = digest(wanted?)?;
            let mut session = hub.sessions.take(name, id).await?;
            if let Some(refused) = out_of_place(&session, name, headers)? {
                return Ok(refused);
            }
            add(hub, &mut session, headers, body).await?;
            finish(hub, repository, session, expected).await
        }
        _ => Err(Refusal::Unsupported("an upload is asked for, added to, finished or cancelled".into())),
    }
}

async fn add(hub: &Served, session: &mut Session, headers: &HeaderMap, body: Body) -> Result<(), Refusal> {
    hub.sessions.room_for(announced(headers).unwrap_or(0))?;
    hub.sessions.append(session, body).await
}

/// A chunk that does not begin where the bytes end (or is not as long as it says): 416 with where they end.
fn out_of_place(session: &Session, name: &str, headers: &HeaderMap) -> Result<Option<Response>, Refusal> {
    let Some(range) = headers.get(CONTENT_RANGE).and_then(|v| v.to_str().ok()) else { return Ok(None) };
    let (first, last) = chunk(range)
        .ok_or_else(|| Refusal::BlobUploadInvalid(format!("{range:?} is no range of a chunk, such as 0-1023")))?;
    if first != session.length {
        return Ok(Some(progress(StatusCode::RANGE_NOT_SATISFIABLE, name, &session.id, session.length)));
    }
    match announced(headers) {
        Some(length) if length != last - first + 1 => {
            Err(Refusal::SizeInvalid(format!("the chunk is {range}, and the request announces {length} bytes")))
        }
        _ => Ok(None),
    }
}

/// `0-1023`, both included; some clients write `bytes 0-1023/*` as HTTP has it elsewhere.
fn chunk(range: &str) -> Option<(u64, u64)> {
    let range = range.strip_prefix("bytes ").unwrap_or(range);
    let (first, last) = range.split('/').next()?.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last && last < u64::MAX).then_some((first, last))
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Makes the bytes a blob of the repository, if they are what they should be. If not, they are worth nothing.
async fn finish(
    hub: &Served,
    repository: &Repository,
    session: Session,
    expected: Digest,
) -> Result<Response, Refusal> {
    let step = trace::step(Actor::Registry, "hub.blob.keep")
        .why("the hub computes the digest itself, and keeps nothing under a name that is not the content's own")
        .arg("repository", repository.path())
        .arg("digest", &expected);
    let (data, store) = (hub.sessions.data(&session), hub.store.clone());
    let (owner, wanted, root) = (repository.clone(), expected.clone(), store.root().to_owned());
    let kept = super::blocking(move || {
        let _filling = crate::registry::hub_lock::fill(&root).map_err(Refusal::io("lock", &root))?;
        let size = store.adopt(&data, &wanted).map_err(|cause| match cause {
            ContentError::DigestMismatch { actual, .. } => {
                Refusal::DigestInvalid(format!("the bytes are {actual}, and not {wanted}"))
            }
            other => other.into(),
        })?;
        owner.add_blob(&store, &wanted)?;
        Ok(size)
    })
    .await;
    let ended = hub.sessions.end(session);
    match kept {
        Ok(size) => {
            step.ok(json!({"status": 201, "size": size}), || {
                format!("the hub keeps {} ({size} bytes), its digest is right", expected.short())
            });
            ended.map(|()| created(repository.path(), &expected))
        }
        Err(refusal) => {
            step.fail(refusal.code(), refusal.sentence(), || format!("the hub refuses it: {}", refusal.sentence()));
            Err(refusal)
        }
    }
}

pub(super) fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|e| Refusal::DigestInvalid(format!("provided digest is no digest: {e}")))
}

/// Where an upload stands. `Range` names the last byte; of nothing it says `0-0`, as registries do.
fn progress(status: StatusCode, name: &str, id: &str, length: u64) -> Response {
    let location = format!("/v2/{name}/blobs/uploads/{id}");
    let range = format!("0-{}", length.saturating_sub(1));
    answer::bare(status, &[(LOCATION, &location), (RANGE, &range), (UPLOAD_UUID, id)])
}

fn created(name: &str, digest: &Digest) -> Response {
    let location = format!("/v2/{name}/blobs/{digest}");
    answer::bare(StatusCode::CREATED, &[(LOCATION, &location), (CONTENT_DIGEST, digest.as_str())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_read_as_clients_write_them() {
        for (text, range) in [
            ("0-9", Some((0, 9))),
            ("10-10", Some((10, 10))),
            ("bytes 5-9/*", Some((5, 9))),
            ("9-5", None),
            ("-5", None),
            ("0-", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(chunk(text), range, "{text}");
        }
    }
}
