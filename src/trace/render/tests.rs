//! Snapshots of the renderers over hand-made explanations, and the builders that other tests use.

use super::*;
use crate::trace::event::{Actor, Outcome, TraceEvent};
use serde_json::{Map, Value, json};

const MS: u64 = 1_000_000;
const MANIFEST: &str = "sha256:a27fd8080b517143cbbbab9dfb7c8571c40d67d534bbdee55bd6c473f432b177";
const LAYERS: [&str; 3] = [
    "sha256:a1d0c75327776413fa0db9ed3adcdbadedc95a662eb1d360dad82bb913f8a1d1",
    "sha256:0d120b6ccaa8c5e149176798b3501d4dd1885f961922497cd0abef155c869566",
    "sha256:7b1a6ab2e44dbac178598dabe7cff59bd67233dba0b27e4fbd1f9d4b3c877a54",
];

/// An event of which only the time matters.
pub(super) fn at(pid: u32, ts: u64, dur: u64) -> TraceEvent {
    TraceEvent {
        v: 1,
        seq: 0,
        trace: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        span: "00f067aa0ba902b7".into(),
        parent: None,
        ts,
        dur: Some(dur),
        actor: Actor::Daemon,
        op: "image.resolve".into(),
        pid,
        summary: "looks".into(),
        why: None,
        args: Map::new(),
        result: Some(Outcome::Ok { ok: Value::Null }),
        branch: None,
        lesson: None,
    }
}

/// A call of the kernel that took 120 µs.
pub(super) fn call(op: &str, args: Value, ok: Value) -> TraceEvent {
    let args = args.as_object().cloned().unwrap_or_default();
    let (op, actor) = (op.to_owned(), Actor::Runtime);
    TraceEvent { op, actor, args, result: Some(Outcome::Ok { ok }), ..at(4127, 0, 120_000) }
}

pub(super) fn err(errno: &str, message: &str) -> Outcome {
    Outcome::Err { errno: errno.into(), message: message.into() }
}

/// Builds an explanation step after step; the clock goes on by itself.
struct Story {
    events: Vec<TraceEvent>,
    clock: u64,
    parent: Option<String>,
}

impl Story {
    fn new() -> Story {
        Story { events: Vec::new(), clock: 5 * MS, parent: None }
    }

    fn add(&mut self, mut event: TraceEvent, dur: u64) -> &mut TraceEvent {
        event.span = format!("{:016x}", self.events.len() + 1);
        event.parent = self.parent.clone();
        event.ts = self.clock;
        event.dur = Some(dur);
        self.clock += dur;
        self.events.push(event);
        self.events.last_mut().unwrap()
    }

    fn step(&mut self, actor: Actor, op: &str, dur: u64, summary: &str) -> &mut TraceEvent {
        let pid = if actor == Actor::Client { 4100 } else { 4102 };
        let (op, summary) = (op.to_owned(), summary.to_owned());
        self.add(TraceEvent { actor, op, summary, ..at(pid, 0, 0) }, dur)
    }

    fn call(&mut self, op: &str, why: &str, args: Value) -> &mut TraceEvent {
        let event = call(op, args, json!(0));
        self.add(TraceEvent { why: Some(why.into()), ..event }, 120_000)
    }

    /// What `f` adds is inside the step that was added last, which ends with it.
    fn inside(&mut self, f: impl FnOnce(&mut Story)) {
        let around = self.events.len() - 1;
        let outer = self.parent.replace(self.events[around].span.clone());
        f(self);
        self.parent = outer;
        self.events[around].dur = Some(self.clock - self.events[around].ts);
    }

    fn parse(&mut self) {
        self.step(
            Actor::Client,
            "client.parse",
            MS / 5,
            "reads the command: run, image centos → docker.io/library/centos:latest",
        );
    }

    fn request(&mut self, path: &str, body: &str) {
        let text = format!("──▶ POST /v1.47{path}{body}");
        let why = "the client does nothing itself: it asks the daemon, over HTTP on a unix socket";
        self.step(Actor::Client, "api.request", 50_000, &text).why = Some(why.into());
    }

    fn answer(&mut self, text: &str) -> &mut TraceEvent {
        self.step(Actor::Client, "api.answer", 20_000, &format!("◀── {text}"))
    }

