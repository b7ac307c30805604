//! `index.json`: the names in an image layout.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder};

use super::error::ContentError;
use super::store::replace;
use crate::oci::media::{OCI_INDEX, REF_NAME};

/// The file's content: what is kept, with or without a name. Other tools write entries without one; rdock keeps an
/// image so that has lost its last name.
#[derive(Default, Clone, PartialEq)]
pub struct Index {
    manifests: Vec<Descriptor>,
}

impl Index {
    pub(super) fn read(root: &Path) -> Result<Index, ContentError> {
        let path = root.join("index.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
            Err(source) => {
                return Err(ContentError::Io { what: "read", path, source });
            }
        };
        let index: ImageIndex =
            serde_json::from_slice(&bytes).map_err(|source| ContentError::Damaged { path, source })?;
        Ok(Index { manifests: index.manifests().clone() })
    }

    pub(super) fn write(&self, root: &Path) -> Result<(), ContentError> {
        let path = root.join("index.json");
        let damaged = |source| ContentError::Damaged { path: path.clone(), source };
        let index = ImageIndexBuilder::default()
            .schema_version(2u32)
            .media_type(OCI_INDEX)
            .manifests(self.manifests.clone())
            .build()
            .map_err(|e| damaged(serde::ser::Error::custom(e)))?;
        let bytes = serde_json::to_vec(&index).map_err(damaged)?;
        replace(&path, &bytes)
    }

    pub(super) fn write_if_missing(&self, root: &Path) -> Result<(), ContentError> {
        if root.join("index.json").exists() { Ok(()) } else { self.write(root) }
    }

    /// What this name stands for.
    pub fn resolve(&self, name: &str) -> Option<&Descriptor> {
        self.manifests.iter().find(|d| name_of(d) == Some(name))
    }

    /// Gives the content a name; a name that stood for something else moves.
    pub fn set(&mut self, name: &str, mut descriptor: Descriptor) {
        let mut annotations: HashMap<String, String> = descriptor.annotations().clone().unwrap_or_default();
        annotations.insert(REF_NAME.to_owned(), name.to_owned());
        descriptor.set_annotations(Some(annotations));
        match self.manifests.iter_mut().find(|d| name_of(d) == Some(name)) {
            Some(old) => *old = descriptor,
            None => self.manifests.push(descriptor),
        }
    }

    /// Keeps the content without a name, once.
    pub fn keep(&mut self, mut descriptor: Descriptor) {
        let mut annotations: HashMap<String, String> = descriptor.annotations().clone().unwrap_or_default();
        annotations.remove(REF_NAME);
        descriptor.set_annotations(Some(annotations).filter(|a| !a.is_empty()));
        if !self.manifests.contains(&descriptor) {
            self.manifests.push(descriptor);
        }
    }

    /// Removes a name; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.manifests.len();
        self.manifests.retain(|d| name_of(d) != Some(name));
        self.manifests.len() < before
    }

    /// Removes the entries without a name that `which` points out.
    pub fn let_go(&mut self, which: impl Fn(&Descriptor) -> bool) {
        self.manifests.retain(|d| name_of(d).is_some() || !which(d));
    }

    /// Every entry, with its name if it has one, in the order in which they came.
    pub fn all(&self) -> impl Iterator<Item = (Option<&str>, &Descriptor)> {
        self.manifests.iter().map(|d| (name_of(d), d))
    }

    pub(super) fn entries(self) -> Vec<(String, Descriptor)> {
        self.manifests.into_iter().filter_map(|d| Some((name_of(&d)?.to_owned(), d))).collect()
    }
}

fn name_of(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations().as_ref()?.get(REF_NAME).map(String::as_str)
}
