//! Images: pulled from a registry, kept in the content store, their layers unpacked.
pub mod unpack;
