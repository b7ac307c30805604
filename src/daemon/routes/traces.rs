//! Explanations: rdock's own part of the API.

use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, stream};
use crate::daemon::serve::no_content;
use crate::trace::TraceId;
use crate::trace::transport::Subscription;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;

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
    let pieces = futures_util::stream::unfold(events, async |mut events| {
        let lines = events.lines().await?;
        Some((Bytes::from(lines), events))
    });
    stream("application/x-ndjson", pieces)
}
