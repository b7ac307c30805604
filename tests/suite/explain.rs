//! What a learner sees: the explanation of a hit, a miss and an image that nobody has, as text and as JSON; and whatever
//! else a lesson shows.

use super::support::lab::RDOCK;
use super::support::need::Need;
use super::support::upstream::{Answers, Response, Upstream};
use super::support::{Lab, need};
use rdock::trace::render::{Normaliser, Style, flow, syscalls};
use rdock::trace::{Actor, TraceEvent};
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the shown explanations are made for: as wide as a file (the test's standard error is none).
const COLUMNS: usize = 100;

fn snapshot(name: &str, command: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(command);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Docker Hub, which has none of the images that are asked for.
fn nobody() -> Answers {
    Arc::new(|_, path| match path {
        p if p.starts_with("/token") => Response::new(200, r#"{"token":"a-secret-token"}"#),
        _ => Response::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
            .header("WWW-Authenticate", r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#),
    })
}

/// A new home on a machine that sees no network but a Docker Hub that has nothing.
struct Desk {
    /// Goes before the lab looks whether anything is left.
    upstream: Upstream,
    lab: Lab,
    /// One for all commands: what an earlier one has shown keeps its id.
    normaliser: RefCell<Normaliser>,
}

impl Desk {
    fn new() -> Option<Desk> {
        need(&[Need::Root, Need::UtilLinux]).then(|| {
            let mut lab = Lab::new();
            let upstream = Upstream::fence(&mut lab, Some(nobody()));
            Desk { upstream, lab, normaliser: RefCell::new(Normaliser::new("")) }
        })
    }

    /// Types a command. What stands on the screen after it, the same on each machine.
    fn types(&self, command: &str, status: i32) -> String {
        self.types_and_leaves_out(command, status, |_| false)
    }

    /// Likewise; events of which `out` says so are not in the explanation.
    fn types_and_leaves_out(&self, command: &str, status: i32, out: impl Fn(&TraceEvent) -> bool) -> String {
        let words = shlex::split(command).unwrap();
        assert_eq!(words[0], "rdock", "{command}");
        let file = self.lab.file("kept.ndjson");
        let explain = words.iter().find(|word| word.starts_with("--explain")).map(String::as_str);
        // Standard output and standard error go the same way, as on a terminal.
        let mut program = self.upstream.inside(&self.lab, "sh");
        program.args(["-c", "exec \"$0\" \"$@\" 2>&1", RDOCK]);
        program.args(explain.map(|_| format!("--explain=json:{}", file.display()))).args(&words[1..]);
        let output = program.output().unwrap();
        let screen = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(status), "{command}: {screen}");
        assert!(!screen.contains("a-secret-token"), "{screen}");
        let screen = as_on_a_terminal(&screen);
        let normaliser = &mut *self.normaliser.borrow_mut();
        normaliser.learn(&screen);
        let Some(form) = explain else { return normaliser.text(&screen) };
        let kept = std::fs::read_to_string(&file).unwrap();
        assert!(!kept.contains("a-secret-token"), "{kept}");
        let events: Vec<TraceEvent> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let draw = |events: &[TraceEvent]| match form {
            "--explain=syscalls" => syscalls(events, &Style::plain(COLUMNS)),
            _ => flow(events, &Style::plain(COLUMNS)),
        };
        // What a person reads is drawn from the events, and from nothing else.
        let Some((before, after)) = screen.split_once(&draw(&events)) else {
            panic!("{screen}\nis not drawn from these events:\n{}", draw(&events));
        };
        normaliser.learn(&kept);
        let shown: Vec<TraceEvent> = events.into_iter().filter(|e| !out(e)).collect();
        let before = normaliser.text(before);
        let events = normaliser.events(&in_time(shown));
        let explained = normaliser.measured(&draw(&events));
        format!("{before}{explained}{}", normaliser.text(after))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.lab.stop();
    }
}

/// The order in which things get their stand-ins.
fn in_time(mut events: Vec<TraceEvent>) -> Vec<TraceEvent> {
    events.sort_by_key(|e| e.ts);
    events
}

/// Each layer has one line there, which shows its last state.
fn as_on_a_terminal(text: &str) -> String {
    let layer = |line: &str| {
        let (id, _) = line.split_once(": ")?;
        (id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
    };
    let mut lines: Vec<(Option<String>, &str)> = Vec::new();
    for line in text.split_inclusive('\n') {
        let id = layer(line);
        match lines.iter_mut().find(|(seen, _)| id.is_some() && *seen == id) {
            Some((_, shown)) => *shown = line,
            None => lines.push((id, line)),
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

#[test]
fn a_terminal_has_one_line_for_each_layer() {
    let text = "x\n48469d19b696: Pulling fs layer\n9f7f49e4283f: Already exists\n48469d19b696: Pull complete\ny: z\n";
    assert_eq!(as_on_a_terminal(text), "x\n48469d19b696: Pull complete\n9f7f49e4283f: Already exists\ny: z\n");
}

#[test]
fn removing_an_image_says_what_goes_what_stays_and_who_needs_it() {
    let Some(desk) = Desk::new() else { return };
    for line in ["rdock pull -q centos", "rdock pull -q hello-world", "rdock create --name c1 centos"] {
        desk.types(line, 0);
    }
    for (name, command) in [
        ("explain_rmi", "rdock --explain rmi hello-world"),
        ("explain_rmi_of_a_container", "rdock --explain rmi -f centos"),
        ("explain_tag_not_found", "rdock --explain tag centos mine:1"),
        ("explain_images", "rdock --explain images --filter dangling=true"),
        ("explain_system_prune", "rdock --explain system prune -a -f"),
    ] {
        let status = i32::from(name == "explain_tag_not_found");
        snapshot(name, command, &desk.types(command, status));
    }
}

#[test]
fn run_centos_miss_then_hit() {
    let Some(desk) = Desk::new() else { return };
    let command = "rdock --explain run centos";
    snapshot("explain_centos_miss", command, &desk.types(command, 0));
    snapshot("explain_centos_hit", command, &desk.types(command, 0));
}

#[test]
fn a_search_asks_the_hub_first() {
    let Some(desk) = Desk::new() else { return };
    let command = "rdock --explain search mysql";
    snapshot("explain_search", command, &desk.types(command, 0));
}

#[test]
fn every_kernel_call_is_in_the_long_form() {
    let Some(desk) = Desk::new() else { return };
    desk.types("rdock pull -q hello-world", 0);
    let command = "rdock --explain=syscalls run --rm hello-world";
    let text = desk.types_and_leaves_out(command, 0, differs_between_kernels);
    for call in ["clone3(", "mount(", "pivot_root(", "umount2(", "mknodat(", "capset(", "prctl(", "execve("] {
        assert!(text.contains(call), "{call} is not in {text}");
    }
    snapshot("explain_run_syscalls", command, &text);
}

/// From a test's own name for a thing to what a learner reads: exec, the freezer, the files that are looked at.
#[test]
fn what_is_done_to_a_running_container() {
    let Some(desk) = Desk::new() else { return };
    desk.types("rdock run -d --name web --network none centos sleep 1000", 0);
    for (name, command) in [
        ("explain_exec", "rdock --explain exec web true"),
        ("explain_pause", "rdock --explain pause web"),
        ("explain_unpause", "rdock --explain unpause web"),
        ("explain_top", "rdock --explain top web"),
        ("explain_update", "rdock --explain update --pids-limit 40 -m 64m --memory-swap 128m web"),
    ] {
        let text = desk.types(command, 0);
        // Where ps says when a process has begun and who made it, it differs from run to run.
        let text = text.lines().filter(|line| !line.starts_with("root   ")).collect::<Vec<_>>().join("\n");
        snapshot(name, command, &text);
    }
    let command = "rdock --explain=syscalls exec web true";
    let text = desk.types_and_leaves_out(command, 0, differs_between_kernels);
    for call in ["prctl(PR_SET_DUMPABLE", "close_range(", "setns(", "clone3(", "capset(", "execve("] {
        assert!(text.contains(call), "{call} is not in {text}");
    }
    let gone = desk.types("rdock rm -f web", 0);
    assert_eq!(gone.trim(), "web");
}

/// Who sends which signal, who waits for what: a program that hears SIGTERM, and one that does not.
#[test]
fn how_a_container_is_ended_and_begun_again() {
    let Some(desk) = Desk::new() else { return };
    let run = "rdock run -d --network none --name";
    desk.types(&format!("{run} web --stop-signal KILL centos sh -c 'echo hello; exec sleep 1000'"), 0);
    desk.types(&format!("{run} deaf centos sleep 1000"), 0);
    says_hello(&desk);
    for (name, command) in [
        ("explain_logs", "rdock --explain logs web"),
        ("explain_rename", "rdock --explain rename web site"),
        ("explain_stop", "rdock --explain stop site"),
        ("explain_wait", "rdock --explain wait site"),
        ("explain_start", "rdock --explain start site"),
        ("explain_restart", "rdock --explain restart site"),
        ("explain_kill", "rdock --explain kill -s USR1 site"),
        ("explain_stop_of_a_deaf_one", "rdock --explain stop -t 0 deaf"),
    ] {
        let mut text = desk.types(command, 0);
        if name == "explain_logs" {
            // The answer begins somewhere among the steps that make it.
            let lines: Vec<_> = text.lines().map(|l| l.trim_end_matches("◀── 200").trim_end()).collect();
            text = lines.join("\n");
        }
        snapshot(name, command, &text);
    }
    desk.types("rdock rm -f site deaf", 0);
}

/// What the container writes first must be in its log before it is asked for.
fn says_hello(desk: &Desk) {
    super::support::wait_for("the first line", || desk.types("rdock logs web", 0).contains("hello").then_some(()));
}

#[test]
fn each_mount_of_the_trace_is_a_line_of_the_long_form() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new().with_image("centos");
    let file = lab.file("explanation");
    let explain = format!("--explain=syscalls:{}", file.display());
    let (answer, events) = lab.traced([explain.as_str(), "run", "--rm", "centos", "true"]);
    let _ = answer.ok();
    let text = std::fs::read_to_string(file).unwrap();
    let told = events.iter().filter(|e| e.op == "kernel.mount").count();
    let shown = text.lines().filter(|l| l.trim_start().starts_with("mount(")).count();
    assert_eq!(shown, told);
}

/// Control groups are mounted in many ways, and not each kernel has all that is hidden in /proc and /sys. (A descriptor
/// that is closed does not tell what it was of, and a
/// removal depends on what the kernel has left in the directories.)
fn differs_between_kernels(event: &TraceEvent) -> bool {
    let paths = ["path", "pathname", "newpath", "target", "oldpath"].into_iter().filter_map(|key| event.text(key));
    let removes = event.actor == Actor::Daemon && event.is_call();
    if removes || event.op == "kernel.close" {
        return true;
    }
    let mut places = paths.filter(|path| path.starts_with("/sys/") || path.starts_with("/proc/"));
    event.is_call() && places.next().is_some()
}

/// What a test needs of `lesson.toml`.
#[derive(Deserialize)]
struct Lesson {
    #[serde(default)]
    commands: Vec<Shown>,
}

/// A command that a lesson shows with its output.
#[derive(Deserialize)]
struct Shown {
    snapshot: String,
    run: String,
    status: i32,
}

/// Directories that hold a lesson, in their order.
fn lessons() -> Vec<(PathBuf, Lesson)> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons");
    let mut found: Vec<(PathBuf, Lesson)> = std::fs::read_dir(place)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|dir| {
            let text = std::fs::read_to_string(dir.join("lesson.toml")).ok()?;
            let lesson = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
            Some((dir, lesson))
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert!(!found.is_empty());
    found
}

#[test]
fn commands_of_lessons_print_what_the_book_shows() {
    for (_, lesson) in lessons() {
        let Some(desk) = Desk::new() else { return };
        for shown in &lesson.commands {
            snapshot(&shown.snapshot, &shown.run, &desk.types(&shown.run, shown.status));
        }
    }
}

#[test]
fn outputs_in_lessons_and_commands_of_lessons_belong_together() {
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    for (dir, lesson) in lessons() {
        let text = std::fs::read_to_string(dir.join("lesson.md")).unwrap();
        let wanted: BTreeSet<&str> =
            text.split("{{#snapshot ").skip(1).map(|rest| rest.split("}}").next().unwrap().trim()).collect();
        let made: BTreeSet<&str> = lesson.commands.iter().map(|shown| shown.snapshot.as_str()).collect();
        assert_eq!(wanted, made, "{}: what the text shows, and what lesson.toml runs", dir.display());
        for name in made {
            assert!(snapshots.join(format!("{name}.snap")).is_file(), "{}: no snapshot {name}", dir.display());
        }
    }
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

#[test]
fn the_files_of_a_container() {
    let Some(desk) = Desk::new() else { return };
    desk.types("rdock run --name one busybox sh -c 'echo new > /etc/new; rm /bin/true'", 0);
    std::fs::write(desk.lab.file("note"), "from here").unwrap();
    for (name, command) in [
        ("explain_cp_in", "rdock --explain cp DIR/note one:/root/note"),
        ("explain_cp_out", "rdock --explain cp one:/etc/group DIR"),
        ("explain_diff", "rdock --explain diff one"),
        ("explain_export", "rdock --explain export -o DIR/all.tar one"),
        ("explain_commit", "rdock --explain commit one made:1"),
    ] {
        let typed = command.replace("DIR", desk.lab.file("").to_str().unwrap().trim_end_matches('/'));
        // Of an archive that comes piece by piece the answer begins somewhere among the steps that make it.
        let lines = desk.types(&typed, 0);
        let lines: Vec<_> = lines.lines().map(|l| l.trim_end_matches("◀── 200").trim_end()).collect();
        snapshot(name, command, &lines.join("\n"));
    }
}
