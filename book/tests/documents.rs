//! The book and the documents, held to what is there: they are built, read and compared, not believed.
//!
//! What fails here because a snapshot is missing is mended by the test that makes the snapshot, never by hand.

use rdock_book::lesson::Lessons;
use rdock_book::snapshot::Snapshots;
use rdock_book::{Rdock, build, html, readme};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn book() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn root() -> &'static Path {
    book().parent().unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(&path)).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

/// All files below a directory that end so, relative to it.
fn files(directory: &Path, end: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        for entry in std::fs::read_dir(directory.join(&below)).unwrap().map(Result::unwrap) {
            let path = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.insert(path);
            }
        }
    }
    found
}

/// What stands in brackets after a `[text]`, on this machine: no addresses, no places in the same page.
fn links(markdown: &str) -> Vec<String> {
    let targets = markdown.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let own = targets.filter(|t| !t.contains("://") && !t.starts_with('#'));
    own.map(|t| t.split('#').next().unwrap_or("").to_owned()).collect()
}

/// What stands between backticks, outside of code blocks.
fn quoted(markdown: &str) -> Vec<String> {
    let mut out = vec![];
    let mut block = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            block = !block;
        } else if !block {
            out.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    out
}

#[test]
fn the_book_is_whole() {
    let place = tempfile::tempdir().unwrap();
    let built = build(book(), Some(place.path())).unwrap_or_else(|e| panic!("the book can't be built:\n{e:#}"));
    let summary = read("book/src/SUMMARY.md");
    let pages = links(&summary);
    assert!(pages.len() >= 2, "{pages:?}");
    for page in &pages {
        let html = built.join(page).with_extension("html");
        let text = std::fs::read_to_string(&html).unwrap_or_else(|e| panic!("{page} was not rendered: {e}"));
        assert!(text.contains("</main>"), "{page}");
    }
    for page in files(&built, ".html") {
        let text = std::fs::read_to_string(built.join(&page)).unwrap();
        for sign in ["{{#snapshot", "{{#lesson", "{{#include"] {
            let talked_about = text.matches(&format!("<code>{sign}")).count();
            assert_eq!(text.matches(sign).count(), talked_about, "{}: {sign} was not replaced", page.display());
        }
    }
    let faults = html::faults(&built).unwrap();
    assert!(faults.is_empty(), "\n  {}\n", faults.join("\n  "));
    assert!(!files(&built, ".js").iter().all(|f| !f.to_string_lossy().starts_with("searchindex")), "no search");
}

#[test]
fn every_page_is_in_the_summary_once() {
    let listed = links(&read("book/src/SUMMARY.md"));
    let pages: BTreeSet<PathBuf> = listed.iter().map(PathBuf::from).collect();
    assert_eq!(pages.len(), listed.len(), "a page is listed twice");
    let mut there = files(&book().join("src"), ".md");
    there.remove(Path::new("SUMMARY.md"));
    assert_eq!(there, pages);
}

/// The book shows a lesson's output as the tests saw it: so each command of a lesson has a snapshot, and the lesson
/// shows it.
#[test]
fn every_command_of_a_lesson_was_run_by_a_test() {
    let lessons = Lessons::read(&root().join("lessons")).unwrap();
    let snapshots = Snapshots::read(&root().join("tests/snapshots")).unwrap();
    let mut wrong = vec![];
    for name in lessons.names() {
        let lesson = lessons.get(name).unwrap();
        assert!(lesson.text.starts_with(&format!("# {}\n", lesson.manifest.title)), "{name}: title");
        for command in &lesson.manifest.commands {
            if let Err(error) = snapshots.get(&command.snapshot) {
                wrong.push(format!("{name}: {error}"));
            }
            if !lesson.text.contains(&format!("{{{{#snapshot {}}}}}", command.snapshot)) {
                wrong.push(format!("{name}: the text does not show {}", command.snapshot));
            }
        }
    }
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

/// A book of two pages with fixtures of its own.
fn small_book(command: &str) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = place.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let config = format!(
        "[book]\ntitle = \"t\"\n[output.html]\ninput-404 = \"\"\n[preprocessor.rdock]\ncommand = {command:?}\n\
         before = [\"links\"]\nlessons = \"lessons\"\nsnapshots = \"snapshots\"\n"
    );
    write("book.toml", &config);
    write("src/SUMMARY.md", "- [Intro](intro.md)\n- [One](one.md)\n");
    write("src/intro.md", "# Intro\n\n[next](one.md)\n");
    write("src/one.md", "{{#lesson 01-one}}\n");
    write("lessons/01-one/lesson.md", "# One\n\n{{#snapshot miss}}\n");
    let manifest = "id = \"01-one\"\ntitle = \"One\"\n[[commands]]\nsnapshot = \"miss\"\nrun = \"rdock run x\"\n";
    write("lessons/01-one/lesson.toml", manifest);
    write("snapshots/suite__explain__miss.snap", "---\nsource: x\nexpression: y\n---\nUnable to find <id1>\n");
    place
}

