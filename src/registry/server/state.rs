//! What every request needs: the store, the rules of this door, the sweep.

use std::path::PathBuf;
use std::sync::Arc;

use super::answer::Refusal;
use super::repository::{Repository, kept};
use super::sessions::Sessions;
use super::shelf::was_added;
use super::{Push, View};
use crate::content::Store;
use crate::registry::hub_lock::{self, Filling};
use crate::registry::lab_images::{Catalog, Recipe, ensure};

/// See the module.
pub(super) struct Served {
    pub(super) store: Arc<Store>,
    pub(super) faults: Option<PathBuf>,
    pub(super) catalog: Option<Arc<Catalog>>,
    pub(super) view: View,
    pub(super) push: Push,
    pub(super) sessions: Sessions,
    pub(super) abandoned: std::time::Duration,
}

impl Served {
    /// The repository that a name means to a reader: the guest of this name where guests are shown, else what the
    /// lab and the owner vouch for.
    pub(super) fn readable(&self, name: &str, mirror: bool) -> Result<Repository, Refusal> {
        if !mirror {
            let guest = Repository::guest(name)?;
            if guest.exists(&self.store)? {
                return Ok(guest);
            }
        }
        Repository::vouched(name)
    }

    /// The repository that a push goes to. The names that the lab and the owner vouch for are not for guests, and
    /// neither is the whole official namespace.
    pub(super) fn writable(&self, name: &str) -> Result<Repository, Refusal> {
        let guest = Repository::guest(name)?;
        let official = name.starts_with("library/");
        let same = Repository::vouched(name)?;
        let added = guest.tags(&self.store)?.iter().any(|(_, descriptor)| was_added(descriptor));
        if official || added || (same.path() == name && same.exists(&self.store)?) {
            return Err(Refusal::Denied(format!(
                "{name} belongs to the hub's owner (rdock hub add, rdock hub rm); push to a name of your own"
            )));
        }
        Ok(guest)
    }

    /// The lab's recipes of a vouched-for repository: their images are made when somebody asks.
    pub(super) fn promised<'a>(&'a self, repository: &Repository) -> impl Iterator<Item = &'a Recipe> {
        let path = repository.is_vouched().then(|| repository.path().to_owned());
        let recipes = self.catalog.iter().flat_map(|c| c.recipes());
        recipes.filter(move |r| path.as_deref() == Some(r.repository().as_str()))
    }

    /// Makes the lab image that is asked for by its tag, if there is such a one and it is not made yet.
    pub(super) fn provide(&self, repository: &Repository, tag: &str) -> Result<(), Refusal> {
        let wanted = self.promised(repository).find(|r| r.tags.iter().any(|t| t == tag));
        let (Some(recipe), Some(catalog)) = (wanted, &self.catalog) else { return Ok(()) };
        if repository.by_tag(&self.store, tag)?.is_some() {
            return Ok(());
        }
        ensure(&self.store, catalog, &recipe.name).map(drop).map_err(|e| Refusal::Broken(e.to_string()))
    }

    /// While content is put in that has no name yet.
    pub(super) fn fill(&self) -> Result<Filling, Refusal> {
        hub_lock::fill(self.store.root()).map_err(Refusal::io("lock", self.store.root()))
    }

    /// Removes the blobs that nothing leads to. Best effort: what stays is swept the next time.
    pub(super) fn collect(&self) {
        let _ = sweep(&self.store, self.abandoned);
    }

    /// What nobody came back for: uploads, and blobs that no manifest came to name.
    pub(super) fn sweep(&self) {
        self.sessions.sweep();
        self.collect();
    }
}

/// Removes every blob that no name and no link leads to; how many. Nothing when somebody fills the store just now.
pub(super) fn sweep(store: &Store, abandoned: std::time::Duration) -> Result<usize, Refusal> {
    let root = store.root();
    let Some(_alone) = hub_lock::try_sweep(root).map_err(Refusal::io("lock", root))? else { return Ok(0) };
    let kept = kept(store, abandoned)?;
    let mut removed = 0;
    for digest in store.digests()?.iter().filter(|d| !kept.contains(*d)) {
        removed += usize::from(store.remove_blob(digest)?);
    }
    Ok(removed)
}
