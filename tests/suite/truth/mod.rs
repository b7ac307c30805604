//! "What `--explain` prints about the kernel is what happened": strace is the judge.
//!
//! The daemon runs under `strace -f`, commands are explained as JSON, and the two stories are compared call by call,
//! with their arguments and answers, both ways. What is left out is in one table, [`seen::LEFT_OUT`].

mod deed;
mod seen;
mod strace;
mod told;

use super::support::lab::Background;
use super::support::need::Need;
use super::support::{Lab, need, wait_for};
use deed::{Deed, missing};
use rdock::trace::TraceEvent;
use std::path::Path;
use std::process::Stdio;

/// Bytes of a string that strace shows. mount(2) takes no more options than one page, and files of the kernel are
/// given less; file contents, which are longer, are not compared. (What is cut off could not pass for the whole.)
const STRINGS: &str = "4097";

/// A lab whose daemon runs under strace.
struct Judged {
    lab: Lab,
    strace: Option<Background>,
    events: Vec<TraceEvent>,
}

impl Judged {
    fn new() -> Judged {
        let lab = Lab::new();
        let mut command = lab.program("strace");
        command
            .args(["-f", "-y", "-v", "-s", STRINGS, "-qq", "-e", seen::TRACED, "-o"])
            .arg(lab.file("strace.txt"))
            .arg(super::support::lab::RDOCK)
            .arg("daemon")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let strace = Background(command.spawn().unwrap());
        wait_for("the daemon's socket", || std::os::unix::net::UnixStream::connect(lab.socket()).ok());
        Judged { lab, strace: Some(strace), events: Vec::new() }
    }

    /// One explained command.
    #[must_use]
    fn run(&mut self, args: &[&str]) -> super::support::Answer {
        let (answer, events) = self.lab.traced(args);
        self.events.extend(events);
        answer
    }

    /// Stops the daemon and reads what strace wrote.
    fn judge(mut self) -> Verdict {
        self.lab.rdock(["daemon", "stop"]).ok();
        let mut strace = self.strace.take().unwrap();
        strace.0.wait().unwrap();
        let log = self.lab.file("strace.txt");
        if let Some(keep) = std::env::var_os("RDOCK_TESTS_KEEP") {
            let _ = std::fs::create_dir_all(&keep);
            let _ = std::fs::copy(&log, Path::new(&keep).join("strace.txt"));
        }
        Verdict::of(&log, &self.events)
    }
}

/// Both stories.
struct Verdict {
    seen: Vec<Deed>,
    told: Vec<Deed>,
}

impl Verdict {
    fn of(log: &Path, events: &[TraceEvent]) -> Verdict {
        let text = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
        let calls = strace::parse(&text).unwrap();
        let seen = seen::deeds(&calls);
        let mut told = told::deeds(events);
        // Where a file of the kernel could not even be opened, strace has not seen what would have been written.
        for deed in &mut told {
            let mut unwritten = deed.clone().with("data", "?");
            if deed.call == "write" && seen.contains(&unwritten) {
                std::mem::swap(deed, &mut unwritten);
            }
        }
        Verdict { seen, told }
    }

    fn report(&self) -> String {
        let untold = missing(&self.seen, &self.told);
        let unseen = missing(&self.told, &self.seen);
        let share = |bad: usize, all: usize| 100.0 * (all - bad) as f64 / all.max(1) as f64;
        let mut text = format!(
            "{} calls seen by strace, {} told by the trace\nrecall    {:.2} %\nprecision {:.2} %\n",
            self.seen.len(),
            self.told.len(),
            share(untold.len(), self.seen.len()),
            share(unseen.len(), self.told.len()),
        );
        for deed in untold {
            text.push_str(&format!("seen, not told: {deed}\n"));
        }
        for deed in unseen {
            text.push_str(&format!("told, not seen: {deed}\n"));
        }
        text
    }

