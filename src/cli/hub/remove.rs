//! `rdock hub rm`: takes images out of the hub.

use super::Task;
use crate::cli::Context;
use crate::cli::args::Arity;
use crate::cli::error::Failure;
use crate::cli::verb::{Verb, print, tell};
use std::path::PathBuf;

/// Removes names from the hub, and what only they led to. The lab's own images are made again when asked for.
#[derive(Debug, Clone, clap::Args)]
pub struct Remove {
    /// OCI image layout of the hub
    #[arg(long, value_name = "string")]
    pub root: Option<PathBuf>,
    #[arg(required = true)]
    pub images: Vec<String>,
}

impl Verb for Remove {
    const NAME: &'static str = "hub rm";
    const ALIASES: &'static [&'static str] = &["hub rm", "hub remove"];
    const ABOUT: &'static str = "Remove images from the hub";
    const USAGE: &'static str = "[OPTIONS] NAME[:TAG] [NAME[:TAG]...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let mut status = 0;
        for image in &self.images {
            match (cx.processes().hub)(Task::Remove { image, root: &self.root }) {
                Ok(removed) => removed.iter().try_for_each(|line| print(&format!("{}\n", line.repository)))?,
                Err(failure) => {
                    tell(failure.to_string());
                    status = 1;
                }
            }
        }
        Ok(status)
    }
}
