//! Blobs: whole, in part, or broken on purpose.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderValue};
use http::{HeaderMap, StatusCode, header};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::Served;
use super::answer::{self, Refusal};
use super::faults::HubFaults;
use super::range::{Wanted, wanted};
use super::repository::Repository;
use super::uploads::digest;
use crate::content::Store;
use crate::oci::Digest;

/// Bytes read from the disk at once: large enough that the hand-over between threads does not count.
const PIECE: usize = 256 * 1024;
const OCTETS: &str = "application/octet-stream";

/// `GET` (`with_body`) and `HEAD`: of a blob that the repository has.
pub(super) fn get(
    hub: &Served,
    repository: &Repository,
    name: &str,
    headers: &HeaderMap,
    with_body: bool,
) -> Result<Response, Refusal> {
    let digest = digest(name)?;
    if !repository.has_blob(&hub.store, &digest)? {
        return Err(Refusal::BlobUnknown);
    }
    serve(hub, &digest, headers, with_body)
}

/// `DELETE`: takes the blob out of the repository. One that a manifest there names stays: an image is whole.
pub(super) fn delete(hub: &Served, repository: &Repository, name: &str) -> Result<Response, Refusal> {
    let digest = digest(name)?;
    if repository.names_blob(&hub.store, &digest)? {
        return Err(Refusal::Unsupported("a manifest names this blob; delete the manifest first".into()));
    }
    if !repository.remove_blob(&hub.store, &digest)? {
        return Err(Refusal::BlobUnknown);
    }
    hub.collect();
    Ok(answer::bare(StatusCode::ACCEPTED, &[]))
}

fn serve(hub: &Served, digest: &Digest, headers: &HeaderMap, with_body: bool) -> Result<Response, Refusal> {
    let size = hub.store.size(digest).ok_or(Refusal::BlobUnknown)?;
    if headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == answer::etag(digest).as_bytes()) {
        let mut response = answer::content(digest, OCTETS, 0, Body::empty());
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    // RFC 9110: a Range means something for GET only.
    let range = headers.get(header::RANGE).and_then(|v| v.to_str().ok()).filter(|_| with_body);
    let (status, first, last) = match wanted(range, size) {
        Wanted::All => (StatusCode::OK, 0, size.checked_sub(1)),
        Wanted::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, Some(last)),
        Wanted::Unsatisfiable => {
            let mut response = Refusal::RangeInvalid.answer();
            set_range(&mut response, &format!("bytes */{size}"));
            return Ok(response);
        }
    };
    let length = last.map_or(0, |last| last - first + 1);
    let body = match (with_body, length) {
        (false, _) | (_, 0) => Body::empty(),
        (true, _) => match open(&hub.store, digest, first) {
            Ok(file) => body(file, hub, digest, Part { first, length, size }),
            Err(_) => return Err(Refusal::BlobUnknown),
        },
    };
    let mut response = answer::content(digest, OCTETS, length, body);
    *response.status_mut() = status;
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        set_range(&mut response, &format!("bytes {first}-{}/{size}", first + length - 1));
    }
    Ok(response)
}

/// The bytes of a blob of `size` bytes that an answer carries.
#[derive(Clone, Copy)]
struct Part {
    first: u64,
    length: u64,
    size: u64,
}

fn open(store: &Store, digest: &Digest, first: u64) -> io::Result<File> {
    let mut file = store.open_blob(digest)?;
    file.seek(SeekFrom::Start(first))?;
    Ok(file)
}

fn set_range(response: &mut Response, range: &str) {
    answer::set(response, CONTENT_RANGE, range);
}

fn body(file: File, hub: &Served, digest: &Digest, part: Part) -> Body {
    let faults = hub.faults.as_deref().map(HubFaults::read).unwrap_or_default();
    let file = tokio::fs::File::from_std(file);
    let is = |fault: &Option<Digest>| fault.as_ref() == Some(digest);
    if is(&faults.truncate) {
        let until = (part.size / 2).saturating_sub(part.first).min(part.length);
        let cut = stream::once(async {
            // An error ends the connection at once: what came before it must be on its way by then.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            Err(io::Error::other("cut on purpose (faults.json)"))
        });
        return Body::from_stream(ReaderStream::with_capacity(file.take(until), PIECE).chain(cut));
    }
    let bytes = ReaderStream::with_capacity(file.take(part.length), PIECE);
    if is(&faults.corrupt) && part.first == 0 {
        let mut at_start = true;
        return Body::from_stream(
            bytes
                .map(move |piece| piece.map(|bytes| if std::mem::take(&mut at_start) { spoil(&bytes) } else { bytes })),
        );
    }
    Body::from_stream(bytes)
}

fn spoil(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(first) = bytes.first_mut() {
        *first ^= 0xff;
    }
    bytes.into()
}
