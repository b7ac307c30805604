//! Reads a command line by the rules of Docker's, and complains in its words.
//!
//! clap knows the options and turns them into values; which word is an option, a value or an argument is decided
//! here, since Docker's rules (those of Go's pflag) differ from clap's: flags may be given as `--rm=false`, short
//! ones may be grouped with a value at the end, and `run` stops at the image: what follows belongs to the container.

use super::error::{ENGINE_FAILED, Failure};
use clap::{Arg, ArgAction, Command};
use std::ffi::{OsStr, OsString};

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    None,
    Exactly(usize),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
}

/// What a command line may look like.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// As in messages: `rdock run`.
    pub path: &'a str,
    /// What follows the path in the usage: `[OPTIONS] IMAGE [COMMAND] [ARG...]`.
    pub usage: &'a str,
    pub arity: Arity,
    /// Options may also come after arguments.
    pub interspersed: bool,
    /// All ways to type the command, for its help; empty when there is one only.
    pub aliases: &'a [&'a str],
}

/// A command line, sorted.
#[derive(Debug, PartialEq, Eq)]
pub enum Scanned {
    /// `--help` was among the options.
    Help,
    /// For clap: one word an option, then `--`, then the arguments.
    Words { options: Vec<OsString>, arguments: Vec<OsString> },
}

/// Sorts `words` by the options that `command` knows.
pub fn scan(command: &Command, shape: &Shape<'_>, words: &[OsString]) -> Result<Scanned, Failure> {
    let mut scanner = Scanner { command, words: words.iter(), options: Vec::new() };
    let mut arguments = Vec::new();
    while let Some(word) = scanner.words.next() {
        let text = word.to_string_lossy();
        let seen = match text.as_ref() {
            "--" => {
                arguments.extend(scanner.words.by_ref().cloned());
                break;
            }
            long if long.starts_with("--") => scanner.long(word),
            short if short.starts_with('-') && short.len() > 1 => scanner.short(&text),
            _ => {
                arguments.push(word.clone());
                if !shape.interspersed {
                    arguments.extend(scanner.words.by_ref().cloned());
                }
                continue;
            }
        };
        match seen {
            Ok(Seen::Option) => {}
            Ok(Seen::Help) => return Ok(Scanned::Help),
            Err(wrong) => return Err(wrong.told(command, shape)),
        }
    }
    count(shape, arguments.len())?;
    Ok(Scanned::Words { options: scanner.options, arguments })
}

enum Seen {
    Option,
    Help,
}

/// Why a word is no option; the words are pflag's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Wrong {
    #[error("unknown flag: --{0}")]
    Unknown(String),
    #[error("unknown shorthand flag: {0:?} in -{1}")]
    UnknownShort(char, String),
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    #[error("flag needs an argument: --{0}")]
    NeedsValue(String),
    #[error("flag needs an argument: {0:?} in -{1}")]
    ShortNeedsValue(char, String),
    #[error("invalid argument {value:?} for {flag:?} flag: strconv.ParseBool: parsing {value:?}: invalid syntax")]
    NotBool { flag: String, value: String },
}

impl Wrong {
    fn told(self, command: &Command, shape: &Shape<'_>) -> Failure {
        let (path, usage) = (shape.path, shape.usage);
        let failure =
            Failure::new(format!("{self}\n\nUsage:  {path} {usage}\n\nRun '{path} --help' for more information"))
                .status(ENGINE_FAILED);
        let Wrong::Unknown(flag) = &self else { return failure };
        if path != "rdock" && ["explain", "host", "lang"].contains(&flag.as_str()) {
            return failure.hint(format!("--{flag} goes before the command: rdock --{flag} {} …", &path[6..]));
        }
        let known = command.get_arguments().filter(|a| !a.is_hide_set()).filter_map(Arg::get_long);
        match nearest(flag, known) {
            Some(near) => failure.hint(format!("did you mean --{near}?")),
            None => failure,
        }
    }
}

struct Scanner<'a> {
    command: &'a Command,
    words: std::slice::Iter<'a, OsString>,
    options: Vec<OsString>,
}

