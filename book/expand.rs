//! Placeholders of a page, and what stands in their place.
//!
//! | a line that is nothing but | becomes |
//! | --- | --- |
//! | `{{#lesson NAME}}` | the text of `lessons/NAME/lesson.md`, its own placeholders replaced |
//! | `{{#snapshot NAME}}` | a code block: the command, and what it printed in a test |
//! | `{{#snapshot NAME}}` inside a code block | what the command printed; a line `$ …` before it must be the command |

use crate::lesson::{Lesson, Lessons};
use crate::snapshot::{SnapshotError, Snapshots};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Replaces placeholders.
#[derive(Debug, Clone, Copy)]
pub struct Expander<'a> {
    lessons: &'a Lessons,
    snapshots: &'a Snapshots,
}

/// A placeholder that can't be replaced, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", place(.file, *.line))]
pub struct Problem {
    pub file: PathBuf,
    /// From 1; 0: the whole file.
    pub line: usize,
    pub why: Why,
}

fn place(file: &Path, line: usize) -> String {
    match line {
        0 => format!("{}: ", file.display()),
        line => format!("{}:{line}: ", file.display()),
    }
}

/// What is wrong with a placeholder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("there is no lesson {0:?}")]
    NoLesson(String),
    #[error("a lesson cannot hold a lesson")]
    Nested,
    #[error("a placeholder stands alone on its line")]
    NotAlone,
    #[error(
        "nobody says which command printed {0:?}: `run` in the lesson's lesson.toml, or the description of the snapshot"
    )]
    NoCommand(String),
    #[error("the page says {said:?}, but {snapshot:?} was printed by {run:?}")]
    OtherCommand { said: String, snapshot: String, run: String },
    #[error("the output of {0:?} holds a line that would end the code block")]
    EndsBlock(String),
    #[error("no page of SUMMARY.md shows this lesson")]
    Forgotten,
}

impl Problem {
    /// A lesson that is in no page.
    pub fn forgotten(lesson: &str) -> Problem {
        Problem { file: Path::new("lessons").join(lesson), line: 0, why: Why::Forgotten }
    }
}

/// A line of a page, as far as it matters here.
enum Line<'t> {
    Lesson(&'t str),
    Snapshot { indent: &'t str, name: &'t str },
    Misplaced,
    Text,
}

impl<'t> Line<'t> {
    fn read(line: &'t str) -> Line<'t> {
        let inside = |kind: &str| line.trim().strip_prefix(kind)?.strip_suffix("}}").map(str::trim);
        let indent = &line[..line.len() - line.trim_start().len()];
        match (inside("{{#lesson "), inside("{{#snapshot ")) {
            (Some(name), _) if is_name(name) => Line::Lesson(name),
            (_, Some(name)) if is_name(name) => Line::Snapshot { indent, name },
            // In `code` it is talked about.
            _ if line.contains("{{#lesson") || line.contains("{{#snapshot") => Line::Misplaced,
            _ => Line::Text,
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
}

/// The code block that a line stands in: its character, and how many of them opened it (CommonMark, fenced code).
#[derive(Debug, Clone, Copy, Default)]
struct Block(Option<(char, usize)>);

impl Block {
    /// Follows one line.
    fn pass(&mut self, line: &str) {
        let text = line.trim_start();
        let Some(sign) = text.chars().next().filter(|c| matches!(c, '`' | '~')) else { return };
        let length = text.chars().take_while(|c| *c == sign).count();
        self.0 = match self.0 {
            None if length >= 3 => Some((sign, length)),
            Some((open, least)) if open == sign && length >= least && text[length..].trim().is_empty() => None,
            same => same,
        };
    }

    /// Whether one of these lines would end it.
    fn is_ended_by(self, text: &str) -> bool {
        text.lines().any(|line| {
            let mut after = self;
            after.pass(line);
            after.0.is_none()
        })
    }
}

impl<'a> Expander<'a> {
    pub fn new(lessons: &'a Lessons, snapshots: &'a Snapshots) -> Self {
        Expander { lessons, snapshots }
    }

    /// A page with everything put in. `shown` collects the lessons that it holds.
    ///
    /// # Errors
    /// The first placeholder that can't be replaced.
    pub fn page(&self, file: &Path, text: &str, shown: &mut BTreeSet<String>) -> Result<String, Problem> {
        self.expand(file, text, None, shown)
    }

    fn expand(
        &self,
        file: &Path,
        text: &str,
        within: Option<&Lesson>,
        shown: &mut BTreeSet<String>,
    ) -> Result<String, Problem> {
        let mut out = String::with_capacity(text.len());
        let (mut block, mut before) = (Block::default(), "");
        for (number, line) in text.lines().enumerate() {
            let problem = |why: Why| Problem { file: file.into(), line: number + 1, why };
            match Line::read(line) {
                Line::Lesson(_) if within.is_some() => return Err(problem(Why::Nested)),
                Line::Lesson(name) => {
                    let lesson = self.lessons.get(name).ok_or_else(|| problem(Why::NoLesson(name.into())))?;
                    shown.insert(name.to_owned());
                    let place = Path::new("lessons").join(name).join("lesson.md");
                    out.push_str(&self.expand(&place, &lesson.text, Some(lesson), shown)?);
                }
                Line::Snapshot { indent, name } => {
                    let lines = self.snapshot(name, within, block, before).map_err(problem)?;
                    for line in lines.lines() {
                        let line = format!("{indent}{line}");
                        out.push_str(line.trim_end());
                        out.push('\n');
                    }
                }
                Line::Misplaced if block.0.is_none() && !line.contains("`{{#") => {
                    return Err(problem(Why::NotAlone));
                }
                Line::Misplaced | Line::Text => {
                    block.pass(line);
                    out.push_str(line);
                    out.push('\n');
                }
            }
            before = line;
        }
        Ok(out)
    }

    /// What stands in the place of a snapshot's name.
    fn snapshot(&self, name: &str, within: Option<&Lesson>, block: Block, before: &str) -> Result<String, Why> {
        let snapshot = self.snapshots.get(name)?;
        let run = within.and_then(|lesson| lesson.command(name)).or(snapshot.command.as_deref());
        let run = run.ok_or_else(|| Why::NoCommand(name.into()))?;
        if block.0.is_none() {
            let fence = fence_for(&snapshot.text);
            return Ok(format!("{fence}console\n$ {run}\n{}\n{fence}\n", snapshot.text));
        }
        if block.is_ended_by(&snapshot.text) {
            return Err(Why::EndsBlock(name.into()));
        }
        match before.trim().strip_prefix("$ ") {
            Some(said) if said != run => {
                Err(Why::OtherCommand { said: said.into(), snapshot: name.into(), run: run.into() })
            }
            _ => Ok(snapshot.text.clone()),
        }
    }
}

/// Longer than any row of backticks that begins a line.
fn fence_for(text: &str) -> String {
    let longest = text.lines().map(|l| l.trim_start().chars().take_while(|c| *c == '`').count()).max().unwrap_or(0);
    "`".repeat((longest + 1).max(3))
}

#[cfg(test)]
#[path = "expand_tests.rs"]
mod tests;
