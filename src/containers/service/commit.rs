//! An image of a container as it is now: the image's layers, and the container's own as one more.

use super::super::changes;
use super::super::layers::Layers;
use super::*;
use crate::images::diff::{self, View};
use crate::images::{ArchiveFault, NewImage};
use crate::oci::Reference;
use crate::trace::{self, Actor};
use bollard_stubs::models::ContainerCreateBody;
use oci_spec::image::Config;
use serde_json::json;
use std::io::{self, Write as _};

/// Bytes of the layer that are digested and packed at once.
const PIECE: usize = 64 * 1024;

/// What `docker commit` says of the new image.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    pub name: Option<Reference>,
    /// Empty: nobody is named. So is `comment`.
    pub author: String,
    pub comment: String,
    /// Dockerfile instructions that change its configuration.
    pub changes: Vec<String>,
    /// A configuration before those changes; what it leaves out is the container's.
    pub config: Option<ContainerCreateBody>,
    /// A container that runs stands still meanwhile.
    pub pause: bool,
}

impl Containers {
    /// Makes an image of a container; its id, `sha256:…`.
    ///
    /// # Errors
    /// No such container, a change that is none, what could not be read or written.
    pub async fn commit(&self, id_or_name: &str, commit: Commit) -> Result<String, ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let (inner, asked) = (self.inner.clone(), id_or_name.to_owned());
        to_the_end(async move {
            // It is not started or removed meanwhile.
            let _command = entry.command.lock().await;
            if entry.is_removed() {
                return Err(names::LookupError::NoSuch(asked).into());
            }
            let leaving = lock(&entry.leaving).take();
            if let Some(leaving) = leaving {
                let _ = leaving.await;
            }
            inner.commit_still(&entry, commit).await
        })
        .await
    }
}

impl Inner {
    /// Stands it still if that is asked for, and lets it go on whatever comes.
    async fn commit_still(self: &Arc<Inner>, entry: &Arc<Entry>, commit: Commit) -> Result<String, ContainerError> {
        // One that can't be paused (it does not run, it is paused already) is read as it is: so does moby.
        let paused = commit.pause && entry.record().state.status.is_live() && self.pause(entry).await.is_ok();
        let name = commit.name.as_ref().map(Reference::familiar).unwrap_or_default();
        let (worker, record, comment) = (self.clone(), entry.record(), commit.comment.clone());
        let made = blocking(move || worker.commit_now(&record, commit)).await;
        if paused && let Err(error) = self.let_go_on(entry).await {
            tracing::warn!(id = entry.id, %error, "a container was paused for its commit and does not go on");
        }
        let id = made?;
        self.tell(&entry.record(), "commit", [("comment", comment), ("imageID", id.clone()), ("imageRef", name)]);
        Ok(id)
    }

    fn commit_now(&self, record: &Record, commit: Commit) -> Result<String, ContainerError> {
        let short = record.short_id().to_owned();
        let name = commit.name.as_ref().map(Reference::familiar);
        let step = trace::step(Actor::Daemon, "container.commit")
            .why("a new image: the layers of the old one stay as they are, the container's own becomes one more on top")
            .arg("id", &record.id)
            .arg("name", &name);
        let made = step.span().in_scope(|| self.image_of(record, commit));
        match &made {
            Ok(id) => step.ok(json!({"id": id}), || {
                let called = name.map(|n| format!(", {n}")).unwrap_or_default();
                let id = id.strip_prefix("sha256:").unwrap_or(id);
                format!("container {short} is an image as well: {}{called}", &id[..id.len().min(12)])
            }),
            Err(error) => step.fail("EIO", error, || format!("no image of container {short}: {error}")),
        }
        made
    }

