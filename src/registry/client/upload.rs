//! The other way: blobs and manifests to a registry ([distribution-spec, push]).
//!
//! ```text
//! HEAD blobs/<digest>                      200: there already
//! POST blobs/uploads/?mount=<digest>&from=<repository>   201: it has taken the one of the other repository
//! POST blobs/uploads/                      202, Location: where to send it
//! PUT <location>?digest=<digest>           small ones whole
//! PATCH <location>  Content-Range: 0-…     large ones in pieces, then PUT without a body
//! PUT manifests/<tag>                      last: what a tag names is whole
//! ```
//!
//! [distribution-spec, push]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE};
use http::{Method, StatusCode};
use oci_spec::image::Descriptor;
use serde_json::json;

use super::endpoint::{Endpoint, encode, join};
use super::error::RegistryError;
use super::exchange::{Answer, Ask, bad, drain, parse};
use super::login::Purpose;
use super::patience::Patience;
use super::sending::{FilePart, Sending, Sent};
use super::{Client, Inner, tell};
use crate::oci::{Digest, Reference, media};

/// Told how many bytes of a blob have gone; from any thread.
pub type Told = Arc<dyn Fn(u64) + Send + Sync>;

/// How a blob came to be in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    Exists,
    /// Taken over from this repository of the same registry.
    Mounted(String),
    Pushed,
}

/// One blob on its way.
struct Upload<'a> {
    inner: &'a Inner,
    endpoint: &'a Endpoint,
    reference: &'a Reference,
    digest: String,
    size: u64,
    path: &'a Path,
    told: &'a Told,
}

/// An open upload: where the next piece goes, and how many bytes are there.
struct Session {
    location: String,
    offset: u64,
}

impl Client {
    /// The registry that the reference names, never a mirror: where everything of one push goes.
    pub async fn destination(&self, reference: &Reference) -> Result<Endpoint, RegistryError> {
        let endpoint = self.inner.home(reference).await?;
        self.inner.base(reference, &endpoint, Purpose::Push).await?;
        Ok(endpoint)
    }

    /// Sees to it that the repository has the blob, which is the file `path`. `from`: a repository of the same
    /// registry that may have it.
    pub async fn push_blob(
        &self,
        reference: &Reference,
        to: &Endpoint,
        blob: &Descriptor,
        path: &Path,
        from: Option<&str>,
        told: &Told,
    ) -> Result<Placed, RegistryError> {
        let (inner, digest) = (&*self.inner, blob.digest().to_string());
        let upload = Upload { inner, endpoint: to, reference, digest, size: blob.size(), path, told };
        if upload.exists().await? {
            return Ok(Placed::Exists);
        }
        let mut patience = Patience::new(&inner.config);
        let mut cuts = 0;
        loop {
            let placed = upload.place(from).await;
            match placed {
                Err(error @ (RegistryError::Unreachable { .. } | RegistryError::Truncated { .. })) => {
                    if cuts >= inner.config.retries {
                        return Err(error);
                    }
                    tokio::time::sleep(inner.config.backoff * 2u32.saturating_pow(cuts)).await;
                    cuts += 1;
                }
                Err(error) if patience.again(&error).await => {}
                placed => return placed,
            }
        }
    }

    /// Gives the repository a manifest or an index under `part`, a tag or its digest.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        to: &Endpoint,
        part: &str,
        media_type: &str,
        bytes: &Bytes,
    ) -> Result<Digest, RegistryError> {
        let mut patience = Patience::new(&self.inner.config);
        loop {
            match self.inner.put_manifest(reference, to, part, media_type, bytes).await {
                Err(error) if patience.again(&error).await => {}
                answer => return answer,
            }
        }
    }
}

impl Inner {
    async fn put_manifest(
        &self,
        reference: &Reference,
        to: &Endpoint,
        part: &str,
        media_type: &str,
        bytes: &Bytes,
    ) -> Result<Digest, RegistryError> {
        let why = "the manifest goes last: whoever finds the name finds the whole image";
        let thing = format!("manifests/{part}");
        let mut ask = Ask::get("registry.manifest.put", why, to, reference, &thing).pushing(Method::PUT);
        ask = ask.header(CONTENT_TYPE, media_type);
        ask.body = Sending::Bytes(bytes.clone());
        let answer = self.ask(&ask).await?;
        if answer.response.status() != StatusCode::CREATED {
            return Err(self.refused(&ask, answer, &format!("manifest {part}")).await);
        }
        let digest = Digest::of(bytes);
        let Answer { step, response, url, .. } = answer;
        let announced =
            response.headers().get("docker-content-digest").and_then(|v| v.to_str().ok()).map(str::to_owned);
        drain(response).await;
        if let Some(other) = announced.filter(|d| d != digest.as_str()) {
            let cause = format!("the manifest {digest} became {} there", super::error::printable(&other));
            let error = RegistryError::BadAnswer { url, cause };
            step.fail(error.code(), &error, || error.to_string());
            return Err(error);
        }
        step.ok(json!({"status": 201, "digest": digest}), || {
            format!("201, {} {}", media::spoken(media_type), digest.as_str().get(..19).unwrap_or_default())
        });
        Ok(digest)
    }
}

