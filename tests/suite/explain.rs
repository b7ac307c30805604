//! What a learner sees: the explanation of a hit, a miss and an image that nobody has, as text and as JSON.

use super::support::need::Need;
use super::support::upstream::{Answers, Response, Upstream};
use super::support::{Answer, Lab, need};
use rdock::trace::render::normalise;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is the same in every run, on every machine: ids and times are made stable by the normaliser, and here what
/// depends on the kernel and its control groups.
fn snapshot(name: &str, lab: &Lab, text: &str) {
    let tag = rdock::app::Home { data: lab.home().join("data"), run: lab.home().join("run") }.tag();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(&tag, "<home>");
    settings.add_filter(r"(?s)(into the control group)\s+rdock.*?\)", "$1 <group>");
    settings.add_filter(r"process \d+ of the host", "process <pid> of the host");
    settings.add_filter(r"plans \d+ steps around and \d+ steps", "plans <n> steps around and <n> steps");
    settings.add_filter(r"\d+ calls of the kernel", "<n> calls of the kernel");
    settings.add_filter(r"and\s+\d+\s+more", "and <n> more");
    settings.add_filter(r"gives up \d+ capabilities", "gives up <n> capabilities");
    settings.bind(|| insta::assert_snapshot!(name, normalise(&in_order(text))));
}

/// Processes work side by side, so some lines have no one place: an answer (`◀── 204`) stands on this line or the
/// next, the daemon sees its container run before or after it has ended, a shim that is kept ready was made at any
/// time before. Answers without content are left out, every line says its lane, and those lines are put where they
/// belong.
fn in_order(text: &str) -> String {
    let mut blocks = blocks(text);
    for (wanderer, anchor) in [("puts it into the control group", " plans "), (" as process ", " becomes ")] {
        let Some(from) = blocks.iter().position(|b| b.contains(wanderer)) else { continue };
        let block = blocks.remove(from);
        let to = blocks.iter().position(|b| b.contains(anchor)).map_or(from, |at| at + 1);
        blocks.insert(to, block);
    }
    blocks.concat()
}

/// The text in pieces: a step with the lines that go on with it, each beginning with its lane.
fn blocks(text: &str) -> Vec<String> {
    const LANES: [&str; 8] = ["CLIENT", "DAEMON", "REGISTRY", "LAYER", "NETWORK", "SHIM", "RUNTIME", "CONTAINER"];
    let mut lane = "";
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        let cut = ["◀── 101", "◀── 200", "◀── 204"].iter().find_map(|a| line.strip_suffix(a));
        let line = cut.unwrap_or(line).trim_end();
        let words = line.trim_start();
        let first = words.split(' ').next().unwrap_or("");
        let named = LANES.iter().find(|l| **l == first);
        lane = named.unwrap_or(&lane);
        let rest = words[named.map_or(0, |n| n.len())..].trim_start();
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        let numbered = digits > 0 && rest[digits..].starts_with("  ");
        match (numbered, named) {
            (true, _) => blocks.push(format!("{lane:<10} {}\n", rest[digits..].trim_start())),
            (false, Some(_)) if rest.is_empty() => {}
            (false, Some(_)) => blocks.push(format!("{lane:<10} {rest}\n")),
            // A line that was an answer and nothing else.
            (false, None) if words.is_empty() && cut.is_some() => {}
            (false, None) => match blocks.last_mut() {
                Some(last) if line.starts_with("            ") => last.push_str(&format!("{line}\n")),
                _ => blocks.push(format!("{line}\n")),
            },
        }
    }
    blocks
}

/// `rdock ARGS…`, explained into a file, since the command's own lines come in no fixed order (layers are parallel).
fn explained(lab: &Lab, form: &str, args: &[&str]) -> (Answer, String) {
    let file = lab.file("explanation");
    let explain = format!("--explain={form}:{}", file.display());
    let answer = lab.rdock([explain.as_str()].iter().chain(args));
    (answer, std::fs::read_to_string(file).unwrap_or_default())
}

/// A daemon that sees no network, so that an explanation is the same wherever it is made.
fn cut_off(answers: Option<Answers>) -> Option<(Lab, Upstream)> {
    need(&[Need::Root, Need::UtilLinux]).then(|| {
        let mut lab = Lab::new();
        let upstream = Upstream::start(&mut lab, answers);
        (lab, upstream)
    })
}

#[test]
fn run_miss_then_hit() {
    let Some((lab, upstream)) = cut_off(None) else { return };
    let (answer, miss) = explained(&lab, "flow", &["run", "--name", "first", "hello-world"]);
    let _ = answer.ok();
    snapshot("explain_run_miss", &lab, &miss);
    let (answer, hit) = explained(&lab, "flow", &["run", "--rm", "--name", "second", "hello-world"]);
    let _ = answer.ok();
    snapshot("explain_run_hit", &lab, &hit);
    for text in [&miss, &hit] {
        let first = text.lines().next().unwrap_or("");
        assert!(first.starts_with(" CLIENT ") && first.contains("reads the command"), "the story's beginning: {text}");
    }
    lab.stop();
    drop(upstream);
}