impl Scanner<'_> {
    fn long(&mut self, word: &OsStr) -> Result<Seen, Wrong> {
        let text = word.to_string_lossy();
        let body = &text[2..];
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(Wrong::Syntax(text.into_owned()));
        }
        if name == "help" {
            return Ok(Seen::Help);
        }
        let arg = self.command.get_arguments().find(|a| a.get_long() == Some(name));
        let Some(arg) = arg else { return Err(Wrong::Unknown(name.to_owned())) };
        match (kind(arg), value) {
            (Kind::Switch, value) => self.switch(arg, value),
            (Kind::Optional, _) => {
                self.options.push(word.to_owned());
                Ok(Seen::Option)
            }
            (Kind::Value, Some(_)) => {
                self.options.push(word.to_owned());
                Ok(Seen::Option)
            }
            (Kind::Value, None) => {
                let value = self.words.next().ok_or_else(|| Wrong::NeedsValue(name.to_owned()))?;
                self.push(name, value);
                Ok(Seen::Option)
            }
        }
    }

    /// A group of short flags; the last one may take the rest of the word, or the next word, as its value.
    fn short(&mut self, word: &str) -> Result<Seen, Wrong> {
        let group = &word[1..];
        for (at, letter) in group.char_indices() {
            let rest = &group[at + letter.len_utf8()..];
            let arg = self.command.get_arguments().find(|a| a.get_short() == Some(letter));
            let Some(arg) = arg else {
                if letter == 'h' {
                    return Ok(Seen::Help);
                }
                return Err(Wrong::UnknownShort(letter, group[at..].to_owned()));
            };
            let name = arg.get_long().unwrap_or_default();
            match (kind(arg), rest.strip_prefix('=')) {
                (Kind::Value, Some(value)) => {
                    self.push(name, OsStr::new(value));
                    return Ok(Seen::Option);
                }
                (Kind::Value, None) if !rest.is_empty() => {
                    self.push(name, OsStr::new(rest));
                    return Ok(Seen::Option);
                }
                (Kind::Value, None) => {
                    let wrong = || Wrong::ShortNeedsValue(letter, group[at..].to_owned());
                    let value = self.words.next().ok_or_else(wrong)?;
                    self.push(name, value);
                    return Ok(Seen::Option);
                }
                (_, Some(value)) => return self.switch(arg, Some(value)),
                (_, None) => {
                    self.switch(arg, None)?;
                }
            }
        }
        Ok(Seen::Option)
    }

    /// A flag without a value, or with one that Go's ParseBool takes. The last one given counts.
    fn switch(&mut self, arg: &Arg, value: Option<&str>) -> Result<Seen, Wrong> {
        let name = arg.get_long().unwrap_or_default();
        let on = match value {
            None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some(other) => {
                let flag = match arg.get_short() {
                    Some(short) => format!("-{short}, --{name}"),
                    None => format!("--{name}"),
                };
                return Err(Wrong::NotBool { flag, value: other.to_owned() });
            }
        };
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            let word = OsString::from(format!("--{name}"));
            self.options.retain(|w| *w != word);
            if on {
                self.options.push(word);
            }
        } else {
            self.push(name, OsStr::new(if on { "true" } else { "false" }));
        }
        Ok(Seen::Option)
    }

    fn push(&mut self, name: &str, value: &OsStr) {
        let mut word = OsString::from(format!("--{name}="));
        word.push(value);
        self.options.push(word);
    }
}

/// How an option takes its value.
enum Kind {
    /// It is on or off.
    Switch,
    /// `--name` or `--name=value`.
    Optional,
    Value,
}

fn kind(arg: &Arg) -> Kind {
    let may_stand_alone = arg.get_num_args().is_some_and(|n| n.min_values() == 0);
    match arg.get_action() {
        ArgAction::SetTrue => Kind::Switch,
        _ if may_stand_alone && arg.get_default_values().len() == 1 => Kind::Switch,
        _ if may_stand_alone => Kind::Optional,
        _ => Kind::Value,
    }
}

/// Complains when there are too few or too many arguments.
fn count(shape: &Shape<'_>, given: usize) -> Result<(), Failure> {
    let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
    let complaint = match shape.arity {
        Arity::None if given > 0 => "accepts no arguments".to_owned(),
        Arity::Exactly(n) if given != n => format!("requires {n} {}", plural(n)),
        Arity::AtLeast(n) if given < n => format!("requires at least {n} {}", plural(n)),
        Arity::Between(least, most) if given < least || given > most => {
            format!("requires at least {least} and at most {most} {}", plural(most))
        }
        Arity::AtMost(n) if given > n => format!("requires at most {n} {}", plural(n)),
        _ => return Ok(()),
    };
    let (path, usage) = (shape.path, shape.usage);
    let see = if matches!(shape.arity, Arity::AtLeast(_)) { "See" } else { "Run" };
    Err(Failure::new(format!(
        "rdock: '{path}' {complaint}\n\nUsage:  {path} {usage}\n\n{see} '{path} --help' for more information"
    )))
}

