//! The command line: one file per command, and what they share.
//!
//! - [`args`], [`help`], [`error`]: Docker's rules, layout and words;
//! - [`verb`]: what a command is; [`groups`]: commands of two words (`image ls`), their help;
//! - [`format`], [`template`], [`filter`]: `--format` and `--filter`;
//! - [`context`]: the global options, the connection, the explanation of one invocation.

pub mod args;
mod context;
mod credentials;
pub mod error;
mod explain;
mod filter;
mod format;
mod globals;
mod groups;
mod help;
mod progress;
mod short;
mod stdio;
mod template;
mod verb;

mod attach;
mod commit;
mod config;
mod confirm;
mod container_prune;
mod cp;
mod create;
pub mod daemon;
mod diff;
mod events;
mod exec;
mod export;
mod history;
pub mod hub;
mod image_inspect;
mod image_prune;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod login;
mod logout;
mod logs;
mod pause;
mod port;
mod ps;
mod pull;
mod push;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod search;
mod start;
mod stats;
mod stop;
mod system_df;
mod system_prune;
mod tag;
mod top;
mod unpause;
mod update;
mod version;
mod wait;

pub use context::{Context, Processes};
use error::Failure;
use std::ffi::OsString;
use std::process::ExitCode;
use verb::Entry;
pub use verb::tell;

/// Every command, in the order of the list that `rdock --help` shows. A command of two words belongs to a group of
/// [`GROUPS`] and is listed in the group's help; so is every command that has such an alias ([`Verb::ALIASES`]).
const COMMANDS: &[(&str, &[Entry])] = &[
    (
        "Common Commands",
        &[
            Entry::of::<run::Run>(),
            Entry::of::<exec::Exec>(),
            Entry::of::<ps::Ps>(),
            Entry::of::<pull::Pull>(),
            Entry::of::<push::Push>(),
            Entry::of::<images::Images>(),
            Entry::of::<login::Login>(),
            Entry::of::<logout::Logout>(),
            Entry::of::<search::Search>(),
            Entry::of::<version::Version>(),
            Entry::of::<info::Info>(),
        ],
    ),
    (
        groups::TITLE,
        &[
            Entry::of::<container_prune::ContainerPrune>(),
            Entry::of::<hub::Add>(),
            Entry::of::<hub::List>(),
            Entry::of::<hub::Remove>(),
            Entry::of::<hub::Serve>(),
            Entry::of::<image_inspect::ImageInspect>(),
            Entry::of::<image_prune::ImagePrune>(),
            Entry::of::<system_df::SystemDf>(),
            Entry::of::<system_prune::SystemPrune>(),
        ],
    ),
    (
        "Commands",
        &[
            Entry::of::<attach::Attach>(),
            Entry::of::<commit::Commit>(),
            Entry::of::<cp::Cp>(),
            Entry::of::<create::Create>(),
            Entry::of::<daemon::Daemon>(),
            Entry::of::<diff::Diff>(),
            Entry::of::<events::Events>(),
            Entry::of::<history::History>(),
            Entry::of::<import::Import>(),
            Entry::of::<export::Export>(),
            Entry::of::<inspect::Inspect>(),
            Entry::of::<kill::Kill>(),
            Entry::of::<load::Load>(),
            Entry::of::<logs::Logs>(),
            Entry::of::<pause::Pause>(),
            Entry::of::<port::Port>(),
            Entry::of::<rename::Rename>(),
            Entry::of::<restart::Restart>(),
            Entry::of::<rm::Rm>(),
            Entry::of::<rmi::Rmi>(),
            Entry::of::<save::Save>(),
            Entry::of::<start::Start>(),
            Entry::of::<stats::Stats>(),
            Entry::of::<stop::Stop>(),
            Entry::of::<tag::Tag>(),
            Entry::of::<top::Top>(),
            Entry::of::<unpause::Unpause>(),
            Entry::of::<update::Update>(),
            Entry::of::<wait::Wait>(),
        ],
    ),
];

/// First words of commands of two words, and what the group is about.
const GROUPS: &[(&str, &str)] = &[
    ("container", "Manage containers"),
    ("hub", "Manage the lab's registry"),
    ("image", "Manage images"),
    ("system", "Manage rdock"),
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
    if let Some(group) = groups::of(&rest)
        && let Some(status) = groups::alone(group, &rest[1..])?
    {
        return Ok(status);
    }
    let Some((entry, path)) = find(&rest) else { return Err(unknown(&rest)) };
    let used = path.split(' ').count();
    let cx = Context::new(globals, processes)?;
    let ended = entry.run(&cx, path, &rest[used..]);
    cx.finish(ended)
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    COMMANDS.iter().flat_map(|(_, entries)| entries.iter())
}

/// The command that the first words name, and how help spells it.
fn find(words: &[OsString]) -> Option<(&'static Entry, &'static str)> {
    let first = words.first()?.to_str()?;
    let typed = match groups::of(words) {
        Some(group) => format!("{group} {}", words.get(1)?.to_str()?),
        None => first.to_owned(),
    };
    entries().find_map(|entry| entry.spelled(&typed).map(|path| (entry, path)))
}

/// The document's words for a command that does not exist.
fn unknown(words: &[OsString]) -> Failure {
    let typed = words.first().map(|w| w.to_string_lossy().into_owned()).unwrap_or_default();
    let failure = Failure::new(format!("rdock: '{typed}' is not a rdock command.\nSee 'rdock --help'"));
    let names = entries().map(|e| e.name).chain(GROUPS.iter().map(|(name, _)| *name));
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
    fn commands_are_found_by_every_spelling() {
        let path = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            find(&words).map(|(e, path)| (e.name, path))
        };
        assert_eq!(path(&["hub", "serve", "--listen"]), Some(("hub serve", "hub serve")));
        assert_eq!(path(&["ps", "-a"]), Some(("ps", "ps")));
        assert_eq!(path(&["container", "list"]), Some(("ps", "container ls")));
        assert_eq!(path(&["hub"]), None);
        assert_eq!(path(&["image", "ps"]), None);
    }

    #[test]
    fn no_spelling_names_two_commands_and_every_group_has_members() {
        let mut seen = std::collections::BTreeSet::new();
        for entry in entries() {
            let own: std::collections::BTreeSet<_> = entry.spellings().collect();
            for spelling in own {
                assert!(seen.insert(spelling), "{spelling}");
                if let Some((group, _)) = spelling.split_once(' ') {
                    assert!(GROUPS.iter().any(|(name, _)| *name == group), "{spelling}");
                }
            }
        }
        for (group, _) in GROUPS {
            assert!(entries().any(|e| e.in_group(group).is_some()), "{group}");
        }
    }
}
