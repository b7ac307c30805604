//! `POST /containers/{id}/attach`: the connection stops speaking HTTP and carries the container's streams.
//!
//! A client that sends `Upgrade: tcp` gets 101 and both directions. One that does not (the API of before 1.20) gets
//! 200 and the output until its end, without a length and without chunks.

use super::query::{Params, flag, text};
use crate::api::detach::{DetachKeys, Watch};
use crate::api::version::ApiVersion;
use crate::containers::AttachOptions;
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal};
use crate::daemon::serve::Asked;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use axum::routing::post;
use http::{HeaderValue, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_util::io::ReaderStream;

/// From this version on the type of the content tells whether both outputs are in it.
const NAMES_FRAMING: ApiVersion = ApiVersion { major: 1, minor: 42 };

pub fn routes() -> Router<Engine> {
    Router::new().route("/containers/{id}/attach", post(attach))
}

async fn attach(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    Query(params): Query<Params>,
    request: Request,
) -> Answer {
    let asks = |name| flag(&params, name);
    let options = AttachOptions {
        stdin: asks("stdin"),
        stdout: asks("stdout"),
        stderr: asks("stderr"),
        stream: asks("stream"),
        logs: asks("logs"),
    };
    let keys = keys(text(&params, "detachKeys"), "detach")?;
    let record = engine.containers.record(&id)?;
    let framed = !record.config.tty.unwrap_or(false);
    let container = engine.containers.attach(&id, options).await?;
    let content_type = content_type(framed, request.extensions().get::<Asked>().copied());
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let mut response = match upgrade {
        true => {
            let containers = engine.containers.clone();
            let left = move || containers.left(&record.id);
            upgraded(request, container, (!framed && options.stdin).then(|| Leave::new(keys, left)))
        }
        false => output_only(container),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// The type of a stream of outputs.
pub(super) fn content_type(framed: bool, asked: Option<Asked>) -> &'static str {
    match framed && asked.is_some_and(|asked| asked.0 >= NAMES_FRAMING) {
        true => "application/vnd.docker.multiplexed-stream",
        false => "application/vnd.docker.raw-stream",
    }
}

/// `ctrl-p,ctrl-q` and the like; none: the usual keys. `what` is Docker's word for them, which differs by the call.
pub(super) fn keys(asked: Option<&str>, what: &str) -> Result<DetachKeys, Refusal> {
    let parse = |keys: &str| DetachKeys::parse(keys).ok();
    asked
        .filter(|keys| !keys.is_empty())
        .map_or_else(|| Some(DetachKeys::default()), parse)
        .ok_or_else(|| Refusal::bad(format!("Invalid {what} keys ({}) provided", asked.unwrap_or_default())))
}

/// How a client leaves a terminal: by keys that the container never sees, and after which somebody is told.
pub(super) struct Leave {
    watch: Watch,
    told: Box<dyn FnOnce() + Send>,
}

impl Leave {
    pub fn new(keys: DetachKeys, told: impl FnOnce() + Send + 'static) -> Leave {
        Leave { watch: Watch::new(keys), told: Box::new(told) }
    }
}

pub(super) fn upgraded(mut request: Request, container: UnixStream, leave: Option<Leave>) -> Response {
    tokio::spawn(carry(hyper::upgrade::on(&mut request), container, leave));
    upgraded_response()
}

/// 101: from here on the connection is not HTTP.
pub(super) fn upgraded_response() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.extensions_mut().insert(ReasonPhrase::from_static(b"UPGRADED"));
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    response
}

/// An answer of HTTP/1.0 has neither length nor chunks: it ends with the connection.
pub(super) fn output_only(container: UnixStream) -> Response {
    let mut response = Response::new(Body::from_stream(ReaderStream::new(container)));
    *response.version_mut() = Version::HTTP_10;
    response
}

/// Carries both directions, each to its own end: a client that has no more input still gets all the output.
async fn carry(upgrade: OnUpgrade, container: UnixStream, leave: Option<Leave>) {
    let Ok(upgraded) = upgrade.await else { return };
    match upgraded.downcast::<TokioIo<UnixStream>>() {
        Ok(parts) => both_ways(&parts.read_buf, parts.io.into_inner(), container, leave).await,
        Err(upgraded) => both_ways(&[], TokioIo::new(upgraded), container, leave).await,
    }
}

/// `first` is what the client sent right behind its request, and was read with it.
async fn both_ways(
    first: &[u8],
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    mut container: UnixStream,
    leave: Option<Leave>,
) {
    match leave {
        Some(leave) => until_left(first, client, container, leave).await,
        None => {
            if container.write_all(first).await.is_ok() {
                // One of them went away in the middle: nobody is left to be told.
                let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut container, CHUNK, CHUNK).await;
            }
        }
    }
}

/// As above, and to the end of both at once when the keys were typed.
async fn until_left(first: &[u8], client: impl AsyncRead + AsyncWrite + Unpin, container: UnixStream, leave: Leave) {
    let Leave { watch, told } = leave;
    let (typed, mut shown) = tokio::io::split(client);
    let (mut output, input) = container.into_split();
    let show = async {
        let _ = tokio::io::copy(&mut output, &mut shown).await;
        let _ = shown.shutdown().await;
    };
    let typing = type_in(first, typed, input, watch);
    tokio::pin!(show, typing);
    let left = tokio::select! {
        left = &mut typing => {
            if !left {
                show.await;
            }
            left
        }
        () = &mut show => typing.await,
    };
    if left {
        told();
    }
}

/// Whether the keys were typed; false: the input has ended.
async fn type_in(
    first: &[u8],
    mut typed: impl AsyncRead + Unpin,
    mut input: impl AsyncWrite + Unpin,
    mut watch: Watch,
) -> bool {
    let (mut bytes, mut passed) = (first.to_vec(), Vec::new());
    loop {
        passed.clear();
        let left = watch.feed(&bytes, &mut passed);
        // A container that has closed its input is no error: its output tells how it ended.
        if input.write_all(&passed).await.is_err() || left {
            return left;
        }
        bytes.clear();
        bytes.reserve(CHUNK);
        if !typed.read_buf(&mut bytes).await.is_ok_and(|n| n > 0) {
            let _ = input.write_all(watch.rest()).await;
            let _ = input.shutdown().await;
            return false;
        }
    }
}

/// Bytes that are carried at a time.
const CHUNK: usize = 32 * 1024;
