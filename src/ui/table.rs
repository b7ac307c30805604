//! Columns as `docker ps` prints them: at least ten wide, three spaces between, the last one as long as it is.

use std::fmt;

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

    /// Width of a column with its padding, in characters (Docker counts no double width).
    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        (longest + PADDING).max(MIN_WIDTH)
    }
}

impl fmt::Display for Table {
    /// One line a row, each with a line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(|column| self.width(column)).collect();
        for row in &self.rows {
            let last = row.len().saturating_sub(1);
            for (column, cell) in row.iter().enumerate() {
                if column == last {
                    writeln!(f, "{cell}")?;
                } else {
                    write!(f, "{cell:<width$}", width = widths[column])?;
                }
            }
        }
        Ok(())
    }
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
    fn a_line_feed_in_a_cell_does_not_break_the_row() {
        let mut table = Table::new(["A", "B"]);
        table.row(["x\ny", "z"]);
        assert_eq!(table.to_string().lines().count(), 2);
    }
}
