//! Blobs: long streams that may be cut, and go on where they were cut.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use oci_spec::image::Descriptor;
use serde_json::json;
use tracing::Instrument as _;

use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::exchange::{Answer, Ask, cut_reason};
use super::{Inner, patience, tell};
use crate::oci::{Reference, media};
use crate::trace::Step;

/// After this much progress the retries count from the beginning.
const PROGRESS: u64 = 64 * 1024;

/// The bytes of a blob, in order, each once: as many as the descriptor says, or an error at the end.
/// Whether they are the *right* bytes is for the reader to check, who sees them pass anyway.
pub struct BlobStream {
    inner: Pin<Box<dyn Stream<Item = Result<Bytes, RegistryError>> + Send>>,
    size: u64,
}

impl BlobStream {
    /// The size of the whole blob in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes, RegistryError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobStream").field("size", &self.size).finish_non_exhaustive()
    }
}

/// A download under way.
struct Download {
    inner: Arc<Inner>,
    reference: Reference,
    endpoint: Endpoint,
    what: String,
    why: &'static str,
    digest: String,
    size: u64,
    received: u64,
    failures: u32,
    /// What `received` was at the first of these failures.
    stuck_at: u64,
    context: tracing::Span,
    open: Option<Open>,
}

/// One exchange whose body is being read.
struct Open {
    body: Incoming,
    step: Step,
    status: u16,
    url: String,
    /// Bytes that we have already, from a server that does not know Range.
    skip: u64,
}

impl Inner {
    pub(super) async fn blob(
        self: &Arc<Inner>,
        reference: &Reference,
        descriptor: &Descriptor,
        endpoint: &Endpoint,
    ) -> Result<BlobStream, RegistryError> {
        let is_layer = media::layer_compression(descriptor.media_type().as_ref()).is_some();
        let mut download = Download {
            inner: Arc::clone(self),
            reference: reference.clone(),
            endpoint: endpoint.clone(),
            what: format!("blob {}", descriptor.digest()),
            why: if is_layer {
                "a layer holds the files that one step of the build added"
            } else {
                "the config says how to run the image and which layers it is made of"
            },
            digest: descriptor.digest().to_string(),
            size: descriptor.size(),
            received: 0,
            failures: 0,
            stuck_at: 0,
            context: tracing::Span::current(),
            open: None,
        };
        // The head of the answer is awaited here, so that "no such blob" is told before any byte.
        download.reopen().await?;
        let inner = stream::try_unfold(download, |mut download| async move {
            let context = download.context.clone();
            let piece = download.next().instrument(context).await?;
            Ok(piece.map(|bytes| (bytes, download)))
        });
        Ok(BlobStream { inner: Box::pin(inner), size: descriptor.size() })
    }
}

