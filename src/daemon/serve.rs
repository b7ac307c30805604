//! Connections: HTTP/1.1 on the unix socket, until somebody asks the daemon to end.

use super::answer::{Answer, Refusal};
use crate::api::version;
use crate::trace;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tower::ServiceExt as _;
use tracing::Instrument as _;

/// Longest request body in bytes, where it is a JSON document.
const MAX_BODY: usize = 8 << 20;
/// Pieces of a long body that wait for their handler.
const PIECES: usize = 4;
/// After accepting failed (too many open files) it is tried again so much later.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `end` is ready.
pub async fn serve(listener: UnixListener, router: Router, end: impl Future<Output = ()>) {
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, router.clone()));
                }
                Err(_) => tokio::time::sleep(AFTER_FAILURE).await,
            },
        }
    }
}

async fn connection(stream: UnixStream, router: Router) {
    let service = service_fn(move |request| {
        let router = router.clone();
        async move { Ok::<_, Infallible>(request_answer(request, router).await) }
    });
    // A client that goes away in the middle is its own affair.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

/// One request: its body is read to its end whatever the handler wants (a client that still writes while we answer gets
/// `broken pipe`), its version is checked, and it runs within its sender's explanation.
async fn request_answer(request: Request<Incoming>, router: Router) -> Response {
    let mut response = match prepare(request).await {
        Ok(request) => {
            let span = span_of(&request);
            let answered = router.oneshot(request).instrument(span).await;
            answered.unwrap_or_else(|never: Infallible| match never {})
        }
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert("api-version", HeaderValue::from_static(API_VERSION));
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert("server", HeaderValue::from_static(SERVER));
    response
}

/// [`version::MAX`] as text (a test keeps them equal).
const API_VERSION: &str = "1.47";
const SERVER: &str = concat!("rdock/", env!("CARGO_PKG_VERSION"), " (linux)");

async fn prepare(request: Request<Incoming>) -> Result<Request<Body>, Refusal> {
    let (mut parts, body) = request.into_parts();
    let (asked, path) = version::split_prefix(parts.uri.path());
    let body = if is_archive(&parts.method, path, parts.uri.query()) {
        in_pieces(body)
    } else {
        Body::from(Limited::new(body, MAX_BODY).collect().await.map_err(Refusal::bad)?.to_bytes())
    };
    if let Some(asked) = asked {
        asked.check().map_err(Refusal::bad)?;
        let rest = match parts.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        parts.uri = rest.parse::<Uri>().map_err(Refusal::bad)?;
    }
    parts.extensions.insert(Asked(asked.unwrap_or(version::MAX)));
    Ok(Request::from_parts(parts, body))
}

/// Requests that bring a tar archive of any length: their handlers get it as it comes.
fn is_archive(method: &Method, path: &str, query: Option<&str>) -> bool {
    match path {
        "/images/load" => true,
        "/images/create" => query.is_some_and(|q| q.split('&').any(|p| p.starts_with("fromSrc="))),
        path => method == Method::PUT && path.starts_with("/containers/") && path.ends_with("/archive"),
    }
}

/// A body that is read piece by piece, no faster than its handler takes it; when the handler has had enough the rest is
/// thrown away.
fn in_pieces(mut body: Incoming) -> Body {
    let (pieces, handler) = tokio::sync::mpsc::channel(PIECES);
    let reading = async move {
        while let Some(frame) = body.frame().await {
            let piece = match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => Ok(data),
                Ok(Err(_trailers)) => continue,
                Err(error) => Err(error),
            };
            let _ = pieces.send(piece).await;
        }
    };
    tokio::spawn(reading.in_current_span());
    Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(handler))
}

/// The version of the API that a request is made in.
#[derive(Debug, Clone, Copy)]
pub struct Asked(pub version::ApiVersion);

fn span_of(request: &Request<Body>) -> tracing::Span {
    let parent = request.headers().get("traceparent").and_then(|v| v.to_str().ok());
    match parent.and_then(|p| p.parse::<trace::TraceParent>().ok()) {
        Some(parent) => trace::request_span(&parent.trace.to_string(), Some(&parent.span.to_string())),
        None => tracing::Span::none(),
    }
}

/// What is no route.
pub async fn not_found() -> Answer {
    Err(Refusal::not_found("page not found"))
}

/// Ready when the daemon is asked to end: SIGTERM or SIGINT.
pub async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// For handlers that have nothing to say.
pub fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_announced() {
        assert_eq!(API_VERSION, version::MAX.to_string());
    }
}
