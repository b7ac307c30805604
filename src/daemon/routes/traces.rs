//! Explanations: rdock's own part of the API.

use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, stream};
use crate::daemon::serve::no_content;
use crate::trace::transport::{Subscription, encode};
use crate::trace::{TraceEvent, TraceId};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt as _;

pub fn routes() -> Router<Engine> {
    Router::new()
        .route("/rdock/v1/trace", get(watch))
        .route("/rdock/v1/trace/{id}", get(open))
        .route("/rdock/v1/trace/{id}/finish", post(finish))
}

/// All traces, until the client goes.
async fn watch(State(engine): State<Engine>) -> Answer {
    Ok(ndjson(engine.traces.subscribe(None)))
}

/// One trace, from now until it is finished.
async fn open(State(engine): State<Engine>, Path(id): Path<String>) -> Answer {
    Ok(ndjson(engine.traces.open(parse(&id)?)))
}

/// Sends what producers have written by now, then ends the stream of whoever has opened the trace.
async fn finish(State(engine): State<Engine>, Path(id): Path<String>) -> Answer {
    engine.traces.finish(parse(&id)?);
    Ok(no_content())
}

fn parse(id: &str) -> Result<TraceId, Refusal> {
    id.parse().map_err(Refusal::bad)
}

fn ndjson(events: Subscription) -> Response {
    // What is ready goes out together: a line a write would cost more than the steps themselves.
    stream("application/x-ndjson", events.ready_chunks(256).map(lines))
}

fn lines(events: Vec<TraceEvent>) -> Bytes {
    let mut bytes = Vec::new();
    for event in &events {
        encode(event, &mut bytes);
    }
    bytes.into()
}
