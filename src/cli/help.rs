//! The text of `--help`, laid out as Docker's: types of values after the option, columns, sorted by name.

use super::args::Shape;
use clap::{Arg, ArgAction, Command};
use std::fmt::Write as _;

/// Columns when nobody knows better.
const WIDTH: usize = 80;
/// A last line may stick out by so much rather than be broken for one short word.
const SLACK: usize = 5;
/// Below this many columns for the text it starts on a line of its own.
const NARROW: usize = 24;

/// The help of one command; `columns` wide.
pub fn of_command(command: &Command, shape: &Shape<'_>, columns: Option<u16>) -> String {
    let mut text = format!("Usage:  {} {}\n", shape.path, shape.usage);
    if let Some(about) = command.get_about() {
        let _ = write!(text, "\n{about}\n");
    }
    if !shape.aliases.is_empty() {
        let aliases: Vec<String> = shape.aliases.iter().map(|a| format!("rdock {a}")).collect();
        let _ = write!(text, "\nAliases:\n  {}\n", aliases.join(", "));
    }
    let options = options(command, columns.map_or(WIDTH, usize::from));
    if !options.is_empty() {
        let _ = write!(text, "\nOptions:\n{options}");
    }
    text
}

/// The options of `command` as a table, one or more lines each.
pub fn options(command: &Command, columns: usize) -> String {
    let mut args: Vec<&Arg> = command.get_arguments().filter(|a| a.get_long().is_some() && !a.is_hide_set()).collect();
    args.sort_by_key(|a| a.get_long());
    let rows: Vec<(String, String)> = args.iter().map(|a| (left(a), right(a))).collect();
    let indent = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0) + 3;
    let mut table = String::new();
    for (left, right) in rows {
        let _ = write!(table, "{left:width$}", width = indent);
        lay(&right, indent, columns, &mut table);
        table.push('\n');
    }
    table
}

/// `  -e, --env list`
fn left(arg: &Arg) -> String {
    let mut text = match arg.get_short() {
        Some(short) => format!("  -{short}, "),
        None => "      ".to_owned(),
    };
    let _ = write!(text, "--{}", arg.get_long().unwrap_or_default());
    let value = arg.get_value_names().and_then(|names| names.first());
    // A switch that is on when nothing is said takes `=false`, which Docker does not show.
    let switch = matches!(arg.get_action(), ArgAction::SetTrue) || arg.get_default_values() == ["true"];
    if let (Some(value), false) = (value, switch) {
        let _ = write!(text, " {value}");
    }
    text
}

fn right(arg: &Arg) -> String {
    arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default()
}

/// Writes `text` from column `indent` on, broken before column `columns`.
fn lay(text: &str, indent: usize, columns: usize, out: &mut String) {
    let (indent, room) = match columns.saturating_sub(indent) {
        room if room >= NARROW => (indent, room),
        _ => {
            let _ = write!(out, "\n{:16}", "");
            (16, columns.saturating_sub(16).max(NARROW))
        }
    };
    let mut lines = broken(text, room).into_iter();
    out.push_str(lines.next().unwrap_or_default());
    for line in lines {
        let _ = write!(out, "\n{:indent$}{line}", "");
    }
}

/// Lines of at most `room` columns: broken at white space, at line feeds of the text where it has them.
fn broken(text: &str, room: usize) -> Vec<&str> {
    let aim = room - SLACK;
    let (mut lines, mut rest) = (Vec::new(), text);
    while rest.len() >= room {
        let head = &rest[..rest.floor_char_boundary(aim)];
        let space = head.rfind([' ', '\t', '\n']).filter(|at| *at > 0);
        let Some(space) = space else { break };
        let at = head.rfind('\n').filter(|nl| *nl > 0).unwrap_or(space);
        lines.extend(rest[..at].split('\n'));
        rest = &rest[at + 1..];
    }
    lines.extend(rest.split('\n'));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Arity;

    fn shape(usage: &'static str) -> Shape<'static> {
        Shape { path: "docker rm", usage, arity: Arity::AtLeast(1), interspersed: true, aliases: &[] }
    }

    #[test]
    fn looks_like_dockers() {
        let command = Command::new("rm")
            .about("Remove one or more containers")
            .arg(
                Arg::new("volumes")
                    .short('v')
                    .long("volumes")
                    .action(ArgAction::SetTrue)
                    .help("Remove anonymous volumes associated with the container"),
            )
            .arg(
                Arg::new("force")
                    .short('f')
                    .long("force")
                    .action(ArgAction::SetTrue)
                    .help("Force the removal of a running container (uses SIGKILL)"),
            )
            .arg(Arg::new("link").short('l').long("link").action(ArgAction::SetTrue).help("Remove the specified link"));
        assert_eq!(
            of_command(&command, &shape("[OPTIONS] CONTAINER [CONTAINER...]"), None),
            "Usage:  docker rm [OPTIONS] CONTAINER [CONTAINER...]\n\nRemove one or more containers\n\nOptions:\n  \
             -f, --force     Force the removal of a running container (uses SIGKILL)\n  \
             -l, --link      Remove the specified link\n  \
             -v, --volumes   Remove anonymous volumes associated with the container\n"
        );
    }

    #[test]
    fn long_texts_are_broken_where_docker_breaks_them() {
        let command = Command::new("start")
            .arg(
                Arg::new("keys")
                    .long("detach-keys")
                    .value_name("string")
                    .help("Override the key sequence for detaching a container"),
            )
            .arg(
                Arg::new("attach")
                    .short('a')
                    .long("attach")
                    .action(ArgAction::SetTrue)
                    .help("Attach STDOUT/STDERR and forward signals"),
            );
        assert_eq!(
            options(&command, 80),
            "  -a, --attach               Attach STDOUT/STDERR and forward signals\n      \
             --detach-keys string   Override the key sequence for detaching a\n                             container\n"
        );
    }

    #[test]
    fn a_narrow_window_gets_the_text_on_its_own_lines() {
        let command = Command::new("start").arg(
            Arg::new("keys")
                .long("detach-keys")
                .value_name("string")
                .help("Override the key sequence for detaching a container"),
        );
        assert_eq!(
            options(&command, 44),
            "      --detach-keys string   \n                Override the key\n                sequence for detaching\n                a container\n"
        );
    }
}