impl<'a> Upload<'a> {
    fn ask(&self, op: &'static str, why: &'static str, method: Method, url: String) -> Ask<'a> {
        let mut ask = Ask::get(op, why, self.endpoint, self.reference, "").pushing(method);
        ask.url = url;
        ask
    }

    fn at(&self, thing: &str) -> String {
        format!("{}/v2/{}/blobs/{thing}", self.endpoint.url(), self.reference.path())
    }

    async fn refused(&self, ask: &Ask<'_>, answer: Answer) -> RegistryError {
        self.inner.refused(ask, answer, &format!("blob {}", self.digest)).await
    }

    async fn exists(&self) -> Result<bool, RegistryError> {
        let why = "a blob that is there already is not sent again";
        let ask = self.ask("registry.blob.head", why, Method::HEAD, self.at(&self.digest));
        let mut patience = Patience::new(&self.inner.config);
        loop {
            let answer = self.inner.ask(&ask).await?;
            let known = match answer.response.status() {
                StatusCode::OK => true,
                StatusCode::NOT_FOUND => false,
                _ => {
                    let error = self.refused(&ask, answer).await;
                    if patience.again(&error).await {
                        continue;
                    }
                    return Err(error);
                }
            };
            let status = answer.response.status().as_u16();
            drain(answer.response).await;
            answer.step.ok(json!({"status": status}), || match known {
                true => "200, it is there already".to_owned(),
                false => "404, it is not there yet".to_owned(),
            });
            return Ok(known);
        }
    }

    /// Mounts it or sends it, from the beginning.
    async fn place(&self, from: Option<&str>) -> Result<Placed, RegistryError> {
        let mut session = match self.begin(from).await? {
            Ok(session) => session,
            Err(repository) => return Ok(Placed::Mounted(repository)),
        };
        if self.size > self.inner.config.upload_piece {
            while session.offset < self.size {
                session = self.piece(session).await?;
            }
        }
        self.end(session).await?;
        Ok(Placed::Pushed)
    }

    /// Opens an upload; `Err` with the repository if the blob could be taken over from there.
    async fn begin(&self, from: Option<&str>) -> Result<Result<Session, String>, RegistryError> {
        let (url, why) = match from {
            Some(from) => (
                self.at(&format!("uploads/?mount={}&from={}", encode(&self.digest), encode(from))),
                "another repository there may have it: then nothing has to be sent",
            ),
            None => (self.at("uploads/"), "the registry says where a blob is to be sent"),
        };
        let mut ask = self.ask("registry.upload.begin", why, Method::POST, url);
        ask.scopes.extend(from.map(|from| format!("repository:{from}:pull")));
        let answer = self.inner.ask(&ask).await?;
        match (answer.response.status(), from) {
            (StatusCode::CREATED, Some(from)) => {
                drain(answer.response).await;
                answer.step.ok(json!({"status": 201}), || format!("201, mounted from {from}"));
                Ok(Err(from.to_owned()))
            }
            (StatusCode::ACCEPTED, _) => Ok(Ok(self.opened(answer, &ask, 0).await?)),
            _ => Err(self.refused(&ask, answer).await),
        }
    }

    /// The session after an answer that has said where to go on.
    async fn opened(&self, answer: Answer, ask: &Ask<'_>, offset: u64) -> Result<Session, RegistryError> {
        let Answer { step, response, .. } = answer;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        drain(response).await;
        let base = parse(&ask.url)?;
        let location = headers.get(LOCATION).and_then(|v| v.to_str().ok()).and_then(|l| join(&base, l));
        match location {
            Some(location) if !(base.scheme_str() == Some("https") && location.scheme_str() != Some("https")) => {
                step.ok(json!({"status": status, "offset": offset}), || match offset {
                    0 => format!("{status}, it may be sent"),
                    _ => format!("{status}, {} of {} are there", tell::size(offset), tell::size(self.size)),
                });
                Ok(Session { location: location.to_string(), offset })
            }
            _ => {
                let error = bad(&base, "it does not say where the blob is to be sent");
                step.fail(error.code(), &error, || error.to_string());
                Err(error)
            }
        }
    }

    fn part(&self, from: u64, length: u64) -> Sending {
        let told = self.told.clone();
        let sent = Arc::new(Sent { count: AtomicU64::new(0), tell: Box::new(move |at| told(at)) });
        Sending::File(FilePart { path: self.path.to_owned(), from, length, sent })
    }

    /// Sends the next piece. A cut is taken up where the registry says that it was.
    async fn piece(&self, session: Session) -> Result<Session, RegistryError> {
        let length = self.inner.config.upload_piece.min(self.size - session.offset);
        let last = session.offset + length - 1;
        let why = "a large blob goes in pieces: a cut connection costs one of them";
        let mut ask = self.ask("registry.upload.patch", why, Method::PATCH, session.location.clone());
        ask = ask.header(CONTENT_TYPE, "application/octet-stream");
        ask = ask.header(CONTENT_RANGE, &format!("{}-{last}", session.offset));
        ask.body = self.part(session.offset, length);
        let answer = match self.inner.ask(&ask).await {
            Err(RegistryError::Unreachable { .. }) => return self.resume(&session).await,
            answer => answer?,
        };
        match answer.response.status() {
            StatusCode::ACCEPTED => {
                let offset = received(answer.response.headers()).unwrap_or(last + 1);
                if offset <= session.offset || offset > last + 1 {
                    return Err(bad(&parse(&ask.url)?, "it counts other bytes than the ones that were sent"));
                }
                self.opened(answer, &ask, offset).await
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                drain(answer.response).await;
                answer.step.ok(json!({"status": 416}), || "416, it has other bytes than we think".to_owned());
                self.resume(&session).await
            }
            _ => Err(self.refused(&ask, answer).await),
        }
    }

    /// Asks how far an upload has come.
    async fn resume(&self, session: &Session) -> Result<Session, RegistryError> {
        let why = "the connection was cut: the registry knows how much has arrived";
        let ask = self.ask("registry.upload.get", why, Method::GET, session.location.clone());
        let answer = self.inner.ask(&ask).await?;
        let arrived =
            received(answer.response.headers()).filter(|_| answer.response.status() == StatusCode::NO_CONTENT);
        let cut = || RegistryError::Truncated {
            what: format!("blob {}", self.digest),
            url: answer.url.clone(),
            expected: self.size,
            received: session.offset,
            cause: " (the connection was cut, and the upload is gone)".to_owned(),
        };
        match arrived {
            // Not one byte further: the whole upload is made again, and that is counted. (`0-0` is what some registries
            // say of nothing.)
            Some(offset) if offset > session.offset.max(1) && offset <= self.size => {
                self.opened(answer, &ask, offset).await
            }
            _ => {
                let error = cut();
                let Answer { step, response, .. } = answer;
                drain(response).await;
                step.fail(error.code(), &error, || error.to_string());
                Err(error)
            }
        }
    }

    /// The last request: what has not been sent yet, and the digest that all of it must have.
    async fn end(&self, session: Session) -> Result<(), RegistryError> {
        let mark = if session.location.contains('?') { '&' } else { '?' };
        let url = format!("{}{mark}digest={}", session.location, encode(&self.digest));
        let why = "the registry keeps the blob if it has the digest that we say";
        let mut ask = self.ask("registry.blob.put", why, Method::PUT, url);
        ask = ask.header(CONTENT_TYPE, "application/octet-stream");
        ask.body = match self.size - session.offset {
            0 => Sending::Bytes(Bytes::new()),
            rest => self.part(session.offset, rest),
        };
        let answer = self.inner.ask(&ask).await?;
        if answer.response.status() != StatusCode::CREATED {
            return Err(self.refused(&ask, answer).await);
        }
        drain(answer.response).await;
        answer.step.ok(json!({"status": 201, "size": self.size}), || format!("201, {}", tell::size(self.size)));
        Ok(())
    }
}

/// How many bytes are there: `Range: 0-99` is a hundred. Some registries write `bytes=0-99`.
fn received(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    let last: u64 = range.trim_start_matches("bytes=").split_once('-')?.1.parse().ok()?;
    Some(last + 1)
}
