//! `rdock hub serve`: the lab hub alone, without a daemon.

use super::Task;
use crate::cli::Context;
use crate::cli::args::Arity;
use crate::cli::error::Failure;
use crate::cli::verb::Verb;
use crate::ui::units;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serves the hub to any client of an OCI registry: everybody may pull, this machine may push.
#[derive(Debug, Clone, clap::Args)]
pub struct Serve {
    /// Take pushes and deletions from other machines too
    #[arg(long)]
    pub allow_remote_push: bool,
    /// Address to listen on
    #[arg(long, value_name = "string", default_value = "127.0.0.1:5050")]
    pub listen: SocketAddr,
    /// Refuse pushes that would make the hub larger than this
    #[arg(long, value_name = "bytes", default_value = "20GB", value_parser = units::parse_size)]
    pub max_size: u64,
    /// Take no pushes at all
    #[arg(long)]
    pub read_only: bool,
    /// OCI image layout to serve
    #[arg(long, value_name = "string")]
    pub root: Option<PathBuf>,
}

impl Verb for Serve {
    const NAME: &'static str = "hub serve";
    const ABOUT: &'static str = "Serve the lab hub's images as a registry";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::None;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        (cx.processes().hub)(Task::Serve(&self)).map(|_| 0)
    }
}
