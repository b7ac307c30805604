//! Who needs images besides their names: containers, as a seam.

use crate::oci::Digest;
use std::path::PathBuf;

/// A container that was made of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// 64 hex characters.
    pub container: String,
    /// Id of the image.
    pub image: Digest,
    /// It runs or is paused: it cannot do without.
    pub running: bool,
    /// Its read-only layers, as [`super::Images::lower_dirs`] named them.
    pub layers: Vec<PathBuf>,
}

impl Use {
    /// `82893955fb41`
    pub fn short(&self) -> &str {
        self.container.get(..12).unwrap_or(&self.container)
    }
}

/// Knows the containers of this home.
pub trait Users: Send + Sync {
    fn uses(&self) -> Vec<Use>;
}

/// No containers.
pub struct Nobody;

impl Users for Nobody {
    fn uses(&self) -> Vec<Use> {
        Vec::new()
    }
}