    fn image_of(&self, record: &Record, commit: Commit) -> Result<String, ContainerError> {
        let own = config_of(&record.config);
        let image = NewImage {
            parent: record.image.clone(),
            config: match &commit.config {
                Some(body) => filled_up(config_of(body), own),
                None => own,
            },
            name: commit.name,
            author: commit.author,
            comment: commit.comment,
            created_by: record.config.cmd.clone().unwrap_or_default().join(" "),
            changes: commit.changes,
        };
        if self.changes(record)?.is_empty() {
            return Ok(self.images.commit(&image, None)?);
        }
        let mut write = |to: &mut dyn io::Write| self.write_layer(record, to);
        Ok(self.images.commit(&image, Some(&mut write))?)
    }

    /// The container's own layer as an image has it, without the places that the engine made to mount on.
    fn write_layer(&self, record: &Record, to: &mut dyn io::Write) -> Result<(), ArchiveFault> {
        let step = trace::step(Actor::Layer, "layer.write").why(
            "overlayfs keeps a deletion as a device 0:0, a layer as an empty file .wh.NAME: the marks are translated",
        );
        let dirs = self.layer_dirs(record);
        let view = View::Layer { userxattr: self.files.options().userxattr };
        let mut to = io::BufWriter::with_capacity(PIECE, to);
        let written = Layers::open(&dirs[1..])
            .and_then(|lower| changes::made_by_engine(&dirs[0], &lower))
            .and_then(|left_out| diff::write_without(&dirs[0], view, &left_out, &mut to).map_err(io::Error::other))
            .and_then(|written| to.flush().map(|()| written));
        match written {
            Ok(written) => {
                step.ok(written, || {
                    format!(
                        "writes the writable layer as an archive: {} entries, {} of them whiteouts, {} bytes of content",
                        written.entries, written.whiteouts, written.bytes
                    )
                });
                Ok(())
            }
            Err(error) => {
                step.fail("EIO", &error, || format!("can't write the layer: {error}"));
                Err(ArchiveFault::Write(error))
            }
        }
    }
}

/// What a container was made with, as an image has it.
fn config_of(body: &ContainerCreateBody) -> Config {
    let mut config = Config::default();
    let filled = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    let list = |list: &Option<Vec<String>>| list.clone().filter(|l| !l.is_empty());
    config.set_user(filled(&body.user));
    config.set_exposed_ports(list(&body.exposed_ports));
    config.set_env(list(&body.env));
    config.set_entrypoint(list(&body.entrypoint));
    config.set_cmd(list(&body.cmd));
    config.set_volumes(list(&body.volumes));
    config.set_working_dir(filled(&body.working_dir));
    config.set_labels(body.labels.clone().filter(|l| !l.is_empty()));
    config.set_stop_signal(filled(&body.stop_signal));
    config
}

/// What `asked` leaves out is as in `below`; variables and labels are joined, by name.
fn filled_up(mut asked: Config, below: Config) -> Config {
    let name = |line: &String| line.split('=').next().unwrap_or_default().to_owned();
    let mut env = asked.env().clone().unwrap_or_default();
    let told: Vec<_> = env.iter().map(name).collect();
    env.extend(below.env().iter().flatten().filter(|line| !told.contains(&name(line))).cloned());
    asked.set_env(Some(env).filter(|e| !e.is_empty()));
    let mut labels = below.labels().clone().unwrap_or_default();
    labels.extend(asked.labels().clone().unwrap_or_default());
    asked.set_labels(Some(labels).filter(|l| !l.is_empty()));
    // An entry point of its own takes no command over.
    if asked.entrypoint().is_none() {
        asked.set_cmd(asked.cmd().clone().or(below.cmd().clone()));
        asked.set_entrypoint(below.entrypoint().clone());
    }
    asked.set_user(asked.user().clone().or(below.user().clone()));
    asked.set_exposed_ports(asked.exposed_ports().clone().or(below.exposed_ports().clone()));
    asked.set_volumes(asked.volumes().clone().or(below.volumes().clone()));
    asked.set_working_dir(asked.working_dir().clone().or(below.working_dir().clone()));
    asked.set_stop_signal(asked.stop_signal().clone().or(below.stop_signal().clone()));
    asked
}
