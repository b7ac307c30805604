//! `/images/get`, `/images/load` and `/images/create?fromSrc=`: images in one file.

use super::query::{Params, flag, text};
use super::transfer::told;
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal};
use crate::images::{Import, Source};
use crate::oci::Reference;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::Response;
use futures_util::StreamExt as _;
use http::{HeaderValue, header};
use std::io;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

/// A query whose parameters may come more than once.
type Pairs = Vec<(String, String)>;

/// Pieces between the connection and the thread that reads or writes the archive.
const IN_FLIGHT: usize = 4;

fn all(pairs: &Pairs, name: &str) -> Vec<String> {
    pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
}

/// `GET /images/get?names=…`
pub async fn save(State(engine): State<Engine>, Query(pairs): Query<Pairs>) -> Answer {
    let names = all(&pairs, "names").into_iter().filter(|name| !name.is_empty()).collect();
    archive_of(&engine, names).await
}

/// The archive of these images. What fails after the first byte breaks the connection off: there is no other way to say
/// that what came is not whole.
pub async fn archive_of(engine: &Engine, names: Vec<String>) -> Answer {
    let plan = engine.images.plan_save(&names)?;
    let (to, pieces) = mpsc::channel::<io::Result<Bytes>>(IN_FLIGHT);
    let images = engine.images.clone();
    let saving = async move {
        let _ = images.save(plan, to).await;
    };
    tokio::spawn(saving.in_current_span());
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(pieces)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    Ok(response)
}

/// `POST /images/load`
pub async fn load(State(engine): State<Engine>, Query(params): Query<Params>, body: Body) -> Answer {
    let quiet = flag(&params, "quiet");
    let platform = text(&params, "platform").map(str::to_owned);
    let images = engine.images.clone();
    told(|messages| async move {
        images.load(source(body), platform.as_deref(), quiet, messages).await.map(drop).map_err(Refusal::from)
    })
    .await
}

/// `POST /images/create?fromSrc=-&repo=…&tag=…&message=…&changes=…&platform=…`
pub async fn import(engine: Engine, pairs: Pairs, body: Body) -> Answer {
    let one = |name: &str| all(&pairs, name).into_iter().next().filter(|value| !value.is_empty());
    let from = one("fromSrc").unwrap_or_else(|| "-".into());
    if from != "-" {
        return Err(Refusal::bad("importing from a URL is not supported yet: download it, and import the file"));
    }
    let name = match (one("repo"), one("tag")) {
        (None, _) => None,
        (Some(repo), Some(tag)) => Some(format!("{repo}:{tag}")),
        (Some(repo), None) => Some(repo),
    };
    let name = name.map(|name| Reference::parse(&name)).transpose().map_err(Refusal::bad)?;
    let import = Import {
        name: name.map(Reference::with_default_tag),
        message: one("message"),
        changes: all(&pairs, "changes"),
        platform: one("platform"),
        from,
    };
    let images = engine.images.clone();
    told(|messages| async move { images.import(source(body), import, messages).await.map(drop).map_err(Refusal::from) })
        .await
}

/// The request's body for a thread that reads it. A client that goes away is no end of the archive.
fn source(body: Body) -> Source {
    let (to, mut pieces) = mpsc::channel(IN_FLIGHT);
    let mut stream = body.into_data_stream();
    tokio::spawn(async move {
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|e| io::Error::new(io::ErrorKind::ConnectionAborted, e));
            // The rest is read by the connection and thrown away.
            if to.send(piece).await.is_err() {
                return;
            }
        }
    });
    Box::new(move || pieces.blocking_recv())
}