#[test]
fn run_of_an_image_that_nobody_has() {
    let nobody: Answers = Arc::new(|_, path| match path {
        p if p.starts_with("/token") => Response::new(200, r#"{"token":"a-secret-token"}"#),
        _ => Response::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
            .header("WWW-Authenticate", r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#),
    });
    let Some((lab, upstream)) = cut_off(Some(nobody)) else { return };
    let (answer, text) = explained(&lab, "flow", &["run", "nosuchimage"]);
    let _ = answer.fails(125, "pull access denied for nosuchimage");
    assert!(!text.contains("a-secret-token"), "{text}");
    snapshot("explain_run_not_found", &lab, &text);
    lab.stop();
    drop(upstream);
}

/// Without a file the explanation goes to standard error; the command's output stays its own.
#[test]
fn the_document_s_first_command_is_explained_whole() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new();
    let answer = lab.rdock(["--explain", "run", "centos"]).ok();
    assert_eq!(answer.stdout, "");
    for lane in [" CLIENT ", " DAEMON ", " REGISTRY ", " LAYER ", " SHIM ", " RUNTIME ", " NETWORK ", " CONTAINER "] {
        assert!(answer.stderr.contains(lane), "{lane} is not in {}", answer.stderr);
    }
    for words in [
        "starts the daemon",
        "Status: Downloaded newer image for centos:latest",
        "becomes /bin/bash",
        "no terminal (-t) and no input (-i), so bash has nothing",
        "┗━▶ exited (0)",
    ] {
        assert!(answer.stderr.contains(words), "{words:?} is not in {}", answer.stderr);
    }
}

#[test]
fn every_kernel_call_is_in_the_long_form() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new().with_image("centos");
    let (answer, text) = explained(&lab, "syscalls", &["run", "--rm", "centos", "true"]);
    let _ = answer.ok();
    for call in ["clone3(", "mount(", "pivot_root(", "umount2(", "mknodat(", "capset(", "prctl(", "execve("] {
        assert!(text.contains(call), "{call} is not in {text}");
    }
    // As many lines of calls as there are events of calls in the trace of the same command.
    let (answer, events) = lab.traced(["run", "--rm", "centos", "true"]);
    let _ = answer.ok();
    let told = events.iter().filter(|e| e.op == "kernel.mount").count();
    let shown = text.lines().filter(|l| l.trim_start().starts_with("mount(")).count();
    assert_eq!(shown, told);
}

#[test]
fn the_trace_is_one_ordered_story_without_gaps() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new();
    let (answer, events) = lab.traced(["run", "centos"]);
    let _ = answer.ok();
    let positions: Vec<u64> = events.iter().map(|e| e.seq).collect();
    assert_eq!(positions, (1..=events.len() as u64).collect::<Vec<_>>());
    let traces: BTreeSet<&str> = events.iter().map(|e| e.trace.as_str()).collect();
    assert_eq!(traces.len(), 1, "one trace: {traces:?}");
    assert!(events.iter().all(|e| e.v == 1));
    let actors: BTreeSet<&str> = events.iter().map(|e| e.actor.name()).collect();
    for actor in ["client", "daemon", "registry", "layer", "shim", "runtime", "container"] {
        assert!(actors.contains(actor), "{actor} says nothing: {actors:?}");
    }
    // A parent is a step of the same trace (the client's own root excepted, which nobody else can know).
    let spans: BTreeSet<&str> = events.iter().map(|e| e.span.as_str()).collect();
    let strangers: BTreeSet<_> =
        events.iter().filter_map(|e| e.parent.as_deref()).filter(|p| !spans.contains(p)).collect();
    assert!(strangers.len() <= 1, "{strangers:?}");
    // Events of one process are in the order of time.
    for pid in events.iter().map(|e| e.pid).collect::<BTreeSet<_>>() {
        let times: Vec<u64> =
            events.iter().filter(|e| e.pid == pid && e.op.starts_with("kernel.")).map(|e| e.ts).collect();
        assert!(times.is_sorted(), "process {pid}");
    }
    let branches: Vec<&str> = events.iter().filter_map(|e| e.branch.as_deref()).collect();
    assert!(branches.contains(&"local-miss") && branches.contains(&"remote-found"), "{branches:?}");
    let (answer, events) = lab.traced(["run", "centos"]);
    let _ = answer.ok();
    assert!(events.iter().any(|e| e.branch.as_deref() == Some("local-hit")));
}

#[test]
fn explaining_changes_nothing_of_what_comes_out() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new().with_image("centos");
    for form in ["json", "flow", "syscalls"] {
        let file = lab.file("explained");
        let explain = format!("--explain={form}:{}", file.display());
        let script = "echo out; echo err >&2; exit 7";
        lab.rdock([explain.as_str(), "run", "--rm", "centos", "sh", "-c", script]).is(7, "out\n", "err\n");
        assert!(std::fs::metadata(&file).unwrap().len() > 500);
    }
    let _ = lab.rdock(["--explain=nosuchform", "version"]).fails(1, "nosuchform");
}

#[test]
fn explained_text_is_plain_when_piped() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new().with_image("centos");
    let answer = lab.rdock(["--explain", "run", "--rm", "centos"]).ok();
    assert!(!answer.stderr.contains('\x1b'), "{answer:?}");
    assert!(answer.stderr.lines().all(|l| l.chars().count() <= 200), "{answer:?}");
}
