//! What ties the services to each other: containers find their images, images know their containers, shims tell what
//! they do.

use crate::containers::{Containers, ImageSource, Producers, SourceError, SourceImage, TraceContext};
use crate::images::{Image, ImageError, Images, NewImage, Use, Users, WriteLayer};
use crate::oci::{Digest, Reference};
use crate::trace::transport::Hub;
use crate::trace::{self, Actor};
use futures_util::future::BoxFuture;
use serde_json::json;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The images of this host, for the containers made of them.
pub struct LocalImages(pub Arc<Images>);

impl ImageSource for LocalImages {
    fn find(&self, name_or_id: &str) -> Result<SourceImage, SourceError> {
        let mut step = trace::step(Actor::Daemon, "image.resolve")
            .why("an image that is on this host already need not be downloaded")
            .arg("image", name_or_id);
        let name = familiar(name_or_id);
        let found = step.span().in_scope(|| self.resolve(name_or_id));
        match &found {
            Ok((image, source)) => {
                step.branch("local-hit");
                let layers = source.lower.len();
                let short = image.id.short().to_owned();
                step.ok(json!({"id": image.id, "layers": layers}), || {
                    format!(
                        "looks for the image {name} on this host: id {short}, {layers} layer{}",
                        if layers == 1 { "" } else { "s" }
                    )
                });
            }
            Err(error @ ImageError::NoSuchImage(_)) => {
                step.branch("local-miss");
                step.fail("ENOENT", error, || format!("looks for the image {name} on this host: not there"));
            }
            Err(error) => step.fail("EIO", error, || format!("looks for the image {name} on this host: {error}")),
        }
        found.map(|(_, source)| source).map_err(|e| SourceError { kind: e.kind(), message: e.to_string() })
    }

    fn released<'a>(&'a self, id: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let here = id.parse::<Digest>().is_ok_and(|id| self.0.store().has(&id));
            // The image was removed by force, and its layers stayed for the container.
            if !here && let Err(error) = self.0.collect().await {
                tracing::warn!("what the container's image left cannot be collected: {error}");
            }
        })
    }

    fn size(&self, id: &str) -> u64 {
        self.0.get(id).map_or(0, |image| self.0.size(&image))
    }

    fn commit(&self, image: &NewImage, layer: Option<WriteLayer<'_>>) -> Result<String, SourceError> {
        let made = self.0.commit(image, layer);
        made.map(|id| id.to_string()).map_err(|e| SourceError { kind: e.kind(), message: e.to_string() })
    }
}

/// The containers of this host, for the images that they were made of.
pub struct LocalContainers(pub Containers);

impl Users for LocalContainers {
    fn uses(&self) -> Vec<Use> {
        let of = |record: Arc<crate::containers::store::Record>| {
            Some(Use {
                container: record.id.clone(),
                image: record.image.parse().ok()?,
                running: record.state.status.is_up(),
                layers: record.layers.lower.clone(),
            })
        };
        self.0.records().into_iter().filter_map(of).collect()
    }
}

/// With its tag, as people write it; an id as it is.
fn familiar(name_or_id: &str) -> String {
    let parsed = Reference::parse(name_or_id).map(|r| r.with_default_tag().familiar());
    parsed.unwrap_or_else(|_| name_or_id.to_owned())
}

impl LocalImages {
    fn resolve(&self, name_or_id: &str) -> Result<(Image, SourceImage), ImageError> {
        let (image, hold) = self.0.hold(name_or_id)?;
        let (base, lower) = self.0.lower_dirs(&image)?;
        let config = image.config.config().clone();
        let source = SourceImage { id: image.id.to_string(), config, base, lower, hold: Some(Arc::new(hold)) };
        Ok((image, source))
    }
}

/// Gives a shim a socket to tell what it does, when somebody listens to the trace at hand.
pub struct ToldByShims(pub Arc<Hub>);

impl Producers for ToldByShims {
    fn attach(&self) -> Option<(TraceContext, OwnedFd)> {
        let (trace_id, parent) = trace::current_context()?;
        let trace = trace_id.parse().ok()?;
        let (ours, theirs) = UnixStream::pair().ok()?;
        self.0.attach_producer(trace, ours).ok()?;
        Some((TraceContext { trace_id, parent }, theirs.into()))
    }
}
