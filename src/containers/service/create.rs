//! Making a container: a configuration and an empty writable layer. Nothing runs yet.

use super::super::image_source::SourceImage;
use super::super::logs;
use super::super::names::{self, NameError};
use super::super::spec;
use super::super::store::{Bundle, Layers, NetworkFiles};
use super::*;
use crate::trace::{self, Actor};
use bollard_stubs::models::ContainerCreateBody;
use serde_json::json;

/// What a client gets for `POST /containers/create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateAnswer {
    /// 64 hex characters.
    pub id: String,
    /// What was asked for and will not be there.
    pub warnings: Vec<String>,
}

/// A name that is taken for a container under way; given back unless the container comes to be.
struct Reserved<'a> {
    table: &'a Mutex<Table>,
    name: String,
    kept: bool,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.kept {
            lock(self.table).names.remove(&self.name);
        }
    }
}

impl Containers {
    /// Makes a container of an image that is here; a name is made up if there is none.
    ///
    /// # Errors
    /// No such image, a name that is taken or can't be, a configuration that can't be run.
    pub async fn create(&self, name: Option<&str>, body: ContainerCreateBody) -> Result<CreateAnswer, ContainerError> {
        let (inner, name) = (self.inner.clone(), name.map(str::to_owned));
        to_the_end(async move { inner.create(name, body).await }).await
    }
}

impl Inner {
    async fn create(
        self: Arc<Inner>,
        name: Option<String>,
        body: ContainerCreateBody,
    ) -> Result<CreateAnswer, ContainerError> {
        // A bad name is told before the image is looked for: it would fail after the pull as well.
        if let Some(name) = &name {
            names::check(name)?;
        }
        let images = self.images.clone();
        let wanted = body.image.clone().unwrap_or_default();
        let image = blocking(move || Ok(images.find(&wanted)?)).await?;
        // Until the table has the container, nobody knows that it needs the image.
        let _held = image.hold.clone();
        let config = spec::merge(body, image.config.as_ref(), &spec::Machine::read())?;
        self.check_host(&config)?;
        let warnings = spec::warnings(&config);
        if let Some(log) = config.host_config.as_ref().and_then(|h| h.log_config.as_ref()) {
            logs::check(log.typ.as_deref().unwrap_or_default(), &log.config.clone().unwrap_or_default())?;
        }
        let random = |e: getrandom::Error| ContainerError::Random(e.to_string());
        let id = names::new_id().map_err(random)?;
        let reserved = self.reserve(name.as_deref(), &id)?;
        let mut record = Record::new(id.clone(), reserved.name.clone(), image.id.clone(), config);
        record.layers = Layers { base: image.base.clone(), lower: image.lower.clone() };
        self.make(record.clone(), image).await?;
        // The entry and the end of the reservation are one step for everybody who looks.
        let mut table = lock(&self.table);
        let entry = Entry::new(record);
        table.entries.insert(id.clone(), entry.clone());
        drop(table);
        self.tell(&entry.record(), "create", []);
        let mut reserved = reserved;
        reserved.kept = true;
        Ok(CreateAnswer { id, warnings })
    }

    fn reserve(&self, name: Option<&str>, id: &str) -> Result<Reserved<'_>, ContainerError> {
        let mut table = lock(&self.table);
        let name = match name {
            Some(name) => {
                let name = names::check(name)?.to_owned();
                if let Some(holder) = table.names.get(&name) {
                    return Err(NameError::Taken { name, id: holder.clone() }.into());
                }
                name
            }
            // A weak random number is good enough for a name.
            None => names::generate(|| getrandom::u32().unwrap_or(0), |name| table.names.contains_key(name)),
        };
        table.names.insert(name.clone(), id.to_owned());
        Ok(Reserved { table: &self.table, name, kept: false })
    }

    /// Puts the container on disk; the record comes last, since it is what makes a directory a container.
    async fn make(self: &Arc<Inner>, record: Record, image: SourceImage) -> Result<(), ContainerError> {
        let (short, name, count) = (record.short_id().to_owned(), record.name.clone(), image.lower.len());
        let step = trace::step(Actor::Daemon, "container.create")
            .why("a container is a configuration and a writable layer of its own on the image's layers; nothing runs yet")
            .args(|| json!({"id": record.id, "name": name, "image": image.id, "layers": image.lower}));
        let inner = self.clone();
        let work = blocking(move || inner.make_files(&record)).instrument(step.span());
        match work.await {
            Ok(()) => {
                let layers = if count == 1 { "layer" } else { "layers" };
                step.ok(json!({"id": short}), || {
                    format!("makes container {short}, named {name}: {count} read-only {layers}, 1 empty writable one")
                });
                Ok(())
            }
            Err(error) => {
                step.fail("EIO", &error, || format!("can't make the container: {error}"));
                Err(error)
            }
        }
    }

    fn make_files(&self, record: &Record) -> Result<(), ContainerError> {
        let made = self.make_bundle(record).and_then(|()| Ok(self.store.save(record)?));
        if made.is_err() {
            // What can't be deleted now is half-made for the next daemon, and goes then.
            let _ = self.layers.remove(self.store.root(), &record.id);
        }
        made
    }

    fn make_bundle(&self, record: &Record) -> Result<(), ContainerError> {
        let hostname = spec::hostname(&record.config, &record.id, &super::start::host_name());
        let domain = record.config.domainname.as_deref().unwrap_or("");
        let bundle = self.store.make(&record.id, &hostname, domain, &NetworkFiles::of(&record.config))?;
        self.make_layer(&bundle)
    }

    pub(super) fn make_layer(&self, bundle: &Bundle) -> Result<(), ContainerError> {
        Ok(self.layers.make(&bundle.upper(), &bundle.work(), &bundle.merged())?)
    }
}
