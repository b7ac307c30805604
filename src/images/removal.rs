//! Removing an image: its names, and with the last one the image, as far as nobody else needs it.
//!
//! The rules and the words of the conflicts are those of Docker's daemon:
//!
//! - A name takes only itself away, as long as the image has others. An id stands for all names, if they are of one
//!   repository; several repositories want force.
//! - An image of which a container runs stays. By force its name goes, and it stays without one.
//! - An image of which a stopped container was made wants force; the container keeps its layers.

use super::garbage::Collector;
use super::store::{Image, ImageError};
use super::users::Use;
use crate::oci::{Digest, ErrorKind, Reference};
use crate::trace::{self, Actor};
use serde_json::json;
use std::collections::HashSet;

/// What removing an image did, in the order in which Docker tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name, as people write it.
    Untagged(String),
    /// An image's id, or a layer's chain id.
    Deleted(Digest),
}

/// `docker rmi` and its switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoveImage {
    pub force: bool,
    /// Images without a name that this one was made from go too.
    pub prune: bool,
}

/// Why an image stays. Docker's words.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(
        "conflict: unable to remove repository reference \"{reference}\" (must force) - container {container} is using its referenced image {image}"
    )]
    LastName { reference: String, container: String, image: String },
    #[error("conflict: unable to delete {} ({}) - {conflict}", image.short(), conflict.force())]
    Conflict { image: Digest, conflict: Conflict },
}

/// What stands against removing an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("image has dependent child images")]
    Children,
    #[error("image is being used by running container {0}")]
    Running(String),
    #[error("image is referenced in multiple repositories")]
    Names,
    #[error("image is being used by stopped container {0}")]
    Stopped(String),
}

impl Conflict {
    fn is_hard(&self) -> bool {
        matches!(self, Conflict::Children | Conflict::Running(_))
    }

    fn force(&self) -> &'static str {
        if self.is_hard() { "cannot be forced" } else { "must be forced" }
    }
}

impl RemoveError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            RemoveError::Image(e) => e.kind(),
            _ => ErrorKind::Conflict,
        }
    }
}

/// A removal under way.
struct Removal<'c> {
    collector: &'c Collector,
    options: RemoveImage,
    image: Image,
    uses: Vec<Use>,
    /// The names that go.
    names: Vec<Reference>,
    /// The names that the image has besides.
    left: Vec<Reference>,
    done: Vec<Removed>,
}

/// Removes an image by name, `name@digest`, id or the beginning of an id.
pub(super) fn remove(collector: &Collector, asked: &str, options: RemoveImage) -> Result<Vec<Removed>, RemoveError> {
    let image = collector.catalog().get(asked)?;
    let step = trace::step(Actor::Daemon, "image.remove")
        .why("an image is a name, a few documents and layers: each goes when nobody needs it any more")
        .arg("image", &image.id)
        .arg("asked", asked);
    let id = image.id.clone();
    let removed = step.span().in_scope(|| Removal::begin(collector, image, options).run(asked));
    match &removed {
        Ok(done) => step.ok(json!(done.len()), || said(asked, &id, done)),
        Err(e) => step.fail("ECONFLICT", e, || format!("image {} stays: {e}", id.short())),
    }
    removed
}

fn said(asked: &str, id: &Digest, done: &[Removed]) -> String {
    let deleted = done.iter().filter(|r| matches!(r, Removed::Deleted(d) if d != id)).count();
    let whole = done.iter().any(|r| *r == Removed::Deleted(id.clone()));
    match (whole, deleted) {
        (false, _) => format!("removes the name {asked}; image {} stays", id.short()),
        (true, 0) => format!("removes image {}; its layers stay", id.short()),
        (true, 1) => format!("removes image {} with 1 layer", id.short()),
        (true, n) => format!("removes image {} with {n} layers", id.short()),
    }
}

