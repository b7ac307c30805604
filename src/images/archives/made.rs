//! Layers and images that are made here: by `import`, by `commit`.

use super::ArchiveFault;
use super::understood::{descriptor, manifest_of};
use crate::content::{BlobWriter, ContentError};
use crate::images::layers::{Layer, Layers};
use crate::images::progress::Progress;
use crate::images::unpack::Expected;
use crate::images::{ImageError, Images, Lease, PARENT};
use crate::oci::{Digest, Digester, Reference, chain_id, media};
use crate::trace::{self, Actor};
use flate2::write::GzEncoder;
use oci_spec::image::{Descriptor, ImageConfiguration};
use serde_json::json;
use std::collections::HashMap;
use std::io::{self, Write};

/// A layer that was written here: its blob (gzip) is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Digest and size in bytes of the blob.
    pub digest: Digest,
    pub size: u64,
    /// Digest of the tar stream.
    pub diff_id: Digest,
}

impl Packed {
    /// The layer, on top of the one with this chain id.
    pub(in crate::images) fn on(&self, parent: Option<&Digest>) -> Layer {
        let Packed { digest, size, diff_id } = self.clone();
        let chain_id = chain_id(parent, &diff_id);
        Layer { expected: Expected { digest, size, diff_id }, chain_id, parent: parent.cloned() }
    }

    /// As the manifest has it.
    pub fn descriptor(&self) -> Result<Descriptor, ArchiveFault> {
        descriptor(media::OCI_LAYER_GZIP, &self.digest, self.size)
    }
}

/// Takes a tar stream, and digests and packs it.
struct Packer {
    digester: Digester,
    gzip: GzEncoder<BlobWriter>,
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.gzip.write(bytes)?;
        self.digester.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Layers {
    /// Keeps the tar stream that `write` writes as a blob, which the lease holds. When `write` fails nothing is kept.
    fn pack<T, E: From<ContentError>>(
        &self,
        lease: &mut Lease,
        write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
    ) -> Result<(T, Packed), E> {
        // Fast: the layer may never leave this host.
        let gzip = GzEncoder::new(self.store.writer()?, flate2::Compression::fast());
        let mut packer = Packer { digester: Digester::new(), gzip };
        let answer = write(&mut packer)?;
        let failed = |source| ContentError::Io { what: "write", path: self.store.root().to_path_buf(), source };
        let writer = packer.gzip.finish().map_err(failed)?;
        lease.add([writer.digest()]);
        let (digest, size) = writer.seal()?;
        Ok((answer, Packed { digest, size, diff_id: packer.digester.finish() }))
    }
}

impl Images {
    /// Does `work`, which makes things, on a thread that may block. When it fails, everything goes that its lease holds
    /// and that nobody else needs.
    ///
    /// # Errors
    /// What `work` says.
    pub fn under_lease<T>(&self, work: impl FnOnce(&mut Lease) -> Result<T, ArchiveFault>) -> Result<T, ArchiveFault> {
        let mut lease = self.gate.hold([]);
        let done = work(&mut lease);
        if done.is_err() {
            let made = lease.digests().to_vec();
            drop(lease);
            self.collector().sweep(&made, &made.iter().cloned().collect())?;
        }
        done
    }

