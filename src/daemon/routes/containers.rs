//! `/containers/…`, apart from attach.

use super::query::{Params, filters, flag, number, text};
use crate::api::wire::{Created, WaitError, Waited};
use crate::containers::{ContainerError, ListOptions, RemoveOptions, WaitCondition};
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, empty, json, stream};
use crate::daemon::serve::no_content;
use crate::oci::ErrorKind;
use crate::trace::{self, Actor};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::routing::{delete, get, post};
use http::StatusCode;
use std::time::Duration;
use tracing::Instrument as _;

pub fn routes() -> Router<Engine> {
    Router::new()
        .route("/containers/create", post(create))
        .route("/containers/json", get(list))
        .route("/containers/{id}", delete(remove))
        .route("/containers/{id}/json", get(inspect))
        .route("/containers/{id}/start", post(start))
        .route("/containers/{id}/wait", post(wait))
        .route("/containers/{id}/resize", post(resize))
        .route("/containers/{id}/kill", post(kill))
        .route("/containers/{id}/stop", post(stop))
        .route("/containers/{id}/restart", post(restart))
        .route("/containers/{id}/rename", post(rename))
}

/// `POST /containers/create?name=`
async fn create(State(engine): State<Engine>, Query(params): Query<Params>, body: Bytes) -> Answer {
    let body = crate::containers::read_body(&body)?;
    if body.image.as_deref().unwrap_or_default().is_empty() {
        return Err(Refusal::bad("no image specified"));
    }
    let made = engine.containers.create(text(&params, "name"), body).await?;
    Ok(json(StatusCode::CREATED, &Created { id: made.id, warnings: made.warnings }))
}

/// `GET /containers/json`
async fn list(State(engine): State<Engine>, Query(params): Query<Params>) -> Answer {
    let options = ListOptions {
        all: flag(&params, "all"),
        limit: number::<i64>(&params, "limit")?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0),
        size: flag(&params, "size"),
        filters: filters(&params)?.into_iter().collect(),
    };
    let list = match options.size {
        true => apart(move || engine.containers.list(&options)).await?,
        false => engine.containers.list(&options)?,
    };
    Ok(json(StatusCode::OK, &list))
}

/// `GET /containers/{id}/json`
async fn inspect(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    let mut document = engine.containers.inspect(&id)?;
    if flag(&params, "size")
        && let Some(fields) = document.as_object_mut()
    {
        let (own, all) = apart(move || engine.containers.sizes(&id)).await?;
        fields.insert("SizeRw".into(), own.into());
        fields.insert("SizeRootFs".into(), all.into());
    }
    Ok(json(StatusCode::OK, &document))
}

/// What reads many directories, on a thread that nobody waits for.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ContainerError> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| Refusal::new(ErrorKind::Internal, error))??)
}

/// `POST /containers/{id}/start`
async fn start(State(engine): State<Engine>, Path(id): Path<String>) -> Answer {
    engine.containers.start(&id).await?;
    engine.containers.prepare_next();
    Ok(no_content())
}

/// `POST /containers/{id}/wait?condition=`: the headers say that the wait is on, the body comes with the end.
async fn wait(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    let asked = text(&params, "condition").unwrap_or_default();
    let condition = WaitCondition::parse(asked).ok_or_else(|| Refusal::bad(format!("invalid condition: {asked:?}")))?;
    let waiting = engine.containers.watch(&id, condition)?;
    let answer = async move {
        let why = "the answer's head goes out at once: the client knows that no end is missed from then on";
        // Where it belongs to a run, the end is told by itself.
        let alone = condition == WaitCondition::NotRunning;
        let step = alone.then(|| trace::step(Actor::Daemon, "container.wait").why(why));
        let ended = waiting.answer().await;
        if let Some(step) = step {
            let status = ended.status_code;
            step.ok(status, || format!("waits for the end of the container: its status is {status}"));
        }
        let waited = Waited { error: ended.error.map(|message| WaitError { message }), status_code: ended.status_code };
        let mut line = serde_json::to_vec(&waited).unwrap_or_default();
        line.push(b'\n');
        Bytes::from(line)
    };
    Ok(stream("application/json", futures_util::stream::once(answer.in_current_span())))
}

/// `POST /containers/{id}/resize?h=&w=`
async fn resize(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    let (height, width) = (number(&params, "h")?.unwrap_or(0), number(&params, "w")?.unwrap_or(0));
    engine.containers.resize(&id, width, height).await?;
    Ok(empty(StatusCode::OK))
}

/// `POST /containers/{id}/kill?signal=`
async fn kill(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    engine.containers.kill(&id, text(&params, "signal").unwrap_or_default()).await?;
    Ok(no_content())
}

/// `POST /containers/{id}/stop?t=`; less than zero seconds: for ever.
async fn stop(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    engine.containers.stop(&id, text(&params, "signal"), patience(&params)?).await?;
    Ok(no_content())
}

/// `t` of a stop, in seconds.
fn patience(params: &Params) -> Result<Option<Duration>, Refusal> {
    Ok(number::<i64>(params, "t")?.map(|s| u64::try_from(s).map_or(Duration::MAX, Duration::from_secs)))
}

/// `POST /containers/{id}/restart?t=&signal=`
async fn restart(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    engine.containers.restart(&id, text(&params, "signal"), patience(&params)?).await?;
    engine.containers.prepare_next();
    Ok(no_content())
}

/// `POST /containers/{id}/rename?name=`
async fn rename(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    engine.containers.rename(&id, text(&params, "name").unwrap_or_default()).await?;
    Ok(no_content())
}

/// `DELETE /containers/{id}?force=&v=`
async fn remove(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    if flag(&params, "link") {
        return Err(Refusal::bad("links between containers are not supported"));
    }
    let options = RemoveOptions { force: flag(&params, "force"), volumes: flag(&params, "v") };
    engine.containers.remove(&id, options).await?;
    Ok(no_content())
}
