//! The command line: one file per command, and what they share.
//!
//! - [`args`], [`help`], [`error`]: Docker's rules, layout and words;
//! - [`verb`]: what a command is;
//! - [`context`]: the global options, the connection, the explanation of one invocation.

pub mod args;
mod context;
pub mod error;
mod explain;
mod globals;
mod help;
mod progress;
mod short;
mod stdio;
mod verb;

mod attach;
mod config;
mod create;
pub mod daemon;
mod events;
pub mod hub;
mod images;
mod info;
mod inspect;
mod kill;
mod moment;
mod ps;
mod pull;
mod rm;
mod run;
mod start;
mod stop;
mod version;
mod wait;

pub use context::{Context, Processes};
use error::Failure;
use std::ffi::OsString;
use std::process::ExitCode;
use verb::Entry;
pub use verb::tell;

/// Every command, in the order of the list that `rdock --help` shows.
const COMMANDS: &[(&str, &[Entry])] = &[
    (
        "Common Commands",
        &[
            Entry::of::<run::Run>(),
            Entry::of::<ps::Ps>(),
            Entry::of::<pull::Pull>(),
            Entry::of::<images::Images>(),
            Entry::of::<version::Version>(),
            Entry::of::<info::Info>(),
        ],
    ),
    ("Management Commands", &[Entry::of::<daemon::Daemon>(), Entry::of::<hub::HubServe>()]),
    (
        "Commands",
        &[
            Entry::of::<attach::Attach>(),
            Entry::of::<create::Create>(),
            Entry::of::<events::Events>(),
            Entry::of::<inspect::Inspect>(),
            Entry::of::<kill::Kill>(),
            Entry::of::<rm::Rm>(),
            Entry::of::<start::Start>(),
            Entry::of::<stop::Stop>(),
            Entry::of::<wait::Wait>(),
        ],
    ),
];

/// Runs one command line (without the program's name).
pub fn main(words: Vec<OsString>, processes: Processes) -> ExitCode {
    match dispatch(&words, processes) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            if !failure.message.is_empty() {
                verb::tell(failure.to_string());
            }
            ExitCode::from(failure.status)
        }
    }
}

fn dispatch(words: &[OsString], processes: Processes) -> Result<u8, Failure> {
    let (globals, rest) = match globals::read(words)? {
        globals::Read::Done(text) => return verb::print(&text).map(|()| 0),
        globals::Read::Command { globals, rest } => (globals, rest),
    };
    let Some((entry, used)) = find(&rest) else { return Err(unknown(&rest)) };
    let cx = Context::new(globals, processes)?;
    let ended = entry.run(&cx, &rest[used..]);
    cx.finish(ended)
}

/// The command that the first words name, and how many words that takes.
fn find(words: &[OsString]) -> Option<(&'static Entry, usize)> {
    let entries = || COMMANDS.iter().flat_map(|(_, entries)| entries.iter());
    let first = words.first()?.to_str()?;
    if let Some(entry) = entries().find(|e| e.name == first) {
        return Some((entry, 1));
    }
    let two = format!("{first} {}", words.get(1)?.to_str()?);
    entries().find(|e| e.name == two).map(|e| (e, 2))
}

/// The document's words for a command that does not exist.
fn unknown(words: &[OsString]) -> Failure {
    let typed = words.first().map(|w| w.to_string_lossy().into_owned()).unwrap_or_default();
    let failure = Failure::new(format!("rdock: '{typed}' is not a rdock command.\nSee 'rdock --help'"));
    let names = COMMANDS.iter().flat_map(|(_, entries)| entries.iter().map(|e| e.name));
    match args::nearest(&typed, names) {
        Some(near) => failure.hint(format!("did you mean 'rdock {near}'?")),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_command_is_refused_in_the_documents_words() {
        let said = |word: &str| unknown(&[word.into()]).to_string();
        assert_eq!(said("os"), "rdock: 'os' is not a rdock command.\nSee 'rdock --help'");
        assert!(said("vension").ends_with("\nhint: did you mean 'rdock version'?"));
    }

    #[test]
    fn commands_of_two_words_are_found() {
        let name = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            find(&words).map(|(e, used)| (e.name, used))
        };
        assert_eq!(name(&["hub", "serve", "--listen"]), Some(("hub serve", 2)));
        assert_eq!(name(&["ps", "-a"]), Some(("ps", 1)));
        assert_eq!(name(&["hub"]), None);
    }
}