    fn create_missing(&mut self) {
        self.request("/containers/create", r#"  {"Image":"centos"}"#);
        self.inside(|story| {
            let text = "looks for the image centos:latest on this host: not there";
            let event = story.step(Actor::Daemon, "image.resolve", MS / 2, text);
            event.branch = Some("local-miss".into());
            event.result = Some(err("ENOENT", "No such image: centos:latest"));
        });
        self.answer("404 No such image: centos:latest").result = Some(err("404", "No such image: centos:latest"));
    }

    fn create(&mut self) {
        self.request("/containers/create", r#"  {"Image":"centos"}"#);
        self.inside(|story| {
            let text = "looks for the image centos:latest on this host: id 5d0da3dc9764";
            story.step(Actor::Daemon, "image.resolve", MS / 2, text).branch = Some("local-hit".into());
            story.step(Actor::Daemon, "container.create", MS, "names the container 82893955fb41, elegant_kirch");
        });
        self.answer("201 82893955fb41");
    }

    fn manifest(&mut self, reference: &str, dur: u64, text: &str) -> &mut TraceEvent {
        let url = format!("http://127.0.0.1:5050/v2/library/centos/manifests/{reference}");
        let event = self.step(Actor::Registry, "registry.manifest.get", dur, text);
        event.args = Map::from_iter([("method".to_owned(), json!("GET")), ("url".to_owned(), json!(url))]);
        event
    }

    fn pull(&mut self, already: usize) {
        self.request("/images/create?fromImage=docker.io/library/centos&tag=latest", "");
        self.inside(|story| {
            story.step(Actor::Daemon, "image.pull", 0, "centos:latest is on this host now");
            story.inside(|story| {
                let text = "200, OCI index, 482 bytes: linux/amd64 → sha256:a27fd8080b51…";
                story.manifest("latest", 4 * MS, text).branch = Some("remote-found".into());
                story.manifest(MANIFEST, 3 * MS, "200, manifest: config + 3 layers, 4.1 MB");
                for digest in &LAYERS[..already] {
                    let text = format!("{}  already exists", &digest[7..19]);
                    let event = story.step(Actor::Layer, "layer.exists", MS / 10, &text);
                    event.args.insert("digest".into(), json!(digest));
                }
                for digest in &LAYERS[already..] {
                    story.layer(digest);
                }
                let text = "image stored: id 5d0da3dc9764, digest a27fd8080b51";
                let event = story.step(Actor::Layer, "image.store", MS, text);
                event.lesson = Some("06-id-or-digest".into());
            });
        });
        self.answer("200");
    }

    fn layer(&mut self, digest: &str) {
        let url = format!("http://127.0.0.1:5050/v2/library/centos/blobs/{digest}");
        let event = self.step(Actor::Registry, "registry.blob.get", 8 * MS, "200, 1.4 MB");
        event.args = Map::from_iter([("method".to_owned(), json!("GET")), ("url".to_owned(), json!(url))]);
        event.result = Some(Outcome::Ok { ok: json!({"status": 200, "size": 1_400_000}) });
        let text = format!("{}  1.4 MB in 21 ms, unpacked 41 files, 3.9 MB", &digest[7..19]);
        let event = self.step(Actor::Layer, "layer.unpack", 0, &text);
        event.args.insert("digest".into(), json!(digest));
        self.inside(|story| {
            for n in 0..10 {
                let args =
                    json!({"dirfd": 9, "pathname": format!("usr/bin/{n}"), "flags": ["O_CREAT"], "mode": "0o644"});
                let why = "makes what the layer's tar archive describes";
                for op in ["kernel.openat2", "kernel.fchownat", "kernel.close"] {
                    story.call(op, why, args.clone()).actor = Actor::Layer;
                }
            }
        });
        let text = format!("{}  sha256 verified, of the blob and of the tar archive in it", &digest[7..19]);
        let event = self.step(Actor::Layer, "layer.verify", MS / 20, &text);
        event.args.insert("digest".into(), json!(digest));
    }

    /// `failed`: the errno of the command's execve.
    fn start(&mut self, failed: Option<(&str, &str)>) {
        self.request("/containers/82893955fb41/start", "");
        self.inside(|story| {
            story.step(Actor::Daemon, "container.start", 0, "82893955fb41 runs as pid 4127");
            story.inside(|story| {
                story.step(Actor::Shim, "shim.start", MS, "a shim of its own holds the container (pid 4119)");
                let text = "plans 12 steps around and 41 steps inside the new process";
                story.step(Actor::Runtime, "runtime.plan", MS / 3, text);
                story.kernel();
                story.exec(failed);
            });
        });
        if failed.is_none() {
            self.answer("204");
        }
    }

    fn kernel(&mut self) {
        let group = "/sys/fs/cgroup/pids/rdock-1a2b3c4d/82893955fb41";
        let why = "a control group of the container's own, to count and limit what it uses";
        self.call("kernel.mkdirat", why, json!({"dirfd": "AT_FDCWD", "pathname": group, "mode": "0o755"}));
        let flags = ["CLONE_NEWNS", "CLONE_NEWUTS", "CLONE_NEWIPC", "CLONE_NEWPID", "CLONE_NEWNET"];
        let why =
            "a new process in namespaces of its own: it will see only its own processes, mounts, host name and network";
        let event = self.call("kernel.clone3", why, json!({"flags": flags, "exit_signal": "SIGCHLD"}));
        event.result = Some(Outcome::Ok { ok: json!({"pid": 4127, "pidfd": 8}) });
        event.pid = 4119;
        self.call("kernel.write", "joins the group", json!({"path": format!("{group}/cgroup.procs"), "data": "0"}));
        self.mount_all();
        self.call("kernel.sethostname", "the host name of the container", json!({"name": "82893955fb41"}));
        self.call(
            "kernel.netlink",
            "loopback is down in a new network namespace",
            json!({"type": "RTM_NEWLINK", "index": 1, "flags": "IFF_UP"}),
        );
        for cap in 0..27 {
            let why = "a privilege of root that this container can never get back";
            self.call("kernel.prctl", why, json!({"option": "PR_CAPBSET_DROP", "cap": cap}));
        }
        let sets = json!({"effective": "0xa80425fb", "permitted": "0xa80425fb", "inheritable": "0x0"});
        self.call("kernel.capset", "the privileges that are left", json!({"data": sets}));
    }

    fn mount_all(&mut self) {
        let private = json!({"source": null, "target": "/", "filesystemtype": null, "mountflags": ["MS_REC", "MS_SLAVE"], "data": null});
        self.call("kernel.mount", "mounts made from here on never show on the host", private);
        let merged = "/var/lib/rdock/data/containers/82893955fb41/merged";
        let data = "lowerdir=c/diff:b/diff:a/diff,upperdir=/u,workdir=/w";
        let overlay =
            json!({"source": "overlay", "target": merged, "filesystemtype": "overlay", "mountflags": [], "data": data});
        self.call("kernel.mount", "joins the layers into one tree", overlay).actor = Actor::Layer;
        self.call(
            "kernel.pivot_root",
            "the joined tree becomes the root directory",
            json!({"new_root": ".", "put_old": "."}),
        );
        for (kind, target) in [("proc", "/proc"), ("tmpfs", "/dev"), ("sysfs", "/sys")] {
            let flags = ["MS_NOSUID", "MS_NODEV"];
            let args =
                json!({"source": kind, "target": target, "filesystemtype": kind, "mountflags": flags, "data": null});
            self.call("kernel.mount", "what every program expects", args);
        }
        // An option that this kernel lacks, which the plan puts up with.
        let args = json!({"source": "mqueue", "target": "/dev/mqueue", "filesystemtype": "mqueue", "mountflags": [], "data": null});
        self.call("kernel.mount", "message queues", args).result = Some(err("ENODEV", "No such device"));
        for (name, minor) in [("null", 3), ("zero", 5)] {
            let dev = json!({"major": 1, "minor": minor});
            let args = json!({"dirfd": "AT_FDCWD", "pathname": format!("/dev/{name}"), "kind": "S_IFCHR", "mode": "0o666", "dev": dev});
            self.call("kernel.mknodat", "a device that every program expects", args);
        }
        self.call("kernel.umount2", "lets go of the host's files", json!({"target": ".", "flags": ["MNT_DETACH"]}));
    }

    /// The command begins; `failed` is the errno when it does not.
    fn exec(&mut self, failed: Option<(&str, &str)>) {
        let args = json!({"pathname": "/bin/bash", "argv": ["/bin/bash"], "envp": ["PATH=/bin"]});
        let why = "the command takes the place of this process, so it is process 1 of the container";
        let event = self.call("kernel.execve", why, args);
        (event.result, event.dur) = (None, None);
        let told = event.clone();
        if let Some((errno, message)) = failed {
            let event = self.add(TraceEvent { result: Some(err(errno, message)), ..told.clone() }, 90_000);
            event.ts = told.ts;
        }
    }

    fn exit(&mut self) {
        let text = "/bin/bash ends at once with 0: no terminal (-t) and no input (-i), so bash has nothing to do";
        let event = self.step(Actor::Container, "container.exit", 2 * MS, text);
        event.result = Some(Outcome::Ok { ok: json!({"code": 0}) });
        event.lesson = Some("12-background".into());
    }
}

fn hit() -> Vec<TraceEvent> {
    let mut story = Story::new();
    story.parse();
    story.create();
    story.start(None);
    story.exit();
    story.events
}

fn miss(already: usize) -> Vec<TraceEvent> {
    let mut story = Story::new();
    story.parse();
    let text = "nobody listens on /run/rdock/rdock.sock: starts the daemon, rdock daemon (pid 4102)";
    story.step(Actor::Client, "client.daemon.start", 9 * MS, text);
    story.create_missing();
    story.pull(already);
    story.create();
    story.start(None);
    story.exit();
    story.events
}

fn not_found() -> Vec<TraceEvent> {
    let message = "manifest for centos:latest not found: manifest unknown: manifest unknown";
    let mut story = Story::new();
    story.parse();
    story.create_missing();
    story.request("/images/create?fromImage=docker.io/library/centos&tag=latest", "");
    story.inside(|story| {
        let text = format!("centos:latest: {message}");
        story.step(Actor::Daemon, "image.pull", 0, &text).result = Some(err("MANIFEST_UNKNOWN", message));
        story.inside(|story| {
            let event = story.manifest("latest", 4 * MS, "404, manifest unknown");
            event.branch = Some("remote-missing".into());
            event.result = Some(err("MANIFEST_UNKNOWN", "manifest unknown"));
        });
    });
    story.answer(&format!("404 {message}")).result = Some(err("404", message));
    story.events
}

/// Everything is there, but the command is not.
fn no_such_command() -> Vec<TraceEvent> {
    let mut story = Story::new();
    story.parse();
    story.create();
    story.start(Some(("ENOENT", "No such file or directory")));
    let message = r#"exec: "/bin/bash": no such file or directory"#;
    for event in story.events.iter_mut().filter(|e| e.op == "container.start") {
        event.result = Some(err("ENOENT", message));
        event.summary = format!("82893955fb41 does not start: {message}");
    }
    story.answer(&format!("404 {message}")).result = Some(err("404", message));
    story.events
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../tests/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn flow_of_a_hit() {
    snapshot("explain_flow_hit", &flow(&hit(), &Style::plain(100)));
}

#[test]
fn flow_of_a_miss() {
    snapshot("explain_flow_miss", &flow(&miss(0), &Style::plain(100)));
}

#[test]
fn flow_of_a_miss_with_layers_already_here() {
    snapshot("explain_flow_miss_shared_layers", &flow(&miss(2), &Style::plain(80)));
}

#[test]
fn flow_of_an_image_that_is_nowhere() {
    snapshot("explain_flow_not_found", &flow(&not_found(), &Style::plain(80)));
}

#[test]
fn flow_of_a_command_that_is_not_there() {
    snapshot("explain_flow_no_such_command", &flow(&no_such_command(), &Style::plain(100)));
}

#[test]
fn nothing_is_wider_than_a_narrow_terminal() {
    use unicode_width::UnicodeWidthStr as _;
    for lang in [Lang::En, Lang::Zh] {
        for (events, width) in [(hit(), 60), (miss(0), 60), (miss(2), 79), (not_found(), 50), (no_such_command(), 60)] {
            let style = Style { lang, ..Style::plain(width) };
            for text in [flow(&events, &style), syscalls(&events, &style)] {
                assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
            }
        }
    }
    let narrow = flow(&hit(), &Style::plain(60));
    assert!(
        !narrow.contains('┃') && narrow.contains("the way taken: start → image on this host? yes → run"),
        "{narrow}"
    );
}

#[test]
fn flow_in_chinese() {
    let style = Style { lang: Lang::Zh, ..Style::plain(80) };
    snapshot("explain_flow_zh", &flow(&miss(0), &style));
}

#[test]
fn syscalls_of_a_hit() {
    snapshot("explain_syscalls_hit", &syscalls(&hit(), &Style::plain(100)));
}

#[test]
fn syscalls_of_a_miss() {
    snapshot("explain_syscalls_miss", &syscalls(&miss(0), &Style::plain(118)));
}

#[test]
fn colours_change_nothing_but_the_colours() {
    for events in [hit(), miss(1), not_found(), no_such_command()] {
        let plain = Style::plain(90);
        let coloured = flow(&events, &Style { colour: true, ..plain });
        assert!(coloured.contains("\u{1b}["));
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        let trimmed = |text: &str| text.lines().map(|l| l.trim_end().to_owned() + "\n").collect::<String>();
        assert_eq!(trimmed(&stripped), flow(&events, &plain));
    }
}

#[test]
fn a_failed_step_is_red_and_says_so_in_words() {
    let style = Style { colour: true, ..Style::plain(100) };
    let text = flow(&not_found(), &style);
    let red = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
    assert!(text.contains(&format!("{red}FAILED  centos:latest: manifest")), "{text}");
    assert!(!flow(&hit(), &style).contains(&red.to_string()));
}

#[test]
fn no_line_is_wider_than_the_style_says() {
    use unicode_width::UnicodeWidthStr;
    for events in [hit(), miss(1), not_found(), no_such_command()] {
        for width in [0, 80, 100, 118, 300] {
            for text in [flow(&events, &Style::plain(width)), syscalls(&events, &Style::plain(width))] {
                for line in text.lines() {
                    assert!(line.width() <= width.max(80), "{width}: {line}");
                }
            }
        }
    }
}

#[test]
fn two_parts_say_what_the_whole_says() {
    let events = miss(0);
    let until = events.iter().position(|e| e.op == "container.exit").unwrap();
    let whole = flow(&events, &Style::plain(100));
    let mut drawing = Drawing::new(Format::Flow, Style::plain(100));
    let mut parts = drawing.so_far(&events[..until]);
    assert_eq!(drawing.so_far(&events[..until]), "");
    parts += &drawing.finish(&events);
    assert_eq!(parts, whole);
}

#[test]
fn syscalls_shows_every_call_that_sets_the_container_up() {
    let events = miss(0);
    let text = syscalls(&events, &Style::plain(118));
    for event in events.iter().filter(|e| e.is_call() && !fold::is_file_call(e)) {
        let name = event.op.trim_start_matches("kernel.");
        assert!(text.contains(&format!(" {name}(")), "{name}");
    }
    assert_eq!(text.matches("PR_CAPBSET_DROP").count(), 27);
}

#[test]
fn steps_that_no_renderer_knows_are_told_by_their_summary() {
    let event = TraceEvent { op: "volume.mount".into(), summary: "mounts the volume db".into(), ..at(1, 0, 5_000) };
    assert_eq!(flow(&[event], &Style::plain(80)), " DAEMON      1  mounts the volume db\n\n  took 5 µs\n");
}

#[test]
fn nothing_happened_and_nothing_is_said() {
    assert_eq!(flow(&[], &Style::plain(80)), "");
    assert_eq!(json(&[]), "");
}

#[test]
fn repeats_are_folded() {
    let event = |n: u64| TraceEvent {
        span: format!("{n:016x}"),
        op: "container.remove".into(),
        summary: format!("removes {n}"),
        ..at(1, n * 10, 5)
    };
    let text = flow(&Vec::from_iter((1..=9).map(event)), &Style::plain(80));
    assert!(
        text.starts_with(
            " DAEMON      1  removes 1\n             2  removes 2\n             3  … and 7 more of the same kind\n"
        ),
        "{text}"
    );
}

#[test]
fn file_calls_of_different_steps_are_not_added_up() {
    let mut story = Story::new();
    for op in ["layer.unpack", "container.remove", "container.create"] {
        story.step(Actor::Layer, op, 0, op);
        let calls = if op == "container.create" { 3 } else { 20 };
        story.inside(|story| {
            for _ in 0..calls {
                story.call("kernel.unlinkat", "", json!({})).actor = Actor::Layer;
            }
        });
    }
    let text = flow(&story.events, &Style::plain(80));
    assert_eq!(text.matches("20 calls of the kernel for files").count(), 2, "{text}");
    assert!(!text.contains("3 calls of the kernel for files"), "{text}");
}

#[test]
fn a_step_that_claims_to_be_its_own_parent_does_no_harm() {
    let own = |event: TraceEvent| TraceEvent { parent: Some(event.span.clone()), ..event };
    assert!(flow(&[own(at(1, 0, 5))], &Style::plain(80)).contains("looks"));
}

#[test]
fn identities_in_snapshots_are_stable() {
    let text = flow(&hit(), &Style::plain(100));
    let other = text.replace("82893955fb41", "0a5890a6d948").replace("4127", "31999");
    assert_eq!(normalise(&text), normalise(&other));
}
