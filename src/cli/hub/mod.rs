//! `rdock hub …`: the lab's registry, served and filled by its owner.

mod add;
mod list;
mod remove;
mod serve;

pub use add::Add;
pub use list::List;
pub use remove::Remove;
pub use serve::Serve;

use std::path::PathBuf;

/// What the composition root is asked to do.
#[derive(Debug, Clone, Copy)]
pub enum Task<'a> {
    /// Returns when it is stopped.
    Serve(&'a Serve),
    Add(&'a Add),
    List(&'a List),
    /// Of one image.
    Remove {
        image: &'a str,
        root: &'a Option<PathBuf>,
    },
}

/// One name in the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    pub repository: String,
    pub tag: String,
    /// Empty: made when somebody asks for it.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// `lab`, `added`, `pushed`.
    pub origin: String,
}
