//! The routes, one file per group of the API.

mod archives;
mod attach;
pub mod auth;
mod containers;
mod events;
mod exec;
mod files;
mod images;
mod library;
mod logs;
mod look;
mod prune;
mod query;
mod search;
mod system;
mod traces;
mod transfer;

use super::{Engine, serve};
use axum::Router;

/// The Engine API and rdock's own additions, without version prefixes.
pub fn router(engine: Engine) -> Router {
    Router::new()
        .merge(system::routes())
        .merge(images::routes())
        .merge(prune::routes())
        .merge(search::routes())
        .merge(auth::routes())
        .merge(containers::routes())
        .merge(attach::routes())
        .merge(exec::routes())
        .merge(look::routes())
        .merge(events::routes())
        .merge(logs::routes())
        .merge(files::routes())
        .merge(traces::routes())
        .fallback(serve::not_found)
        .method_not_allowed_fallback(serve::not_found)
        .with_state(engine)
}
