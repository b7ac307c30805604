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

/// With the way out, where a registry wants to know who asks. (Docker's sentence for an image that may not exist has its
/// own.)
pub fn hinted(failure: Failure) -> Failure {
    let wants =
        ["no basic auth credentials", "incorrect username or password", "requested access to the resource is denied"];
    let says = |words: &str| failure.message.contains(words);
    match wants.into_iter().any(says) && !says("pull access denied") {
        true => failure.hint("'rdock login' with the registry's address tells it who you are"),
        false => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_is_told_once() {
        let hint = |message: &str| hinted(Failure::new(message)).hint.is_some();
        assert!(hint("no basic auth credentials"));
        assert!(hint("denied: requested access to the resource is denied"));
        let own = "pull access denied for x, repository does not exist or may require 'docker login': denied: requested \
                   access to the resource is denied";
        assert!(!hint(own));
        assert!(!hint("manifest unknown"));
    }
}