fn built(place: &Path) -> Result<String, String> {
    let built = build(place, Some(&place.join("out"))).map_err(|e| format!("{e:#}"))?;
    assert_eq!(html::faults(&built).unwrap(), Vec::<String>::new());
    Ok(std::fs::read_to_string(built.join("one.html")).unwrap())
}

#[test]
fn a_page_shows_the_command_and_what_it_printed() {
    let place = small_book("not used here");
    let page = built(place.path()).unwrap();
    assert!(page.contains("$ rdock run x\nUnable to find &lt;id1&gt;\n</code>"), "{page}");
    assert!(!page.contains("expression: y"), "the front matter is not part of it");
}

#[test]
fn a_lesson_that_no_page_shows_fails_the_build() {
    let place = small_book("not used here");
    std::fs::write(place.path().join("src/one.md"), "# One\n").unwrap();
    let said = built(place.path()).unwrap_err();
    assert!(said.contains("lessons/01-one: no page of SUMMARY.md shows this lesson"), "{said}");
}

#[test]
fn all_unknown_snapshots_are_told_with_file_and_line() {
    let place = small_book("not used here");
    std::fs::write(place.path().join("src/intro.md"), "# Intro\n\n{{#snapshot gone}}\n").unwrap();
    std::fs::write(place.path().join("lessons/01-one/lesson.md"), "# One\n{{#snapshot misss}}\n").unwrap();
    let said = built(place.path()).unwrap_err();
    assert!(said.contains("src/intro.md:3: no test has made a snapshot called \"gone\""), "{said}");
    assert!(said.contains("lessons/01-one/lesson.md:2: no test has made a snapshot called \"misss\""), "{said}");
}

#[test]
fn mdbook_can_use_the_preprocessor_as_a_program() {
    let place = small_book(env!("CARGO_BIN_EXE_rdock-book"));
    let mut with_mdbook = mdbook_driver::MDBook::load(place.path()).unwrap();
    with_mdbook.config.build.build_dir = place.path().join("by-program");
    with_mdbook.build().unwrap();
    let by_program = std::fs::read_to_string(place.path().join("by-program/one.html")).unwrap();
    assert_eq!(by_program, built(place.path()).unwrap());
    assert_eq!(mdbook_preprocessor::Preprocessor::name(&Rdock), "rdock");
}

#[test]
fn the_transcript_in_the_readme_is_what_the_test_saw() {
    let snapshots = Snapshots::read(&root().join("tests/snapshots")).unwrap();
    let wanted = readme::transcript(&snapshots).unwrap_or_else(|e| panic!("{e}"));
    let text = read("README.md");
    let found = readme::found(&text).expect("README.md has lost the marks of its transcript");
    let how = "README.md shows another transcript than the test saw: cargo run -p rdock-book -- transcript";
    assert_eq!(found, wanted, "{how}");
}

#[test]
fn the_documents_name_only_places_that_are_there() {
    let mut wrong = vec![];
    for document in ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md"] {
        let text = read(document);
        for link in links(&text) {
            if !root().join(&link).exists() {
                wrong.push(format!("{document} links to {link}"));
            }
        }
        let folders = ["src/", "tests/", "book/", "lessons/", "benches/"];
        for word in quoted(&text).iter().filter(|w| folders.iter().any(|f| w.starts_with(f))) {
            let pattern = word.contains(['<', '*', '{', ' ', '…']) || word.contains("NN");
            if !pattern && !root().join(word).exists() {
                wrong.push(format!("{document} names {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

/// The last column of the table of defences names tests. A defence without its test is a claim.
#[test]
fn every_defence_names_tests_that_are_there() {
    let mut code = String::new();
    for folder in ["src", "tests", "book"] {
        for file in files(&root().join(folder), ".rs") {
            code.push_str(&read(Path::new(folder).join(file)));
        }
    }
    let text = read("SECURITY.md");
    let section = text.split("\n## ").find(|s| s.starts_with("What is defended\n")).unwrap_or("");
    let rows = section.lines().filter(|l| l.starts_with('|') && !l.starts_with("| ---"));
    let (mut defences, mut wrong) = (0, vec![]);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [threat, _, tests] = cells[..] else { continue };
        if tests.trim() == "test" {
            continue;
        }
        defences += 1;
        let names = quoted(tests);
        if names.is_empty() {
            wrong.push(format!("no test: {}", threat.trim()));
        }
        let missing = names.iter().filter(|name| !code.contains(&format!("fn {name}(")));
        wrong.extend(missing.map(|name| format!("{name} is no test: {}", threat.trim())));
    }
    assert!(defences > 10, "the table of SECURITY.md was not found");
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}
