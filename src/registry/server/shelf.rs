//! The owner's side of a hub: what is in it, adding images from elsewhere, taking them out. Whoever may write the
//! store's directory is the owner; nothing of this can be asked over the network.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use oci_spec::image::{Descriptor, ImageIndex};
use serde_json::json;
use tracing::Instrument as _;

use super::manifest::Manifest;
use super::repository::{GUEST_DOMAIN, reach};
use super::state::sweep;
use crate::content::{ContentError, Store};
use crate::oci::{DOCKER_DOMAIN, Digest, Reference, ReferenceError, media, platform};
use crate::registry::client::{Client, Endpoint, RegistryError};
use crate::registry::hub_lock;
use crate::registry::lab_images::Catalog;
use crate::trace::{self, Actor};

/// The annotation of the store's index that says where a name came from.
const ORIGIN: &str = "org.rdock.hub.origin";
const ADDED: &str = "added";

/// Why the owner's wish can't be met.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error("the hub has no image {0}")]
    NotThere(String),
    #[error("{0} has no tag in the hub: say which name it shall have (--as NAME:TAG)")]
    NoTag(String),
    #[error("{name} is not what its name says: {cause}")]
    Damaged { name: String, cause: String },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] ContentError),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// Where a name in the hub came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Made here, of a recipe.
    Lab,
    /// By the owner.
    Added,
    /// By a guest.
    Pushed,
}

/// One name in the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// As it is pulled: `mysql`, `me/app`.
    pub repository: String,
    pub tag: String,
    /// None: it is made when somebody asks for it.
    pub digest: Option<Digest>,
    /// Bytes of all that is here of it.
    pub size: u64,
    pub origin: Origin,
}

/// Where an image is taken from.
pub enum Source<'a> {
    /// The place that answered for the reference.
    Registry { client: &'a Client, reference: &'a Reference, place: Endpoint },
    /// The images of this host.
    Local(&'a Store),
}

/// What was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The name in the hub: `docker.io/library/mysql:latest`, or `me/app:1` for what is no image of docker.io.
    pub name: String,
    pub digest: Digest,
    /// Blobs that were not there yet, and their bytes.
    pub new: (usize, u64),
}

/// A hub's store, in its owner's hands.
pub struct Shelf {
    store: Arc<Store>,
}

