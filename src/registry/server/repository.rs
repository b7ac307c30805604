//! Repositories: whose they are, and what they hold.
//!
//! Two kinds share one address. What the lab makes and what the hub's owner adds is *vouched for*: the store names it
//! `docker.io/library/centos:latest`, and only this is served to those who take the hub for a mirror of docker.io.
//! What came in by a push is a *guest*: the store names it `pushed.invalid/me/app:1` (a domain that nobody can own,
//! RFC 2606), so no pull of a docker.io name ever leads to it. Links on disk say which manifests and blobs were pushed
//! into which repository:
//!
//! ```text
//! repositories/<name>/_manifests/<64 hex>   the manifest's descriptor, and what it is a referrer of (JSON)
//! repositories/<name>/_blobs/<64 hex>       empty: a blob that was uploaded to, or mounted into, this repository
//! ```
//!
//! No component of a name begins with an underscore, so these never meet a repository.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use oci_spec::image::Descriptor;
use serde::{Deserialize, Serialize};

use super::answer::Refusal;
use super::manifest::Manifest;
use crate::content::{ContentError, Store};
use crate::oci::{DOCKER_DOMAIN, Digest, Reference, media};

/// The domain of what was pushed.
pub(crate) const GUEST_DOMAIN: &str = "pushed.invalid";

/// Who put a repository there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Vouched,
    Guest,
}

/// A repository's name, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    kind: Kind,
    reference: Reference,
}

/// What `_manifests/<hex>` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    /// As the referrers' list shows it, artifact type and annotations included.
    pub(super) descriptor: Descriptor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<Digest>,
}

impl Repository {
    /// The vouched-for repository of this name. A name without a namespace means the official one, so that
    /// `127.0.0.1:5050/centos` works as well.
    pub(super) fn vouched(name: &str) -> Result<Repository, Refusal> {
        Repository::named(Kind::Vouched, &format!("{DOCKER_DOMAIN}/{name}"))
    }

    pub(super) fn guest(name: &str) -> Result<Repository, Refusal> {
        Repository::named(Kind::Guest, &format!("{GUEST_DOMAIN}/{name}"))
    }

    fn named(kind: Kind, name: &str) -> Result<Repository, Refusal> {
        let reference = Reference::parse(name).ok().filter(|r| r.tag().is_none() && r.digest().is_none());
        reference.map(|reference| Repository { kind, reference }).ok_or(Refusal::NameInvalid)
    }

    pub(super) fn is_vouched(&self) -> bool {
        self.kind == Kind::Vouched
    }

    /// In the hub: `library/centos`.
    pub(super) fn path(&self) -> &str {
        self.reference.path()
    }

    /// The store's name for a tag of it.
    pub(super) fn store_name(&self, tag: &str) -> Result<String, Refusal> {
        let named = self.reference.clone().with_tag(tag);
        named.map(|r| r.canonical()).map_err(|_| Refusal::ManifestInvalid(format!("{tag:?} is no tag")))
    }

    /// Its tags with what they stand for, sorted by tag.
    pub(super) fn tags(&self, store: &Store) -> Result<Vec<(String, Descriptor)>, ContentError> {
        let own = |(name, descriptor): (String, Descriptor)| {
            let reference = Reference::parse(&name).ok()?;
            let same = reference.domain() == self.reference.domain() && reference.path() == self.path();
            same.then(|| Some((reference.tag()?.to_owned(), descriptor)))?
        };
        let mut tags: Vec<(String, Descriptor)> = store.entries()?.into_iter().filter_map(own).collect();
        tags.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(tags)
    }

    /// Whether it holds anything.
    pub(super) fn exists(&self, store: &Store) -> Result<bool, ContentError> {
        Ok(self.has_links(store) || !self.tags(store)?.is_empty())
    }

    fn has_links(&self, store: &Store) -> bool {
        self.kind == Kind::Guest && [MANIFESTS, BLOBS].iter().any(|kind| self.dir(store, kind).is_dir())
    }

    /// The manifest with this tag.
    pub(super) fn by_tag(&self, store: &Store, tag: &str) -> Result<Option<Descriptor>, Refusal> {
        match self.store_name(tag) {
            Ok(name) => Ok(store.resolve(&name)?),
            Err(_) => Ok(None),
        }
    }

