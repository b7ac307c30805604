//! What a learner sees: the explanation of a hit, a miss and an image that nobody has, as text and as JSON.

use super::support::need::Need;
use super::support::upstream::{Answers, Response, Upstream};
use super::support::{Lab, need};
use rdock::trace::render::normalise;
use std::collections::BTreeSet;
use std::sync::Arc;

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, normalise(text)));
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
    let miss = lab.rdock(["--explain", "run", "centos"]).ok();
    assert_eq!(miss.stdout, "", "the command's own output stays its own");
    snapshot("explain_run_miss", &miss.stderr);
    let hit = lab.rdock(["--explain", "run", "centos"]).ok();
    snapshot("explain_run_hit", &hit.stderr);
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
    let answer = lab.rdock(["--explain", "run", "nosuchimage"]).fails(125, "pull access denied for nosuchimage");
    assert!(!answer.stderr.contains("a-secret-token"), "{answer:?}");
    snapshot("explain_run_not_found", &answer.stderr);
    lab.stop();
    drop(upstream);
}

#[test]
fn every_kernel_call_is_in_the_long_form() {
    let Some((lab, upstream)) = cut_off(None) else { return };
    let lab = lab.with_image("centos");
    let answer = lab.rdock(["--explain=syscalls", "run", "--rm", "centos", "true"]).ok();
    for call in ["clone3(", "mount(", "pivot_root(", "umount2(", "mknodat(", "capset(", "prctl(", "execve("] {
        assert!(answer.stderr.contains(call), "{call} is not in {}", answer.stderr);
    }
    snapshot("explain_run_syscalls", &answer.stderr);
    lab.stop();
    drop(upstream);
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
