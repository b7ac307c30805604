//! `rdock hub ls`: what is in the hub.

use super::{Line, Task};
use crate::cli::Context;
use crate::cli::args::Arity;
use crate::cli::error::Failure;
use crate::cli::format::{Columns, LIST_HELP};
use crate::cli::verb::{Verb, print};
use crate::ui::units;
use serde_json::json;
use std::path::PathBuf;

/// Lists the images of the hub, and where they came from.
#[derive(Debug, Clone, clap::Args)]
pub struct List {
    #[arg(long, value_name = "string", help = LIST_HELP)]
    pub format: Option<String>,
    /// Only show names
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// OCI image layout of the hub
    #[arg(long, value_name = "string")]
    pub root: Option<PathBuf>,
}

const COLUMNS: Columns = Columns {
    kind: "*hub.line",
    table: r"table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.Size}}\t{{.Origin}}",
    quiet: "{{.Repository}}:{{.Tag}}",
    raw: "repository: {{.Repository}}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nsize: {{.Size}}\norigin: {{.Origin}}\n",
    headings: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("Size", "SIZE"),
        ("Origin", "ORIGIN"),
    ],
};

impl Verb for List {
    const NAME: &'static str = "hub ls";
    const ALIASES: &'static [&'static str] = &["hub ls", "hub list"];
    const ABOUT: &'static str = "List the hub's images";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::None;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let lines = (cx.processes().hub)(Task::List(&self))?;
        print(&self.draw(&lines)?)?;
        Ok(0)
    }
}

impl List {
    fn draw(&self, lines: &[Line]) -> Result<String, Failure> {
        let row = |line: &Line| {
            let made = !line.digest.is_empty();
            COLUMNS.row(json!({
                "Repository": line.repository,
                "Tag": line.tag,
                "Digest": line.digest.get(7..19).unwrap_or("<on demand>"),
                "Size": if made { units::size(line.size) } else { String::new() },
                "Origin": line.origin,
            }))
        };
        COLUMNS.list(self.format.as_deref(), self.quiet, lines.iter().map(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_on_demand_says_so() {
        let line = |repository: &str, digest: &str| Line {
            repository: repository.into(),
            tag: "latest".into(),
            digest: digest.into(),
            size: 2_000_000,
            origin: "lab".into(),
        };
        let lines = [line("centos", "sha256:dfb09d2d86fae33e"), line("mysql", "")];
        let list = |quiet| List { format: None, quiet, root: None }.draw(&lines).unwrap();
        assert_eq!(
            list(false),
            "REPOSITORY   TAG       DIGEST         SIZE      ORIGIN\n\
             centos       latest    dfb09d2d86fa   2MB       lab\n\
             mysql        latest    <on demand>              lab\n"
        );
        assert_eq!(list(true), "centos:latest\nmysql:latest\n");
    }
}