    /// The manifest with this digest, if it was pushed here, or a tag stands for it or for an index that names it.
    pub(super) fn by_digest(&self, store: &Store, digest: &Digest) -> Result<Option<Descriptor>, Refusal> {
        if let Some(link) = self.link(store, digest)? {
            return Ok(Some(link.descriptor));
        }
        let is_it = |d: &Descriptor| d.digest().as_ref() == digest.as_str();
        for (_, descriptor) in self.tags(store)? {
            if is_it(&descriptor) {
                return Ok(Some(descriptor));
            }
            if media::is_index(descriptor.media_type().as_ref()) {
                let children = Manifest::stored(store, &descriptor).map(|m| m.children().to_vec()).unwrap_or_default();
                if let Some(child) = children.into_iter().find(is_it) {
                    return Ok(Some(child));
                }
            }
        }
        Ok(None)
    }

    /// Whether the blob may be read here: it was pushed here, or a manifest of the repository names it.
    pub(super) fn has_blob(&self, store: &Store, digest: &Digest) -> Result<bool, Refusal> {
        if !store.has(digest) {
            return Ok(false);
        }
        if self.kind == Kind::Guest && self.blob_link(store, digest).is_file() {
            return Ok(true);
        }
        self.names_blob(store, digest)
    }

    /// Whether a manifest of the repository is, or names, this blob.
    pub(super) fn names_blob(&self, store: &Store, digest: &Digest) -> Result<bool, Refusal> {
        Ok(self.all_named(store)?.contains(digest))
    }

    /// All that the manifests of the repository lead to, themselves included.
    fn all_named(&self, store: &Store) -> Result<BTreeSet<Digest>, Refusal> {
        let mut reached = BTreeSet::new();
        for (_, descriptor) in self.tags(store)? {
            reach(store, &descriptor, &mut reached);
        }
        for link in self.links(store)? {
            reach(store, &link.descriptor, &mut reached);
        }
        Ok(reached)
    }

    /// The manifests that were pushed here.
    pub(super) fn links(&self, store: &Store) -> Result<Vec<Link>, Refusal> {
        let mut links = Vec::new();
        for path in files(&self.dir(store, MANIFESTS)) {
            links.push(read_link(&path)?);
        }
        links.sort_by(|a, b| a.descriptor.digest().as_ref().cmp(b.descriptor.digest().as_ref()));
        Ok(links)
    }

    fn link(&self, store: &Store, digest: &Digest) -> Result<Option<Link>, Refusal> {
        let path = self.dir(store, MANIFESTS).join(digest.hex());
        if self.kind == Kind::Guest && path.is_file() { read_link(&path).map(Some) } else { Ok(None) }
    }

    /// Says that the manifest belongs here.
    pub(super) fn add_manifest(&self, store: &Store, digest: &Digest, link: &Link) -> Result<(), Refusal> {
        let text = serde_json::to_vec(link).map_err(|e| Refusal::Broken(e.to_string()))?;
        self.add(store, MANIFESTS, digest, &text)
    }

    /// Says that the blob belongs here.
    pub(super) fn add_blob(&self, store: &Store, digest: &Digest) -> Result<(), Refusal> {
        self.add(store, BLOBS, digest, b"")
    }

    /// Written beside and renamed: a reader sees it whole or not at all.
    fn add(&self, store: &Store, kind: &str, digest: &Digest, text: &[u8]) -> Result<(), Refusal> {
        let dir = self.dir(store, kind);
        fs::create_dir_all(&dir).map_err(Refusal::io("make", &dir))?;
        let path = dir.join(digest.hex());
        let write = || -> io::Result<()> {
            let mut file = tempfile::Builder::new().prefix(NEW).tempfile_in(&dir)?;
            file.write_all(text)?;
            file.as_file().sync_data()?;
            file.persist(&path).map_err(|e| e.error)?;
            fs::File::open(&dir)?.sync_all()
        };
        write().map_err(Refusal::io("write", &path))
    }

    /// Takes the manifest out of the repository; with it go the manifests that it named and the blobs that were pushed
    /// for them, if no tag and no other manifest leads to them. Whether it was there.
    pub(super) fn remove_manifest(&self, store: &Store, digest: &Digest) -> Result<bool, Refusal> {
        let Some(link) = self.link(store, digest)? else { return Ok(false) };
        let (mut its, mut others) = (BTreeSet::new(), BTreeSet::new());
        reach(store, &link.descriptor, &mut its);
        for (_, descriptor) in self.tags(store)? {
            reach(store, &descriptor, &mut others);
        }
        let is_its = |d: &Descriptor| Digest::try_from(d.digest()).is_ok_and(|d| its.contains(&d));
        for link in self.links(store)?.iter().filter(|l| !is_its(&l.descriptor)) {
            reach(store, &link.descriptor, &mut others);
        }
        for digest in its.difference(&others) {
            self.remove(store, MANIFESTS, digest)?;
            self.remove(store, BLOBS, digest)?;
        }
        Ok(true)
    }