impl<'c> Removal<'c> {
    fn begin(collector: &'c Collector, image: Image, options: RemoveImage) -> Removal<'c> {
        let uses = collector.users.uses().into_iter().filter(|u| u.image == image.id).collect();
        let left = image.references.iter().map(|(r, _)| r.clone()).collect();
        Removal { collector, options, image, uses, names: Vec::new(), left, done: Vec::new() }
    }

    fn run(mut self, asked: &str) -> Result<Vec<Removed>, RemoveError> {
        let single = is_single(&self.left);
        if is_id(&self.image.id, asked) {
            if single {
                // The names are no obstacle: they all go.
                self.check(|c| !matches!(c, Conflict::Names))?;
                self.names = std::mem::take(&mut self.left);
            }
            self.check(|_| true)?;
            return self.whole();
        }
        if !self.options.force
            && single
            && let Some(user) = self.uses.first()
        {
            let (container, image) = (user.short().to_owned(), self.image.id.short().to_owned());
            return Err(RemoveError::LastName { reference: asked.to_owned(), container, image });
        }
        self.take_name(asked)?;
        // With the last name goes the image; but if somebody needs it, the name alone is what was asked for.
        match self.left.is_empty() && self.check(|_| true).is_ok() {
            true => self.whole(),
            false => {
                self.untag(true)?;
                Ok(self.done)
            }
        }
    }

    /// The name that was given; and when no tag of its repository is left, the digests of the repository.
    fn take_name(&mut self, asked: &str) -> Result<(), RemoveError> {
        let given = Reference::parse(asked).map_err(ImageError::from)?.with_default_tag();
        let given = match given.digest().cloned() {
            Some(digest) => given.with_digest(digest),
            None => given,
        };
        let of_repository = |r: &Reference| r.name() == given.name();
        self.left.retain(|r| *r != given);
        let tagged = self.left.iter().any(|r| of_repository(r) && r.digest().is_none());
        let all = given.digest().is_none() && !tagged;
        let (digests, left) = std::mem::take(&mut self.left).into_iter().partition(|r| all && of_repository(r));
        self.left = left;
        self.names = vec![given];
        self.names.extend::<Vec<_>>(digests);
        Ok(())
    }

    /// The first thing that stands against removing the image.
    fn check(&self, counts: impl Fn(&Conflict) -> bool) -> Result<(), RemoveError> {
        let catalog = self.collector.catalog();
        let has_children = catalog.all()?.values().any(|other| other.parent.as_ref() == Some(&self.image.id));
        let user = |running: bool| self.uses.iter().find(|u| u.running == running).map(|u| u.short().to_owned());
        let conflicts = [
            has_children.then_some(Conflict::Children),
            user(true).map(Conflict::Running),
            (!self.left.is_empty()).then_some(Conflict::Names),
            user(false).map(Conflict::Stopped),
        ];
        let stands = |c: &Conflict| (c.is_hard() || !self.options.force) && counts(c);
        match conflicts.into_iter().flatten().find(stands) {
            Some(conflict) => Err(RemoveError::Conflict { image: self.image.id.clone(), conflict }),
            None => Ok(()),
        }
    }

    /// Takes the names away, in one step on disk.
    fn untag(&mut self, keep: bool) -> Result<(), ImageError> {
        let step = trace::step(Actor::Daemon, "image.untag")
            .why("a name is an entry of the store's index.json, which is replaced whole")
            .arg("names", self.names.iter().map(Reference::canonical).collect::<Vec<_>>());
        let familiar: Vec<String> = self.names.iter().map(Reference::familiar).collect();
        let taken = self.collector.catalog().take(&self.names, &self.image.id, keep);
        match &taken {
            Ok(()) => step.ok(json!(familiar.len()), || match familiar.as_slice() {
                [] => "the image has no name".to_owned(),
                [one] => format!("takes the name {one} away"),
                [one, _] => format!("takes the name {one} and its digest away"),
                [one, rest @ ..] => format!("takes the name {one} and {} other names away", rest.len()),
            }),
            Err(e) => step.fail("EIO", e, || format!("the names stay: {e}")),
        }
        taken?;
        self.done.extend(familiar.into_iter().map(Removed::Untagged));
        Ok(())
    }

    /// Removes the image with all names that it has.
    fn whole(mut self) -> Result<Vec<Removed>, RemoveError> {
        self.names.append(&mut self.left);
        let blobs = self.blobs()?;
        self.untag(false)?;
        self.done.push(Removed::Deleted(self.image.id.clone()));
        let layers: Vec<Digest> = self.image.layers.iter().rev().cloned().collect();
        let gone = self.collector.sweep(&layers, &blobs)?;
        self.done.extend(gone.into_iter().map(|layer| Removed::Deleted(layer.chain_id)));
        let mut done = self.done;
        if let Some(parent) = self.image.parent.filter(|_| self.options.prune) {
            done.extend(prune_parent(self.collector, &parent)?);
        }
        Ok(done)
    }

    /// Blobs of all entries of the image: two registries may have packed it differently.
    fn blobs(&self) -> Result<HashSet<Digest>, ImageError> {
        let catalog = self.collector.catalog();
        let mut blobs = HashSet::new();
        for (_, descriptor) in self.collector.layers.store.index()?.all() {
            if catalog.id_of(descriptor).is_ok_and(|id| id == self.image.id) {
                blobs.extend(catalog.blobs(descriptor)?);
            }
        }
        Ok(blobs)
    }
}

/// The image that a removed one was made from goes too, if it has no name and nobody needs it; and so on.
fn prune_parent(collector: &Collector, parent: &Digest) -> Result<Vec<Removed>, RemoveError> {
    let Ok(image) = collector.catalog().get(parent.as_str()) else { return Ok(Vec::new()) };
    let removal = Removal::begin(collector, image, RemoveImage { force: false, prune: true });
    match removal.check(|_| true) {
        Ok(()) => removal.whole(),
        Err(RemoveError::Conflict { .. }) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Whether what was typed is the beginning of the id, with or without `sha256:`.
fn is_id(id: &Digest, asked: &str) -> bool {
    id.as_str().starts_with(asked) || id.hex().starts_with(asked)
}

/// All names are of one repository, with at most one tag. No names are not a single one.
fn is_single(references: &[Reference]) -> bool {
    let (digests, tags): (Vec<&Reference>, Vec<&Reference>) = references.iter().partition(|r| r.digest().is_some());
    let repositories: HashSet<String> = digests.iter().map(|r| r.name()).collect();
    match (references.len(), tags.as_slice()) {
        (0, _) | (_, [_, _, ..]) => false,
        (1, _) => true,
        (_, [tag]) => repositories.len() == 1 && repositories.contains(&tag.name()),
        (_, []) => repositories.len() == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tag_and_the_digests_of_its_repository_are_a_single_reference() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let single = |names: &[&str]| {
            let names: Vec<Reference> =
                names.iter().map(|n| Reference::parse(&n.replace("DIGEST", &digest)).unwrap()).collect();
            is_single(&names)
        };
        assert!(single(&["centos:latest"]));
        assert!(single(&["centos:latest", "centos@DIGEST"]));
        assert!(single(&["centos@DIGEST"]));
        assert!(!single(&[]));
        assert!(!single(&["centos:latest", "centos:7"]));
        assert!(!single(&["centos:latest", "other@DIGEST"]));
        assert!(!single(&["centos@DIGEST", "other@DIGEST"]));
    }

    #[test]
    fn an_id_is_told_from_a_name() {
        let id: Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        assert!(is_id(&id, "abab") && is_id(&id, "sha256:ab") && !is_id(&id, "centos"));
    }
}
