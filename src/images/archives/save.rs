//! `save`: images become one tar archive.

use super::{ArchiveFault, made};
use crate::images::diff::{Entry, Kind, Tape};
use crate::images::progress::Progress;
use crate::images::store::Image;
use crate::images::{ImageError, Images, Lease, human_size};
use crate::oci::{Digest, Digester, Reference, media};
use crate::trace::{self, Actor};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use tokio::sync::mpsc::{Sender, unbounded_channel};

/// A piece of the archive, in bytes.
const PIECE: usize = 256 * 1024;

/// An image that is saved, with the names that were asked for.
struct Saved {
    image: Image,
    names: Vec<Reference>,
    descriptor: Value,
}

/// What goes into the archive, before a byte of it is written.
pub struct Plan {
    images: Vec<Saved>,
    /// Every blob once, with its size.
    blobs: BTreeMap<Digest, u64>,
    /// Nothing of it is collected meanwhile.
    lease: Lease,
}

impl Images {
    /// Looks the images up: a name with a tag, a repository (all its tags), an id (no name).
    ///
    /// # Errors
    /// Docker's words for what is not there; a layer whose blob is gone.
    pub fn plan_save(&self, asked: &[String]) -> Result<Plan, ArchiveFault> {
        let mut plan = Plan { images: Vec::new(), blobs: BTreeMap::new(), lease: self.gate.hold([]) };
        for name in asked {
            for (image, reference) in self.asked_for(name)? {
                self.plan_image(&mut plan, image, reference)?;
            }
        }
        Ok(plan)
    }

    fn asked_for(&self, name: &str) -> Result<Vec<(Image, Option<Reference>)>, ArchiveFault> {
        if let Ok(reference) = Reference::parse(name)
            && reference.tag().is_none()
            && reference.digest().is_none()
        {
            let mut tags = Vec::new();
            for image in self.catalog().all()?.into_values() {
                let of_repository = |(r, _): &&(Reference, Digest)| {
                    r.name() == reference.name() && r.tag().is_some() && r.digest().is_none()
                };
                let names: Vec<Reference> =
                    image.references.iter().filter(of_repository).map(|(r, _)| r.clone()).collect();
                tags.extend(names.into_iter().map(|name| (image.clone(), Some(name))));
            }
            if !tags.is_empty() {
                return Ok(tags);
            }
        }
        let image = self.get(name).map_err(|e| match e {
            ImageError::NoSuchImage(_) => ImageError::NoSuchImage(name.to_owned()),
            e => e,
        })?;
        let reference = Reference::parse(name).ok().map(Reference::with_default_tag);
        let named = reference.filter(|r| r.digest().is_none() && image.references.iter().any(|(other, _)| other == r));
        Ok(vec![(image, named)])
    }

    fn plan_image(&self, plan: &mut Plan, image: Image, name: Option<Reference>) -> Result<(), ArchiveFault> {
        if let Some(saved) = plan.images.iter_mut().find(|saved| saved.image.id == image.id) {
            saved.names.extend(name.filter(|name| !saved.names.contains(name)));
            return Ok(());
        }
        let mut parts = vec![image.id.clone(), image.manifest_digest.clone()];
        for layer in image.manifest.layers() {
            parts.push(crate::images::store::digest_of(layer)?);
        }
        plan.lease.add(parts.iter().cloned());
        for digest in parts {
            let size = self.layers.store.size(&digest).ok_or_else(|| ArchiveFault::Damaged(digest.clone()))?;
            plan.blobs.insert(digest, size);
        }
        let media_type = image.manifest.media_type().as_ref().map_or(media::OCI_MANIFEST.into(), ToString::to_string);
        let descriptor = json!({
            "mediaType": media_type, "digest": image.manifest_digest, "size": plan.blobs[&image.manifest_digest],
        });
        plan.images.push(Saved { image, names: name.into_iter().collect(), descriptor });
        Ok(())
    }

    /// Writes the archive into `to`, piece by piece; the reader sets the pace.
    ///
    /// # Errors
    /// A blob that is damaged or unreadable: the archive then has no end. The reader went away.
    pub async fn save(self: &Arc<Self>, plan: Plan, to: Sender<io::Result<Bytes>>) -> Result<(), ArchiveFault> {
        let names: Vec<String> = plan.images.iter().map(Saved::shown).collect();
        let step = trace::step(Actor::Daemon, "image.save")
            .why("the archive is an OCI image layout and what older Dockers read, over the same blobs")
            .arg("images", &names);
        let images = self.clone();
        let failed = to.clone();
        let work = move |_: &Progress| {
            let mut to = Pieces { to, piece: Vec::with_capacity(PIECE) };
            images.write_archive(&plan, &mut to)?;
            to.flush().map_err(ArchiveFault::Write)?;
            for saved in &plan.images {
                let id = saved.image.id.as_str();
                images.tell("save", id, id);
            }
            Ok(())
        };
        let saved = made::on_a_thread(step.span(), Progress::new(unbounded_channel().0), work).await;
        match &saved {
            Ok(()) => step.ok(json!({ "images": names.len() }), || format!("saved {}", names.join(", "))),
            Err(e) => {
                let _ = failed.send(Err(io::Error::other(e.to_string()))).await;
                step.fail("ESAVE", e, || format!("saving {}: {e}", names.join(", ")));
            }
        }
        saved
    }

