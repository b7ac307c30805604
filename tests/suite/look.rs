//! Looking at containers that run and holding them still: `top`, `stats`, `pause`, `unpause`, `port`.

use super::support::need::Need;
use super::support::{Lab, need, wait_for};
use serde_json::Value;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

/// A lab with a container named `box` that runs.
fn lab() -> Option<Lab> {
    need(&[Need::Root]).then(|| {
        let lab = Lab::new().with_image("centos");
        lab.rdock(["run", "-d", "--name", "box", "--network", "none", "centos", "sleep", "1000"]).ok();
        lab
    })
}

fn inspected(lab: &Lab, path: &str) -> Value {
    let all: Value = serde_json::from_str(&lab.rdock(["inspect", "box"]).ok().stdout).unwrap();
    all[0].pointer(path).cloned().unwrap_or(Value::Null)
}

#[test]
fn top_shows_the_containers_processes_and_no_others() {
    let Some(lab) = lab() else { return };
    lab.rdock(["exec", "-d", "-u", "1", "box", "sleep", "999"]).ok();
    let shown = lab.rdock(["top", "box"]).ok().stdout;
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert!(shown.starts_with("UID                 PID                 PPID                C    "), "{shown}");
    assert_eq!(rows.len(), 3, "{shown}");
    let pid = inspected(&lab, "/State/Pid").to_string();
    assert_eq!((rows[1][0], rows[1][1], rows[1][7..].join(" ")), ("root", pid.as_str(), "sleep 1000".to_owned()));
    assert_eq!((rows[2][0], rows[2][5], rows[2][7..].join(" ")), ("daemon", "?", "sleep 999".to_owned()));
    let _ = lab.rdock(["top", "nosuch"]).fails(1, "Error response from daemon: No such container: nosuch");
    if need(&[Need::Program("ps")]) {
        let shown = lab.rdock(["top", "box", "-o", "pid,comm"]).ok().stdout;
        assert!(shown.lines().skip(1).all(|line| line.ends_with(" sleep")) && shown.lines().count() == 3, "{shown}");
        let _ = lab.rdock(["top", "box", "-o", "comm"]).fails(1, "Couldn't find PID field in ps output");
        let _ = lab.rdock(["top", "box", "--nosuch"]).fails(1, "Error response from daemon: ps: error: ");
    }
    lab.rdock(["kill", "box"]).ok();
    lab.rdock(["wait", "box"]).ok();
    let stopped = lab.rdock(["top", "box"]).fails(1, "Error response from daemon: Container ");
    assert!(stopped.stderr.ends_with(" is not running\n"), "{stopped:?}");
}

#[test]
fn a_paused_container_stands_still_until_it_may_go_on() {
    let Some(lab) = lab() else { return };
    let id = inspected(&lab, "/Id").as_str().unwrap().to_owned();
    // A counter in the container's own file: it grows only while the container runs.
    let count = "i=0; while :; do i=$((i+1)); echo $i > /tmp/count.new; mv /tmp/count.new /tmp/count; done";
    lab.rdock(["exec", "-d", "box", "sh", "-c", count]).ok();
    let file = lab.home().join(format!("data/containers/{id}/upper/tmp/count"));
    let counted = || std::fs::read_to_string(&file).ok()?.trim().parse::<u64>().ok();
    wait_for("the counter", counted);
    lab.rdock(["pause", "box"]).is(0, "box\n", "");
    let (first, second) = (counted(), counted());
    assert!(first.is_some() && first == second, "{first:?} {second:?}");
    assert_eq!(inspected(&lab, "/State/Status"), "paused");
    assert_eq!((inspected(&lab, "/State/Paused"), inspected(&lab, "/State/Running")), (true.into(), true.into()));
    assert!(lab.rdock(["ps"]).ok().stdout.contains(" (Paused) "));
    let refused = |args: &[&str], words: &str| {
        let _ = lab.rdock(args).fails(1, &format!("Error response from daemon: {words}"));
    };
    refused(&["pause", "box"], &format!("Container {id} is already paused"));
    refused(&["exec", "box", "true"], "Container box is paused, unpause the container before exec");
    refused(&["start", "box"], "cannot start a paused container, try unpause instead");
    refused(&["rm", "box"], &format!("You cannot remove a paused container {id}. Unpause and then stop the container"));
    // The heading, process 1 and the counter; and the `mv` that the counter may have been in the middle of.
    let lines = lab.rdock(["top", "box"]).ok().stdout.lines().count();
    assert!((3..=4).contains(&lines), "{lines}");
    // The next daemon finds it as it is.
    let daemon = nix::unistd::Pid::from_raw(lab.daemon_pid().unwrap());
    nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_for("the daemon's end", || std::os::unix::net::UnixStream::connect(lab.socket()).err());
    assert_eq!(inspected(&lab, "/State/Status"), "paused");
    assert_eq!(counted(), first);
    lab.rdock(["unpause", "box"]).is(0, "box\n", "");
    wait_for("it to go on", || (counted() > first).then_some(()));
    refused(&["unpause", "box"], &format!("Container {id} is not paused"));
    // Signals reach who stands still, and end it.
    lab.rdock(["pause", "box"]).ok();
    lab.rdock(["stop", "-t", "0", "box"]).is(0, "box\n", "");
    assert_eq!((inspected(&lab, "/State/Status"), inspected(&lab, "/State/ExitCode")), ("exited".into(), 137.into()));
    refused(&["pause", "box"], &format!("Container {id} is not running"));
    lab.rdock(["start", "box"]).ok();
    lab.rdock(["pause", "box"]).ok();
    lab.rdock(["rm", "-f", "box"]).is(0, "box\n", "");
}

