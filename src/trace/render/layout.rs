//! Lines on the page: lane, number, indented text, what belongs to the right.

use super::outcome::Outcome;
use super::steps::{Detail, lines};
use super::words::fill;
use super::{Format, Style, chart, json, lanes};
use crate::trace::event::{Actor, TraceEvent};
use std::collections::HashSet;
use std::fmt::Display;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// One thing that a person reads.
#[derive(Debug, Clone)]
pub(super) struct Line<'a> {
    /// The first event that it tells of.
    pub event: &'a TraceEvent,
    /// Where it stands, in nanoseconds.
    pub at: u64,
    pub actor: Actor,
    pub depth: usize,
    pub kind: Kind,
    pub text: String,
    /// Stands at the right margin where there is room.
    pub right: String,
    pub failed: bool,
    /// Unnumbered lines under it.
    pub below: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A numbered step.
    Step,
    /// A request that a later line of the same event answers; numbered.
    Request,
    /// What came back: beside the step before it, or on a line of its own.
    Answer,
    /// Calls of the kernel with the reason above them; not numbered.
    Calls,
}

/// ` CLIENT      1  `
const LANE: usize = 11;
const NUMBER: usize = 3;
const GUTTER: usize = LANE + NUMBER + 2;
const INDENT: usize = 2;
/// Lines are not made longer than one can read, however wide the terminal is; what is longer than this wraps later.
const WIDEST: usize = 118;

/// An explanation in parts: what is known so far, and the rest. Numbers go on, nothing is said twice.
#[derive(Debug)]
pub struct Drawing {
    format: Format,
    style: Style,
    number: usize,
    lane: Option<Actor>,
    said: HashSet<(String, bool)>,
    /// A reason is given once.
    reasons: HashSet<String>,
    /// The number of the step that failed last.
    stopped: Option<usize>,
}

impl Drawing {
    pub fn new(format: Format, style: Style) -> Drawing {
        Drawing { format, style, number: 0, lane: None, said: HashSet::new(), reasons: HashSet::new(), stopped: None }
    }

    /// What is new since the last time. (`json` is written at the end only: the order needs all of it.)
    pub fn so_far(&mut self, events: &[TraceEvent]) -> String {
        let detail = match self.format {
            Format::Flow => Detail::Folded,
            Format::Syscalls => Detail::Calls,
            Format::Json => return String::new(),
        };
        let mut fresh = lines(events, self.style.lang.words(), detail);
        fresh.retain(|line| self.said.insert((line.event.span.clone(), line.kind == Kind::Request)));
        self.print(fresh)
    }

    /// What is new, then the flow chart, the end and the times.
    pub fn finish(&mut self, events: &[TraceEvent]) -> String {
        if self.format == Format::Json {
            return json(events);
        }
        let mut out = self.so_far(events);
        let words = self.style.lang.words();
        let outcome = Outcome::of(events);
        let mut foot = chart::chart(&outcome, &self.style);
        if let Some(message) = &outcome.error {
            // The step has told it.
            let step = self.stopped.map(|number| fill(words.step, &[&number.to_string()]));
            let said = format!("{}: {}", words.stopped_by, step.as_ref().unwrap_or(message));
            for line in wrap(&said, self.style.columns() - 2) {
                foot.push(format!("  {}", self.style.error(line)));
            }
        }
        let calls = events.iter().filter(|e| e.is_call()).count();
        let pointer = (self.format == Format::Flow && calls > 0).then(|| fill(words.all_calls, &[&calls.to_string()]));
        for text in [lanes::shares(events, words), pointer].into_iter().flatten() {
            foot.extend(wrap(&text, self.style.columns() - 2).iter().map(|line| format!("  {line}")));
        }
        if !out.is_empty() && !foot.is_empty() {
            out.push('\n');
        }
        for line in foot {
            out += line.trim_end();
            out.push('\n');
        }
        out
    }

    fn print(&mut self, lines: Vec<Line<'_>>) -> String {
        let mut out = String::new();
        let mut lines = lines.into_iter().peekable();
        while let Some(mut line) = lines.next() {
            if line.kind != Kind::Answer
                && line.right.is_empty()
                && let Some(answer) = lines.next_if(|next| next.kind == Kind::Answer && self.fits(&line, next))
            {
                line.right = answer.text;
            }
            self.line(&line, &mut out);
        }
        out
    }

    /// Whether the answer can stand beside the line.
    fn fits(&self, line: &Line<'_>, answer: &Line<'_>) -> bool {
        answer.below.is_empty()
            && (line.below.is_empty() || line.kind != Kind::Calls)
            && GUTTER + INDENT * line.depth + line.text.width() + 3 + answer.text.width() <= self.columns()
    }

    fn columns(&self) -> usize {
        self.style.columns().min(WIDEST)
    }

