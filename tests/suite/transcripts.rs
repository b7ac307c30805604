//! What the README and the lessons show: whole commands as a learner would see them, kept word for word.
//!
//! These snapshots hold the real ids, sizes and times of one run, since a text with holes is no text to learn from, and
//! columns that are cut and drawn anew are no chart. A run is compared with them by what is the same in every run
//! ([`gist`]). A difference leaves a `.snap.new` beside the snapshot, for `cargo insta review`.

use super::explain::blocks;
use super::support::need::Need;
use super::support::upstream::{Answers, Response, Upstream};
use super::support::{Lab, need};
use rdock::trace::render::normalise;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A command, what it must end with, and the name of its snapshot.
#[derive(Debug, serde::Deserialize)]
struct Shown {
    snapshot: String,
    run: String,
    status: i32,
}

#[derive(Debug, serde::Deserialize)]
struct Lesson {
    #[serde(default)]
    commands: Vec<Shown>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_readmes_command_prints_what_the_readme_shows() {
    let run = "rdock --explain run centos".to_owned();
    session(&[Shown { snapshot: "explain_centos_miss".into(), run, status: 0 }]);
}

#[test]
fn the_lessons_commands_print_what_the_lessons_show() {
    let mut lessons: Vec<PathBuf> =
        std::fs::read_dir(root().join("lessons")).unwrap().map(|e| e.unwrap().path()).collect();
    lessons.retain(|place| place.join("lesson.toml").exists());
    lessons.sort();
    assert!(!lessons.is_empty());
    for place in lessons {
        let text = std::fs::read_to_string(place.join("lesson.toml")).unwrap();
        let lesson: Lesson = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", place.display()));
        session(&lesson.commands);
    }
}

/// Runs commands one after another in a new home. Those that are to fail ask a docker.io that gives nothing away.
fn session(commands: &[Shown]) {
    if !need(&[Need::Root, Need::UtilLinux]) {
        return;
    }
    let mut lab = Lab::new();
    let mut upstream = None;
    let mut changed = Vec::new();
    for shown in commands {
        if shown.status == 125 && upstream.is_none() {
            let _ = lab.rdock(["daemon", "stop"]).ok();
            upstream = Some(Upstream::start(&mut lab, Some(nobody())));
        }
        let words = shlex::split(&shown.run).unwrap();
        assert_eq!(words[0], "rdock", "{shown:?}");
        // One stream, as on a terminal.
        let mut command = lab.program("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(super::support::lab::RDOCK).args(&words[1..]);
        let answer = super::support::lab::run(command, b"");
        assert_eq!(answer.status, shown.status, "{}: {answer:?}", shown.run);
        let run_dir = lab.home().join("run").display().to_string();
        changed.extend(difference(shown, &answer.stdout.replace(&run_dir, "/run/rdock")));
    }
    lab.stop();
    drop(upstream);
    assert!(changed.is_empty(), "\n{}", changed.join("\n"));
}

fn nobody() -> Answers {
    Arc::new(|_, path| match path {
        p if p.starts_with("/token") => Response::new(200, r#"{"token":"public"}"#),
        _ => Response::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
            .header("WWW-Authenticate", r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#),
    })
}

/// What is no more as the snapshot has it; the new text is then beside it.
fn difference(shown: &Shown, text: &str) -> Option<String> {
    let path = root().join("tests/snapshots").join(format!("{}.snap", shown.snapshot));
    let new = path.with_extension("snap.new");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let front = format!("---\nsource: tests/suite/transcripts.rs\ndescription: {}\n---\n", shown.run);
    let (old, now) = (gist(kept.strip_prefix(&front).unwrap_or("")), gist(text));
    if old == now {
        let _ = std::fs::remove_file(new);
        return None;
    }
    std::fs::write(&new, format!("{front}{}\n", text.trim_end())).unwrap();
    let gone: Vec<_> = old.iter().filter(|line| !now.contains(line)).collect();
    let came: Vec<_> = now.iter().filter(|line| !old.contains(line)).collect();
    Some(format!("{}: {:?} prints something else\n  no more: {gone:#?}\n  new: {came:#?}", shown.snapshot, shown.run))
}

/// What is the same whenever and wherever a command is run: its lines without numbers, ids and names that are drawn by
/// lot, in no order, since layers and processes work side by side.
fn gist(text: &str) -> Vec<String> {
    // A line that was broken is whole again before anything is looked for in it.
    let whole = |block: &String| block.split_whitespace().collect::<Vec<_>>().join(" ").replace("sha256: ", "sha256:");
    let lines: Vec<String> = blocks(text).iter().map(whole).collect();
    let mut lines: Vec<String> = normalise(&lines.join("\n")).lines().map(gist_of).collect();
    lines.sort();
    lines
}

/// From here on a line depends on what the host has, what its kernel knows, or what happened to be ready.
const VARIES: [&str; 6] =
    [", without ", "into the control group", "mounts /proc", "calls of the kernel for files", "took <time>", "SHIM "];

fn gist_of(line: &str) -> String {
    let mut line = match line.split_once(", named ") {
        Some((before, after)) => format!("{before}, named {}", after.split_once(':').map_or("", |(_, rest)| rest)),
        None => line.to_owned(),
    };
    for from in VARIES {
        if let Some(at) = line.find(from) {
            line.truncate(at + from.len());
        }
    }
    line = line.replace(", without ", "");
    let mut out = String::new();
    for c in line.chars() {
        match c {
            c if !c.is_ascii_digit() => out.push(c),
            _ if !out.ends_with('#') => out.push('#'),
            _ => {}
        }
    }
    out
}

#[test]
fn the_gist_is_the_same_for_two_runs() {
    let one = " CLIENT      1  reads the command: run\n DAEMON      2    makes container 6ce1d1381b7c, named patient_bohr: 3\n                  read-only layers\n\
               REGISTRY    3    makes the lab image x on this host: 1 files, 0.7 kB in 781\n                  ms\n\
               took 1293 ms: registry 860, the rest 9\n";
    let two = " CLIENT      1  reads the command: run\n DAEMON     13    makes container aae1d1381b70, named fond_noether: 3 read-only\n                  layers\n\
               REGISTRY   14    makes the lab image x on this host: 1 files, 0.7 kB in 53 ms,\n                  without ping\n\
               took 12 ms: layers 3, the rest 9\n";
    assert_eq!(gist(one), gist(two));
    assert_ne!(gist(one), gist(&two.replace("makes", "unmakes")));
}