impl Shelf {
    /// Opens (makes) the store at `root`.
    pub fn open(root: &Path) -> Result<Shelf, ContentError> {
        Ok(Shelf { store: Arc::new(Store::open(root)?) })
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Every name, the lab's promises included, sorted.
    pub fn list(&self, catalog: &Catalog) -> Result<Vec<Stored>, ShelfError> {
        let mut found = BTreeMap::new();
        for recipe in catalog.recipes() {
            for tag in &recipe.tags {
                let (repository, tag) = (recipe.image().to_owned(), tag.clone());
                let promise = Stored {
                    repository: repository.clone(),
                    tag: tag.clone(),
                    digest: None,
                    size: 0,
                    origin: Origin::Lab,
                };
                found.insert((repository, tag, Origin::Lab), promise);
            }
        }
        for (name, descriptor) in self.store.entries()? {
            let Ok(reference) = Reference::parse(&name) else { continue };
            let (Some(tag), Ok(digest)) = (reference.tag(), Digest::try_from(descriptor.digest())) else { continue };
            let origin = match reference.domain() {
                DOCKER_DOMAIN | GUEST_DOMAIN if was_added(&descriptor) => Origin::Added,
                DOCKER_DOMAIN => Origin::Lab,
                GUEST_DOMAIN => Origin::Pushed,
                _ => continue,
            };
            let guest = reference.domain() == GUEST_DOMAIN;
            let repository = if guest { reference.path().to_owned() } else { reference.familiar_name() };
            let tag = tag.to_owned();
            if !guest {
                found.remove(&(repository.clone(), tag.clone(), Origin::Lab));
            }
            let size = self.size(&descriptor);
            let key = (repository.clone(), tag.clone(), origin);
            found.insert(key, Stored { repository, tag, digest: Some(digest), size, origin });
        }
        Ok(found.into_values().collect())
    }

    fn size(&self, descriptor: &Descriptor) -> u64 {
        let mut reached = Default::default();
        reach(&self.store, descriptor, &mut reached);
        reached.iter().filter_map(|d| self.store.size(d)).sum()
    }

    /// Takes a name out of the hub, and what only it led to.
    pub fn remove(&self, name: &str) -> Result<String, ShelfError> {
        let official = Reference::parse(name)?.with_default_tag();
        let guest = Reference::parse(&format!("{GUEST_DOMAIN}/{name}"))?.with_default_tag();
        // What a guest pushed under a name hides the official one, so it goes first.
        for reference in [guest, official] {
            if self.store.untag(&reference.canonical())? {
                if reference.domain() == GUEST_DOMAIN {
                    self.forget_manifests(&reference)?;
                }
                let _ = sweep(&self.store, super::Limits::default().abandoned);
                return Ok(hub_name(&reference));
            }
        }
        Err(ShelfError::NotThere(name.to_owned()))
    }

    /// Manifests of a guest's repository that no tag leads to: for the owner, a name is the whole image.
    fn forget_manifests(&self, reference: &Reference) -> Result<(), ShelfError> {
        let broken =
            |refusal: super::Refusal| ShelfError::Damaged { name: hub_name(reference), cause: refusal.sentence() };
        let repository = super::repository::Repository::guest(reference.path()).map_err(broken)?;
        let mut used = Default::default();
        for (_, descriptor) in repository.tags(&self.store)? {
            reach(&self.store, &descriptor, &mut used);
        }
        for link in repository.links(&self.store).map_err(broken)? {
            // A signature of what is still there stays with it.
            let refers = link.subject.as_ref().is_some_and(|s| used.contains(s));
            if let Ok(digest) = Digest::try_from(link.descriptor.digest())
                && !used.contains(&digest)
                && !refers
            {
                repository.remove_manifest(&self.store, &digest).map_err(broken)?;
            }
        }
        Ok(())
    }

    /// Puts an image into the hub. `top` is its manifest or index as `source` has it; of an index, the manifest for this
    /// host, or `all` of them. Blobs that are here already are not fetched again; the name comes last.
    pub async fn add(
        &self,
        name: &Reference,
        top: (&Descriptor, &[u8]),
        source: &Source<'_>,
        all: bool,
    ) -> Result<Added, ShelfError> {
        let name = own_name(name)?;
        let step = trace::step(Actor::Registry, "hub.image.add")
            .why("an image that the hub has can be pulled by everybody who reaches it, without the internet")
            .arg("name", name.canonical());
        let adding = async {
            let root = self.store.root();
            let _filling = hub_lock::fill(root).map_err(|source| ContentError::Io {
                what: "lock",
                path: root.to_owned(),
                source,
            })?;
            let new = self.contents(top, source, all).await?;
            let mut descriptor = top.0.clone();
            descriptor.set_annotations(Some(HashMap::from([(ORIGIN.to_owned(), ADDED.to_owned())])));
            self.store.tag(&name.canonical(), &descriptor)?;
            Ok(new)
        };
        match adding.instrument(step.span()).await {
            Ok(new) => {
                let digest = Digest::of(top.1);
                step.ok(json!({"digest": digest, "blobs": new.0, "bytes": new.1}), || {
                    format!("adds {} to the hub: {} new blobs, {} bytes", hub_name(&name), new.0, new.1)
                });
                Ok(Added { name: hub_name(&name), digest, new })
            }
            Err(error) => {
                let error: ShelfError = error;
                step.fail("EIO", &error, || format!("cannot add {}: {error}", hub_name(&name)));
                Err(error)
            }
        }
    }

    /// All that the manifest or index leads to, then itself; how many blobs and bytes were new.
    async fn contents(
        &self,
        (descriptor, bytes): (&Descriptor, &[u8]),
        source: &Source<'_>,
        all: bool,
    ) -> Result<(usize, u64), ShelfError> {
        let media_type = descriptor.media_type().to_string();
        let name = descriptor.digest().to_string();
        let damaged = |cause: String| ShelfError::Damaged { name: name.clone(), cause };
        let mut new = (0, 0);
        if media::is_index(&media_type) {
            let index: ImageIndex = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
            let own = platform::select(&index, &platform::Platform::host());
            let wanted: Vec<&Descriptor> =
                if all { index.manifests().iter().collect() } else { own.into_iter().collect() };
            for child in wanted {
                let digest = Digest::try_from(child.digest()).map_err(|e| damaged(e.to_string()))?;
                let bytes = source.manifest(&digest).await?;
                let more = Box::pin(self.contents((child, &bytes), source, all)).await?;
                new = (new.0 + more.0, new.1 + more.1);
            }
        }
        let manifest = Manifest::read(Some(&media_type), bytes).map_err(|r| damaged(r.sentence()))?;
        for blob in manifest.blobs() {
            let digest = Digest::try_from(blob.digest()).map_err(|e| damaged(e.to_string()))?;
            if self.store.size(&digest) != Some(blob.size()) {
                source.blob(blob, &digest, &self.store).await?;
                new = (new.0 + 1, new.1 + blob.size());
            }
        }
        self.store.put(bytes)?;
        Ok(new)
    }
}

impl Source<'_> {
    async fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, ShelfError> {
        match self {
            Source::Registry { client, reference, place } => {
                Ok(client.manifest_at(reference, digest, place).await?.bytes.to_vec())
            }
            Source::Local(store) => Ok(store.read(digest)?),
        }
    }

