//! `rdock hub serve`: the lab hub alone, without a daemon.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::Verb;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serves the lab's images to any client of an OCI registry.
#[derive(Debug, Clone, clap::Args)]
pub struct HubServe {
    /// Address to listen on
    #[arg(long, value_name = "string", default_value = "127.0.0.1:5050")]
    pub listen: SocketAddr,
    /// OCI image layout to serve
    #[arg(long, value_name = "string")]
    pub root: Option<PathBuf>,
}

impl Verb for HubServe {
    const NAME: &'static str = "hub serve";
    const ABOUT: &'static str = "Serve the lab hub's images as a registry";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::None;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        (cx.processes().hub)(&self).map(|()| 0)
    }
}