    fn line(&mut self, line: &Line<'_>, out: &mut String) {
        let number = match line.kind {
            Kind::Step | Kind::Request => {
                self.number += 1;
                if line.failed {
                    self.stopped = Some(self.number);
                }
                self.number.to_string()
            }
            Kind::Answer | Kind::Calls => String::new(),
        };
        let lane = if self.lane.replace(line.actor) == Some(line.actor) {
            " ".repeat(LANE)
        } else {
            self.style.lane(line.actor, format!("{:<LANE$}", format!(" {}", line.actor.name().to_uppercase())))
        };
        let indent = " ".repeat(INDENT * line.depth);
        let room = self.columns() - GUTTER - indent.len();
        let mut parts = wrap(&line.text, room);
        let beside = parts.last().map_or(0, |last| last.width()) + line.right.width() + 2 <= room;
        if !line.right.is_empty() && !beside {
            parts.push(String::new());
        }
        let last = parts.len() - 1;
        for (index, text) in parts.into_iter().enumerate() {
            let right = match index == last {
                true => format!("{:>1$}", "", room - text.width() - line.right.width()) + &line.right,
                false => String::new(),
            };
            let text = match line.kind {
                _ if line.failed => self.style.error(text),
                Kind::Calls => self.style.faint(text),
                _ => text,
            };
            push(
                out,
                &match index {
                    0 => format!("{lane}{number:>NUMBER$}  {indent}{text}{right}"),
                    _ => format!("{:GUTTER$}{indent}{text}{right}", ""),
                },
            );
        }
        for below in &line.below {
            let why = below.starts_with('#');
            if !why || line.kind == Kind::Calls || self.reasons.insert(below.clone()) {
                self.hang(below, indent.len() + INDENT, why, out);
            }
        }
    }

    /// An unnumbered line under a step.
    fn hang(&self, text: &str, indent: usize, faint: bool, out: &mut String) {
        let pad = " ".repeat(GUTTER + indent);
        for (index, part) in wrap(text, self.columns().saturating_sub(pad.len() + 2)).into_iter().enumerate() {
            let part = if faint { self.style.faint(part) } else { part };
            push(out, &format!("{pad}{}{part}", if index > 0 { "  " } else { "" }));
        }
    }
}

fn push(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}

impl Style {
    fn painted(&self, style: anstyle::Style, text: impl Display) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
    pub(super) fn strong(&self, text: impl Display) -> String {
        self.painted(anstyle::Style::new().bold(), text)
    }
    pub(super) fn faint(&self, text: impl Display) -> String {
        self.painted(anstyle::Style::new().dimmed(), text)
    }
    pub(super) fn error(&self, text: impl Display) -> String {
        self.painted(anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into())), text)
    }
    fn lane(&self, actor: Actor, text: impl Display) -> String {
        use anstyle::AnsiColor::{Blue, Cyan, Green, Magenta, Yellow};
        let colour = match actor {
            Actor::Client => Cyan,
            Actor::Daemon | Actor::Shim => Blue,
            Actor::Registry | Actor::Network => Magenta,
            Actor::Layer => Yellow,
            Actor::Runtime | Actor::Container => Green,
        };
        self.painted(anstyle::Style::new().bold().fg_color(Some(colour.into())), text)
    }
}

/// The fewest columns that a last line has.
const ORPHAN: usize = 5;

/// Breaks at spaces; a word that is longer than a line is broken after `/`, `,`, `:`, `|` or where it must.
/// Nothing is left out. Control characters (a program can put them into a name) become visible.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(10);
    let clean: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let mut rest = clean.as_str();
    let mut lines = Vec::new();
    while rest.width() > width {
        let (mut used, mut end, mut space, mut mark) = (0, 0, None, None);
        for (at, c) in rest.char_indices() {
            // Neither `= 0` nor the unit of a number is torn off. The space itself may hang over.
            if c == ' ' && at > 0 && !rest[..at].ends_with('=') && rest[at..].width() > ORPHAN {
                space = Some(at);
            }
            used += c.width().unwrap_or(0);
            if used > width {
                break;
            }
            end = at + c.len_utf8();
            if matches!(c, '/' | ',' | ':' | '|' | '&') {
                mark = Some(end);
            }
        }
        // A space that is far to the left would leave half a line empty.
        let cut = match (space, mark) {
            (Some(space), _) if space * 2 >= end => space,
            (_, Some(mark)) if mark * 2 >= end => mark,
            (Some(space), _) => space,
            _ => end.max(rest.chars().next().map_or(1, char::len_utf8)),
        };
        let (line, more) = rest.split_at(cut);
        lines.push(line.trim_end().to_owned());
        rest = more.trim_start();
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn breaks_at_spaces_then_in_paths() {
        assert_eq!(wrap("gives up 27 capabilities", 12), ["gives up 27", "capabilities"]);
        assert_eq!(wrap("/var/lib/rdock/data/containers", 12), ["/var/lib/", "rdock/data/", "containers"]);
        assert_eq!(wrap("镜像的名字是中文的", 10), ["镜像的名字", "是中文的"]);
    }

    proptest! {
        #[test]
        fn wrapping_loses_nothing_but_spaces(text in "[a-z/, 中]{0,200}", width in 10usize..60) {
            let lines = wrap(&text, width);
            prop_assert!(lines.iter().all(|line| line.width() <= width));
            let solid = |text: &str| text.replace(' ', "");
            prop_assert_eq!(solid(&lines.concat()), solid(&text));
        }
    }
}
