//! The distribution client as a place where images come from.

use super::remote::{BlobStream, Found, Remote, RemoteError, Repository};
use crate::oci::{Digest, Reference};
use crate::registry::client::{Client, Credentials, Endpoint, Fetched, RegistryError};
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

/// The client of somebody at the registry of `reference`.
pub(super) fn client_of(client: &Client, reference: &Reference, who: Option<&Credentials>) -> Client {
    who.map_or_else(|| client.clone(), |who| client.of(reference.domain(), who.clone()))
}

/// The repository of a reference at the registry or mirror that knew the reference.
struct At {
    client: Client,
    reference: Reference,
    endpoint: Endpoint,
}

impl Found {
    /// What `client` fetched for the reference; the rest is to be had there too.
    fn at(client: Client, reference: &Reference, fetched: Fetched) -> Found {
        let repository = At { client, reference: reference.clone(), endpoint: fetched.source };
        Found { descriptor: fetched.descriptor, bytes: fetched.bytes, repository: Arc::new(repository) }
    }
}

impl Remote for Client {
    fn find<'a>(
        &'a self,
        reference: &'a Reference,
        who: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Found, RemoteError>> {
        async move {
            let client = client_of(self, reference, who);
            let fetched = client.manifest(reference).await?;
            Ok(Found::at(client, reference, fetched))
        }
        .boxed()
    }

    fn tags<'a>(
        &'a self,
        reference: &'a Reference,
        who: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Vec<String>, RemoteError>> {
        async move { Ok(client_of(self, reference, who).tags(reference).await?) }.boxed()
    }

    fn registries(&self) -> &Client {
        self
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