#[test]
fn stats_are_the_kernels_own_counts() {
    let Some(lab) = lab() else { return };
    lab.rdock(["exec", "-d", "box", "sh", "-c", "while :; do :; done"]).ok();
    let shown = lab.rdock(["stats", "--no-stream", "box"]).ok().stdout;
    let mut lines = shown.lines();
    assert_eq!(
        lines.next().map(|line| line.split("  ").filter(|c| !c.is_empty()).map(str::trim).collect::<Vec<_>>()),
        Some(vec!["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"])
    );
    let row: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!((row[1], row[row.len() - 1]), ("box", "2"), "{shown}");
    let busy: f64 = row[2].trim_end_matches('%').parse().unwrap();
    assert!(busy > 1.0 && busy < 250.0, "a loop takes processor time: {shown}");
    let json = lab.rdock(["stats", "--no-stream", "--format", "{{json .}}"]).ok().stdout;
    let look: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (look["Name"].as_str(), look["PIDs"].as_str(), look["NetIO"].as_str()),
        (Some("box"), Some("2"), Some("0B / 0B"))
    );
    let _ = lab.rdock(["stats", "--no-stream", "nosuch"]).fails(1, "No such container: nosuch");
    let wrong = lab.rdock(["stats", "--no-stream", "--format", "{{.Nope}}"]);
    let _ = wrong.fails(1, "can't evaluate field Nope in type *container.statsContext");
    // The live form draws again and again, and ends with the container.
    let mut live = lab.command(["stats", "box"]);
    live.stdout(Stdio::piped()).process_group(0);
    let mut live = live.spawn().unwrap();
    lab.rdock(["rm", "-f", "box"]).ok();
    let output = std::io::read_to_string(live.stdout.take().unwrap()).unwrap();
    assert!(live.wait().unwrap().success());
    assert!(output.starts_with("\x1b[HCONTAINER ID") || output.is_empty(), "{output:?}");
}

#[test]
fn a_container_without_published_ports_says_so() {
    let Some(lab) = lab() else { return };
    lab.rdock(["port", "box"]).is(0, "", "");
    lab.rdock(["port", "box", "80"]).is(1, "", "Error: No public port '80' published for box\n");
    let _ = lab
        .rdock(["port", "box", "abc"])
        .fails(1, "Error: invalid port (abc): strconv.ParseUint: parsing \"abc\": invalid syntax");
    let _ = lab.rdock(["port", "nosuch"]).fails(1, "No such container: nosuch");
}

#[test]
fn the_docker_command_looks_at_our_containers_too() {
    if !need(&[Need::DockerCli]) {
        return;
    }
    let Some(lab) = lab() else { return };
    let docker = |args: &[&str]| {
        let mut command = lab.program("docker");
        command.args(args).env("DOCKER_HOST", lab.host());
        super::support::lab::run(command, b"")
    };
    assert!(docker(&["top", "box"]).ok().stdout.trim_end().ends_with("sleep 1000"));
    docker(&["pause", "box"]).is(0, "box\n", "");
    assert!(docker(&["ps"]).ok().stdout.contains(" (Paused) "));
    docker(&["unpause", "box"]).is(0, "box\n", "");
    let shown = docker(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.MemUsage}}", "box"]).ok().stdout;
    assert!(shown.starts_with("box 1 ") && !shown.contains(" 0B / "), "{shown}");
    let info = docker(&["info"]).ok();
    assert!(!info.stdout.contains("ERROR") && !info.stderr.contains("WARNING"), "{info:?}");
}
