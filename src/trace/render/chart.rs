//! The document's flow chart of `docker run`, with the way that was taken: heavy lines and `[yes]` in brackets against
//! dots, so that it can be seen without colours; bold and faint where there are colours; and once more as a sentence,
//! for those who listen to it.

use super::Style;
use super::layout::wrap;
use super::outcome::Outcome;
use super::words::{Words, fill};
use unicode_width::UnicodeWidthStr;

/// Which parts of the chart were gone through.
struct Way {
    on_host: bool,
    missed: bool,
    asked: bool,
    found: bool,
    not_found: bool,
    downloaded: bool,
    run: bool,
}

/// The chart's lines; none when no image was looked for.
pub(super) fn chart(outcome: &Outcome, style: &Style) -> Vec<String> {
    let Some(local) = outcome.local else { return Vec::new() };
    let way = Way {
        on_host: local,
        missed: !local,
        asked: !local && outcome.remote.is_some(),
        found: !local && outcome.remote == Some(true),
        not_found: !local && outcome.remote == Some(false),
        downloaded: !local && outcome.stored,
        run: outcome.started,
    };
    let words = style.lang.words();
    let end = end(outcome, words);
    let rows = draw(&way, &end, words, style);
    // On a narrow terminal the sentence says it alone: a chart whose lines are broken says nothing.
    let fits = rows.iter().all(|row| row.column <= style.columns());
    let mut lines: Vec<String> = rows.into_iter().filter(|_| fits).map(|row| row.text).collect();
    if fits {
        lines.push(String::new());
    }
    let said = format!("{}: {}", words.way, sentence(&way, &end, words));
    lines.extend(wrap(&said, style.columns() - 2).into_iter().map(|line| format!("  {line}")));
    lines
}

/// `exited (0)`, `running`, or nothing where the command was not started.
fn end(outcome: &Outcome, words: &Words) -> String {
    match outcome.exit {
        Some(code) => fill(words.exited, &[&code.to_string()]),
        None if outcome.started => words.running.to_owned(),
        None => String::new(),
    }
}

fn sentence(way: &Way, end: &str, words: &Words) -> String {
    let answer = |yes: bool| if yes { words.yes } else { words.no };
    let mut parts = vec![words.start.to_owned(), format!("{} {}", words.on_host, answer(way.on_host))];
    if way.asked {
        parts.push(format!("{} {}", words.on_registry, answer(way.found)));
    }
    if way.downloaded {
        parts.push(words.download.to_owned());
    }
    if way.not_found {
        parts.push(words.not_found.to_owned());
    }
    if way.run {
        parts.push(words.run.to_owned());
        parts.push(end.to_owned());
    }
    parts.join(" → ")
}

/// A row is built from left to right; what was gone through is drawn heavy.
struct Row<'s> {
    text: String,
    column: usize,
    style: &'s Style,
}

impl<'s> Row<'s> {
    fn new(style: &'s Style) -> Row<'s> {
        Row { text: String::new(), column: 0, style }
    }

    /// Moves on to a column.
    fn to(&mut self, column: usize) -> &mut Self {
        let gap = column.saturating_sub(self.column);
        self.text += &" ".repeat(gap);
        self.column += gap;
        self
    }

    fn skip(&mut self) -> &mut Self {
        self.to(self.column + 1)
    }

    fn put(&mut self, taken: bool, text: &str) -> &mut Self {
        self.column += text.width();
        self.text += &if taken { self.style.strong(text) } else { self.style.faint(text) };
        self
    }

    /// A horizontal line of so many characters.
    fn line(&mut self, taken: bool, length: usize) -> &mut Self {
        self.put(taken, &if taken { "━" } else { "·" }.repeat(length))
    }

    fn arrow(&mut self, taken: bool) -> &mut Self {
        self.put(taken, if taken { "━▶ " } else { "·▷ " })
    }

    /// `━[no]━▶ `, or `··no··▷ `: as wide, whether taken or not.
    fn labelled(&mut self, taken: bool, label: &str) -> &mut Self {
        self.put(taken, &if taken { format!("━[{label}]━▶ ") } else { format!("··{label}··▷ ") })
    }
}

fn vertical(taken: bool) -> &'static str {
    if taken { "┃" } else { "·" }
}

fn draw<'s>(way: &Way, end: &str, words: &Words, style: &'s Style) -> Vec<Row<'s>> {
    let label = |taken: bool, label: &str| if taken { format!("┃[{label}]") } else { format!("· {label}") };
    let row = || Row::new(style);
    let (mut first, mut second, mut third, mut fourth, mut fifth) = (row(), row(), row(), row(), row());

    first.to(2).put(true, words.start).put(true, " ").arrow(true);
    let host = first.column + 2;
    first.put(true, words.on_host).skip().labelled(way.missed, words.no);
    let registry = first.column + 2;
    first.put(way.asked, words.on_registry).skip().labelled(way.found, words.yes);
    first.put(way.downloaded, words.download).skip();
    let right = first.column + 1;
    first.put(way.downloaded, if way.downloaded { "━┓" } else { "··" });

    second.to(host).put(way.on_host, &label(way.on_host, words.yes));
    second.to(registry).put(way.not_found, &label(way.not_found, words.no));
    second.to(right).put(way.downloaded, vertical(way.downloaded));

    third.to(host).put(way.on_host, vertical(way.on_host));
    third.to(registry).put(way.not_found, if way.not_found { "┗━▶ " } else { "··▷ " });
    third.put(way.not_found, words.not_found).to(right).put(way.downloaded, vertical(way.downloaded));

    let from_host = way.on_host && way.run;
    fourth.to(host).put(from_host, if from_host { "┗" } else { "·" }).line(from_host, 7);
    fourth.put(from_host, if from_host { "▶ " } else { "▷ " });
    let under_run = fourth.column;
    let from_download = way.downloaded && way.run;
    fourth.put(way.run, words.run).skip();
    fourth.put(from_download, if from_download { "◀" } else { "◁" });
    let length = right.saturating_sub(fourth.column);
    fourth.line(from_download, length).put(from_download, if from_download { "┛" } else { "·" });

    if way.run {
        fifth.to(under_run).put(true, "┗━▶ ").put(true, end);
    }
    [first, second, third, fourth, fifth].into_iter().filter(|row| !row.text.is_empty()).collect()
}