    /// Each process's calls are told in the order in which it made them.
    fn out_of_order(&self) -> Vec<String> {
        let of = |deeds: &[Deed], pid: u32| -> Vec<Deed> { deeds.iter().filter(|d| d.pid == pid).cloned().collect() };
        let mut pids: Vec<u32> = self.seen.iter().map(|d| d.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        pids.into_iter()
            .filter_map(|pid| {
                let (seen, told) = (of(&self.seen, pid), of(&self.told, pid));
                let at = seen.iter().zip(&told).position(|(s, t)| s != t)?;
                Some(format!("strace: {}\n trace: {}", seen[at], told[at]))
            })
            .collect()
    }

    #[track_caller]
    fn must_agree(&self, at_least: usize) {
        let report = self.report();
        println!("{report}");
        assert!(self.seen.len() >= at_least, "strace saw next to nothing: {report}");
        assert!(missing(&self.seen, &self.told).is_empty() && missing(&self.told, &self.seen).is_empty(), "{report}");
        assert_eq!(self.out_of_order(), Vec::<String>::new());
    }
}

/// Miss (with the download and its layers), hit, a terminal, an ordinary user, and both ways for a command not to
/// start: all explained calls of one daemon's life.
#[test]
fn the_explanation_is_what_strace_saw() {
    if !need(&[Need::Root, Need::Strace]) {
        return;
    }
    let mut judged = Judged::new();
    judged.run(&["run", "centos"]).ok();
    judged.run(&["run", "--rm", "centos", "true"]).ok();
    judged.run(&["run", "--rm", "-t", "--hostname", "box", "centos", "true"]).ok();
    judged.run(&["run", "--rm", "-u", "1:1", "-w", "/tmp/new/dir", "centos", "true"]).ok();
    let many = [
        "run",
        "--rm",
        "-m",
        "64m",
        "--cpus",
        "1",
        "--pids-limit",
        "50",
        "--ulimit",
        "nofile=64",
        "--tmpfs",
        "/x:size=1m",
        "-v",
        "/tmp:/host:ro",
        "--read-only",
        "--device",
        "/dev/zero:/dev/nought",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--cap-add",
        "sys_time",
        "--cap-drop",
        "mknod",
        "--oom-score-adj",
        "100",
        "--security-opt",
        "no-new-privileges",
        "--domainname",
        "dom",
        "--uts",
        "",
        "--ipc",
        "host",
        "centos",
        "true",
    ];
    judged.run(&many).ok();
    judged.run(&["run", "--rm", "--init", "-t", "--security-opt", "seccomp=unconfined", "centos", "true"]).ok();
    judged.run(&["run", "--rm", "centos", "nosuchcommand"]).fails(127, "nosuchcommand");
    judged.run(&["run", "--rm", "centos", "/etc"]).fails(126, "/etc");
    let verdict = judged.judge();
    verdict.must_agree(8 * 40);
}

/// A process more in a container that runs, and the freezer: the shim joins namespaces, the daemon writes to groups.
#[test]
fn what_is_done_to_a_running_container_is_what_strace_saw() {
    if !need(&[Need::Root, Need::Strace]) {
        return;
    }
    let mut judged = Judged::new();
    judged.run(&["run", "-d", "--name", "box", "centos", "sleep", "1000"]).ok();
    judged.run(&["exec", "box", "true"]).ok();
    judged.run(&["exec", "-t", "-u", "1:1", "-w", "/tmp", "-e", "A=1", "box", "true"]).ok();
    judged.run(&["exec", "box", "nosuchcommand"]).fails(127, "");
    judged.run(&["pause", "box"]).ok();
    judged.run(&["unpause", "box"]).ok();
    judged.run(&["update", "--pids-limit", "40", "-m", "64m", "--memory-swap", "128m", "--cpus", "0.5", "box"]).ok();
    judged.run(&["kill", "-s", "USR1", "box"]).ok();
    judged
        .run(&["run", "-d", "--name", "deaf", "centos", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
        .ok();
    // SIGTERM, which it does not know or does not want to, then SIGKILL.
    judged.run(&["stop", "-t", "0", "deaf"]).ok();
    judged.run(&["rm", "-f", "deaf", "box"]).ok();
    // What was kept ready for the next containers is used up, so that somebody tells of it.
    for _ in 0..2 {
        judged.run(&["run", "--rm", "centos", "nosuchcommand"]).fails(127, "nosuchcommand");
    }
    let verdict = judged.judge();
    verdict.must_agree(4 * 40);
    let times = |call: &str| verdict.seen.iter().filter(|d| d.call == call).count();
    assert_eq!((times("setns"), times("execve")), (6, 4));
    let sent = verdict.seen.iter().filter(|d| d.call == "kill").filter_map(|d| d.args.get("sig"));
    let sent: Vec<&str> = sent.map(String::as_str).collect();
    assert!(["SIGUSR1", "SIGTERM", "SIGKILL"].iter().all(|signal| sent.contains(signal)), "{sent:?}");
    let frozen =
        |d: &&Deed| d.args.get("path").is_some_and(|p| p.ends_with("/freezer.state") || p.ends_with("/cgroup.freeze"));
    assert_eq!(verdict.seen.iter().filter(frozen).count(), 2);
}

/// Explaining one run must tell of that run alone, whatever else the daemon does at the same time.
#[test]
fn what_was_not_explained_is_not_in_the_trace() {
    if !need(&[Need::Root, Need::Strace]) {
        return;
    }
    let mut judged = Judged::new();
    judged.lab.rdock(["run", "--rm", "hello-world"]).ok();
    judged.run(&["run", "--rm", "hello-world"]).ok();
    let verdict = judged.judge();
    assert!(missing(&verdict.told, &verdict.seen).is_empty(), "{}", verdict.report());
    let execs = |deeds: &[Deed]| deeds.iter().filter(|d| d.call == "execve").count();
    assert_eq!((execs(&verdict.seen), execs(&verdict.told)), (2, 1));
}

/// What a newcomer would miss in the explanation, in the words of the book.
#[test]
fn what_is_left_out_is_written_down() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!("truth_left_out", seen::left_out_as_text()));
}

/// The judge itself: two witnesses that differ are caught, whichever of them is wrong.
#[test]
fn a_lie_and_an_omission_are_both_found() {
    let deed = |target: &str| Deed::new(1, "mount", "ok".into()).with("target", target);
    let verdict = Verdict { seen: vec![deed("/proc"), deed("/sys")], told: vec![deed("/proc"), deed("/dev")] };
    let report = verdict.report();
    assert!(report.contains("recall    50.00 %\nprecision 50.00 %\n"), "{report}");
    assert!(report.contains("seen, not told:       1 mount(target=\"/sys\") = ok"), "{report}");
    assert!(report.contains("told, not seen:       1 mount(target=\"/dev\") = ok"), "{report}");
    let swapped = Verdict { seen: vec![deed("/proc"), deed("/sys")], told: vec![deed("/sys"), deed("/proc")] };
    assert_eq!(swapped.out_of_order().len(), 1);
}

/// A stopped container is joined, written to and read; one that runs is reached through its process.
#[test]
fn what_is_told_of_copies_is_what_strace_saw() {
    if !need(&[Need::Root, Need::Strace]) {
        return;
    }
    let mut judged = Judged::new();
    judged.run(&["run", "--name", "one", "busybox", "true"]).ok();
    let file = judged.lab.file("local");
    std::fs::write(&file, "contents").unwrap();
    let file = file.display().to_string();
    judged.run(&["cp", &file, "one:/etc/new"]).ok();
    judged.run(&["cp", "one:/etc", &judged.lab.file("out").display().to_string()]).ok();
    judged.run(&["export", "-o", &judged.lab.file("all.tar").display().to_string(), "one"]).ok();
    judged.run(&["run", "-d", "--name", "two", "busybox", "sleep", "1000"]).ok();
    judged.run(&["cp", &file, "two:/tmp/"]).ok();
    judged.run(&["cp", "two:/etc/group", "-"]).ok();
    judged.run(&["rm", "-f", "one", "two"]).ok();
    // They take the shims that were kept ready, and a start that fails makes no new ones: nobody explains those.
    for _ in 0..2 {
        judged.run(&["run", "--rm", "busybox", "nosuchcommand"]).fails(127, "nosuchcommand");
    }
    judged.judge().must_agree(4 * 40);
}