    fn write_archive(&self, plan: &Plan, to: &mut dyn Write) -> Result<(), ArchiveFault> {
        let mut tape = Tape::new(to);
        for dir in ["blobs", "blobs/sha256"] {
            tape.append(&entry(Kind::Dir, dir.into(), 0), &mut io::empty()).map_err(ArchiveFault::Write)?;
        }
        for (digest, size) in &plan.blobs {
            self.write_blob(&mut tape, digest, *size)?;
        }
        for (name, content) in plan.documents() {
            let bytes = content.to_string().into_bytes();
            let entry = entry(Kind::File, name.into(), bytes.len() as u64);
            tape.append(&entry, &mut bytes.as_slice()).map_err(ArchiveFault::Write)?;
        }
        tape.finish().map_err(ArchiveFault::Write).map(drop)
    }

    fn write_blob<W: Write>(&self, tape: &mut Tape<W>, digest: &Digest, size: u64) -> Result<(), ArchiveFault> {
        let step = trace::step(Actor::Layer, "blob.read")
            .why("what goes out has the digest that it is named after, or the archive gets no end")
            .arg("digest", digest);
        let blob = self.layers.store.open_blob(digest).map_err(|_| ArchiveFault::Damaged(digest.clone()))?;
        let mut checked = Checked { from: blob, digester: Digester::new() };
        let path = format!("blobs/sha256/{}", digest.hex());
        let written = tape.append(&entry(Kind::File, path, size), &mut checked).map_err(ArchiveFault::Write);
        let written = written.and_then(|()| match checked.digester.finish() == *digest {
            true => Ok(()),
            false => Err(ArchiveFault::Damaged(digest.clone())),
        });
        let short = digest.short();
        match &written {
            Ok(()) => step.ok(json!({ "bytes": size }), || format!("{short}  read and verified, {}", human_size(size))),
            Err(e) => step.fail("ESAVE", e, || format!("{short}  {e}")),
        }
        written
    }
}

impl Saved {
    fn shown(&self) -> String {
        match self.names.first() {
            Some(name) => name.familiar(),
            None => self.image.id.short().to_owned(),
        }
    }
}

impl Plan {
    /// What says which images there are, by name in Docker's order.
    fn documents(&self) -> Vec<(&'static str, Value)> {
        let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        let (mut index, mut docker, mut repositories) = (Vec::new(), Vec::new(), Map::new());
        for saved in &self.images {
            index.extend(saved.index_entries());
            let layers: Vec<Digest> =
                saved.image.manifest.layers().iter().filter_map(|l| l.digest().to_string().parse().ok()).collect();
            let tags: Vec<String> = saved.names.iter().map(Reference::familiar).collect();
            docker.push(json!({
                "Config": path(&saved.image.id),
                "RepoTags": if tags.is_empty() { Value::Null } else { json!(tags) },
                "Layers": layers.iter().map(path).collect::<Vec<_>>(),
            }));
            for name in &saved.names {
                let top = layers.last().map_or("", Digest::hex);
                let repository = repositories.entry(name.familiar_name()).or_insert_with(|| json!({}));
                repository[name.tag().unwrap_or("latest")] = json!(top);
            }
        }
        let layout = json!({ "imageLayoutVersion": "1.0.0" });
        let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": index });
        let mut documents = vec![("index.json", index), ("manifest.json", json!(docker)), ("oci-layout", layout)];
        if !repositories.is_empty() {
            documents.push(("repositories", Value::Object(repositories)));
        }
        documents
    }
}

impl Saved {
    fn index_entries(&self) -> Vec<Value> {
        if self.names.is_empty() {
            return vec![self.descriptor.clone()];
        }
        let named = |name: &Reference| {
            let mut descriptor = self.descriptor.clone();
            descriptor["annotations"] = json!({
                "io.containerd.image.name": name.canonical(),
                (media::REF_NAME): name.tag().unwrap_or("latest"),
            });
            descriptor
        };
        self.names.iter().map(named).collect()
    }
}

fn entry(kind: Kind, path: String, size: u64) -> Entry {
    let mode = if kind == Kind::Dir { 0o755 } else { 0o644 };
    Entry {
        kind,
        path: path.into_bytes(),
        link: Vec::new(),
        mode,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        size,
        device: (0, 0),
        xattrs: Vec::new(),
    }
}

/// Digests what is read.
struct Checked<R> {
    from: R,
    digester: Digester,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.digester.update(&buffer[..n]);
        Ok(n)
    }
}

/// Sends what is written in pieces.
struct Pieces {
    to: Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.to.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
