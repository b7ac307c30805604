//! `/images/…`

use super::query::{Params, filters, flag, text};
use crate::api::wire::Progress;
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, json, stream};
use crate::images::{Image, ImageSummary, PullError, PullOutcome, PullProgress, Removed};
use crate::oci::{ErrorKind, Reference};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

pub fn routes() -> Router<Engine> {
    Router::new()
        .route("/images/create", post(create))
        .route("/images/json", get(list))
        // Names of images have slashes: the last part of the path is taken off by the handler.
        .route("/images/{*rest}", get(inspect).delete(remove))
}

/// `POST /images/create`: pulls. Before the first message a failure is a status; afterwards it is the last message.
async fn create(State(engine): State<Engine>, Query(params): Query<Params>) -> Answer {
    if text(&params, "fromSrc").is_some() {
        return Err(Refusal::bad("importing an image from a tar archive is not supported yet"));
    }
    let reference = reference(&params)?;
    let platform = text(&params, "platform").map(str::to_owned);
    let (progress, mut messages) = mpsc::unbounded_channel();
    let images = engine.images.clone();
    let pull = async move { images.pull(&reference, platform.as_deref(), progress).await };
    let mut pulling = Pulling(tokio::spawn(pull.in_current_span()));
    match messages.recv().await {
        Some(first) => Ok(progress_stream(first, messages, pulling)),
        None => match pulling.end().await {
            Ok(_) => Ok(stream("application/json", futures_util::stream::empty())),
            Err(refusal) => Err(refusal),
        },
    }
}

/// A pull under way. A client that goes away ends it.
struct Pulling(JoinHandle<Result<PullOutcome, PullError>>);

impl Pulling {
    async fn end(&mut self) -> Result<PullOutcome, Refusal> {
        match (&mut self.0).await {
            Ok(ended) => Ok(ended?),
            Err(e) => Err(Refusal::new(ErrorKind::Internal, format!("the pull was given up: {e}"))),
        }
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn progress_stream(
    first: PullProgress,
    mut messages: mpsc::UnboundedReceiver<PullProgress>,
    mut pulling: Pulling,
) -> Response {
    let (lines, body) = mpsc::channel::<Bytes>(64);
    let telling = async move {
        let mut next = Some(first);
        while let Some(message) = next {
            if lines.send(line(&message.to_json())).await.is_err() {
                return;
            }
            next = messages.recv().await;
        }
        if let Err(refusal) = pulling.end().await {
            let last = serde_json::to_value(Progress::failed(refusal.message)).unwrap_or_default();
            let _ = lines.send(line(&last)).await;
        }
    };
    tokio::spawn(telling.in_current_span());
    stream("application/json", ReceiverStream::new(body).map(std::convert::identity))
}

/// One message; Docker ends them with CR LF.
fn line(message: &Value) -> Bytes {
    format!("{message}\r\n").into()
}

/// `fromImage=docker.io/library/centos&tag=latest`; the tag may be a digest, or be in the name already.
fn reference(params: &Params) -> Result<Reference, Refusal> {
    let from = text(params, "fromImage").ok_or_else(|| Refusal::bad("invalid reference format"))?;
    let name = match text(params, "tag") {
        Some(digest) if digest.contains(':') => format!("{from}@{digest}"),
        Some(tag) => format!("{from}:{tag}"),
        None => from.to_owned(),
    };
    Ok(Reference::parse(&name).map_err(Refusal::bad)?.with_default_tag())
}

/// `GET /images/json`
async fn list(State(engine): State<Engine>, Query(params): Query<Params>) -> Answer {
    let filters = filters(&params)?;
    let wanted = |image: &ImageSummary| {
        filters.iter().all(|(key, values)| match key.as_str() {
            "reference" => values.iter().any(|v| image.repo_tags.iter().any(|tag| matches_reference(v, tag))),
            "dangling" => values.iter().any(|v| (v == "true" || v == "1") == image.repo_tags.is_empty()),
            "label" => values.iter().all(|v| has_label(image, v)),
            _ => true,
        })
    };
    let known = ["reference", "dangling", "label", "before", "since", "until"];
    if let Some(unknown) = filters.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(Refusal::bad(format!("invalid filter '{unknown}'")));
    }
    let images = engine.images.list()?;
    let lines: Vec<Value> = images.iter().filter(|i| wanted(i)).map(|i| summary(i, &filters)).collect();
    Ok(json(StatusCode::OK, &lines))
}

fn has_label(image: &ImageSummary, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => image.labels.get(key).is_some_and(|v| v == value),
        None => image.labels.contains_key(wanted),
    }
}

