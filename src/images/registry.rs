//! The distribution client as a place where images come from.

use super::remote::{BlobStream, Found, Remote, RemoteError, Repository};
use crate::oci::{Digest, Reference};
use crate::registry::client::{Client, Endpoint, RegistryError};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::StreamExt as _;
use oci_spec::image::Descriptor;
use std::sync::Arc;

impl From<RegistryError> for RemoteError {
    fn from(error: RegistryError) -> RemoteError {
        RemoteError { kind: error.kind(), message: error.to_string() }
    }
}

/// The repository of a reference at the registry or mirror that knew the reference.
struct At {
    client: Client,
    reference: Reference,
    endpoint: Endpoint,
}

impl Remote for Client {
    fn find<'a>(&'a self, reference: &'a Reference) -> BoxFuture<'a, Result<Found, RemoteError>> {
        async move {
            let fetched = Client::manifest(self, reference).await?;
            let repository = At { client: self.clone(), reference: reference.clone(), endpoint: fetched.source };
            Ok(Found { descriptor: fetched.descriptor, bytes: fetched.bytes, repository: Arc::new(repository) })
        }
        .boxed()
    }
}

impl Repository for At {
    fn manifest<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Bytes, RemoteError>> {
        async move {
            let (reference, endpoint) = (&self.reference, &self.endpoint);
            let fetched = self.client.manifest_at(reference, digest, endpoint).await?;
            Ok(fetched.bytes)
        }
        .boxed()
    }

    fn blob<'a>(&'a self, descriptor: &'a Descriptor) -> BoxFuture<'a, Result<BlobStream, RemoteError>> {
        async move {
            let blob = self.client.blob(&self.reference, descriptor, &self.endpoint).await?;
            Ok(blob.map(|piece| piece.map_err(RemoteError::from)).boxed())
        }
        .boxed()
    }
}
