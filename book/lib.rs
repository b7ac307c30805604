//! rdock's book: mdBook, and what keeps the book true.
//!
//! Nothing that the program prints is typed into a page. A page names a lesson (`{{#lesson NAME}}`) or a snapshot of
//! the tests (`{{#snapshot NAME}}`), each alone on a line, and [`Rdock`], a preprocessor of mdBook, puts it in.
//!
//! - [`Rdock`]: the preprocessor; [`expand`] does the work for one page;
//! - [`lesson`]: `lessons/NN-name/`: the text, and the commands whose output it shows;
//! - [`snapshot`]: `tests/snapshots/*.snap`, as insta writes them;
//! - [`html`]: looks for dead links, and for things fetched from elsewhere, in the finished book;
//! - [`readme`]: the transcript in `README.md`.

pub mod expand;
pub mod html;
pub mod lesson;
pub mod readme;
pub mod snapshot;

use anyhow::Context as _;
use expand::{Expander, Problem};
use lesson::Lessons;
use mdbook_driver::MDBook;
use mdbook_preprocessor::book::Book;
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};
use serde::Deserialize;
use snapshot::Snapshots;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// `[preprocessor.rdock]` of `book.toml`. Directories are relative to the one that `book.toml` is in.
#[derive(Debug, Clone, Deserialize)]
struct Settings {
    lessons: PathBuf,
    snapshots: PathBuf,
}

/// Puts lessons and snapshots into the pages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rdock;

impl Preprocessor for Rdock {
    fn name(&self) -> &str {
        "rdock"
    }

    fn run(&self, context: &PreprocessorContext, mut book: Book) -> anyhow::Result<Book> {
        let settings: Settings = context
            .config
            .get("preprocessor.rdock")?
            .context("book.toml: [preprocessor.rdock] must name the directories `lessons` and `snapshots`")?;
        let lessons = Lessons::read(&context.root.join(settings.lessons))?;
        let snapshots = Snapshots::read(&context.root.join(settings.snapshots))?;
        let expander = Expander::new(&lessons, &snapshots);
        let source = context.config.book.src.clone();
        let (mut shown, mut problems) = (BTreeSet::new(), Vec::<Problem>::new());
        book.for_each_chapter_mut(|chapter| {
            let page = chapter.source_path.as_ref().map_or_else(PathBuf::new, |path| source.join(path));
            match expander.page(&page, &chapter.content, &mut shown) {
                Ok(text) => chapter.content = text,
                Err(problem) => problems.push(problem),
            }
        });
        let forgotten = lessons.names().filter(|name| !shown.contains(*name));
        problems.extend(forgotten.map(Problem::forgotten));
        if problems.is_empty() {
            return Ok(book);
        }
        anyhow::bail!(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }
}

/// Builds the book in `root` (where `book.toml` is) into `destination`, or where `book.toml` says.
///
/// # Errors
/// What mdBook says, and each placeholder that names nothing, with its file and line.
pub fn build(root: &Path, destination: Option<&Path>) -> anyhow::Result<PathBuf> {
    let mut book = MDBook::load(root)?;
    if let Some(destination) = destination {
        book.config.build.build_dir = std::path::absolute(destination)?;
    }
    // In this process, in place of the command that book.toml names.
    book.with_preprocessor(Rdock);
    book.build()?;
    Ok(book.build_dir_for("html"))
}
