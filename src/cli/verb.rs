//! What a command is: its options, its arguments, its action.

use super::args::{self, Arity, Scanned, Shape};
use super::error::{ENGINE_FAILED, Failure};
use super::{Context, help};
use crate::trace::{self, Actor};
use clap::error::{ContextKind, ContextValue};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;

/// One command of the client: the options are the fields (clap), the action is [`Verb::run`].
pub trait Verb: clap::Args {
    /// As it is typed: `run`, or `image prune`.
    const NAME: &'static str;
    /// All ways to type it, in the order in which help tells them, when there are several: `image ls`, `image list`,
    /// `images`. The first one of a group is the one that the group's help lists.
    const ALIASES: &'static [&'static str] = &[];
    /// One line for the list of commands.
    const ABOUT: &'static str;
    /// What help says below that.
    const MORE: &'static str = "";
    /// `[OPTIONS] IMAGE [COMMAND] [ARG...]`
    const USAGE: &'static str;
    const ARITY: Arity;
    /// Options may come after arguments too.
    const INTERSPERSED: bool = true;

    /// For the explanation: what the command line says, in the words of [`Verb::NAME`] and what it is about.
    fn told(&self) -> String {
        Self::NAME.to_owned()
    }

    /// For the explanation: the words that were typed, without what is secret.
    fn argv(&self, words: &[OsString]) -> Vec<String> {
        words.iter().map(|w| w.to_string_lossy().into_owned()).collect()
    }

    /// Does it; the exit status.
    fn run(self, cx: &Context) -> Result<u8, Failure>;
}

/// A command in the table.
pub struct Entry {
    pub name: &'static str,
    pub about: &'static str,
    aliases: &'static [&'static str],
    run: fn(&Context, &str, &[OsString]) -> Result<u8, Failure>,
}

impl Entry {
    pub const fn of<V: Verb>() -> Entry {
        Entry { name: V::NAME, about: V::ABOUT, aliases: V::ALIASES, run: launch::<V> }
    }

    /// Every way to type it.
    pub fn spellings(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// The spelling that help and errors use for what was typed: `image ls` for `image list`. None: not this command.
    pub fn spelled(&self, typed: &str) -> Option<&'static str> {
        self.spellings().find(|s| *s == typed)?;
        match typed.split_once(' ') {
            Some((group, _)) => self.in_group(group),
            None => self.spellings().find(|s| *s == typed),
        }
    }

    /// How it is typed as a member of a group, with the group's name.
    pub fn in_group(&self, group: &str) -> Option<&'static str> {
        let member = |s: &&str| s.split_once(' ').is_some_and(|(g, _)| g == group);
        self.aliases.iter().copied().find(member).or_else(|| Some(self.name).filter(member))
    }

    /// Runs it; `path` is what [`Entry::spelled`] gave.
    pub fn run(&self, cx: &Context, path: &str, words: &[OsString]) -> Result<u8, Failure> {
        (self.run)(cx, path, words)
    }
}

fn launch<V: Verb>(cx: &Context, path: &str, words: &[OsString]) -> Result<u8, Failure> {
    let path = format!("rdock {path}");
    let shape =
        Shape { path: &path, usage: V::USAGE, arity: V::ARITY, interspersed: V::INTERSPERSED, aliases: V::ALIASES };
    match parse::<V>(&shape, words)? {
        Some(verb) => {
            let step = trace::step(Actor::Client, "client.parse")
                .args(|| json!({"command": V::NAME, "argv": verb.argv(words)}));
            step.ok((), || format!("reads the command: {}", verb.told()));
            verb.run(cx)
        }
        None => Ok(0),
    }
}

/// The options and arguments of `V`; none when only help was asked for (and printed).
pub fn parse<V: Verb>(shape: &Shape<'_>, words: &[OsString]) -> Result<Option<V>, Failure> {
    // The last of several counts (pflag); each word is read by the option's own rules.
    let command = clap::Command::new(V::NAME).no_binary_name(true).disable_help_flag(true).args_override_self(true);
    let about = if V::MORE.is_empty() { V::ABOUT.to_owned() } else { format!("{}.\n{}", V::ABOUT, V::MORE) };
    let mut command = V::augment_args(command).about(about);
    let (mut canonical, arguments) = match args::scan(&command, shape, words)? {
        Scanned::Help => {
            let text = help::of_command(&command, shape, crate::client::terminal::size().map(|s| s.columns));
            print(&text)?;
            return Ok(None);
        }
        Scanned::Words { options, arguments } => (options, arguments),
    };
    canonical.push("--".into());
    canonical.extend(arguments);
    let matches = command.try_get_matches_from_mut(canonical).map_err(|e| complain(&e, shape, &command))?;
    V::from_arg_matches(&matches).map(Some).map_err(|e| complain(&e, shape, &command))
}

/// clap's remaining complaints are about values; in Docker's form.
fn complain(error: &clap::Error, shape: &Shape<'_>, command: &clap::Command) -> Failure {
    let (path, usage) = (shape.path, shape.usage);
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let sentence = match (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue)) {
        (Some(arg), Some(value)) => {
            let flag = arg.split([' ', '=']).next().unwrap_or(arg);
            let short =
                command.get_arguments().find(|a| a.get_long() == flag.strip_prefix("--")).and_then(|a| a.get_short());
            let flag = short.map_or(flag.to_owned(), |short| format!("-{short}, {flag}"));
            let cause = std::error::Error::source(error).map(|s| format!(": {s}")).unwrap_or_default();
            format!("invalid argument {value:?} for {flag:?} flag{cause}")
        }
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    Failure::new(format!("{sentence}\n\nUsage:  {path} {usage}\n\nRun '{path} --help' for more information"))
        .status(ENGINE_FAILED)
}

/// Writes a command's answer to standard output; a reader that has gone is no failure worth words.
pub fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// As [`print`], for what is no text.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()).map_err(|e| match e.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::silent(141),
        _ => Failure::new(format!("cannot write the output: {e}")),
    })
}

/// Writes a line for the person to standard error.
pub fn tell(text: impl AsRef<OsStr>) {
    let mut line = text.as_ref().as_encoded_bytes().to_vec();
    line.push(b'\n');
    let _ = std::io::stderr().write_all(&line);
}