/// `centos` matches every tag of it, `centos:7` only this one; `*` stands for what has no slash.
fn matches_reference(pattern: &str, tag: &str) -> bool {
    let name = tag.rsplit_once(':').map_or(tag, |(name, _)| name);
    let has_tag = pattern.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
    glob(pattern.as_bytes(), if has_tag { tag.as_bytes() } else { name.as_bytes() })
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            glob(rest, text) || text.split_first().is_some_and(|(c, text)| *c != b'/' && glob(pattern, text))
        }
        ([b'?', rest @ ..], [c, text @ ..]) if *c != b'/' => glob(rest, text),
        ([p, rest @ ..], [c, text @ ..]) if p == c => glob(rest, text),
        _ => false,
    }
}

fn summary(image: &ImageSummary, filters: &std::collections::HashMap<String, Vec<String>>) -> Value {
    // As Docker: a filter by name shows only the names that match.
    let shown = |tag: &&String| match filters.get("reference") {
        Some(patterns) => patterns.iter().any(|p| matches_reference(p, tag)),
        None => true,
    };
    let tags: Vec<&String> = image.repo_tags.iter().filter(shown).collect();
    let labels = if image.labels.is_empty() { Value::Null } else { json!(image.labels) };
    json!({
        "Containers": -1, "Created": image.created, "Id": image.id, "Labels": labels, "ParentId": "",
        "RepoDigests": image.repo_digests, "RepoTags": tags, "SharedSize": -1,
        "Size": image.size, "VirtualSize": image.size,
    })
}

/// `GET /images/{name}/json`
async fn inspect(State(engine): State<Engine>, Path(rest): Path<String>) -> Answer {
    let Some(name) = rest.strip_suffix("/json") else { return crate::daemon::serve::not_found().await };
    let image = engine.images.get(name)?;
    let size = engine.images.size(&image);
    Ok(json(StatusCode::OK, &inspected(&image, size)))
}

