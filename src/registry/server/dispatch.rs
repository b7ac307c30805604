//! One request: who may ask it, who answers it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, extract};
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, Uri, header};
use serde_json::json;
use tracing::Instrument as _;

use super::answer::{self, Refusal};
use super::repository::Repository;
use super::routes::{Params, Route};
use super::{Push, Served, View, blobs, blocking, lists, manifests, search, uploads};
use crate::trace;

/// So much of a body that nobody wants is read, so that its sender hears the refusal.
const POLITE: usize = 1 << 20;

pub(super) fn router(hub: Arc<Served>) -> Router {
    Router::new().fallback(dispatch).with_state(hub)
}

async fn dispatch(
    State(hub): State<Arc<Served>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let asked = Asked { method: parts.method, uri: parts.uri, headers: parts.headers, peer };
    let span = asked.span();
    let answered = async {
        match asked.allowed(&hub) {
            Ok(()) => asked.answer(&hub, body).await,
            Err(refusal) => {
                drain(body).await;
                Err(refusal)
            }
        }
    };
    answered.instrument(span).await.unwrap_or_else(Refusal::answer)
}

struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    peer: SocketAddr,
}

impl Asked {
    /// Of the asker's explanation, if it has one: the hub's side of the conversation belongs to it.
    fn span(&self) -> tracing::Span {
        let parent = self.headers.get("traceparent").and_then(|v| v.to_str().ok());
        match parent.and_then(|p| p.parse::<trace::TraceParent>().ok()) {
            Some(parent) => trace::request_span(&parent.trace.to_string(), Some(&parent.span.to_string())),
            None => tracing::Span::none(),
        }
    }

    /// Who may write: see `SECURITY.md`.
    fn allowed(&self, hub: &Served) -> Result<(), Refusal> {
        let route = Route::of(self.uri.path()).ok_or(Refusal::NoSuchRoute)?;
        if !route.writes(&self.method) {
            return match self.method {
                Method::GET | Method::HEAD => Ok(()),
                _ => Err(Refusal::Unsupported(format!("{} means nothing here", self.method))),
            };
        }
        match hub.push {
            Push::Nobody => Err(Refusal::Unsupported("the lab hub can only be read here".into())),
            Push::ThisMachine if !self.peer.ip().to_canonical().is_loopback() => Err(Refusal::Denied(
                "this hub takes pushes from its own machine only; its owner can allow others \
                 (rdock hub serve --allow-remote-push)"
                    .into(),
            )),
            // A page in a browser on this machine can send requests here, and a browser says so.
            _ if self.headers.contains_key(header::ORIGIN) => {
                Err(Refusal::Denied("a web page may not change this hub".into()))
            }
            Push::ThisMachine | Push::Everybody => Ok(()),
        }
    }

    async fn answer(self, hub: &Arc<Served>, body: Body) -> Result<Response, Refusal> {
        let path = self.uri.path().to_owned();
        let route = Route::of(&path).ok_or(Refusal::NoSuchRoute)?;
        let params = Params::of(&self.uri);
        let mirror = hub.view == View::Mirror || params.get("ns").is_some_and(|ns| ns == crate::oci::DOCKER_DOMAIN);
        match route {
            Route::Uploads { name } if self.method == Method::POST => {
                let repository = hub.writable(name)?;
                uploads::begin(hub, &repository, &params, &self.headers, body).await
            }
            Route::Uploads { .. } => Err(Refusal::Unsupported("an upload begins with POST".into())),
            Route::Upload { name, id } => {
                let repository = hub.writable(name)?;
                let (method, headers) = (&self.method, &self.headers);
                uploads::go_on(hub, &repository, id, method, &params, headers, body).await
            }
            Route::Manifest { name, reference } if self.method == Method::PUT => {
                let (hub, repository, part) = (hub.clone(), hub.writable(name)?, reference.to_owned());
                let bytes = manifests::body(body).await?;
                blocking(move || manifests::put(&hub, &repository, &part, &self.headers, &bytes)).await
            }
            _ => {
                let hub = hub.clone();
                blocking(move || self.answer_at_once(&hub, &params, mirror)).await
            }
        }
    }

    /// What has no body: reading and deleting. Called where it may wait for the disk.
    fn answer_at_once(&self, hub: &Served, params: &Params, mirror: bool) -> Result<Response, Refusal> {
        let with_body = self.method != Method::HEAD;
        let delete = self.method == Method::DELETE;
        match Route::of(self.uri.path()).ok_or(Refusal::NoSuchRoute)? {
            Route::Ping => Ok(answer::marked(Json(json!({})).into_response())),
            Route::Search => search::answer(hub, params),
            Route::Catalog => lists::catalog(hub, params),
            Route::Tags { name } => lists::tags(hub, &hub.readable(name, mirror)?, name, params),
            Route::Referrers { name, digest } => lists::referrers(hub, &hub.readable(name, mirror)?, digest, params),
            Route::Manifest { name, reference } if delete => manifests::delete(hub, &hub.writable(name)?, reference),
            Route::Manifest { name, reference } => {
                let repository = hub.readable(name, mirror)?;
                hub.provide(&repository, reference)?;
                manifests::get(hub, &repository, reference, with_body)
            }
            Route::Blob { name, digest } if delete => blobs::delete(hub, &hub.writable(name)?, digest),
            Route::Blob { name, digest } => {
                let repository: Repository = hub.readable(name, mirror)?;
                blobs::get(hub, &repository, digest, &self.headers, with_body)
            }
            Route::Uploads { .. } | Route::Upload { .. } => Err(Refusal::NoSuchRoute),
        }
    }
}

async fn drain(body: Body) {
    let mut pieces = body.into_data_stream();
    let mut read = 0;
    while let Some(Ok(piece)) = pieces.next().await {
        read += piece.len();
        if read > POLITE {
            return;
        }
    }
}