    /// Streams the blob into `store`, which checks its digest.
    async fn blob(&self, descriptor: &Descriptor, digest: &Digest, store: &Store) -> Result<(), ShelfError> {
        let mut writer = store.writer()?;
        let write = |source| ContentError::Io { what: "write", path: store.blob_path(digest), source };
        match self {
            Source::Registry { client, reference, place } => {
                let mut pieces = client.blob(reference, descriptor, place).await?;
                while let Some(piece) = pieces.next().await {
                    writer.write_all(&piece?).map_err(write)?;
                }
            }
            Source::Local(from) => {
                let mut file = from.open_blob(digest).map_err(|source| match source.kind() {
                    std::io::ErrorKind::NotFound => ContentError::NotFound(digest.clone()),
                    _ => ContentError::Io { what: "read", path: from.blob_path(digest), source },
                })?;
                std::io::copy(&mut file, &mut writer).map_err(write)?;
            }
        }
        Ok(writer.commit(digest, Some(descriptor.size()))?)
    }
}

/// What the owner put there himself; the lab does not make its own over it.
pub(crate) fn was_added(descriptor: &Descriptor) -> bool {
    descriptor.annotations().as_ref().is_some_and(|a| a.get(ORIGIN).is_some_and(|o| o == ADDED))
}

/// The name in the store: what is of docker.io keeps its name, all else is nobody's image of docker.io.
fn own_name(reference: &Reference) -> Result<Reference, ShelfError> {
    if reference.tag().is_none() {
        return Err(ShelfError::NoTag(reference.familiar()));
    }
    if reference.domain() == DOCKER_DOMAIN {
        return Ok(reference.clone());
    }
    let tag = reference.tag().unwrap_or_default();
    Ok(Reference::parse(&format!("{GUEST_DOMAIN}/{}:{tag}", reference.path()))?)
}

