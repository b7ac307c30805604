//! `--format`, as every command that has it works with it.
//!
//! A command that lists things names its [`Columns`] once and turns each thing into a [`Record`]:
//!
//! ```ignore
//! const COLUMNS: Columns = Columns {
//!     kind: "*formatter.volumeContext",             // Docker's Go type, for errors
//!     table: r"table {{.Driver}}\t{{.Name}}",       // without --format
//!     quiet: "{{.Name}}",                           // --quiet
//!     raw: "name: {{.Name}}\ndriver: {{.Driver}}\n",// --format raw
//!     headings: &[("Driver", "DRIVER"), ("Name", "VOLUME NAME")],
//! };
//! let rows = volumes.iter().map(|v| COLUMNS.row(json!({"Driver": v.driver, "Name": v.name})));
//! print(&COLUMNS.list(self.format.as_deref(), self.quiet, rows)?)?;
//! ```
//!
//! Its option is `#[arg(long, value_name = "string", help = LIST_HELP)] format: Option<String>`. A command that shows
//! one answer ([`inspect`](super::inspect), `version`, `info`) calls [`whole`] instead and has [`WHOLE_HELP`].

use super::error::Failure;
use super::template::{Mode, Record, Template, TemplateError, Value};
use crate::ui::table;
use serde_json::{Map, Value as Json};
use std::rc::Rc;

/// The help of `--format` of commands that list.
pub const LIST_HELP: &str = "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

/// The help of `--format` of commands that show one answer.
pub const WHOLE_HELP: &str = "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

/// What a list may show.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// The name of the type that Docker has for a row.
    pub kind: &'static str,
    /// The format when none is given: `table` and a template, cells between `\t`.
    pub table: &'static str,
    /// The template of `--quiet`.
    pub quiet: &'static str,
    /// The template of `--format raw`.
    pub raw: &'static str,
    /// Fields and what stands above them in a table.
    pub headings: &'static [(&'static str, &'static str)],
}

impl Columns {
    /// A row; `fields` is what `json!({…})` made: every name that a template may ask for.
    pub fn row(&self, fields: Json) -> Record {
        Record::row(self.kind, fields)
    }

    /// The list as `--format` and `--quiet` want it. `format` is what the user wrote; none or empty: the table.
    ///
    /// # Errors
    /// The template is wrong, in Docker's words.
    pub fn list(
        &self,
        format: Option<&str>,
        quiet: bool,
        rows: impl IntoIterator<Item = Record>,
    ) -> Result<String, Failure> {
        let format = match format.unwrap_or("table") {
            "" | "table" if quiet => self.quiet,
            "" | "table" => self.table,
            "raw" if quiet => self.quiet,
            "raw" => self.raw,
            other => other,
        };
        self.render(format, rows)
    }

    /// The list in one format: a template, `table` and a template, or `json`.
    pub fn render(&self, format: &str, rows: impl IntoIterator<Item = Record>) -> Result<String, Failure> {
        let (is_table, text) = match format.strip_prefix("table") {
            Some(rest) => (true, rest),
            None => (false, if format == "json" { "{{json .}}" } else { format }),
        };
        let text = text.trim_matches(' ').replace(r"\t", "\t").replace(r"\n", "\n");
        let template = Template::parse("", &text).map_err(|e| parsing(&e))?;
        let mut lines = String::new();
        for row in rows {
            lines.push_str(&template.execute(&Value::Record(Rc::new(row)), Mode::Rows).map_err(|e| parsing(&e))?);
            lines.push('\n');
        }
        if !is_table {
            return Ok(lines);
        }
        let head = template.execute(&self.heading(), Mode::Heading).map_err(|e| parsing(&e))?;
        Ok(table::aligned(&format!("{head}\n{lines}")))
    }

    fn heading(&self) -> Value {
        let fields: Map<String, Json> =
            self.headings.iter().map(|(field, heading)| ((*field).to_owned(), Json::from(*heading))).collect();
        Value::Record(Rc::new(Record::heading(fields)))
    }
}

fn parsing(error: &TemplateError) -> Failure {
    Failure::new(format!("template parsing error: {error}"))
}

/// One answer through a template; `json` stands for `{{json .}}`. The text ends with a line feed. `name` is the
/// template's, as errors say it; for `inspect` and `info` it is empty.
///
/// # Errors
/// Go's words, to which the caller adds what Docker adds.
pub fn whole(name: &str, format: &str, value: &Value) -> Result<String, TemplateError> {
    let text = if format == "json" { "{{json .}}" } else { format };
    let mut text =
        Template::parse(name, &text.replace(r"\t", "\t").replace(r"\n", "\n"))?.execute(value, Mode::Rows)?;
    text.push('\n');
    Ok(text)
}
