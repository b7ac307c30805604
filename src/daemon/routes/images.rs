//! `/images/…`

use super::query::Params;
use super::{archives, library, transfer};
use crate::daemon::Engine;
use crate::daemon::answer::Answer;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use http::HeaderMap;

pub fn routes() -> Router<Engine> {
    Router::new()
        .route("/images/create", post(create))
        .route("/images/get", get(archives::save))
        .route("/images/load", post(archives::load))
        .route("/images/json", get(list))
        // Names of images have slashes: the last part of the path is taken off by the handler.
        .route("/images/prune", post(prune))
        .route("/images/{*rest}", get(look).post(act).delete(remove))
}

/// `POST /images/create`: pulls, or imports.
async fn create(
    State(engine): State<Engine>,
    Query(pairs): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Answer {
    let params: Params = pairs.iter().cloned().collect();
    if params.contains_key("fromSrc") {
        return archives::import(engine, pairs, body).await;
    }
    transfer::pull(engine, params, headers).await
}

/// `GET /images/json`
async fn list(State(engine): State<Engine>, Query(params): Query<Params>) -> Answer {
    library::list(&engine, &params).await
}

/// `GET /images/{name}/json`, `GET /images/{name}/history`
async fn look(State(engine): State<Engine>, Path(rest): Path<String>) -> Answer {
    match rest.rsplit_once('/') {
        Some((name, "json")) => library::inspect(&engine, name).await,
        Some((name, "get")) => archives::archive_of(&engine, vec![name.to_owned()]).await,
        Some((name, "history")) => library::history(&engine, name).await,
        _ => crate::daemon::serve::not_found().await,
    }
}

/// `POST /images/{name}/tag`, `POST /images/{name}/push`
async fn act(
    State(engine): State<Engine>,
    Path(rest): Path<String>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Answer {
    match rest.rsplit_once('/') {
        Some((name, "tag")) => library::tag(&engine, name, &params).await,
        Some((name, "push")) => transfer::push(engine, name, params, headers).await,
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
