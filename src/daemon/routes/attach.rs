//! `POST /containers/{id}/attach`: the connection stops speaking HTTP and carries the container's streams.
//!
//! A client that sends `Upgrade: tcp` gets 101 and both directions. One that does not (the API of before 1.20) gets
//! 200 and the output until its end, without a length and without chunks.

use super::query::{Params, flag};
use crate::api::version::ApiVersion;
use crate::containers::AttachOptions;
use crate::daemon::Engine;
use crate::daemon::answer::Answer;
use crate::daemon::serve::Asked;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use axum::routing::post;
use http::{HeaderValue, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
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
    let framed = !engine.containers.record(&id)?.config.tty.unwrap_or(false);
    let container = engine.containers.attach(&id, options).await?;
    let content_type = content_type(framed, request.extensions().get::<Asked>().copied());
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let mut response = match upgrade {
        true => upgraded(request, container),
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

pub(super) fn upgraded(mut request: Request, container: UnixStream) -> Response {
    tokio::spawn(carry(hyper::upgrade::on(&mut request), container));
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
async fn carry(upgrade: OnUpgrade, mut container: UnixStream) {
    let Ok(upgraded) = upgrade.await else { return };
    match upgraded.downcast::<TokioIo<UnixStream>>() {
        Ok(parts) => {
            // What the client sent right behind its request has been read already.
            if container.write_all(&parts.read_buf).await.is_ok() {
                both_ways(parts.io.into_inner(), container).await;
            }
        }
        Err(upgraded) => any_way(upgraded, container).await,
    }
}

async fn both_ways(mut client: UnixStream, mut container: UnixStream) {
    // One of them went away in the middle: nobody is left to be told.
    let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut container, CHUNK, CHUNK).await;
}

async fn any_way(client: Upgraded, mut container: UnixStream) {
    let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut container).await;
}

/// Bytes that are carried at a time.
const CHUNK: usize = 32 * 1024;