fn inspected(image: &Image, size: u64) -> Value {
    let familiar = |f: &dyn Fn(&Reference) -> Option<String>| -> Vec<String> {
        image.references.iter().filter_map(|(r, _)| f(r)).collect()
    };
    let tags = familiar(&|r| r.tag().map(|_| r.familiar()));
    let digests: Vec<String> =
        image.references.iter().map(|(r, digest)| format!("{}@{digest}", r.familiar_name())).collect();
    let config = &image.config;
    let history = config.history().as_ref().and_then(|h| h.last());
    json!({
        "Id": image.id, "RepoTags": tags, "RepoDigests": digests, "Parent": "",
        "Comment": history.and_then(|h| h.comment().clone()).unwrap_or_default(),
        "Created": config.created(), "DockerVersion": "", "Author": config.author().clone().unwrap_or_default(),
        "Config": container_config(config),
        "Architecture": config.architecture().to_string(), "Os": config.os().to_string(),
        "Size": size, "VirtualSize": size,
        "GraphDriver": {"Data": {}, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": config.rootfs().diff_ids()},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    })
}

/// The image's defaults for containers, with all the fields that Docker shows.
fn container_config(config: &oci_spec::image::ImageConfiguration) -> Value {
    let set = config.config().as_ref();
    let volumes = set
        .and_then(|c| c.volumes().clone())
        .map(|list| list.into_iter().map(|v| (v, json!({}))).collect::<serde_json::Map<_, _>>());
    json!({
        "Hostname": "", "Domainname": "", "User": set.and_then(|c| c.user().clone()).unwrap_or_default(),
        "AttachStdin": false, "AttachStdout": false, "AttachStderr": false,
        "Tty": false, "OpenStdin": false, "StdinOnce": false,
        "Env": set.and_then(|c| c.env().clone()), "Cmd": set.and_then(|c| c.cmd().clone()), "Image": "",
        "Volumes": volumes, "WorkingDir": set.and_then(|c| c.working_dir().clone()).unwrap_or_default(),
        "Entrypoint": set.and_then(|c| c.entrypoint().clone()), "OnBuild": null,
        "Labels": set.and_then(|c| c.labels().clone()),
    })
}

/// `DELETE /images/{name}`
async fn remove(State(engine): State<Engine>, Path(name): Path<String>, Query(params): Query<Params>) -> Answer {
    refuse_if_used(&engine, &name, flag(&params, "force"))?;
    let removed = engine.images.remove(&name).await?;
    let lines: Vec<Value> = removed
        .iter()
        .map(|r| match r {
            Removed::Untagged(name) => json!({"Untagged": name}),
            Removed::Deleted(digest) => json!({"Deleted": digest}),
        })
        .collect();
    Ok(json(StatusCode::OK, &lines))
}

/// An image that a container is made of stays; by force its name may go when no container runs.
fn refuse_if_used(engine: &Engine, name: &str, force: bool) -> Result<(), Refusal> {
    let image = engine.images.get(name)?;
    if image.references.len() > 1 {
        // Only a name goes.
        return Ok(());
    }
    let id = image.id.to_string();
    let records = engine.containers.records();
    let conflict = |message| Err(Refusal::new(ErrorKind::Conflict, message));
    let short = |id: &str| id.chars().take(12).collect::<String>();
    for record in records.iter().filter(|r| r.image == id) {
        let (image, container) = (image.id.short(), short(&record.id));
        if record.state.status.is_up() {
            return conflict(format!(
                "conflict: unable to delete {image} (cannot be forced) - image is being used by running container {container}"
            ));
        }
        if !force {
            return conflict(format!(
                "conflict: unable to remove repository reference \"{name}\" (must force) - container {container} is using its referenced image {image}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_a_pull_names_an_image() {
        let named = |pairs: &[(&str, &str)]| {
            let params = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            reference(&params).map(|r| r.canonical()).map_err(|r| r.message)
        };
        let centos = || Ok("docker.io/library/centos:latest".to_owned());
        assert_eq!(named(&[("fromImage", "docker.io/library/centos"), ("tag", "latest")]), centos());
        assert_eq!(named(&[("fromImage", "centos:latest")]), centos());
        assert_eq!(named(&[("fromImage", "centos")]), centos());
        let digest = format!("sha256:{}", "a".repeat(64));
        assert!(named(&[("fromImage", "centos"), ("tag", &digest)]).unwrap().ends_with(&digest));
        assert_eq!(
            named(&[("fromImage", "Bad")]),
            Err("invalid reference format: repository name (library/Bad) must be lowercase".into())
        );
        assert!(named(&[]).is_err());
    }

    #[test]
    fn patterns_match_as_dockers() {
        assert!(matches_reference("centos", "centos:latest"));
        assert!(matches_reference("centos:7", "centos:7"));
        assert!(!matches_reference("centos:7", "centos:latest"));
        assert!(matches_reference("127.0.0.1:5055/mysql", "127.0.0.1:5055/mysql:5.7"));
        assert!(matches_reference("my*", "mysql:5.7"));
        assert!(!matches_reference("*", "127.0.0.1:5055/mysql:5.7"));
    }
}