impl Download {
    /// The next piece; `None` when the blob is whole.
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let Some(open) = &mut self.open else {
                self.reopen().await?;
                continue;
            };
            let idle = self.inner.transport.limits().idle;
            let frame = tokio::time::timeout(idle, open.body.frame()).await;
            let cut = match frame {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => match self.take(data)? {
                        Some(bytes) => return Ok(Some(bytes)),
                        None => continue,
                    },
                    Err(_trailers) => continue,
                },
                Ok(None) if self.received == self.size => {
                    self.finish();
                    return Ok(None);
                }
                Ok(None) => "the connection was closed".to_owned(),
                Ok(Some(Err(e))) => cut_reason(&e),
                Err(_) => format!("nothing for {} seconds", idle.as_secs()),
            };
            self.cut(cut).await?;
        }
    }

    /// Counts a piece, without what we had before.
    fn take(&mut self, mut data: Bytes) -> Result<Option<Bytes>, RegistryError> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        let known = open.skip.min(data.len() as u64);
        open.skip -= known;
        let data = data.split_off(known as usize);
        self.received += data.len() as u64;
        if self.received > self.size {
            let url = open.url.clone();
            let error = self.too_large(url);
            if let Some(open) = self.open.take() {
                open.step.fail(error.code(), &error, || error.to_string());
            }
            return Err(error);
        }
        Ok(Some(data).filter(|d| !d.is_empty()))
    }

    fn finish(&mut self) {
        if let Some(open) = self.open.take() {
            let size = self.size;
            open.step
                .ok(json!({"status": open.status, "size": size}), || format!("{}, {}", open.status, tell::size(size)));
        }
    }

    /// The connection broke: tells it, waits, and lets the caller go on; an error when it broke too often.
    async fn cut(&mut self, cause: String) -> Result<(), RegistryError> {
        let url = match self.open.take() {
            Some(open) => {
                let (received, size) = (self.received, self.size);
                open.step.fail("EPIPE", &cause, || format!("{cause} after {received} of {size} bytes"));
                open.url
            }
            None => self.endpoint.url().to_owned(),
        };
        let error = RegistryError::Truncated {
            what: self.what.clone(),
            url,
            expected: self.size,
            received: self.received,
            cause: format!(" ({cause})"),
        };
        self.back_off(error).await
    }

    /// Waits before the next try: 1, 2, 4 … times the configured delay. `error` when there is no next try.
    async fn back_off(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        if self.received >= self.stuck_at + PROGRESS {
            (self.failures, self.stuck_at) = (0, self.received);
        }
        if self.failures >= self.inner.config.retries {
            return Err(error);
        }
        let failures = self.failures;
        self.failures += 1;
        match error {
            RegistryError::Busy { .. } | RegistryError::RateLimited { .. } => {
                let Some(delay) = patience::wait(&self.inner.config, &error, failures) else { return Err(error) };
                patience::tell_and_wait(&error, delay).await;
            }
            _ => tokio::time::sleep(self.inner.config.backoff * 2u32.saturating_pow(failures)).await,
        }
        Ok(())
    }

    /// Asks for the rest, as often as it makes sense.
    async fn reopen(&mut self) -> Result<(), RegistryError> {
        loop {
            match self.try_open().await {
                Ok(open) => {
                    self.open = Some(open);
                    return Ok(());
                }
                Err(error) if error.is_silence() => self.back_off(error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_open(&self) -> Result<Open, RegistryError> {
        let thing = format!("blobs/{}", self.digest);
        let mut ask = Ask::get("registry.blob.get", self.why, &self.endpoint, &self.reference, &thing);
        if self.received > 0 {
            ask = ask.header(RANGE, &format!("bytes={}-", self.received));
        }
        let answer = self.inner.ask(&ask).await?;
        let status = answer.response.status();
        if !matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Err(self.inner.refused(&ask, answer, &self.what).await);
        }
        let Answer { step, response, url, .. } = answer;
        match self.check_head(status, response.headers(), &url) {
            Ok(skip) => Ok(Open { body: response.into_body(), step, status: status.as_u16(), url, skip }),
            Err(error) => {
                step.fail(error.code(), &error, || error.to_string());
                Err(error)
            }
        }
    }

    /// Whether the answer is about the bytes that were asked for; how many of them we have already.
    fn check_head(&self, status: StatusCode, headers: &HeaderMap, url: &str) -> Result<u64, RegistryError> {
        let bad = |cause: &str| RegistryError::BadAnswer { url: url.to_owned(), cause: cause.to_owned() };
        let partial = status == StatusCode::PARTIAL_CONTENT;
        if partial {
            let range = headers.get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).and_then(first_byte);
            if range != Some(self.received) {
                return Err(bad("another range than the one asked for"));
            }
        }
        let skip = if partial { 0 } else { self.received };
        let expected = self.size - (self.received - skip);
        match super::content_length(headers) {
            Some(length) if length > expected => Err(self.too_large(url.to_owned())),
            Some(length) if length < expected => Err(RegistryError::Truncated {
                what: self.what.clone(),
                url: url.to_owned(),
                expected: self.size,
                received: self.size - expected + length,
                cause: " (the registry announces no more)".to_owned(),
            }),
            _ => Ok(skip),
        }
    }

    fn too_large(&self, url: String) -> RegistryError {
        RegistryError::TooLarge { what: self.what.clone(), url, limit: self.size }
    }
}

/// The first position of `bytes 5-9/10` (RFC 9110 section 14.4).
fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}
