//! Giving a container another name.

use super::super::names::NameError;
use super::*;
use crate::trace::{self, Actor};
use serde_json::json;

impl Containers {
    /// # Errors
    /// No such container; a name that is empty, its own, taken, or can't be.
    pub async fn rename(&self, id_or_name: &str, name: &str) -> Result<(), ContainerError> {
        if name.is_empty() {
            return Err(ContainerError::NoNewName);
        }
        let entry = self.inner.find(id_or_name)?;
        let (inner, asked, name) = (self.inner.clone(), id_or_name.to_owned(), name.to_owned());
        to_the_end(async move { inner.rename(&entry, &asked, &name).await }).await
    }
}

impl Inner {
    async fn rename(&self, entry: &Entry, asked: &str, name: &str) -> Result<(), ContainerError> {
        let _command = entry.command.lock().await;
        if entry.is_removed() {
            return Err(names::LookupError::NoSuch(asked.into()).into());
        }
        let old = entry.record().name.clone();
        if name.trim_start_matches('/') == old {
            return Err(ContainerError::SameName);
        }
        let name = self.take_name(name, &entry.id).map_err(ContainerError::NewName)?;
        let step = trace::step(Actor::Daemon, "container.rename")
            .why("names are for people: the id, the files and the processes stay as they are")
            .arg("id", &entry.id)
            .arg("name", &name);
        let renamed = self.commit(entry, |record| {
            record.name.clone_from(&name);
            Ok(())
        });
        match renamed.await {
            Ok(record) => {
                lock(&self.table).names.remove(&old);
                step.ok(json!(null), || format!("container {} is called {name} now, not {old}", record.short_id()));
                self.tell(&record, "rename", [("oldName", format!("/{old}"))]);
                Ok(())
            }
            Err(error) => {
                lock(&self.table).names.remove(&name);
                step.fail("EIO", &error, || format!("{old} can't be renamed: {error}"));
                Err(error)
            }
        }
    }

    /// The name belongs to this container from now on, besides the one it has.
    fn take_name(&self, name: &str, id: &str) -> Result<String, NameError> {
        let name = names::check(name).map_err(|_| NameError::Invalid(format!("/{}", name.trim_start_matches('/'))))?;
        let mut table = lock(&self.table);
        match table.names.get(name) {
            Some(holder) => Err(NameError::Taken { name: name.to_owned(), id: holder.clone() }),
            None => {
                table.names.insert(name.to_owned(), id.to_owned());
                Ok(name.to_owned())
            }
        }
    }
}
