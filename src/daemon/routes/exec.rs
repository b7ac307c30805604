//! `POST /containers/{id}/exec` and `/exec/{id}/…`: more processes in a container that runs.
//!
//! Once the connection was taken over, a command that can't be run is told as the client's own output: the status of
//! the answer has been sent, or soon will be, and clients look for the exit status afterwards (as moby has it).

use super::attach::{Leave, content_type, keys, output_only, upgraded};
use super::query::{Params, number};
use crate::api::stdcopy::{self, Stream};
use crate::containers::{ContainerError, ExecError};
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, empty, json};
use crate::daemon::serve::Asked;
use crate::oci::ErrorKind;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::routing::{get, post};
use bollard_stubs::models::{ExecConfig, ExecStartConfig};
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use tokio::net::UnixStream;

pub fn routes() -> Router<Engine> {
    Router::new()
        .route("/containers/{id}/exec", post(create))
        .route("/exec/{id}/start", post(start))
        .route("/exec/{id}/resize", post(resize))
        .route("/exec/{id}/json", get(inspect))
}

/// `POST /containers/{id}/exec`
async fn create(State(engine): State<Engine>, Path(id): Path<String>, body: Bytes) -> Answer {
    if body.is_empty() {
        return Err(Refusal::bad("EOF"));
    }
    let config: ExecConfig = serde_json::from_slice(&body).map_err(Refusal::bad)?;
    keys(config.detach_keys.as_deref(), "escape")?;
    let id = engine.containers.exec_create(&id, config).await?;
    Ok(json(StatusCode::CREATED, &json!({"Id": id})))
}

/// `GET /exec/{id}/json`
async fn inspect(State(engine): State<Engine>, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.containers.exec_inspect(&id)?))
}

/// `POST /exec/{id}/resize?h=&w=`
async fn resize(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    let (height, width) = (number(&params, "h")?.unwrap_or(0), number(&params, "w")?.unwrap_or(0));
    engine.containers.exec_resize(&id, width, height).await?;
    Ok(empty(StatusCode::OK))
}

/// `POST /exec/{id}/start`: in the background, or on this connection.
async fn start(State(engine): State<Engine>, Path(id): Path<String>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(Refusal::bad)?.to_bytes();
    let asked: ExecStartConfig = if body.is_empty() {
        ExecStartConfig::default()
    } else {
        serde_json::from_slice(&body).map_err(Refusal::bad)?
    };
    let request = Request::from_parts(parts, axum::body::Body::empty());
    let config = engine.containers.exec_config(&id)?;
    if asked.detach.unwrap_or(false) {
        engine.containers.exec_start(&id, None).await?;
        return Ok(empty(StatusCode::OK));
    }
    let tty = config.tty.unwrap_or(false);
    let asked = request.extensions().get::<Asked>().copied();
    let stream = attended(&engine, &id, tty).await?;
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let mut response = match upgrade {
        true => {
            let left = move || engine.containers.exec_left(&id);
            let typed = tty && config.attach_stdin.unwrap_or(false);
            let keys = keys(config.detach_keys.as_deref(), "escape")?;
            upgraded(request, stream, typed.then(|| Leave::new(keys, left)))
        }
        false => output_only(stream),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(!tty, asked)));
    Ok(response)
}

/// The stream of the process, or what there is to say about a command that can't be run.
async fn attended(engine: &Engine, id: &str, tty: bool) -> Result<UnixStream, Refusal> {
    let io = |e: io::Error| Refusal::new(ErrorKind::Internal, format!("make a stream: {e}"));
    let pair = || -> io::Result<_> {
        let (theirs, ours) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((theirs, UnixStream::from_std(ours)?))
    };
    let (shims, ours) = pair().map_err(io)?;
    match engine.containers.exec_start(id, Some(OwnedFd::from(shims))).await {
        Ok(()) => Ok(ours),
        Err(error @ ContainerError::Exec(ExecError::Running(_) | ExecError::HasRun(_) | ExecError::NoSuch(_))) => {
            Err(error.into())
        }
        Err(error) => {
            let sentence = format!("{error}\r\n").into_bytes();
            let said = if tty { sentence } else { stdcopy::frame(Stream::Stdout, &sentence) };
            let (mut speaker, ours) = pair().map_err(io)?;
            // It fits into the socket's buffer.
            speaker.write_all(&said).map_err(io)?;
            Ok(ours)
        }
    }
}
