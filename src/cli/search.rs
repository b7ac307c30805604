//! `rdock search`: what registries have.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::filter::{self, Condition};
use super::format::Columns;
use super::short::ellipsis;
use super::template::Record;
use super::verb::{Verb, print};
use crate::client::wire::SearchLine;
use serde_json::json;

/// Searches images by name and description.
#[derive(Debug, clap::Args)]
pub struct Search {
    /// Filter output based on conditions provided
    #[arg(short = 'f', long, value_name = "filter")]
    filter: Vec<Condition>,
    /// Pretty-print search using a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Max number of search results
    #[arg(long, value_name = "int", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    limit: i64,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    #[arg(required = true)]
    term: String,
}

/// As many characters of a description as a table shows.
const SHORT: usize = 45;

/// The document's columns. Docker's own client shows AUTOMATED no more, since Docker Hub calls nothing so any more.
const COLUMNS: Columns = Columns {
    kind: "*registry.searchContext",
    table: r"table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}\t{{.IsAutomated}}",
    quiet: "{{.Name}}",
    raw: "name: {{.Name}}\ndescription: {{.Description}}\nstar_count: {{.StarCount}}\nis_official: {{.IsOfficial}}\n",
    headings: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
        ("IsAutomated", "AUTOMATED"),
    ],
};

impl Verb for Search {
    const NAME: &'static str = "search";
    const ABOUT: &'static str = "Search Docker Hub for images";
    const USAGE: &'static str = "[OPTIONS] TERM";
    const ARITY: Arity = Arity::Exactly(1);

    fn told(&self) -> String {
        format!("search, term {}", self.term)
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            let limit = (self.limit != 0).then_some(self.limit);
            let lines = client.image_search(&self.term, limit, filter::json(&self.filter).as_deref()).await?;
            print(&self.draw(&lines)?)?;
            Ok(0)
        })
    }
}

impl Search {
    fn draw(&self, lines: &[SearchLine]) -> Result<String, Failure> {
        COLUMNS.list(self.format.as_deref(), false, lines.iter().map(|line| self.row(line)))
    }

    fn row(&self, line: &SearchLine) -> Record {
        let description = line.description.replace(['\n', '\r'], " ");
        let description = if self.no_trunc { description } else { ellipsis(&description, SHORT) };
        let mark = |on: bool| if on { "[OK]" } else { "" };
        COLUMNS.row(json!({
            "Name": line.name,
            "Description": description,
            "StarCount": line.star_count.to_string(),
            "IsOfficial": mark(line.is_official),
            "IsAutomated": mark(line.is_automated),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search() -> Search {
        Search { filter: vec![], format: None, limit: 0, no_trunc: false, term: "mysql".into() }
    }

    fn line(name: &str, description: &str) -> SearchLine {
        SearchLine {
            name: name.into(),
            description: description.into(),
            star_count: 14726,
            is_official: true,
            is_automated: false,
        }
    }

    #[test]
    fn the_table_is_the_documents() {
        let long = "MySQL is a widely used, open-source relational database";
        let text = search().draw(&[line("mysql", long)]).unwrap();
        assert_eq!(
            text,
            "NAME      DESCRIPTION                                     STARS     OFFICIAL   AUTOMATED\n\
             mysql     MySQL is a widely used, open-source relation…   14726     [OK]       \n"
        );
        let whole = Search { no_trunc: true, ..search() }.draw(&[line("mysql", long)]).unwrap();
        assert!(whole.contains(long), "{whole}");
    }

    #[test]
    fn a_format_shows_what_it_names() {
        let format = Search { format: Some("{{.Name}}: {{.StarCount}} {{.IsOfficial}}".into()), ..search() };
        assert_eq!(format.draw(&[line("mysql", "two\nlines")]).unwrap(), "mysql: 14726 [OK]\n");
        assert_eq!(search().draw(&[]).unwrap(), "NAME      DESCRIPTION   STARS     OFFICIAL   AUTOMATED\n");
    }
}
