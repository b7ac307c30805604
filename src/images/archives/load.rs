//! `load`: an archive becomes images.

use super::contents::{Contents, Source};
use super::understood::{Understood, images};
use super::{ArchiveFault, made};
use crate::images::layers::Layer;
use crate::images::progress::Progress;
use crate::images::pull::{Messages, platform};
use crate::images::{Images, Lease};
use crate::oci::Digest;
use crate::oci::platform::Platform;
use crate::trace::{self, Actor};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;

impl Images {
    /// Reads all images of the archive; their ids. Each gets its names when it is whole.
    ///
    /// # Errors
    /// Why the archive is refused. Images that were whole before stay, nothing else does.
    pub async fn load(
        self: &Arc<Self>,
        source: Source,
        platform_name: Option<&str>,
        quiet: bool,
        messages: Messages,
    ) -> Result<Vec<Digest>, ArchiveFault> {
        let wanted = platform(platform_name)
            .map_err(|e| ArchiveFault::Document { path: "the platform".into(), reason: e.to_string() })?;
        let images = self.clone();
        let step = trace::step(Actor::Daemon, "image.load")
            .why("an archive holds what a registry would send: documents that say what an image is, and its layers");
        let load = move |progress: &Progress| images.load_now(source, &wanted, progress);
        let progress = if quiet { Progress::without_bars(messages) } else { Progress::new(messages) };
        let loaded = made::on_a_thread(step.span(), progress, load).await;
        match &loaded {
            Ok(ids) => step.ok(json!({ "images": ids }), || match ids.len() {
                1 => "one image of the archive is on this host now".to_owned(),
                n => format!("{n} images of the archive are on this host now"),
            }),
            Err(e) => step.fail("ELOAD", e, || format!("the archive is refused: {e}")),
        }
        loaded
    }

    fn load_now(&self, source: Source, wanted: &Platform, progress: &Progress) -> Result<Vec<Digest>, ArchiveFault> {
        let (loaded, files) = self.under_lease(|lease| {
            let mut contents = Contents::default();
            self.read_archive(&mut contents, source, lease)?;
            let found = images(&contents, &self.layers.store, wanted)?;
            if found.is_empty() {
                return Err(ArchiveFault::NoImages);
            }
            for image in &found {
                self.load_image(image, lease, progress)?;
            }
            let files: HashSet<Digest> = contents.files.into_values().map(|file| file.digest).collect();
            Ok((found.into_iter().map(|image| image.id).collect(), files))
        })?;
        // What no image needs: VERSION, json, images for other machines.
        self.collector().sweep(&[], &files)?;
        Ok(loaded)
    }

    fn read_archive(&self, contents: &mut Contents, source: Source, lease: &mut Lease) -> Result<(), ArchiveFault> {
        let step = trace::step(Actor::Layer, "archive.read")
            .why("the files come in any order: each is kept under its digest, and understood when all are here");
        match contents.read(source, self.layers.options.max_layer, &self.layers.store, lease) {
            Ok(()) => {
                let (files, bytes) = (contents.files.len(), contents.files.values().map(|f| f.size).sum());
                step.ok(json!({ "files": files, "bytes": bytes }), || {
                    format!("reads the archive: {files} files, {}", crate::images::human_size(bytes))
                });
                Ok(())
            }
            Err(e) => {
                step.fail("EARCHIVE", &e, || format!("reads the archive: {e}"));
                Err(e)
            }
        }
    }

    fn load_image(&self, image: &Understood, lease: &mut Lease, progress: &Progress) -> Result<(), ArchiveFault> {
        lease.add(image.layers.iter().map(|layer| layer.chain_id.clone()));
        lease.add(image.parts.iter().cloned());
        for layer in &image.layers {
            self.load_layer(layer, progress)?;
        }
        if let Some(manifest) = &image.made {
            self.layers.store.put(manifest)?;
        }
        for name in &image.names {
            if let Ok(old) = self.get(&name.familiar())
                && old.id != image.id
            {
                let (name, id) = (name.familiar(), &old.id);
                progress.say(format!(
                    "The image {name} already exists, renaming the old one with ID {id} to empty string\n"
                ));
            }
        }
        self.name_made(&image.id, &image.names, &image.descriptor)?;
        self.tell("load", image.id.as_str(), image.id.as_str());
        match image.names.is_empty() {
            true => progress.say(format!("Loaded image ID: {}\n", image.id)),
            false => image.names.iter().for_each(|name| progress.say(format!("Loaded image: {}\n", name.familiar()))),
        }
        Ok(())
    }

    fn load_layer(&self, layer: &Layer, progress: &Progress) -> Result<(), ArchiveFault> {
        let (diff_id, size) = (&layer.expected.diff_id, layer.expected.size);
        if self.layers.exists(layer) {
            trace::step(Actor::Layer, "layer.exists")
                .why("a layer is kept once, however many images are made of it")
                .arg("digest", &layer.expected.digest)
                .arg("chainId", &layer.chain_id)
                .ok(json!(true), || format!("{}  already exists", layer.expected.digest.short()));
            return Ok(());
        }
        progress.bytes(diff_id, "Loading layer", 0, size);
        self.layers
            .register(layer)
            .map_err(|source| ArchiveFault::Layer { layer: layer.expected.digest.short().to_owned(), source })?;
        progress.bytes(diff_id, "Loading layer", size, size);
        Ok(())
    }
}
