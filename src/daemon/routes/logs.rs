//! `GET /containers/{id}/logs`

use super::attach::content_type;
use super::query::{Params, flag, moment, text};
use crate::containers::LogOptions;
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, stream};
use crate::daemon::serve::Asked;
use axum::extract::{Extension, Path, Query, State};
use axum::{Router, routing::get};
use tokio_stream::wrappers::ReceiverStream;

pub fn routes() -> Router<Engine> {
    Router::new().route("/containers/{id}/logs", get(logs))
}

async fn logs(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    Query(params): Query<Params>,
    Extension(asked): Extension<Asked>,
) -> Answer {
    let asks = |name| flag(&params, name);
    if !asks("stdout") && !asks("stderr") {
        return Err(Refusal::bad("Bad parameters: you must choose at least one stream"));
    }
    // What is no number means all lines, as moby has it.
    let tail = text(&params, "tail").and_then(|lines| lines.parse::<u64>().ok());
    let options = LogOptions {
        stdout: asks("stdout"),
        stderr: asks("stderr"),
        follow: asks("follow"),
        // Zero is what clients send for "not given".
        since: moment(&params, "since")?.filter(|at| *at != 0),
        until: moment(&params, "until")?.filter(|at| *at != 0),
        timestamps: asks("timestamps"),
        details: asks("details"),
        tail,
    };
    let framed = !engine.containers.record(&id)?.config.tty.unwrap_or(false);
    let pieces = engine.containers.logs(&id, options).await?;
    Ok(stream(content_type(framed, Some(asked)), ReceiverStream::new(pieces)))
}