fn hub_name(reference: &Reference) -> String {
    match reference.domain() {
        GUEST_DOMAIN => format!("{}:{}", reference.path(), reference.tag().unwrap_or_default()),
        _ => reference.canonical(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::image::MediaType;

    struct Bench {
        _dir: tempfile::TempDir,
        host: Store,
        shelf: Shelf,
    }

    fn bench() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let host = Store::open(dir.path().join("host")).unwrap();
        let shelf = Shelf::open(&dir.path().join("hub")).unwrap();
        Bench { _dir: dir, host, shelf }
    }

    /// An index for this host and another platform, whose manifest the host does not have.
    fn image(host: &Store) -> (Descriptor, Vec<u8>) {
        let put = |bytes: &[u8], media_type: &str| json!({"mediaType": media_type, "digest": host.put(bytes).unwrap(), "size": bytes.len()});
        let manifest = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": put(b"{}", media::OCI_CONFIG), "layers": [put(b"layer", media::OCI_LAYER)]});
        let mut own = put(manifest.to_string().as_bytes(), media::OCI_MANIFEST);
        own["platform"] = json!({"os": "linux", "architecture": platform::Platform::host().architecture});
        let mut other = own.clone();
        other["digest"] = json!(Digest::of(b"not here"));
        other["platform"]["architecture"] = json!("mips");
        let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [own, other]}).to_string();
        let digest = host.put(index.as_bytes()).unwrap();
        (Descriptor::new(MediaType::from(media::OCI_INDEX), index.len() as u64, digest), index.into_bytes())
    }

    #[tokio::test]
    async fn an_image_is_added_listed_and_removed() {
        let bench = bench();
        let (descriptor, bytes) = image(&bench.host);
        let name = |n: &str| Reference::parse(n).unwrap();
        let source = Source::Local(&bench.host);
        let added = bench.shelf.add(&name("tool:1"), (&descriptor, &bytes), &source, false).await.unwrap();
        assert_eq!((added.name.as_str(), added.new.0), ("docker.io/library/tool:1", 2));
        let elsewhere = name("127.0.0.1:5001/me/tool:1");
        let again = bench.shelf.add(&elsewhere, (&descriptor, &bytes), &source, false).await.unwrap();
        assert_eq!((again.name.as_str(), again.new), ("me/tool:1", (0, 0)), "its blobs are there");
        let missing = bench.shelf.add(&name("tool:2"), (&descriptor, &bytes), &source, true).await.unwrap_err();
        assert!(matches!(missing, ShelfError::Store(ContentError::NotFound(_))), "{missing}");

        let catalog = Catalog::embedded().unwrap();
        let listed = bench.shelf.list(&catalog).unwrap();
        let find = |repository: &str| listed.iter().find(|s| s.repository == repository).unwrap();
        assert_eq!((find("tool").origin, find("me/tool").origin), (Origin::Added, Origin::Added));
        assert!(find("tool").size > 7);
        assert_eq!((find("mysql").origin, &find("mysql").digest), (Origin::Lab, &None), "made when asked for");
        assert!(!listed.iter().any(|s| s.tag == "2"), "nothing of it has a name");

        assert_eq!(bench.shelf.remove("me/tool:1").unwrap(), "me/tool:1");
        assert!(bench.shelf.store().has(&Digest::of(b"layer")), "the other name leads to it");
        assert_eq!(bench.shelf.remove("tool:1").unwrap(), "docker.io/library/tool:1");
        assert!(bench.shelf.store().digests().unwrap().is_empty());
        assert_eq!(bench.shelf.remove("tool:1").unwrap_err().to_string(), "the hub has no image tool:1");
    }

    #[tokio::test]
    async fn what_the_owner_added_is_not_made_over_by_the_lab() {
        let bench = bench();
        let (descriptor, bytes) = image(&bench.host);
        let name = Reference::parse("hello-world:latest").unwrap();
        let source = Source::Local(&bench.host);
        bench.shelf.add(&name, (&descriptor, &bytes), &source, false).await.unwrap();
        let catalog = Catalog::embedded().unwrap();
        crate::registry::lab_images::ensure(bench.shelf.store(), &catalog, "hello-world").unwrap();
        let now = bench.shelf.store().resolve(&name.canonical()).unwrap().unwrap();
        assert_eq!(now.digest(), descriptor.digest());
        assert!(!crate::registry::lab_images::ensure(bench.shelf.store(), &catalog, "hello-world").unwrap().fresh);
    }

    #[tokio::test]
    async fn what_has_no_tag_needs_a_name() {
        let bench = bench();
        let (descriptor, bytes) = image(&bench.host);
        let name = Reference::parse("tool").unwrap();
        let error = bench.shelf.add(&name, (&descriptor, &bytes), &Source::Local(&bench.host), false).await;
        assert!(error.unwrap_err().to_string().contains("--as NAME:TAG"));
    }
}
