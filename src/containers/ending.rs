//! How a container ended, in words for a learner: what ended, with what status, and why, from what is known of it.

use super::spec::{argv, signal};
use bollard_stubs::models::ContainerCreateBody;

/// Programs that read commands from their input when they are given none.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish"];

/// What is known of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub code: i64,
    pub signal: Option<i32>,
    pub oom_killed: bool,
}

/// `/bin/bash ends with 0: no terminal (-t) and no input (-i), so bash has nothing to do`
pub fn sentence(config: &ContainerCreateBody, end: End) -> String {
    let argv = argv(config);
    let command = argv.join(" ");
    let (what, why) = match end.signal {
        Some(number) => {
            let name = signal::name(number);
            let why = match (end.oom_killed, number) {
                (true, _) => "it used more memory than it may".to_owned(),
                (_, libc::SIGKILL) => "no program can refuse this signal".to_owned(),
                (_, libc::SIGTERM) => "somebody asked it to stop, and it did".to_owned(),
                _ => "it did not handle this signal".to_owned(),
            };
            (format!("is ended by {name} ({})", end.code), why)
        }
        None => (format!("ends with {}", end.code), own_end(config, &argv, end.code)),
    };
    format!("{command} {what}: {why}")
}

fn own_end(config: &ContainerCreateBody, argv: &[String], code: i64) -> String {
    let tty = config.tty.unwrap_or(false);
    let stdin = config.open_stdin.unwrap_or(false);
    match (waiting_shell(argv), code) {
        (Some(shell), 0) if !tty && !stdin => {
            format!("no terminal (-t) and no input (-i), so {shell} has nothing to do")
        }
        (Some(shell), 0) if !tty => format!("its input has ended, and {shell} with it"),
        (Some(shell), _) if tty => format!("{shell} was left with the status of its last command"),
        (_, 0) => "its work is done, and a container lives as long as its first process".to_owned(),
        _ => "the status is the command's own, and that of the container too".to_owned(),
    }
}

/// The name of the shell, if that is what runs, with neither script nor `-c`: it reads its input.
fn waiting_shell(argv: &[String]) -> Option<&str> {
    let (program, arguments) = argv.split_first()?;
    let name = program.rsplit('/').next()?;
    let only_switches = arguments.iter().all(|a| {
        let short = a.starts_with('-') && !a.starts_with("--");
        a.starts_with(['-', '+']) && !(short && a.contains('c'))
    });
    (SHELLS.contains(&name) && only_switches).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cmd: &[&str], tty: bool, stdin: bool, code: i64) -> String {
        let config = ContainerCreateBody {
            cmd: Some(cmd.iter().map(|s| (*s).to_owned()).collect()),
            tty: Some(tty),
            open_stdin: Some(stdin),
            ..Default::default()
        };
        let signal = (code > 128).then_some((code - 128) as i32);
        sentence(&config, End { code, signal, oom_killed: false })
    }

    #[test]
    fn a_shell_without_terminal_and_input_has_nothing_to_do() {
        let sentence = of(&["/bin/bash"], false, false, 0);
        assert_eq!(sentence, "/bin/bash ends with 0: no terminal (-t) and no input (-i), so bash has nothing to do");
        assert!(of(&["sh", "-l"], false, false, 0).contains("so sh has nothing to do"));
    }

    #[test]
    fn a_shell_that_was_given_work_is_no_such_case() {
        for cmd in [&["sh", "-c", "echo"][..], &["bash", "script"], &["bash", "-ec", "x"], &["/bin/echo"]] {
            let sentence = of(cmd, false, false, 0);
            assert!(sentence.contains("its work is done"), "{sentence}");
        }
        assert!(of(&["bash"], false, true, 0).ends_with("its input has ended, and bash with it"));
        assert!(of(&["bash"], true, true, 3).contains("its last command"));
        assert!(of(&["bash"], false, false, 2).contains("the command's own"));
    }

    #[test]
    fn a_signal_is_named() {
        assert_eq!(
            of(&["sleep", "9"], false, false, 137),
            "sleep 9 is ended by SIGKILL (137): no program can refuse this signal"
        );
        assert!(of(&["sleep"], false, false, 143).contains("SIGTERM (143)"));
    }
}
