//! `import`: a file system becomes an image of one layer.

use super::contents::{Source, of_read, unpacked};
use super::{ArchiveFault, made};
use crate::images::Images;
use crate::images::changes::Changes;
use crate::images::progress::Progress;
use crate::images::pull::{Messages, platform};
use crate::oci::{Digest, Reference};
use crate::trace::{self, Actor};
use oci_spec::image::{
    Arch, ConfigBuilder, HistoryBuilder, ImageConfiguration, ImageConfigurationBuilder, Os, RootFsBuilder,
};
use serde_json::json;
use std::io::{Read, Write};
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What an import shall come to.
#[derive(Debug, Clone, Default)]
pub struct Import {
    pub name: Option<Reference>,
    /// For the history; where it came from, if there is none.
    pub message: Option<String>,
    /// Dockerfile instructions: `CMD ["sh"]`.
    pub changes: Vec<String>,
    /// `linux/arm64`; this machine's if there is none.
    pub platform: Option<String>,
    /// `-`, or a URL.
    pub from: String,
}

impl Images {
    /// Makes an image of the tar stream (packed or not); its id.
    ///
    /// # Errors
    /// Why the stream or the changes are refused; nothing is kept then.
    pub async fn import(
        self: &Arc<Self>,
        source: Source,
        import: Import,
        messages: Messages,
    ) -> Result<Digest, ArchiveFault> {
        let step = trace::step(Actor::Daemon, "image.import")
            .why("a tar archive of a whole file system is all that an image needs: one layer and a config")
            .arg("from", &import.from);
        let images = self.clone();
        let work = move |progress: &Progress| images.import_now(source, &import, progress);
        let imported = made::on_a_thread(step.span(), Progress::new(messages), work).await;
        match &imported {
            Ok(id) => step.ok(json!({ "id": id }), || format!("the file system is image {} now", id.short())),
            Err(e) => step.fail("EIMPORT", e, || format!("the file system is refused: {e}")),
        }
        imported
    }

    fn import_now(&self, source: Source, import: &Import, progress: &Progress) -> Result<Digest, ArchiveFault> {
        let mut config = config_of(import)?;
        let mut stream = unpacked(source)?;
        let id = self.under_lease(|lease| {
            let ((), packed) =
                self.make_layer(lease, None, |to| copy(&mut stream, self.layers.options.max_layer, to))?;
            let diff_ids = vec![packed.diff_id.to_string()];
            let rootfs = RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build();
            config.set_rootfs(rootfs.map_err(|e| bad(&e))?);
            let name = import.name.clone().map(Reference::with_default_tag);
            self.make_image(lease, &config, vec![packed.descriptor()?], name.as_slice(), None)
        })?;
        let shown = id.to_string();
        if let Some(name) = import.name.clone().map(Reference::with_default_tag) {
            self.tell("tag", &shown, &name.familiar());
        }
        self.tell("import", &shown, &shown);
        progress.line(shown);
        Ok(id)
    }
}

fn bad(reason: &dyn std::fmt::Display) -> ArchiveFault {
    ArchiveFault::Document { path: "the config".into(), reason: reason.to_string() }
}

/// The whole stream; an empty one is no file system.
fn copy(from: &mut dyn Read, limit: Option<u64>, to: &mut dyn Write) -> Result<(), ArchiveFault> {
    let mut buffer = vec![0; 256 * 1024];
    let mut copied = 0;
    loop {
        let n = from.read(&mut buffer).map_err(of_read)?;
        match n {
            0 if copied == 0 => return Err(ArchiveFault::Cut),
            0 => return Ok(()),
            n => copied += n as u64,
        }
        if let Some(limit) = limit.filter(|limit| copied > *limit) {
            return Err(ArchiveFault::TooLarge(limit));
        }
        to.write_all(&buffer[..n]).map_err(ArchiveFault::Write)?;
    }
}

/// The config without its layers.
fn config_of(import: &Import) -> Result<ImageConfiguration, ArchiveFault> {
    let platform = platform(import.platform.as_deref()).map_err(|e| bad(&e))?;
    let now = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|e| bad(&e))?;
    let message = import.message.clone().unwrap_or_else(|| format!("Imported from {}", import.from));
    let history = HistoryBuilder::default().created(now.clone()).comment(message).build();
    let mut config = ConfigBuilder::default().build().map_err(|e| bad(&e))?;
    Changes::parse(&import.changes)?.apply(&mut config);
    ImageConfigurationBuilder::default()
        .created(now)
        .architecture(Arch::from(platform.architecture.as_str()))
        .os(Os::from(platform.os.as_str()))
        .config(config)
        .history(vec![history.map_err(|e| bad(&e))?])
        .build()
        .map_err(|e| bad(&e))
}
