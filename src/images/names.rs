//! Names of images: given, moved and taken away, always in one step on disk.
//!
//! An image has tags (`centos:latest`) and digest references (`centos@sha256:…`: under this digest that repository
//! has it, as was seen in a pull or a push). An image that loses its last name to another one stays, without a name
//! (`<none>`), until somebody removes it.

use super::store::{Catalog, ImageError, TAGGED};
use crate::oci::{Digest, Reference};
use oci_spec::image::Descriptor;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The references that a pull of `reference` gives to what it found: the tag, and the digest.
pub fn references_of_pull(reference: &Reference, digest: &Digest) -> Vec<Reference> {
    let by_digest = reference.clone().with_digest(digest.clone());
    match reference.digest() {
        Some(_) => vec![by_digest],
        None => vec![reference.clone().with_default_tag(), by_digest],
    }
}

impl Catalog<'_> {
    /// Gives an image names (all of them or, when the machine crashes, none); with no names it is kept without one.
    /// Names that another image had move; an image whose last name moves stays without one.
    ///
    /// # Errors
    /// The index could not be written, or the descriptor leads to no image.
    pub fn give(&self, names: &[Reference], descriptor: &Descriptor) -> Result<(), ImageError> {
        let id = self.id_of(descriptor)?;
        self.store.edit(|index| {
            let moved: Vec<Descriptor> = names.iter().filter_map(|n| index.resolve(&n.canonical()).cloned()).collect();
            for name in names {
                index.set(&name.canonical(), descriptor.clone());
            }
            if names.is_empty() {
                let here = index.all().any(|(_, d)| self.id_of(d).is_ok_and(|other| other == id));
                if !here {
                    index.keep(descriptor.clone());
                }
                return;
            }
            index.let_go(|d| self.id_of(d).is_ok_and(|other| other == id));
            for old in moved {
                let old_id = self.id_of(&old).ok();
                let has_name = index.all().any(|(_, d)| self.id_of(d).ok() == old_id);
                if old_id.is_some() && !has_name {
                    index.keep(old);
                }
            }
        })?;
        Ok(())
    }

    /// Gives the image `source` another name.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<Digest, ImageError> {
        let image = self.get(source)?;
        let mut descriptor = image.descriptor;
        let mut annotations = descriptor.annotations().clone().unwrap_or_default();
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        annotations.insert(TAGGED.to_owned(), now);
        descriptor.set_annotations(Some(annotations));
        self.give(std::slice::from_ref(target), &descriptor)?;
        Ok(image.id)
    }

    /// Takes names of an image away, and keeps it without one if `keep` and none is left.
    pub(super) fn take(&self, names: &[Reference], id: &Digest, keep: bool) -> Result<(), ImageError> {
        self.store.edit(|index| {
            let last = names.first().and_then(|n| index.resolve(&n.canonical()).cloned());
            for name in names {
                index.remove(&name.canonical());
            }
            let is_it = |d: &Descriptor| self.id_of(d).is_ok_and(|other| other == *id);
            match (keep, last) {
                (false, _) => index.let_go(is_it),
                (true, Some(descriptor)) if !index.all().any(|(_, d)| is_it(d)) => index.keep(descriptor),
                (true, _) => {}
            }
        })?;
        Ok(())
    }
}