    /// Keeps the tar stream that `write` writes as a layer on top of the one with the chain id `parent`, unpacked too.
    ///
    /// # Errors
    /// What `write` says, or why the layer could not be kept.
    pub fn make_layer<T>(
        &self,
        lease: &mut Lease,
        parent: Option<&Digest>,
        write: impl FnOnce(&mut dyn Write) -> Result<T, ArchiveFault>,
    ) -> Result<(T, Packed), ArchiveFault> {
        let step = trace::step(Actor::Layer, "layer.pack")
            .why("what has no digest has no name: the layer is written as a tar archive, digested and packed");
        let made = step.span().in_scope(|| self.layers.pack(lease, write));
        match &made {
            Ok((_, packed)) => {
                let value = json!({ "digest": packed.digest, "diffId": packed.diff_id, "size": packed.size });
                let (short, size) = (packed.digest.short(), crate::images::human_size(packed.size));
                step.ok(value, || format!("{short}  packed, {size}"));
            }
            Err(e) => step.fail("EPACK", e, || format!("the layer cannot be made: {e}")),
        }
        let (answer, packed) = made?;
        let layer = packed.on(parent);
        lease.add([layer.chain_id.clone()]);
        let failed = |source| ArchiveFault::Layer { layer: packed.digest.short().to_owned(), source };
        self.layers.register(&layer).map_err(failed)?;
        Ok((answer, packed))
    }

    /// Keeps an image of these layers (bottom first), made from `parent`, and gives it names; its id.
    ///
    /// # Errors
    /// The config's diff ids are not the layers', or the store cannot write.
    pub fn make_image(
        &self,
        lease: &mut Lease,
        config: &ImageConfiguration,
        layers: Vec<Descriptor>,
        names: &[Reference],
        parent: Option<&Digest>,
    ) -> Result<Digest, ArchiveFault> {
        let json = |e: serde_json::Error| ArchiveFault::Document { path: "the config".into(), reason: e.to_string() };
        let bytes = serde_json::to_vec(config).map_err(json)?;
        lease.add([Digest::of(&bytes)]);
        let id = self.layers.store.put(&bytes)?;
        if config.rootfs().diff_ids().len() != layers.len() {
            let (layers, diff_ids) = (layers.len(), config.rootfs().diff_ids().len());
            return Err(ArchiveFault::LayerCount { image: id.short().to_owned(), layers, diff_ids });
        }
        let manifest = manifest_of(descriptor(media::OCI_CONFIG, &id, bytes.len() as u64)?, layers)?;
        lease.add([Digest::of(&manifest)]);
        let digest = self.layers.store.put(&manifest)?;
        let mut kept_as = descriptor(media::OCI_MANIFEST, &digest, manifest.len() as u64)?;
        kept_as.set_annotations(parent.map(|parent| HashMap::from([(PARENT.to_owned(), parent.to_string())])));
        self.name_made(&id, names, &kept_as)?;
        Ok(id)
    }

    /// The last step of everything that brings an image: from here on it is there.
    pub(super) fn name_made(
        &self,
        id: &Digest,
        names: &[Reference],
        descriptor: &Descriptor,
    ) -> Result<(), ArchiveFault> {
        let shown: Vec<String> = names.iter().map(Reference::familiar).collect();
        let step = trace::step(Actor::Layer, "image.store")
            .why("the id names the image config; the names come last, so an image with a name is whole")
            .arg("id", id)
            .arg("names", &shown);
        let kept = self.layers.snapshots.sync().map_err(ImageError::from).and_then(|()| self.give(names, descriptor));
        match kept {
            Ok(()) => {
                let called = if shown.is_empty() { "without a name".to_owned() } else { shown.join(", ") };
                step.ok(json!({ "id": id }), || format!("image stored: id {}, {called}", id.short()));
                Ok(())
            }
            Err(e) => {
                step.fail("ESTORE", &e, || format!("{}: {e}", id.short()));
                Err(e.into())
            }
        }
    }
}

/// Runs what reads and writes files on a thread of its own, within the step that `span` is of.
pub(super) async fn on_a_thread<T: Send + 'static>(
    span: tracing::Span,
    progress: Progress,
    work: impl FnOnce(&Progress) -> Result<T, ArchiveFault> + Send + 'static,
) -> Result<T, ArchiveFault> {
    let listener = tracing::dispatcher::get_default(Clone::clone);
    let thread = tokio::task::spawn_blocking(move || {
        tracing::dispatcher::with_default(&listener, || span.in_scope(|| work(&progress)))
    });
    thread.await.unwrap_or(Err(ArchiveFault::Gone))
}
