//! `/images/…`: which images there are, their names, and their end.

use super::query::{Params, filters, flag, text};
use crate::api::moment;
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, empty, json};
use crate::images::{HistoryLine, Image, ImageFilter, ImageSummary, RemoveImage, Removed, Usage};
use crate::oci::{Digest, Reference};
use crate::trace::{self, Actor};
use http::StatusCode;
use oci_spec::image::ImageConfiguration;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// Kinds of conditions of a list.
const LIST_FILTERS: &[&str] = &["dangling", "label", "label!", "before", "since", "reference", "until"];

/// `GET /images/json?all=&filters=&shared-size=`
pub async fn list(engine: &Engine, params: &Params) -> Answer {
    let seconds = |text: &str| moment::seconds(text).map_err(|e| e.to_string());
    let filter = ImageFilter::new(filters(params)?, LIST_FILTERS, seconds).map_err(Refusal::bad)?;
    let images = &engine.images;
    let all = images.list()?;
    let made_from: HashSet<Digest> = all.iter().filter_map(|i| i.parent.clone()).collect();
    let shown = |i: &ImageSummary| {
        flag(params, "all") || !i.repo_tags.is_empty() || !i.repo_digests.is_empty() || !made_from.contains(&i.id)
    };
    let count = all.len();
    let listed = all.into_iter().filter(shown).collect();
    let kept = filter.keep(listed, |name| Ok(images.get(name)?.created()))?;
    trace::step(Actor::Daemon, "image.list")
        .why("the store's index.json has the names; manifest and config of each say the rest")
        .ok(json!(kept.len()), || format!("reads the index: {} of {count} images fit", kept.len()));
    let usage = if flag(params, "shared-size") { Some(images.usage()?) } else { None };
    let lines: Vec<Value> = kept.iter().map(|i| line(i, usage.as_ref(), None)).collect();
    Ok(json(StatusCode::OK, &lines))
}

/// A line of the list; -1 stands for what was not counted.
pub fn line(image: &ImageSummary, usage: Option<&Usage>, containers: Option<usize>) -> Value {
    let shared =
        usage.and_then(|u| u.images.get(&image.id)).map_or(-1, |u| i64::try_from(u.shared).unwrap_or(i64::MAX));
    let labels = if image.labels.is_empty() { Value::Null } else { json!(image.labels) };
    json!({
        "Containers": containers.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX)),
        "Created": image.created, "Id": image.id, "Labels": labels,
        "ParentId": image.parent.as_ref().map_or("", Digest::as_str),
        "RepoDigests": image.repo_digests, "RepoTags": image.repo_tags, "SharedSize": shared,
        "Size": image.size, "VirtualSize": image.size,
    })
}

/// `GET /images/{name}/json`
pub async fn inspect(engine: &Engine, name: &str) -> Answer {
    let image = engine.images.get(name)?;
    let size = engine.images.size(&image);
    // What the OCI types leave out of a config that Docker made.
    let raw = engine.images.store().read(&image.id).ok();
    let raw: Value = raw.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let dirs = engine.images.lower_dirs(&image).ok();
    Ok(json(StatusCode::OK, &inspected(&image, size, &raw, dirs)))
}

fn inspected(image: &Image, size: u64, raw: &Value, dirs: Option<(PathBuf, Vec<PathBuf>)>) -> Value {
    let config = &image.config;
    let last = config.history().as_ref().and_then(|h| h.last());
    let own = |key: &str| raw[key].as_str().unwrap_or_default().to_owned();
    let mut answer = json!({
        "Id": image.id, "RepoTags": image.tags(), "RepoDigests": image.digests(),
        "Parent": image.parent.as_ref().map_or("", Digest::as_str),
        "Comment": last.and_then(|h| h.comment().clone()).unwrap_or_default(),
        "Created": config.created(), "DockerVersion": own("docker_version"),
        "Author": config.author().clone().unwrap_or_default(),
        "Config": container_config(config, &raw["config"]),
        "Architecture": config.architecture().to_string(), "Os": config.os().to_string(),
        "Size": size, "VirtualSize": size,
        "GraphDriver": {"Data": graph_driver(dirs), "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": config.rootfs().diff_ids()},
        "Metadata": {"LastTagTime": image.tagged.as_deref().unwrap_or("0001-01-01T00:00:00Z")},
    });
    if let (Some(variant), Some(fields)) = (config.variant(), answer.as_object_mut()) {
        fields.insert("Variant".into(), json!(variant.to_string()));
    }
    answer
}

/// Where the unpacked layers are: the topmost, and those below it.
fn graph_driver(dirs: Option<(PathBuf, Vec<PathBuf>)>) -> Value {
    let Some((base, lower)) = dirs else { return json!({}) };
    let paths: Vec<String> = lower.iter().map(|dir| base.join(dir).display().to_string()).collect();
    match paths.as_slice() {
        [] => json!({}),
        [top] => json!({"UpperDir": top}),
        [top, below @ ..] => json!({"LowerDir": below.join(":"), "UpperDir": top}),
    }
}

