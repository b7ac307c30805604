//! `rdock history`: how an image came to be.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::format::{Columns, LIST_HELP};
use super::short::{ago, ellipsis, rfc3339, short_id};
use super::template::Record;
use super::verb::{Verb, print};
use crate::client::wire::HistoryLine;
use crate::ui::units;
use serde_json::json;

/// Shows the steps that made an image.
#[derive(Debug, clap::Args)]
pub struct History {
    #[arg(long, value_name = "string", help = LIST_HELP)]
    format: Option<String>,
    /// Print sizes and dates in human readable format (default true)
    #[arg(short = 'H', long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    human: String,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short = 'q', long)]
    quiet: bool,
    #[arg(required = true)]
    image: String,
}

impl Verb for History {
    const NAME: &'static str = "history";
    const ALIASES: &'static [&'static str] = &["image history", "history"];
    const ABOUT: &'static str = "Show the history of an image";
    const USAGE: &'static str = "[OPTIONS] IMAGE";
    const ARITY: Arity = Arity::Exactly(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let lines = cx.client().await?.image_history(&self.image).await?;
            print(&self.draw(&lines)?)?;
            Ok(0)
        })
    }
}

const COLUMNS: Columns = Columns {
    kind: "*image.historyContext",
    table: r"table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "{{.ID}}",
    raw: "raw",
    headings: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
};

impl History {
    fn is_human(&self) -> bool {
        self.human == "true"
    }

    fn draw(&self, lines: &[HistoryLine]) -> Result<String, Failure> {
        let rows = lines.iter().map(|line| self.row(line));
        match self.format.as_deref() {
            None | Some("" | "table") if !self.is_human() && !self.quiet => {
                COLUMNS.render(&COLUMNS.table.replace("CreatedSince", "CreatedAt"), rows)
            }
            format => COLUMNS.list(format, self.quiet, rows),
        }
    }

    fn row(&self, line: &HistoryLine) -> Record {
        let created_by = line.created_by.replace('\t', " ");
        COLUMNS.row(json!({
            "ID": if self.no_trunc { &line.id } else { short_id(&line.id) },
            "CreatedSince": if line.created <= 0 { "N/A".to_owned() } else { ago(line.created) },
            "CreatedAt": rfc3339(line.created),
            "CreatedBy": if self.no_trunc { created_by } else { ellipsis(&created_by, 45) },
            "Size": match self.is_human() {
                true => units::size(line.size.max(0) as u64),
                false => line.size.to_string(),
            },
            "Comment": line.comment,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        History { format: None, human: "true".into(), no_trunc: false, quiet: false, image: "x".into() }
    }

    fn lines() -> Vec<HistoryLine> {
        let by = "/bin/sh -c #(nop) ADD file:805cb5e15fb6e0bb0326ca33fd2942e068863ce2a8491bb71522c652f31fb466 in / ";
        let id = "sha256:a7c6a63166c76ba011b60df67c20c674dba67824253edfd5eb4d08f939affb6b";
        vec![
            HistoryLine { id: id.into(), created: 1, created_by: "CMD\t[\"sh\"]".into(), ..HistoryLine::default() },
            HistoryLine {
                id: "<missing>".into(),
                created: 1,
                created_by: by.into(),
                size: 1_982_354,
                ..HistoryLine::default()
            },
        ]
    }

    #[test]
    fn lines_are_cut_and_counted_as_dockers() {
        let text = history().draw(&lines()).unwrap();
        let told: Vec<&str> = text.lines().collect();
        assert!(told[0].starts_with("IMAGE          CREATED        CREATED BY "), "{text}");
        assert!(told[1].contains("   CMD [\"sh\"] "), "{text}");
        assert!(told[2].contains("   /bin/sh -c #(nop) ADD file:805cb5e15fb6e0bb0…   1.98MB"), "{text}");
        let plain = History { human: "false".into(), ..history() }.draw(&lines()).unwrap();
        assert!(plain.contains("IMAGE          CREATED AT             CREATED BY"), "{plain}");
        assert!(plain.contains("   1970-01-01T00:00:01Z   ") && plain.contains("   1982354   "), "{plain}");
        assert_eq!(History { quiet: true, ..history() }.draw(&lines()).unwrap(), "a7c6a63166c7\n<missing>\n");
    }
}
