//! Explanations: rdock's own part of the API.

use super::attach::upgraded_response;
use super::query::{Params, number};
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, stream};
use crate::trace::TraceId;
use crate::trace::transport::{Hub, Subscription};
use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::header;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

pub fn routes() -> Router<Engine> {
    Router::new().route("/rdock/v1/trace", get(watch)).route("/rdock/v1/trace/{id}", get(open))
}

/// Longest that events may be kept back to go out together.
const LONGEST_BATCH: Duration = Duration::from_secs(1);

/// All traces, until the client goes.
async fn watch(State(engine): State<Engine>) -> Answer {
    Ok(ndjson(engine.traces.subscribe(None)))
}

/// One trace, from now on. With `Upgrade: tcp` the connection carries nothing but lines; the client shuts its side
/// down when it has seen enough, and gets what has been told until then. Without, it ends when the client goes.
/// `batch`: milliseconds that events may be kept back to go out together.
async fn open(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    Query(params): Query<Params>,
    mut request: Request,
) -> Answer {
    let trace: TraceId = id.parse().map_err(Refusal::bad)?;
    let events = engine.traces.open(trace);
    if !request.headers().contains_key(header::UPGRADE) {
        return Ok(ndjson(events));
    }
    let batch = Duration::from_millis(number(&params, "batch")?.unwrap_or(0)).min(LONGEST_BATCH);
    let told = Telling { hub: engine.traces.clone(), trace, events, batch };
    tokio::spawn(told.over(hyper::upgrade::on(&mut request)));
    Ok(upgraded_response())
}

/// One client's stream of one trace.
struct Telling {
    hub: Arc<Hub>,
    trace: TraceId,
    events: Subscription,
    batch: Duration,
}

impl Telling {
    async fn over(mut self, upgrade: OnUpgrade) {
        let Ok(upgraded) = upgrade.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<UnixStream>>() else { return };
        let (mut client, mut out) = parts.io.into_inner().into_split();
        let (hub, trace) = (self.hub.clone(), self.trace);
        let until_enough = async move {
            // A client has nothing to say here but that it has seen enough.
            while client.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
            hub.finish(trace);
        };
        let lines = async {
            while let Some(lines) = self.events.lines(self.batch).await {
                if out.write_all(&lines).await.is_err() {
                    return;
                }
            }
        };
        // The end of the trace ends the lines; a client that has gone, both.
        tokio::join!(until_enough, lines);
    }
}

fn ndjson(events: Subscription) -> Response {
    // What is ready goes out together: a line a write would cost more than the steps themselves.
    let pieces = futures_util::stream::unfold(events, async |mut events| {
        let lines = events.lines(Duration::ZERO).await?;
        Some((Bytes::from(lines), events))
    });
    stream("application/x-ndjson", pieces)
}
