//! `docker cp` on this side: which name a copy gets, local files as an archive, an archive as local files.
//!
//! - [`plan`]: the rules, pure: what there is on both sides decides where the archive is unpacked and under which name;
//! - `pack`, `unpack`: local files. Nothing in an archive reaches outside of where it is unpacked.

mod pack;
mod plan;
mod unpack;

pub use pack::{Source, pack, source};
pub use plan::{CopyError, Place, Rename, destination, plan};
pub use unpack::unpack;
