//! Where images come from, as a pull sees it: a name is found somewhere, and everything else that belongs to it is
//! fetched from that same place.

use crate::oci::{Digest, ErrorKind, Reference};
use crate::registry::client::{Client, Credentials};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use oci_spec::image::Descriptor;
use std::sync::Arc;

/// A registry's refusal, in its own words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    pub kind: ErrorKind,
    pub message: String,
}

/// What a name stands for, and where.
pub struct Found {
    /// Media type, digest (checked) and size of what the name stands for: an index or a manifest.
    pub descriptor: Descriptor,
    pub bytes: Bytes,
    pub repository: Arc<dyn Repository>,
}

/// The bytes of a blob as they come; neither length nor digest is checked.
pub type BlobStream = BoxStream<'static, Result<Bytes, RemoteError>>;

/// A registry, or several that are asked in order. `who` is for the registry that the reference names.
pub trait Remote: Send + Sync {
    /// What the name stands for.
    fn find<'a>(
        &'a self,
        reference: &'a Reference,
        who: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Found, RemoteError>>;

    /// All tags of the repository.
    fn tags<'a>(
        &'a self,
        reference: &'a Reference,
        who: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Vec<String>, RemoteError>>;

    /// The registries themselves, for whoever has something for them.
    fn registries(&self) -> &Client;
}

/// One repository of one registry.
pub trait Repository: Send + Sync {
    /// A manifest by its digest, which is checked.
    fn manifest<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Bytes, RemoteError>>;
    /// Starts the download of a blob.
    fn blob<'a>(&'a self, descriptor: &'a Descriptor) -> BoxFuture<'a, Result<BlobStream, RemoteError>>;
}
