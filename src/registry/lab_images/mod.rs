//! The images of the lab hub, made on the user's own machine.
//!
//! A teaching image must be there without internet, must be small, and may not be somebody else's image
//! under a false name. So rdock brings recipes (`lessons/images/<name>/`, embedded in the binary) and makes
//! the images itself: from text files, from programs of this host with the libraries that their ELF headers
//! name, and for hello-world from machine code that it writes itself. Each image says so in its labels.
//!
//! [`recipe`] (what is wanted) + [`host`] (what there is) → [`plan`] (what each layer holds) → [`pack`]
//! (tar, gzip) → [`build`] (config, manifest, index, all into the hub's content store). [`ensure`] does it
//! when it must be done, which [`inputs`] tells.

mod assemble;
mod build;
mod catalog;
pub mod elf;
pub mod host;
mod inputs;
mod layout;
mod pack;
pub mod plan;
pub mod recipe;
mod server_program;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub use build::{Built, ensure};
pub use catalog::Catalog;
pub use recipe::{Recipe, RecipeError};

use crate::content::ContentError;
use crate::oci::ErrorKind;

/// Why an image of the lab could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("the lab has no image called {0}")]
    NoSuchImage(String),
    #[error("the lab image {image} needs the program {program}, which this host does not have{}", install(packages))]
    MissingProgram { image: String, program: String, packages: String },
    #[error("{} needs the library {library}, which this host does not have", program.display())]
    MissingLibrary { program: PathBuf, library: String },
    #[error("lab image {image}: the script /{script} needs {interpreter}, which is not in the image")]
    NoInterpreter { image: String, script: String, interpreter: String },
    #[error("reading {} of this host: {source}", path.display())]
    HostFile { path: PathBuf, source: io::Error },
    #[error("rdock cannot write executables for {0} processors")]
    Machine(&'static str),
    #[error("recipe {image}: there is no file {file} beside it")]
    NotBeside { image: String, file: String },
    #[error("recipe {image}: /{path} is in it twice")]
    Twice { image: String, path: String },
    #[error("recipe {image}: too many symbolic links on the way to {path}")]
    LinkLoop { image: String, path: String },
    #[error("lab image {image}, layer {layer}: {source}")]
    Layer { image: String, layer: usize, source: io::Error },
    #[error("lab image {image}: {source}")]
    Store { image: String, source: ContentError },
    #[error("lab image {image}: {}: {source}", path.display())]
    State { image: String, path: PathBuf, source: io::Error },
}

impl LabError {
    /// What the Engine API and the registry API make of it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            LabError::NoSuchImage(_) => ErrorKind::NotFound,
            LabError::MissingProgram { .. } | LabError::MissingLibrary { .. } | LabError::Machine(_) => {
                ErrorKind::Unavailable
            }
            _ => ErrorKind::Internal,
        }
    }

    /// Whether the disk is full (ENOSPC, EDQUOT), for a hint.
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            LabError::Store { source, .. } => source.is_disk_full(),
            LabError::Layer { source, .. } | LabError::State { source, .. } => {
                matches!(source.kind(), StorageFull | QuotaExceeded)
            }
            _ => false,
        }
    }

    /// The symbol for the explanation's `result.errno`.
    fn errno(&self) -> &'static str {
        match self {
            LabError::NoSuchImage(_) | LabError::MissingProgram { .. } | LabError::MissingLibrary { .. } => "ENOENT",
            LabError::Machine(_) => "ENOEXEC",
            _ if self.is_disk_full() => "ENOSPC",
            _ => "EIO",
        }
    }
}

/// The end of a sentence that says how to get what is missing.
fn install(packages: &str) -> String {
    if packages.is_empty() { String::new() } else { format!(": install it ({packages})") }
}