/// The image's defaults for containers, with all the fields that Docker shows.
fn container_config(config: &ImageConfiguration, raw: &Value) -> Value {
    let set = config.config().as_ref();
    let volumes = set
        .and_then(|c| c.volumes().clone())
        .map(|list| list.into_iter().map(|v| (v, json!({}))).collect::<serde_json::Map<_, _>>());
    let mut answer = json!({
        "Hostname": "", "Domainname": "", "User": set.and_then(|c| c.user().clone()).unwrap_or_default(),
        "AttachStdin": false, "AttachStdout": false, "AttachStderr": false,
    });
    let rest = json!({
        "Tty": false, "OpenStdin": false, "StdinOnce": false,
        "Env": set.and_then(|c| c.env().clone()), "Cmd": set.and_then(|c| c.cmd().clone()), "Image": "",
        "Volumes": volumes, "WorkingDir": set.and_then(|c| c.working_dir().clone()).unwrap_or_default(),
        "Entrypoint": set.and_then(|c| c.entrypoint().clone()), "OnBuild": raw["OnBuild"],
        "Labels": set.and_then(|c| c.labels().clone()),
    });
    let Some(fields) = answer.as_object_mut() else { return answer };
    if let Some(ports) = set.and_then(|c| c.exposed_ports().clone()) {
        let ports: serde_json::Map<_, _> = ports.into_iter().map(|port| (port, json!({}))).collect();
        fields.insert("ExposedPorts".into(), Value::Object(ports));
    }
    fields.extend(rest.as_object().cloned().unwrap_or_default());
    if let Some(signal) = set.and_then(|c| c.stop_signal().clone()) {
        fields.insert("StopSignal".into(), json!(signal));
    }
    for own in ["Healthcheck", "Shell"] {
        if !raw[own].is_null() {
            fields.insert(own.into(), raw[own].clone());
        }
    }
    answer
}

/// `GET /images/{name}/history`
pub async fn history(engine: &Engine, name: &str) -> Answer {
    let lines = engine.images.history(name)?;
    trace::step(Actor::Daemon, "image.history")
        .why("the image config keeps the steps of its making; some made a layer, some only a setting")
        .arg("image", name)
        .ok(json!(lines.len()), || {
            let layers = lines.iter().filter(|l| l.size > 0).count();
            format!("reads the config: {} steps, {layers} of them brought files", lines.len())
        });
    let line = |line: &HistoryLine| {
        let tags = if line.tags.is_empty() { Value::Null } else { json!(line.tags) };
        json!({
            "Comment": line.comment, "Created": line.created, "CreatedBy": line.created_by,
            "Id": line.id.as_ref().map_or("<missing>", Digest::as_str), "Size": line.size, "Tags": tags,
        })
    };
    Ok(json(StatusCode::OK, &lines.iter().map(line).collect::<Vec<_>>()))
}

/// `POST /images/{name}/tag?repo=&tag=`
pub async fn tag(engine: &Engine, name: &str, params: &Params) -> Answer {
    let repository = Reference::parse(text(params, "repo").unwrap_or_default()).map_err(Refusal::bad)?;
    if repository.digest().is_some() {
        return Err(Refusal::bad("refusing to create a tag with a digest reference"));
    }
    let target = match text(params, "tag") {
        Some(tag) => repository.with_tag(tag).map_err(|_| Refusal::bad("invalid tag format"))?,
        None => repository.with_default_tag(),
    };
    engine.images.tag(name, &target)?;
    Ok(empty(StatusCode::CREATED))
}

/// `DELETE /images/{name}?force=&noprune=`
pub async fn remove(engine: &Engine, name: &str, params: &Params) -> Answer {
    let options = RemoveImage { force: flag(params, "force"), prune: !flag(params, "noprune") };
    let removed = engine.images.remove(name, options).await?;
    Ok(json(StatusCode::OK, &lines(&removed)))
}

/// Kinds of conditions of a prune.
const PRUNE_FILTERS: &[&str] = &["dangling", "label", "label!", "until"];

/// `POST /images/prune?filters=`: images without a tag; with `dangling=false` all that no container uses.
pub async fn prune(engine: &Engine, params: &Params) -> Answer {
    let seconds = |text: &str| moment::seconds(text).map_err(|e| e.to_string());
    let mut filter = ImageFilter::new(filters(params)?, PRUNE_FILTERS, seconds).map_err(Refusal::bad)?;
    let all = filter.dangling.take() == Some(false);
    let (removed, bytes) = engine.images.prune(&filter, all).await?;
    let deleted = if removed.is_empty() { Value::Null } else { json!(lines(&removed)) };
    Ok(json(StatusCode::OK, &json!({"ImagesDeleted": deleted, "SpaceReclaimed": bytes})))
}

fn lines(removed: &[Removed]) -> Vec<Value> {
    let line = |removed: &Removed| match removed {
        Removed::Untagged(name) => json!({"Untagged": name}),
        Removed::Deleted(digest) => json!({"Deleted": digest}),
    };
    removed.iter().map(line).collect()
}

/// How many containers there are of each image.
pub fn containers_of(engine: &Engine) -> HashMap<String, usize> {
    let mut count = HashMap::new();
    for record in engine.containers.records() {
        *count.entry(record.image.clone()).or_default() += 1;
    }
    count
}
