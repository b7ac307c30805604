//! Names and digests of the OCI world: pure values, no file and no network.
//!
//! - [`Digest`], [`Digester`], [`chain_id`]: what content is called ([image-spec, descriptor] and
//!   [image-spec, layer chain id]).
//! - [`Reference`]: what people call an image, with Docker's normalisation and Docker's words.
//! - [`media`]: the media types that rdock understands.
//! - [`platform`]: which child of an index fits this host.
//! - [`ErrorKind`]: the few kinds of failure that the Engine API tells apart by HTTP status.
//!
//! Descriptors, manifests, indexes and image configs are the types of [`oci_spec::image`].
//!
//! [image-spec, descriptor]: https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
//! [image-spec, layer chain id]: https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid

mod digest;
pub mod media;
pub mod platform;
mod reference;

pub use digest::{Digest, DigestError, Digester, chain_id};
pub use reference::{DOCKER_DOMAIN, Reference, ReferenceError};

/// The kind of a failure, for whoever has to answer with a status code: every operation's error enum
/// has `fn kind(&self) -> ErrorKind`, and the daemon maps it to HTTP in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The thing that was named does not exist (404).
    NotFound,
    /// It exists already, or is in the wrong state (409).
    Conflict,
    /// The request can't be understood (400).
    BadParameter,
    /// Nothing to do (304).
    NotModified,
    /// A registry wants to know who asks, or does not believe it (401).
    Unauthorized,
    /// Not allowed (403).
    Forbidden,
    /// Somebody else did not answer (503).
    Unavailable,
    /// It is known, and can't be done here (501).
    NotImplemented,
    /// Everything else (500).
    Internal,
}
