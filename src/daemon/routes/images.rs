//! `/images/…`

use super::library;
use super::query::{Params, text};
use crate::api::wire::Progress;
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, stream};
use crate::images::{PullError, PullOutcome, PullProgress};
use crate::oci::{ErrorKind, Reference};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

pub fn routes() -> Router<Engine> {
    Router::new()
        .route("/images/create", post(create))
        .route("/images/json", get(list))
        // Names of images have slashes: the last part of the path is taken off by the handler.
        .route("/images/prune", post(prune))
        .route("/images/{*rest}", get(look).post(act).delete(remove))
}

/// `POST /images/create`: pulls. Before the first message a failure is a status; afterwards it is the last message.
async fn create(State(engine): State<Engine>, Query(params): Query<Params>) -> Answer {
    if text(&params, "fromSrc").is_some() {
        return Err(Refusal::bad("importing an image from a tar archive is not supported yet"));
    }
    let reference = reference(&params)?;
    let platform = text(&params, "platform").map(str::to_owned);
    let (progress, mut messages) = mpsc::unbounded_channel();
    let images = engine.images.clone();
    let pull = async move { images.pull(&reference, platform.as_deref(), progress).await };
    let mut pulling = Pulling(tokio::spawn(pull.in_current_span()));
    match messages.recv().await {
        Some(first) => Ok(progress_stream(first, messages, pulling)),
        None => match pulling.end().await {
            Ok(_) => Ok(stream("application/json", futures_util::stream::empty())),
            Err(refusal) => Err(refusal),
        },
    }
}

/// A pull under way. A client that goes away ends it.
struct Pulling(JoinHandle<Result<PullOutcome, PullError>>);

impl Pulling {
    async fn end(&mut self) -> Result<PullOutcome, Refusal> {
        match (&mut self.0).await {
            Ok(ended) => Ok(ended?),
            Err(e) => Err(Refusal::new(ErrorKind::Internal, format!("the pull was given up: {e}"))),
        }
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn progress_stream(
    first: PullProgress,
    mut messages: mpsc::UnboundedReceiver<PullProgress>,
    mut pulling: Pulling,
) -> Response {
    let (lines, body) = mpsc::channel::<Bytes>(64);
    let telling = async move {
        let mut next = Some(first);
        while let Some(message) = next {
            if lines.send(line(&message.to_json())).await.is_err() {
                return;
            }
            next = messages.recv().await;
        }
        if let Err(refusal) = pulling.end().await {
            let last = serde_json::to_value(Progress::failed(refusal.message)).unwrap_or_default();
            let _ = lines.send(line(&last)).await;
        }
    };
    tokio::spawn(telling.in_current_span());
    stream("application/json", ReceiverStream::new(body).map(std::convert::identity))
}

/// One message; Docker ends them with CR LF.
fn line(message: &Value) -> Bytes {
    format!("{message}\r\n").into()
}

/// `fromImage=docker.io/library/centos&tag=latest`; the tag may be a digest, or be in the name already.
fn reference(params: &Params) -> Result<Reference, Refusal> {
    let from = text(params, "fromImage").ok_or_else(|| Refusal::bad("invalid reference format"))?;
    let name = match text(params, "tag") {
        Some(digest) if digest.contains(':') => format!("{from}@{digest}"),
        Some(tag) => format!("{from}:{tag}"),
        None => from.to_owned(),
    };
    Ok(Reference::parse(&name).map_err(Refusal::bad)?.with_default_tag())
}

/// `GET /images/json`
async fn list(State(engine): State<Engine>, Query(params): Query<Params>) -> Answer {
    library::list(&engine, &params).await
}

/// `GET /images/{name}/json`, `GET /images/{name}/history`
async fn look(State(engine): State<Engine>, Path(rest): Path<String>) -> Answer {
    match rest.rsplit_once('/') {
        Some((name, "json")) => library::inspect(&engine, name).await,
        Some((name, "history")) => library::history(&engine, name).await,
        _ => crate::daemon::serve::not_found().await,
    }
}

/// `POST /images/{name}/tag`
async fn act(State(engine): State<Engine>, Path(rest): Path<String>, Query(params): Query<Params>) -> Answer {
    match rest.rsplit_once('/') {
        Some((name, "tag")) => library::tag(&engine, name, &params).await,
        _ => crate::daemon::serve::not_found().await,
    }
}

/// `DELETE /images/{name}`
async fn remove(State(engine): State<Engine>, Path(name): Path<String>, Query(params): Query<Params>) -> Answer {
    library::remove(&engine, &name, &params).await
}

/// `POST /images/prune`
async fn prune(State(engine): State<Engine>, Query(params): Query<Params>) -> Answer {
    library::prune(&engine, &params).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_a_pull_names_an_image() {
        let named = |pairs: &[(&str, &str)]| {
            let params = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            reference(&params).map(|r| r.canonical()).map_err(|r| r.message)
        };
        let centos = || Ok("docker.io/library/centos:latest".to_owned());
        assert_eq!(named(&[("fromImage", "docker.io/library/centos"), ("tag", "latest")]), centos());
        assert_eq!(named(&[("fromImage", "centos:latest")]), centos());
        assert_eq!(named(&[("fromImage", "centos")]), centos());
        let digest = format!("sha256:{}", "a".repeat(64));
        assert!(named(&[("fromImage", "centos"), ("tag", &digest)]).unwrap().ends_with(&digest));
        assert_eq!(
            named(&[("fromImage", "Bad")]),
            Err("invalid reference format: repository name (library/Bad) must be lowercase".into())
        );
        assert!(named(&[]).is_err());
    }
}
