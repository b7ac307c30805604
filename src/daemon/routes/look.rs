//! Looking at containers that run, holding them still, changing their limits: `/containers/{id}/top`, `stats`,
//! `pause`, `unpause`, `update`.

use super::query::{Params, flag, text};
use crate::api::wire::Updated;
use crate::containers::Containers;
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, json, stream};
use crate::daemon::serve::no_content;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::Instrument as _;

/// A look at what a container uses comes so often.
const EVERY: Duration = Duration::from_secs(1);

pub fn routes() -> Router<Engine> {
    Router::new()
        .route("/containers/{id}/top", get(top))
        .route("/containers/{id}/stats", get(stats))
        .route("/containers/{id}/pause", post(pause))
        .route("/containers/{id}/unpause", post(unpause))
        .route("/containers/{id}/update", post(update))
}

/// `GET /containers/{id}/top?ps_args=`
async fn top(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    let table = engine.containers.top(&id, text(&params, "ps_args").unwrap_or("-ef")).await?;
    Ok(json(StatusCode::OK, &table))
}

/// `GET /containers/{id}/stats?stream=&one-shot=`: one look, or one a second. One look alone takes a second, since a
/// share of the processors is a difference; with `one-shot` it does not, and there is none.
async fn stats(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    let follow = params.get("stream").is_none_or(|_| flag(&params, "stream"));
    let first = engine.containers.stats(&id, None).await?;
    if !follow {
        let runs = first["cpu_stats"].get("online_cpus").is_some();
        if flag(&params, "one-shot") || !runs {
            return Ok(json(StatusCode::OK, &first));
        }
        ticks().tick().await;
        return Ok(json(StatusCode::OK, &engine.containers.stats(&id, Some(&first)).await?));
    }
    let looks = Looks { containers: engine.containers.clone(), id, last: None, ticks: ticks() };
    let span = tracing::Span::current();
    let pieces = futures_util::stream::unfold(looks, move |looks| next(looks).instrument(span.clone()));
    Ok(stream("application/json", pieces))
}

struct Looks {
    containers: Containers,
    id: String,
    last: Option<Value>,
    ticks: Interval,
}

/// Its first tick is a second from now.
fn ticks() -> Interval {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

/// The next line; the end when the container is removed.
async fn next(mut looks: Looks) -> Option<(Bytes, Looks)> {
    if looks.last.is_some() {
        looks.ticks.tick().await;
    }
    let seen = looks.containers.stats(&looks.id, looks.last.as_ref()).await.ok()?;
    let mut line = serde_json::to_vec(&seen).ok()?;
    line.push(b'\n');
    looks.last = Some(seen);
    Some((Bytes::from(line), looks))
}

/// `POST /containers/{id}/pause`
async fn pause(State(engine): State<Engine>, Path(id): Path<String>) -> Answer {
    engine.containers.pause(&id).await?;
    Ok(no_content())
}

/// `POST /containers/{id}/unpause`
async fn unpause(State(engine): State<Engine>, Path(id): Path<String>) -> Answer {
    engine.containers.unpause(&id).await?;
    Ok(no_content())
}

/// `POST /containers/{id}/update`
async fn update(State(engine): State<Engine>, Path(id): Path<String>, body: Bytes) -> Answer {
    let asked = crate::containers::read_update(&body)?;
    let warnings = Some(engine.containers.update(&id, asked).await?).filter(|w| !w.is_empty());
    Ok(json(StatusCode::OK, &Updated { warnings }))
}
