//! The request is what the Docker command sends (recorded from version 28.2.2).

use super::*;
use clap::{Args as _, FromArgMatches as _};

fn options(words: &[&str]) -> Options {
    let command = Options::augment_args(clap::Command::new("run").no_binary_name(true).disable_help_flag(true));
    Options::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
}

#[test]
fn body_is_byte_for_byte_dockers() {
    let o = options(&["--rm", "--", "alpine:3.10", "echo", "hi"]);
    let body = o.body(o.streams(false).unwrap(), None).unwrap();
    assert_eq!(body.to_string(), include_str!("docker-run-rm-echo.json").trim_end());
}

#[test]
fn body_with_a_terminal_is_byte_for_byte_dockers() {
    let o = options(&["-i", "-t", "--name=t1", "--", "alpine:3.10", "sh"]);
    let body = o.body(o.streams(false).unwrap(), Some(Size { rows: 30, columns: 100 })).unwrap();
    assert_eq!(body.to_string(), include_str!("docker-run-it.json").trim_end());
}

#[test]
fn streams_follow_the_options() {
    let all = |stdin| Streams { stdin, stdout: true, stderr: true };
    assert_eq!(options(&["x"]).streams(false), Ok(all(false)));
    assert_eq!(options(&["-i", "x"]).streams(false), Ok(all(true)));
    assert_eq!(options(&["-i", "x"]).streams(true), Ok(Streams::default()));
    let out = Streams { stdout: true, ..Streams::default() };
    assert_eq!(options(&["-a", "STDOUT", "x"]).streams(false), Ok(out));
    let said = options(&["-a", "stdout", "x"]).streams(true).unwrap_err().message;
    assert_eq!(said, "conflicting options: cannot specify both --attach and --detach");
}

#[test]
fn environment_comes_from_files_then_options() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("env");
    std::fs::write(&file, "# comment\n\n  A=1 2\nNOT_SET_ANYWHERE_AT_ALL\nB=\n").unwrap();
    let from = format!("--env-file={}", file.display());
    let o = options(&[&from, "--env=A=3", "--env=GONE_AND_NEVER_SET", "--", "x"]);
    assert_eq!(o.environment(), Ok(vec!["A=1 2".into(), "B=".into(), "A=3".into(), "GONE_AND_NEVER_SET".into()]));
    std::fs::write(&file, "a b=c\n").unwrap();
    let said = options(&[&from, "--", "x"]).environment().unwrap_err().message;
    assert_eq!(said, format!("invalid env file ({}): variable 'a b' contains whitespaces", file.display()));
}

#[test]
fn labels_may_lack_a_value() {
    let o = options(&["--label=k=v=w", "--label=alone", "--", "x"]);
    let label = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(o.labels(), Ok(BTreeMap::from([label("alone", ""), label("k", "v=w")])));
}
