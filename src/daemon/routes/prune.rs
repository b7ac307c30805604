//! `/system/df`, and the prunes of what is no image.

use super::library;
use super::query::{Params, filters};
use crate::api::moment;
use crate::containers::store::Record;
use crate::containers::{ListOptions, RemoveOptions};
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, json};
use crate::images::Usage;
use crate::oci::ErrorKind;
use axum::Router;
use axum::extract::{Query, State};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Value, json};

pub fn routes() -> Router<Engine> {
    Router::new()
        .route("/system/df", get(disk_usage))
        .route("/containers/prune", post(containers))
        .route("/networks/prune", post(networks))
        .route("/volumes/prune", post(volumes))
        .route("/build/prune", post(build_cache))
}

/// `GET /system/df`: what there is, and how much room it takes.
async fn disk_usage(State(engine): State<Engine>) -> Answer {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(|| disk_usage_of(&engine))).await {
        Ok(answer) => answer,
        Err(e) => Err(Refusal::new(ErrorKind::Internal, format!("the files could not be counted: {e}"))),
    }
}

fn disk_usage_of(engine: &Engine) -> Answer {
    let usage = engine.images.usage()?;
    let of_image = library::containers_of(engine);
    let count = |id: &str| Some(of_image.get(id).copied().unwrap_or(0));
    let images = engine.images.list()?;
    let images: Vec<Value> =
        images.iter().map(|image| library::line(image, Some(&usage), count(image.id.as_str()))).collect();
    let containers = engine.containers.list(&ListOptions { all: true, ..ListOptions::default() })?;
    let containers: Vec<Value> = containers
        .iter()
        .map(|container| {
            let mut line = serde_json::to_value(container).unwrap_or_default();
            add_sizes(engine, &usage, &mut line);
            line
        })
        .collect();
    let answer = json!({
        "LayersSize": usage.layers, "Images": images, "Containers": containers, "Volumes": [], "BuildCache": [],
    });
    Ok(json(StatusCode::OK, &answer))
}

/// `SizeRw` and `SizeRootFs` of a line of the list of containers.
fn add_sizes(engine: &Engine, usage: &Usage, line: &mut Value) {
    let record = engine.containers.records().into_iter().find(|r| Some(r.id.as_str()) == line["Id"].as_str());
    let Some((record, fields)) = record.zip(line.as_object_mut()) else { return };
    let own = engine.containers.written(&record);
    let image = record.image.parse().ok().and_then(|id| usage.images.get(&id)).map_or(0, |u| u.size);
    fields.insert("SizeRw".into(), json!(own));
    fields.insert("SizeRootFs".into(), json!(own + image));
}

/// `POST /containers/prune?filters=`: containers that have ended, or were never started.
async fn containers(State(engine): State<Engine>, Query(params): Query<Params>) -> Answer {
    let filter = Stopped::new(&params)?;
    let (mut deleted, mut bytes) = (Vec::new(), 0);
    for record in engine.containers.records().into_iter().filter(|r| filter.fits(r)) {
        let own = engine.containers.written(&record);
        match engine.containers.remove(&record.id, RemoveOptions::default()).await {
            Ok(()) => {
                deleted.push(record.id.clone());
                bytes += own;
            }
            // Started, or removed by somebody else, since it was looked at.
            Err(e) => tracing::debug!("container {} is not pruned: {e}", record.short_id()),
        }
    }
    let deleted = if deleted.is_empty() { Value::Null } else { json!(deleted) };
    Ok(json(StatusCode::OK, &json!({"ContainersDeleted": deleted, "SpaceReclaimed": bytes})))
}

/// Which containers a prune means.
struct Stopped {
    labels: Vec<String>,
    not_labels: Vec<String>,
    /// Made before this moment, in seconds since 1970.
    until: Option<i64>,
}

impl Stopped {
    fn new(params: &Params) -> Result<Stopped, Refusal> {
        let mut filter = Stopped { labels: Vec::new(), not_labels: Vec::new(), until: None };
        for (key, values) in filters(params)? {
            match key.as_str() {
                "label" => filter.labels = values,
                "label!" => filter.not_labels = values,
                "until" => match values.as_slice() {
                    [one] => filter.until = Some(moment::seconds(one).map_err(Refusal::bad)?),
                    _ => return Err(Refusal::bad("more than one until filter specified")),
                },
                other => return Err(Refusal::bad(format!("invalid filter '{other}'"))),
            }
        }
        Ok(filter)
    }

    fn fits(&self, record: &Record) -> bool {
        let has = |wanted: &String| {
            let (key, value) = wanted.split_once('=').map_or((wanted.as_str(), None), |(k, v)| (k, Some(v)));
            let own = record.config.labels.as_ref().and_then(|labels| labels.get(key));
            own.is_some_and(|own| value.is_none_or(|v| v == own))
        };
        let made = moment::seconds(&record.created).unwrap_or(0);
        !record.state.status.is_up()
            && self.labels.iter().all(has)
            && !self.not_labels.iter().any(has)
            && self.until.is_none_or(|until| made <= until)
    }
}

/// `POST /networks/prune`: there are no networks that could be unused.
async fn networks() -> Answer {
    Ok(json(StatusCode::OK, &json!({"NetworksDeleted": null})))
}

/// `POST /volumes/prune`: there are no volumes.
async fn volumes() -> Answer {
    Ok(json(StatusCode::OK, &json!({"VolumesDeleted": null, "SpaceReclaimed": 0})))
}

/// `POST /build/prune`: nothing is built here.
async fn build_cache() -> Answer {
    Ok(json(StatusCode::OK, &json!({"CachesDeleted": null, "SpaceReclaimed": 0})))
}
