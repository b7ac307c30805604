//! The services behind the routes.

use super::sources::Sources;
use crate::containers::Containers;
use crate::events::Bus;
use crate::images::Images;
use crate::trace;
use std::path::PathBuf;
use std::sync::Arc;

/// All that a handler may use. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub images: Arc<Images>,
    pub containers: Containers,
    pub sources: Arc<Sources>,
    /// Explanations by trace id.
    pub traces: Arc<trace::transport::Hub>,
    /// What has happened, for who listens.
    pub events: Bus,
    pub about: Arc<About>,
}

/// What the daemon knows about itself.
#[derive(Debug, Clone)]
pub struct About {
    /// Names this home; stable.
    pub id: String,
    pub data: PathBuf,
    /// None for root; else how an ordinary user came to be root.
    pub rootless: Option<&'static str>,
}