/// The known word that `typed` is most likely meant to be: at most two slips of the finger away.
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|k| (distance(typed, k), k)).min()?;
    let allowed = match typed.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        _ => 2,
    };
    (near.0 <= allowed).then_some(near.1)
}

/// Letters to insert, remove, replace or swap (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::new("run")
            .arg(Arg::new("detach").short('d').long("detach").action(ArgAction::SetTrue))
            .arg(Arg::new("tty").short('t').long("tty").action(ArgAction::SetTrue))
            .arg(Arg::new("rm").long("rm").action(ArgAction::SetTrue))
            .arg(Arg::new("name").long("name"))
            .arg(Arg::new("last").short('n').long("last"))
            .arg(Arg::new("env").short('e').long("env").action(ArgAction::Append))
            .arg(Arg::new("sig-proxy").long("sig-proxy").num_args(0..=1).require_equals(true).default_value("true"))
            .arg(Arg::new("explain").long("explain").num_args(0..=1).require_equals(true))
    }

    const SHAPE: Shape<'_> = Shape {
        path: "rdock run",
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        arity: Arity::AtLeast(1),
        interspersed: false,
        aliases: &[],
    };

    fn read(line: &str) -> Result<String, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        match scan(&command(), &SHAPE, &words) {
            Ok(Scanned::Help) => Ok("help".into()),
            Ok(Scanned::Words { options, arguments }) => {
                let join = |v: Vec<OsString>| v.join(OsStr::new(" ")).into_string().unwrap();
                Ok(format!("{} | {}", join(options), join(arguments)))
            }
            Err(failure) => Err(failure.to_string().lines().next().unwrap_or_default().to_owned()),
        }
    }

    #[test]
    fn words_are_sorted_as_docker_sorts_them() {
        for (line, want) in [
            ("centos", " | centos"),
            ("-dt --name x centos ls -d --rm", "--detach --tty --name=x | centos ls -d --rm"),
            ("-e A=b -eC=d -e=E=f centos", "--env=A=b --env=C=d --env=E=f | centos"),
            ("-n=1 centos", "--last=1 | centos"),
            ("-dn 1 centos", "--detach --last=1 | centos"),
            ("--rm --rm=false centos", " | centos"),
            ("--sig-proxy=false centos", "--sig-proxy=false | centos"),
            ("--explain centos", "--explain | centos"),
            ("--explain=json centos", "--explain=json | centos"),
            ("-- -d", " | -d"),
            ("- x", " | - x"),
            ("--rm --help", "help"),
            ("-h", "help"),
        ] {
            assert_eq!(read(line), Ok(want.to_owned()), "{line}");
        }
    }

    #[test]
    fn complaints_have_dockers_words() {
        for (line, want) in [
            ("--nosuchflag x", "unknown flag: --nosuchflag"),
            ("-dzx x", "unknown shorthand flag: 'z' in -zx"),
            ("--name", "flag needs an argument: --name"),
            ("-de", "flag needs an argument: 'e' in -e"),
            ("--=x", "bad flag syntax: --=x"),
            (
                "--rm=maybe x",
                "invalid argument \"maybe\" for \"--rm\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            ("", "rdock: 'rdock run' requires at least 1 argument"),
        ] {
            assert_eq!(read(line), Err(want.to_owned()), "{line}");
        }
    }

    #[test]
    fn wrong_usage_shows_the_usage() {
        let failure = scan(&command(), &SHAPE, &["--nosuchflag".into()]).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "unknown flag: --nosuchflag\n\nUsage:  rdock run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'rdock run --help' for more information"
        );
        assert_eq!(failure.status, 125);
        let failure = scan(&command(), &SHAPE, &[]).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "rdock: 'rdock run' requires at least 1 argument\n\nUsage:  rdock run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nSee 'rdock run --help' for more information"
        );
        assert_eq!(failure.status, 1);
    }

    #[test]
    fn slips_of_the_finger_are_understood() {
        let known = ["version", "filter", "ps", "pull", "search"];
        let near = |typed| nearest(typed, known.into_iter());
        assert_eq!(near("vension"), Some("version"));
        assert_eq!(near("felter"), Some("filter"));
        assert_eq!(near("serach"), Some("search"));
        assert_eq!(near("os"), None);
        assert_eq!(near("nothing-like-it"), None);
    }
}
