//! `rdock top`: the processes of a container, as the host sees them.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::{Verb, print};
use crate::ui::table;

/// Shows processes.
#[derive(Debug, clap::Args)]
pub struct Top {
    #[arg(required = true)]
    container: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

impl Verb for Top {
    const NAME: &'static str = "top";
    const ALIASES: &'static [&'static str] = &["container top", "top"];
    const ABOUT: &'static str = "Display the running processes of a container";
    const USAGE: &'static str = "CONTAINER [ps OPTIONS]";
    const ARITY: Arity = Arity::AtLeast(1);
    const INTERSPERSED: bool = false;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            let top = client.container_top(&self.container, &self.options.join(" ")).await?;
            let lines = std::iter::once(&top.titles).chain(&top.processes);
            let text: String = lines.map(|cells| cells.join("\t") + "\n").collect();
            print(&table::wide(&text))?;
            Ok(0)
        })
    }
}
