//! `rdock logout`: forget what is kept for a registry.

use super::args::Arity;
use super::error::Failure;
use super::verb::{Verb, print, tell};
use super::{Context, credentials};
use crate::client::credentials::{DOCKER_SERVER, host_of, server_of};

/// Logs out of a registry. Nobody else is asked: it is only forgotten here.
#[derive(Debug, clap::Args)]
pub struct Logout {
    server: Option<String>,
}

impl Verb for Logout {
    const NAME: &'static str = "logout";
    const ABOUT: &'static str = "Log out from a registry";
    const MORE: &'static str = "If no server is specified, the default is defined by the daemon.";
    const USAGE: &'static str = "[SERVER]";
    const ARITY: Arity = Arity::AtMost(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let said = self.server.as_deref().unwrap_or_default();
        let (shown, keys) = match server_of(host_of(said)) {
            DOCKER_SERVER => (DOCKER_SERVER.to_owned(), vec![DOCKER_SERVER.to_owned()]),
            // As it was kept by whatever client.
            host => (
                host.to_owned(),
                [said, host]
                    .into_iter()
                    .map(str::to_owned)
                    .chain(["http", "https"].map(|s| format!("{s}://{host}")))
                    .collect(),
            ),
        };
        print(&format!("Removing login credentials for {shown}\n"))?;
        let mut keyring = credentials::keyring(cx)?;
        let mut failures: Vec<String> = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            if keys[..i].contains(key) {
                continue;
            }
            failures.extend(keyring.forget(key).err().map(|e| format!("{key}: {e}")));
        }
        if !failures.is_empty() {
            tell("WARNING: could not erase credentials:");
            failures.iter().for_each(tell);
        }
        Ok(0)
    }
}
