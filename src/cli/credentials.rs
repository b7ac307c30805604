//! What the person has for registries, as the commands need it.

use super::Context;
use super::error::Failure;
use crate::client::auth::AuthConfig;
use crate::client::credentials::{Keyring, server_of};
use crate::oci::Reference;

/// The person's credentials.
pub fn keyring(cx: &Context) -> Result<Keyring, Failure> {
    Keyring::open(&cx.processes().credentials).map_err(Failure::new)
}

/// For the registry of an image; nothing when there is nothing.
pub fn for_image(cx: &Context, reference: &Reference) -> Result<AuthConfig, Failure> {
    let found = keyring(cx)?.of(server_of(reference.domain())).map_err(Failure::new)?;
    Ok(found.unwrap_or_default())
}

/// With the way out, where a registry wants to know who asks.
pub fn hinted(failure: Failure) -> Failure {
    let wants =
        ["no basic auth credentials", "requested access to the resource is denied", "incorrect username or password"];
    match wants.iter().any(|w| failure.message.contains(w)) {
        true => failure.hint("'rdock login' with the registry's address tells it who you are"),
        false => failure,
    }
}
