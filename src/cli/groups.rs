//! Commands of two words: `rdock image ls`, and what `rdock image` alone says.

use super::error::{ENGINE_FAILED, Failure};
use super::verb::{print, tell};
use super::{GROUPS, args, entries};
use std::ffi::OsString;
use std::fmt::Write as _;

/// The heading above the groups in `rdock --help`.
pub const TITLE: &str = "Management Commands";

/// The group that the first word names.
pub fn of(words: &[OsString]) -> Option<&'static str> {
    let first = words.first()?.to_str()?;
    GROUPS.iter().map(|(name, _)| *name).find(|name| *name == first)
}

/// What to do when no command of the group is named: its help, or a complaint. None: a command of it is.
pub fn alone(group: &'static str, rest: &[OsString]) -> Result<Option<u8>, Failure> {
    let Some(word) = rest.first() else {
        // Docker prints it as an error, and ends as if it were none.
        tell(help(group).trim_end());
        return Ok(Some(0));
    };
    let word = word.to_string_lossy();
    let usage = format!("Usage:  rdock {group}\n\nRun 'rdock {group} --help' for more information");
    match word.as_ref() {
        "--help" | "-h" => print(&help(group)).map(|()| Some(0)),
        flag if flag.starts_with("--") => {
            Err(Failure::new(format!("unknown flag: {flag}\n\n{usage}")).status(ENGINE_FAILED))
        }
        flag if flag.len() > 1 && flag.starts_with('-') => {
            let letter = flag.chars().nth(1).unwrap_or('-');
            let said = format!("unknown shorthand flag: {letter:?} in {flag}");
            Err(Failure::new(format!("{said}\n\n{usage}")).status(ENGINE_FAILED))
        }
        name if entries().any(|e| e.spelled(&format!("{group} {name}")).is_some()) => Ok(None),
        name => {
            let failure = Failure::new(format!("rdock: unknown command: rdock {group} {name}\n\n{usage}"));
            let members = entries().filter_map(|e| e.in_group(group)).filter_map(|s| s.split(' ').nth(1));
            Err(match args::nearest(name, members) {
                Some(near) => failure.hint(format!("did you mean 'rdock {group} {near}'?")),
                None => failure,
            })
        }
    }
}

/// `rdock image --help`
fn help(group: &str) -> String {
    let about = GROUPS.iter().find(|(name, _)| *name == group).map_or("", |(_, about)| *about);
    let mut members: Vec<(&str, &str)> = entries()
        .filter_map(|e| e.in_group(group).and_then(|s| s.split(' ').nth(1)).map(|name| (name, e.about)))
        .collect();
    members.sort_unstable();
    let mut text = format!("Usage:  rdock {group} COMMAND\n\n{about}\n\nCommands:\n");
    let width = members.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(10) + 2;
    for (name, about) in members {
        let _ = writeln!(text, "  {name:width$}{about}");
    }
    let _ = write!(text, "\nRun 'rdock {group} COMMAND --help' for more information on a command.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lists_its_commands_in_order() {
        let text = help("container");
        assert!(
            text.starts_with(
                "Usage:  rdock container COMMAND\n\nManage containers\n\nCommands:\n  attach      Attach "
            ),
            "{text}"
        );
        assert!(text.contains("\n  ls          List containers\n"), "{text}");
        assert!(!text.contains("\n  list "), "an alias is not listed");
    }

    #[test]
    fn what_is_no_command_of_the_group_is_refused_in_dockers_words() {
        let said = |word: &str| alone("image", &[word.into()]).unwrap_err();
        let failure = said("foo");
        assert_eq!(
            (failure.message.as_str(), failure.status),
            (
                "rdock: unknown command: rdock image foo\n\nUsage:  rdock image\n\nRun 'rdock image --help' for more information",
                1
            )
        );
        assert_eq!(said("pul").hint.as_deref(), Some("did you mean 'rdock image pull'?"));
        assert_eq!(said("-x").status, ENGINE_FAILED);
    }
}
