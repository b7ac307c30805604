//! `logs`: what a container has written, all of it, once, in order, whatever happens to the daemon meanwhile.

use super::support::api;
use super::support::lab::Background;
use super::support::need::Need;
use super::support::{Lab, PATIENCE, eventually, need, wait_for};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

fn lab() -> Option<Lab> {
    need(&[Need::Root]).then(|| {
        let lab = Lab::new();
        lab.start_daemon();
        lab.with_image("centos")
    })
}

fn memory_kib(pid: i32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The process whose child a container's first process is.
fn shim_of(lab: &Lab, name: &str) -> i32 {
    let pid = api::inspect(lab, name)["State"]["Pid"].as_i64().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn logs_show_lines_streams_times_and_tails() {
    let Some(lab) = lab() else { return };
    let script = "echo one; echo err >&2; echo three; printf '\\377\\000\\n'; printf last";
    let _ = lab.rdock(["run", "--name", "aa", "centos", "sh", "-c", script]).ok();
    let all = lab.rdock(["logs", "aa"]).ok();
    assert_eq!((all.stdout.as_str(), all.stderr.as_str()), ("one\nthree\n\u{fffd}\0\nlast", "err\n"));
    let raw = lab.command(["logs", "aa"]).output().unwrap();
    assert!(raw.stdout.windows(3).any(|w| w == b"\xff\0\n"), "bytes that are no text come back as they were");
    lab.rdock(["logs", "--tail", "1", "aa"]).is(0, "last", "");
    lab.rdock(["logs", "-n0", "aa"]).is(0, "", "");
    let _ = lab.rdock(["logs", "--tail", "many", "aa"]).ok();
    let timed = lab.rdock(["logs", "-t", "aa"]).ok();
    assert!(timed.stdout.lines().all(|l| l.split(' ').next().is_some_and(|t| t.len() == 30 && t.ends_with('Z'))));
    let third = timed.stdout.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    // Lines that the shim read at once have one time.
    let since: Vec<_> =
        timed.stdout.lines().filter_map(|l| l.split_once(' ')).filter(|(t, _)| *t >= third.as_str()).collect();
    let said: Vec<_> = since.iter().map(|(_, line)| *line).collect();
    assert!(said.contains(&"three"));
    assert_eq!(lab.rdock(["logs", "--since", &third, "aa"]).ok().stdout, said.join("\n"));
    lab.rdock(["logs", "--until", "1h", "aa"]).is(0, "", "");
    let _ = lab
        .rdock(["logs", "--since", "soon", "aa"])
        .fails(1, "invalid value for \"since\": failed to parse value as time or duration: \"soon\"");
    let _ = lab.rdock(["logs", "nosuch"]).fails(1, "Error response from daemon: No such container: nosuch");
    let _ = lab.rdock(["rm", "aa"]).ok();
    let _ = lab.rdock(["logs", "aa"]).fails(1, "Error response from daemon: No such container: aa");
}

#[test]
fn a_line_of_a_megabyte_comes_whole() {
    let Some(lab) = lab() else { return };
    let script = "head -c 1048576 /dev/zero | tr '\\0' x; echo; echo end";
    let _ = lab.rdock(["run", "-d", "--name", "long", "centos", "sh", "-c", script]).ok();
    let _ = lab.rdock(["wait", "long"]).ok();
    let long = format!("{}\n", "x".repeat(1 << 20));
    assert!(lab.rdock(["logs", "long"]).ok().stdout == long.clone() + "end\n");
    assert!(lab.rdock(["logs", "--tail", "2", "long"]).ok().stdout == long + "end\n");
    assert_eq!(lab.rdock(["logs", "-t", "long"]).ok().stdout.matches('Z').count(), 2, "one time a line");
}

/// Rotation, a follower, and a daemon that is killed: each number comes once.
#[test]
fn who_follows_gets_each_line_once_whatever_is_rotated() {
    let Some(lab) = lab() else { return };
    let script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done";
    let id = api::create(
        &lab,
        "spin",
        &json!({"Image": "centos", "Cmd": ["sh", "-c", format!("read go; {script}")], "OpenStdin": true,
            "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"max-size": "20k", "max-file": "200"}}}}),
    );
    let _ = lab.rdock(["start", "spin"]).ok();
    let follow = |lab: &Lab| {
        let mut follower = lab.command(["logs", "-f", "spin"]);
        Background(follower.stdout(Stdio::piped()).spawn().unwrap())
    };
    let mut follower = follow(&lab);
    let mut lines = BufReader::new(follower.0.stdout.take().unwrap()).lines();
    assert_eq!(super::support::lab::run(lab.command(["attach", "spin"]), b"go\n").status, 0);
    let seen: Vec<u32> = lines.by_ref().map(|line| line.unwrap().parse().unwrap()).collect();
    assert_eq!(seen, (1..=3000).collect::<Vec<_>>(), "the follower ends with the container, and has all");
    let files = std::fs::read_dir(lab.home().join("data/containers").join(&id)).unwrap();
    let logs = files.filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().contains("-json.log")).count();
    assert!(logs > 5, "{logs} files");
    let all = lab.rdock(["logs", "spin"]).ok().stdout;
    assert!(all.lines().map(|l| l.parse::<u32>().unwrap()).eq(1..=3000));
    lab.rdock(["logs", "--tail", "2", "spin"]).is(0, "2999\n3000\n", "");
}

#[test]
fn a_killed_daemon_leaves_no_gap_in_the_log() {
    let Some(lab) = lab() else { return };
    let count = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done; sleep 1000";
    let _ = lab.rdock(["run", "-d", "--name", "nn", "centos", "sh", "-c", count]).ok();
    lab.kill_daemon();
    wait_for("the last line", || {
        lab.rdock(["logs", "--tail", "1", "nn"]).ok().stdout.contains("20000\n").then_some(())
    });
    let all = lab.rdock(["logs", "nn"]).ok().stdout;
    assert!(all.lines().map(|l| l.parse::<u32>().unwrap()).eq(1..=20000));
    let _ = lab.rdock(["rm", "-f", "nn"]).ok();
}

#[test]
fn much_output_does_not_grow_the_shim() {
    let Some(lab) = lab() else { return };
    let megabytes = std::env::var("RDOCK_TESTS_LOG_MB").ok().and_then(|n| n.parse().ok()).unwrap_or(32u32);
    let _ = api::create(
        &lab,
        "big",
        &json!({"Image": "centos", "Cmd": ["sh", "-c", format!("head -c {megabytes}M /dev/zero; echo; echo end; sleep 1000")],
            "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}}}),
    );
    let _ = lab.rdock(["start", "big"]).ok();
    let shim = shim_of(&lab, "big");
    let patience = PATIENCE * (1 + megabytes / 32);
    assert!(
        eventually(patience, || lab.rdock(["logs", "--tail", "1", "big"]).ok().stdout.ends_with("end\n")),
        "the output has not ended after {patience:?}"
    );
    // Its own memory: what of the program is in memory depends on how that was built.
    let peak = memory_kib(shim, "VmHWM") - memory_kib(shim, "RssFile");
    assert!(peak < 16 * 1024, "the shim has used {peak} kB");
    let _ = lab.rdock(["rm", "-f", "big"]).ok();
}

#[test]
fn no_log_and_wrong_options_have_dockers_words() {
    let Some(lab) = lab() else { return };
    let body = |driver: &str, key: &str, value: &str| {
        json!({"Image": "centos", "Cmd": ["true"],
            "HostConfig": {"LogConfig": {"Type": driver, "Config": {key: value}}}})
    };
    let refused = api::post(&lab, "/containers/create", &body("json-file", "colour", "red"));
    assert_eq!(refused, (400, json!({"message": "unknown log opt 'colour' for json-file log driver"})));
    let _ = api::create(
        &lab,
        "mute",
        &json!({"Image": "centos", "Cmd": ["echo", "hi"],
        "HostConfig": {"LogConfig": {"Type": "none", "Config": {}}}}),
    );
    let _ = lab.rdock(["start", "-a", "mute"]).ok();
    let _ = lab
        .rdock(["logs", "mute"])
        .fails(1, "Error response from daemon: configured logging driver does not support reading");
}

/// `attach?logs=1`: what was before, then what comes, without a gap between them.
#[test]
fn attached_with_logs_the_past_comes_first() {
    let Some(lab) = lab() else { return };
    let _ = api::create(
        &lab,
        "past",
        &json!({"Image": "centos", "OpenStdin": true, "Tty": true,
        "Cmd": ["sh", "-c", "stty -echo -onlcr; echo before; printf half; read x; echo; echo after"]}),
    );
    let _ = lab.rdock(["start", "past"]).ok();
    wait_for("the first line", || lab.rdock(["logs", "past"]).ok().stdout.contains("before\n").then_some(()));
    let mut stream = api::hijack(&lab, "/containers/past/attach?logs=1&stream=1&stdout=1&stdin=1");
    use std::io::Write as _;
    let mut head = [0u8; 11];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(String::from_utf8_lossy(&head), "before\nhalf");
    stream.write_all(b"go\n").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "\nafter\n");
}
