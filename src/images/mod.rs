//! Images: pulled from a registry, kept in the content store, their layers unpacked.
//!
//! ```text
//! content/     what the registry sent: index, manifest, config, layer blobs; names (an OCI image layout)
//! snapshots/   each layer, unpacked once, whichever images share it
//! ```
//!
//! - [`Images`]: the door to all of it.
//! - `pull`, `layers`: a pull, and one layer of it; several at once, each made by one only.
//! - `push`: the other way, with the documents and blobs as they came, so that an image keeps its digest.
//! - [`remote`]: where images come from.
//! - [`unpack`]: one layer's tar stream → a directory; trusts nothing in it.
//! - [`diff`]: the inverse: a directory → a layer's tar stream.
//! - `archives`: images in one file: save, load, import; [`changes`]: what `-c` does to a config.
//! - [`snapshots`]: where those directories are, and that a named one is whole.
//! - [`WritableLayers`]: a container's own layer on top of them, made empty and removed with all that is in it.
//! - `store`: which images there are, by name, id or digest; [`names`]: names given and taken; `history`, [`usage`].
//! - [`filter`]: which images a list or a prune means.
//! - [`removal`], `garbage`, [`gate`]: what goes, what stays and who says so; [`users`]: containers, as a seam.

mod archives;
pub mod changes;
pub mod diff;
pub mod files;
pub mod filter;
mod garbage;
pub mod gate;
mod history;
mod layers;
pub mod names;
mod progress;
mod pull;
mod push;
mod registry;
pub mod remote;
pub mod removal;
mod service;
pub mod snapshots;
mod store;
#[cfg(test)]
mod tests;
pub mod unpack;
pub mod usage;
pub mod users;
mod writable;

pub use archives::{ArchiveFault, Import, NewImage, Packed, Source, WriteLayer};
pub use filter::{FilterError, ImageFilter};
pub use gate::Lease;
pub use history::HistoryLine;
pub use progress::{PullProgress, human_size};
pub use pull::{PullError, PullOutcome, PullStatus};
pub use push::PushError;
pub use removal::{RemoveError, RemoveImage, Removed};
pub use service::{Images, OpenError};
pub use store::{CHOSEN, Image, ImageError, ImageSummary, PARENT};
pub use unpack::{Options, Removal, UnpackError};
pub use usage::{ImageUsage, Usage};
pub use users::{Use, Users};
pub use writable::{WritableLayerError, WritableLayers};
