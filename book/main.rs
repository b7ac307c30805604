//! `rdock-book`: the preprocessor of `mdbook build book`, and the book and its figures without mdBook installed.
//!
//! ```text
//! rdock-book                    the preprocessor: mdBook's JSON on standard input and output
//! rdock-book supports RENDERER  mdBook asks: status 0 is yes
//! rdock-book build [DIR]        builds the book (into DIR)
//! rdock-book transcript         puts what the test saw into README.md
//! ```

use anyhow::Context as _;
use mdbook_preprocessor::{Preprocessor as _, parse_input};
use rdock_book::{Rdock, readme, snapshot::Snapshots};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => preprocess(),
        // Code blocks are what it writes: any renderer can show them.
        ["supports", _] => Ok(()),
        ["build"] => build(None),
        ["build", directory] => build(Some(Path::new(directory))),
        ["transcript"] => transcript(),
        _ => Err(anyhow::anyhow!("usage: rdock-book [supports RENDERER | build [DIR] | transcript]")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rdock-book: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn preprocess() -> anyhow::Result<()> {
    let (context, book) = parse_input(std::io::stdin().lock())?;
    let book = Rdock.run(&context, book)?;
    serde_json::to_writer(std::io::stdout().lock(), &book).context("write the book to standard output")
}

fn build(directory: Option<&Path>) -> anyhow::Result<()> {
    let place = rdock_book::build(Path::new(env!("CARGO_MANIFEST_DIR")), directory)?;
    println!("{}", place.join("index.html").display());
    Ok(())
}

fn transcript() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the book is in the repository")?;
    let path = root.join("README.md");
    let text = std::fs::read_to_string(&path).context("read README.md")?;
    let transcript = readme::transcript(&Snapshots::read(&root.join("tests/snapshots"))?)?;
    let text = readme::with(&text, &transcript).context("README.md has lost the marks of its transcript")?;
    std::fs::write(&path, text).context("write README.md")
}