    pub(super) fn remove_blob(&self, store: &Store, digest: &Digest) -> Result<bool, Refusal> {
        self.remove(store, BLOBS, digest)
    }

    fn remove(&self, store: &Store, kind: &str, digest: &Digest) -> Result<bool, Refusal> {
        let dir = self.dir(store, kind);
        let removed = match fs::remove_file(dir.join(digest.hex())) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(Refusal::io("remove", &dir)(source)),
        };
        tidy_up(store, &dir);
        Ok(removed)
    }

    fn blob_link(&self, store: &Store, digest: &Digest) -> PathBuf {
        self.dir(store, BLOBS).join(digest.hex())
    }

    fn dir(&self, store: &Store, kind: &str) -> PathBuf {
        root(store).join(self.path()).join(kind)
    }
}

const MANIFESTS: &str = "_manifests";
const BLOBS: &str = "_blobs";
/// Of files that have no name yet.
const NEW: &str = ".new-";

fn root(store: &Store) -> PathBuf {
    store.root().join("repositories")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let named = |p: &PathBuf| p.file_name().is_some_and(|n| !n.to_string_lossy().starts_with(NEW));
    entries.filter(named).collect()
}

fn read_link(path: &Path) -> Result<Link, Refusal> {
    let bytes = fs::read(path).map_err(Refusal::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|e| Refusal::Broken(format!("a link of the hub is damaged: {e}")))
}

/// Directories that became empty go, up to the root of all repositories.
fn tidy_up(store: &Store, dir: &Path) {
    let root = root(store);
    let mut dir = dir;
    // Fails where something is left, which ends it.
    while dir != root && dir.starts_with(&root) && fs::remove_dir(dir).is_ok() {
        let Some(parent) = dir.parent() else { return };
        dir = parent;
    }
}

/// Everything that `descriptor` leads to, itself included.
pub(super) fn reach(store: &Store, descriptor: &Descriptor, reached: &mut BTreeSet<Digest>) {
    let Ok(digest) = Digest::try_from(descriptor.digest()) else { return };
    if !reached.insert(digest) {
        return;
    }
    if let Some(manifest) = Manifest::stored(store, descriptor) {
        manifest.children().iter().for_each(|child| reach(store, child, reached));
        reached.extend(manifest.blobs().filter_map(|d| Digest::try_from(d.digest()).ok()));
    }
}

/// All guests that have links, by path.
pub(super) fn guests(store: &Store) -> Vec<Repository> {
    let root = root(store);
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(dir) = open.pop() {
        let below: Vec<PathBuf> = fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
        let is_links = |p: &PathBuf| p.ends_with(MANIFESTS) || p.ends_with(BLOBS);
        if below.iter().any(is_links)
            && let Some(name) = dir.strip_prefix(&root).ok().and_then(Path::to_str)
        {
            found.extend(Repository::guest(name));
        }
        open.extend(below.into_iter().filter(|p| p.is_dir() && !is_links(p)));
    }
    found.sort_by(|a, b| a.path().cmp(b.path()));
    found
}

/// Everything that a name or a link keeps, in all repositories. A link to a blob that is older than `fresh` counts no
/// more (its push was given up, or a manifest names the blob), and is removed.
pub(super) fn kept(store: &Store, fresh: Duration) -> Result<BTreeSet<Digest>, Refusal> {
    let mut reached = BTreeSet::new();
    for (_, descriptor) in store.entries()? {
        reach(store, &descriptor, &mut reached);
    }
    for repository in guests(store) {
        for link in repository.links(store)? {
            reach(store, &link.descriptor, &mut reached);
        }
        for path in files(&repository.dir(store, BLOBS)) {
            let digest = path.file_name().and_then(|n| format!("sha256:{}", n.to_str()?).parse::<Digest>().ok());
            match digest {
                Some(digest) if younger(&path, fresh) => drop(reached.insert(digest)),
                Some(digest) => drop(repository.remove_blob(store, &digest)?),
                None => {}
            }
        }
    }
    Ok(reached)
}

/// Whether the file was changed within `age`. A clock that was set back makes it young: nothing is lost then.
pub(super) fn younger(path: &Path, age: Duration) -> bool {
    let changed = fs::metadata(path).and_then(|m| m.modified());
    changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|old| old < age) || at > SystemTime::now())
}
