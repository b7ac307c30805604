//! Images in one file: `save`, `load`, `import`.
//!
//! An archive that is saved is two formats in one, as Docker writes it since version 25: an OCI image layout
//! (`oci-layout`, `index.json`) and a docker-archive (`manifest.json`, `repositories`). Both name the same
//! `blobs/sha256/<64 hex>`, which go out exactly as they are in the store.
//!
//! What is loaded may be either, or of the older kind (`<id>/layer.tar`), packed with gzip, zstd or not at all. Nothing
//! says in which order its files come, so they are kept as blobs under the digests that they have (which cannot be
//! wrong) and are understood at the end. What no image needs then goes again; an archive that lies or ends in the middle
//! leaves nothing.

mod commit;
mod contents;
mod error;
mod import;
mod load;
mod made;
mod save;
#[cfg(test)]
mod tests;
mod understood;

pub use commit::{NewImage, WriteLayer};
pub use contents::Source;
pub use error::ArchiveFault;
pub use import::Import;
pub use made::Packed;
