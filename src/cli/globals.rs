//! The options before the command.

use super::args::{self, Arity, Scanned, Shape};
use super::error::Failure;
use super::{COMMANDS, GROUPS, groups, help};
use crate::trace::render::{Format, Lang};
use clap::{Arg, ArgAction, Command};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What the options before the command say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Globals {
    /// `-H`, else `RDOCK_HOST`. `DOCKER_HOST` is not read: it names another engine.
    pub host: Option<String>,
    /// Each in its form and its place, of one trace; none: nothing is explained.
    pub explain: Vec<Explain>,
}

/// How and where to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explain {
    pub format: Format,
    pub lang: Lang,
    /// None: standard error.
    pub file: Option<PathBuf>,
}

/// What was read.
#[derive(Debug)]
pub enum Read {
    /// Nothing more to do: the text is the answer.
    Done(String),
    Command {
        globals: Globals,
        rest: Vec<OsString>,
    },
}

const SHAPE: Shape<'static> =
    Shape { path: "rdock", usage: "[OPTIONS] COMMAND", arity: Arity::AtLeast(0), interspersed: false, aliases: &[] };

fn command() -> Command {
    Command::new("rdock")
        .no_binary_name(true)
        .disable_help_flag(true)
        .about("A container engine that explains itself")
        .arg(
            Arg::new("explain")
                .long("explain")
                .num_args(0..=1)
                .require_equals(true)
                .value_name("format[:file]")
                .help("Explain each step that is taken (\"flow\", \"syscalls\", \"json\"), on stderr or in a file (default \"flow\")"),
        )
        .arg(Arg::new("host").short('H').long("host").value_name("string").help("Daemon socket to connect to (unix:///path)"))
        .arg(Arg::new("lang").long("lang").value_name("string").help("Language of explanations (\"en\", \"zh\"; default from LANG)"))
        .arg(Arg::new("version").short('v').long("version").action(ArgAction::SetTrue).help("Print version information and quit"))
}

/// Reads the options before the command.
pub fn read(words: &[OsString]) -> Result<Read, Failure> {
    let (mut options, rest) = match args::scan(&command(), &SHAPE, words)? {
        Scanned::Help => return Ok(Read::Done(overview())),
        Scanned::Words { options, arguments } => (options, arguments),
    };
    let (mut globals, mut lang) = (Globals { host: env("RDOCK_HOST"), explain: Vec::new() }, lang_from_env());
    for word in options.drain(..) {
        let word = word.to_string_lossy().into_owned();
        match word.split_once('=').unwrap_or((word.as_str(), "")) {
            ("--version", _) => return Ok(Read::Done(format!("rdock version {}\n", env!("CARGO_PKG_VERSION")))),
            ("--host", host) => globals.host = Some(host.to_owned()),
            ("--lang", name) => lang = parse_lang(name)?,
            (_, explain) => globals.explain.push(parse_explain(explain)?),
        }
    }
    for explain in &mut globals.explain {
        explain.lang = lang;
    }
    match rest.first().and_then(|w| w.to_str()) {
        None if rest.is_empty() => Ok(Read::Done(overview())),
        Some("help") if rest.len() == 1 => Ok(Read::Done(overview())),
        Some("help") => {
            let mut rest = rest[1..].to_vec();
            rest.push("--help".into());
            Ok(Read::Command { globals, rest })
        }
        _ => Ok(Read::Command { globals, rest }),
    }
}

fn parse_explain(text: &str) -> Result<Explain, Failure> {
    let (format, file) = match text.split_once(':') {
        Some((format, file)) => (format, Some(PathBuf::from(file))),
        None => (text, None),
    };
    let format = match format {
        "" | "flow" => Format::Flow,
        "syscalls" => Format::Syscalls,
        "json" => Format::Json,
        other => {
            let failure = Failure::new(format!("rdock: there is no explanation in the form {other:?}"));
            return Err(failure.hint("the forms are flow, syscalls and json: rdock --explain=syscalls run centos"));
        }
    };
    Ok(Explain { format, lang: Lang::default(), file: file.filter(|f| !f.as_os_str().is_empty()) })
}

fn parse_lang(text: &str) -> Result<Lang, Failure> {
    match text {
        "en" => Ok(Lang::En),
        "zh" => Ok(Lang::Zh),
        other => Err(Failure::new(format!("rdock: no language {other:?}")).hint("the languages are en and zh")),
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// As locale(7) has it: LC_ALL, LC_MESSAGES, LANG.
fn lang_from_env() -> Lang {
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(env).unwrap_or_default();
    if locale.starts_with("zh") { Lang::Zh } else { Lang::En }
}

/// `rdock --help`
fn overview() -> String {
    let mut text = format!("Usage:  rdock {}\n\nA container engine that explains itself\n", SHAPE.usage);
    let lists: Vec<(&str, Vec<(&str, &str)>)> = COMMANDS
        .iter()
        .map(|(title, entries)| match *title {
            groups::TITLE => (*title, GROUPS.to_vec()),
            title => (title, entries.iter().filter(|e| !e.name.contains(' ')).map(|e| (e.name, e.about)).collect()),
        })
        .collect();
    let width = lists.iter().flat_map(|(_, list)| list).map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    for (title, list) in lists {
        let _ = write!(text, "\n{title}:\n");
        for (name, about) in list {
            let _ = writeln!(text, "  {name:width$}{about}");
        }
    }
    let columns = crate::client::terminal::size().map_or(80, |s| usize::from(s.columns));
    let _ = write!(text, "\nGlobal Options:\n{}", help::options(&command(), columns));
    text.push_str("\nRun 'rdock COMMAND --help' for more information on a command.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globals(line: &str) -> (Globals, String) {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        match read(&words).unwrap() {
            Read::Command { globals, rest } => (globals, rest.join(std::ffi::OsStr::new(" ")).into_string().unwrap()),
            Read::Done(text) => panic!("{text}"),
        }
    }

    #[test]
    fn options_before_the_command_are_global() {
        let (g, rest) = globals("--lang=en --explain -H unix:///x run --rm centos");
        assert_eq!(rest, "run --rm centos");
        assert_eq!(g.host.as_deref(), Some("unix:///x"));
        assert_eq!(g.explain, [Explain { format: Format::Flow, lang: Lang::En, file: None }]);
        let (g, rest) = globals("--lang zh --explain=json:/tmp/x.json ps");
        assert_eq!(rest, "ps");
        let json = Explain { format: Format::Json, lang: Lang::Zh, file: Some("/tmp/x.json".into()) };
        assert_eq!(g.explain, [json]);
        let (g, _) = globals("--explain --explain=json:/tmp/x.json ps");
        let forms: Vec<Format> = g.explain.iter().map(|e| e.format).collect();
        assert_eq!(forms, [Format::Flow, Format::Json], "shown, and kept");
    }

    #[test]
    fn unknown_forms_and_languages_are_refused() {
        assert!(read(&["--explain=dance".into(), "ps".into()]).is_err());
        assert!(read(&["--lang=xx".into(), "ps".into()]).is_err());
    }

    #[test]
    fn overview_lists_every_command() {
        let Read::Done(text) = read(&["--help".into()]).unwrap() else { panic!() };
        for (_, entries) in COMMANDS {
            for entry in *entries {
                let first = entry.name.split(' ').next().unwrap();
                assert!(text.contains(&format!("\n  {first} ")), "{}", entry.name);
            }
        }
    }
}
