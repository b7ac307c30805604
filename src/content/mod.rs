//! Blobs by digest: an OCI image layout on disk ([image-spec, image layout]).
//!
//! ```text
//! root/oci-layout              {"imageLayoutVersion":"1.0.0"}
//! root/index.json              names → descriptors (org.opencontainers.image.ref.name)
//! root/blobs/sha256/<64 hex>   manifests, configs, layers
//! root/ingest/                 what is being written; swept when a store is opened
//! ```
//!
//! Any OCI tool can read it. Nothing gets a name before its digest was checked: a blob is written to
//! `ingest/`, synced, and only then renamed; an interrupted download leaves no blob. Several threads and
//! processes may use one store: `index.json` is replaced whole, under a lock on the root directory.
//!
//! [image-spec, image layout]: https://github.com/opencontainers/image-spec/blob/main/image-layout.md

mod adopt;
mod error;
mod index;
pub mod points;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use error::ContentError;
pub use index::Index;
pub use store::Store;
pub use writer::BlobWriter;
