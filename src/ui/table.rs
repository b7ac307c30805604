//! Columns as `docker ps` prints them: at least ten wide, three spaces between, the last one as long as it is.

use std::fmt::{self, Write as _};

const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

/// A heading and rows. Every row has a cell for every column.
///
/// ```
/// let mut table = rdock::ui::Table::new(["REPOSITORY", "TAG"]);
/// table.row(["centos", "latest"]);
/// assert_eq!(table.to_string(), "REPOSITORY   TAG\ncentos       latest\n");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this heading.
    pub fn new<C: Into<String>>(heading: impl IntoIterator<Item = C>) -> Table {
        let mut table = Table::default();
        table.row(heading);
        table
    }

    /// Adds a row. A line feed would break the columns: it becomes a space.
    pub fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let cell = |cell: C| cell.into().replace(['\n', '\t'], " ");
        self.rows.push(cells.into_iter().map(cell).collect());
    }
}

impl fmt::Display for Table {
    /// One line a row, each with a line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.rows.iter().map(|row| format!("{}\n", row.join("\t"))).collect();
        f.write_str(&aligned(&text))
    }
}

/// Lines whose cells end with tabs, in columns: neighbouring lines that have a cell there share its width (Go's
/// text/tabwriter, with which Docker prints). What stands after the last tab of a line belongs to no column. Widths
/// count characters: Docker knows no double width.
pub fn aligned(text: &str) -> String {
    columns(text, MIN_WIDTH)
}

/// Likewise, with the wide columns of `docker top`.
pub fn wide(text: &str) -> String {
    columns(text, 20)
}

fn columns(text: &str, at_least: usize) -> String {
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = rows.iter().map(|row| vec![0; row.len() - 1]).collect();
    for column in 0..widths.iter().map(Vec::len).max().unwrap_or(0) {
        let mut at = 0;
        while at < rows.len() {
            let block = widths[at..].iter().take_while(|w| w.len() > column).count();
            let longest = rows[at..at + block].iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            for width in &mut widths[at..at + block] {
                width[column] = (longest + PADDING).max(at_least);
            }
            at += block.max(1);
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (row, widths) in rows.iter().zip(&widths) {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(out, "{cell:<width$}");
        }
        out.push_str(row.last().copied().unwrap_or_default());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PS: [&str; 7] = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];

    #[test]
    fn headings_alone_stand_as_docker_prints_them() {
        assert_eq!(
            Table::new(PS).to_string(),
            "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
        );
        assert_eq!(
            Table::new(["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]).to_string(),
            "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"
        );
    }

    #[test]
    fn rows_stand_as_in_the_document() {
        let mut table = Table::new(PS);
        table.row([
            "82893955fb41",
            "centos",
            "\"/bin/bash\"",
            "3 minutes ago",
            "Exited (0) About a minute ago",
            "",
            "elegant_kirch",
        ]);
        table.row([
            "0a5890a6d948",
            "d2c94e258dcb",
            "\"/hello\"",
            "9 hours ago",
            "Exited (0) 9 hours ago",
            "",
            "bold_chebyshev",
        ]);
        assert_eq!(
            table.to_string(),
            "CONTAINER ID   IMAGE          COMMAND       CREATED         STATUS                          PORTS     NAMES\n\
             82893955fb41   centos         \"/bin/bash\"   3 minutes ago   Exited (0) About a minute ago             elegant_kirch\n\
             0a5890a6d948   d2c94e258dcb   \"/hello\"      9 hours ago     Exited (0) 9 hours ago                    bold_chebyshev\n"
        );
    }

    #[test]
    fn an_empty_last_cell_leaves_the_padding_of_the_one_before() {
        let mut table = Table::new(["SIZE", "COMMENT"]);
        table.row(["0B", ""]);
        assert_eq!(table.to_string(), "SIZE      COMMENT\n0B        \n");
    }

    #[test]
    fn only_neighbouring_lines_share_a_width() {
        let text = "long cell at the top\tx\nno cell\na\tb\tc\nd\te\n";
        let expected = "long cell at the top   x\nno cell\na         b         c\nd         e\n";
        assert_eq!(aligned(text), expected);
    }

    #[test]
    fn a_line_feed_in_a_cell_does_not_break_the_row() {
        let mut table = Table::new(["A", "B"]);
        table.row(["x\ny", "z"]);
        assert_eq!(table.to_string().lines().count(), 2);
    }
}
