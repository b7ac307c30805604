//! The life of containers: started again by policy or by hand, renamed, listed, pruned; by whoever, at once.

use super::support::lab::run;
use super::support::need::Need;
use super::support::{Lab, api, need, wait_for};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

fn lab() -> Option<Lab> {
    need(&[Need::Root]).then(|| {
        let lab = Lab::new();
        lab.start_daemon();
        lab.with_image("centos")
    })
}

fn state(lab: &Lab, name: &str) -> Value {
    api::inspect(lab, name)["State"].clone()
}

fn with_policy(lab: &Lab, name: &str, policy: &str, count: u32, script: &str) {
    let body = json!({"Image": "centos", "Cmd": ["sh", "-c", script],
        "HostConfig": {"RestartPolicy": {"Name": policy, "MaximumRetryCount": count}}});
    let _ = api::create(lab, name, &body);
    let _ = lab.rdock(["start", name]).ok();
}

fn kill(pid: i64) {
    let pid = nix::unistd::Pid::from_raw(pid as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn shim_of(lab: &Lab, name: &str) -> i64 {
    let pid = state(lab, name)["Pid"].as_i64().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn policies_start_what_ended_and_somebodys_word_ends_it() {
    let Some(lab) = lab() else { return };
    with_policy(&lab, "twice", "on-failure", 2, "echo run; exit 3");
    wait_for("the last try", || {
        let seen = api::inspect(&lab, "twice");
        (seen["RestartCount"] == 2 && seen["State"]["Status"] == "exited").then_some(())
    });
    assert_eq!(state(&lab, "twice")["ExitCode"], 3);
    lab.rdock(["logs", "twice"]).is(0, "run\nrun\nrun\n", "");
    let _ = lab.rdock(["start", "twice"]).ok();
    wait_for("two tries more", || (lab.rdock(["logs", "twice"]).ok().stdout.lines().count() == 6).then_some(()));

    with_policy(&lab, "ever", "always", 0, "exit 0");
    wait_for("a container that restarts", || {
        let seen = state(&lab, "ever");
        (seen["Restarting"] == true && seen["Running"] == true && seen["Pid"] == 0).then_some(())
    });
    let listed = lab.rdock(["ps", "--filter", "name=ever", "--format", "{{.Status}}"]).ok().stdout;
    assert!(listed.starts_with("Restarting (0) ") || listed.starts_with("Up "), "{listed}");
    lab.rdock(["stop", "ever"]).is(0, "ever\n", "");
    assert_eq!(state(&lab, "ever")["Status"], "exited");
    let count = api::inspect(&lab, "ever")["RestartCount"].clone();
    lab.rdock(["stop", "ever"]).is(0, "ever\n", "");
    let _ = lab.rdock(["start", "ever"]).ok();
    assert!(count.as_u64() >= Some(1), "{count}");
    lab.rdock(["rm", "-f", "ever"]).is(0, "ever\n", "");

    with_policy(&lab, "slow", "unless-stopped", 0, "trap 'exit 7' TERM; while :; do sleep 0.1; done");
    let pid = state(&lab, "slow")["Pid"].as_i64().unwrap();
    kill(pid);
    wait_for("another process", || state(&lab, "slow")["Pid"].as_i64().filter(|new| *new != 0 && *new != pid));
    lab.rdock(["stop", "slow"]).is(0, "slow\n", "");
    let ended = state(&lab, "slow");
    assert_eq!((&ended["Status"], &ended["ExitCode"]), (&json!("exited"), &json!(7)));
    let events = lab.rdock(["events", "--since", "1h", "--until", "1h", "--filter", "container=slow"]).ok();
    assert_eq!(events.stdout, "", "what is over an hour old is over");
}

#[test]
fn a_new_daemon_goes_on_with_the_policies() {
    let Some(lab) = lab() else { return };
    for (name, policy) in [("runs", "always"), ("stopped", "unless-stopped"), ("lost", "always"), ("plain", "no")] {
        with_policy(&lab, name, policy, 0, "sleep 1000");
    }
    let _ = lab.rdock(["stop", "-t", "0", "stopped"]).ok();
    let (pid, shims) = (state(&lab, "runs")["Pid"].clone(), [shim_of(&lab, "lost"), shim_of(&lab, "plain")]);
    let lost = state(&lab, "lost")["Pid"].clone();
    lab.kill_daemon();
    shims.into_iter().for_each(kill);
    lab.start_daemon();
    wait_for("the container whose shim was killed", || {
        let seen = state(&lab, "lost");
        (seen["Status"] == "running" && seen["Pid"] != lost).then_some(())
    });
    let seen = state(&lab, "runs");
    assert_eq!((&seen["Status"], &seen["Pid"]), (&json!("running"), &pid), "what runs is left alone");
    assert_eq!(state(&lab, "stopped")["Status"], "exited");
    let seen = state(&lab, "plain");
    assert_eq!((&seen["Status"], &seen["ExitCode"]), (&json!("dead"), &json!(137)));
    let _ = lab.rdock(["rm", "-f", "runs", "lost", "plain", "stopped"]).ok();
}

#[test]
fn restart_rename_and_prune_have_dockers_words() {
    let Some(lab) = lab() else { return };
    let _ = lab.rdock(["run", "-d", "--name", "one", "centos", "sleep", "1000"]).ok();
    let _ = lab.rdock(["run", "-d", "--rm", "--name", "gone", "centos", "sleep", "1000"]).ok();
    let (one, gone) = (state(&lab, "one")["Pid"].clone(), state(&lab, "gone")["Pid"].clone());
    lab.rdock(["restart", "-t", "0", "one", "nosuch", "gone"]).is(
        1,
        "one\ngone\n",
        "Error response from daemon: No such container: nosuch\n",
    );
    assert!(state(&lab, "one")["Pid"] != one && state(&lab, "gone")["Pid"] != gone, "--rm outlives a restart");
    lab.rdock(["rename", "one", "other"]).is(0, "", "");
    lab.rdock(["rename", "other", "gone"]).fails(1, "Error: failed to rename container named other\n").fails(
        1,
        "Error response from daemon: Error when allocating new name: Conflict. The container name \"/gone\" is already in use by container",
    );
    for (old, new, words) in [
        ("other", "other", "Renaming a container with the same name as its current name"),
        (
            "other",
            "#",
            "Error when allocating new name: Invalid container name (/#), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ),
        ("nosuch", "xx", "No such container: nosuch"),
    ] {
        lab.rdock(["rename", old, new]).is(
            1,
            "",
            &format!("Error response from daemon: {words}\nError: failed to rename container named {old}\n"),
        );
    }
    let _ = lab.rdock(["rename", "other", ""]).fails(1, "Error: Neither old nor new names may be empty");
    let _ = lab.rdock(["run", "--name", "one", "centos", "true"]).ok();
    lab.kill_daemon();
    assert_eq!(lab.rdock(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout, "one\ngone\nother\n");
    lab.rdock(["ps", "-aq", "--filter", "status=exited", "--filter", "name=^one$", "--format", "x"]).ok();
    let sized = lab.rdock(["ps", "-as", "--format", "{{.Names}} {{.Size}}"]).ok().stdout;
    assert!(sized.starts_with("one 0B (virtual ") && sized.lines().count() == 3, "{sized}");
    assert_eq!(lab.rdock(["ps", "-a", "--filter", "before=gone", "--format", "{{.Names}}"]).ok().stdout, "other\n");
    assert_eq!(lab.rdock(["ps", "--filter", "since=other", "--format", "{{.Names}}"]).ok().stdout, "one\ngone\n");
    let _ = lab.rdock(["ps", "--filter", "health=bad"]).fails(1, "unrecognized filter value for health: bad");
    let prompt = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ";
    lab.rdock(["container", "prune"]).is(0, prompt, "");
    lab.rdock(["container", "prune", "-f", "--filter", "until=1h"]).is(0, "Total reclaimed space: 0B\n", "");
    let _ = lab.rdock(["container", "prune", "-f", "--filter", "colour=red"]).fails(1, "invalid filter 'colour'");
    let pruned = run(lab.command(["container", "prune"]), b"y\n").ok().stdout;
    assert!(pruned.starts_with(&format!("{prompt}Deleted Containers:\n")), "{pruned}");
    assert!(pruned.ends_with("\n\nTotal reclaimed space: 0B\n"), "{pruned}");
    let ids = lab.rdock(["ps", "-aq"]).ok().stdout;
    assert_eq!(ids.lines().count(), 2);
    let _ = lab.rdock(["rm", "-f"].into_iter().chain(ids.lines())).ok();
    lab.rdock(["ps", "-aq"]).is(0, "", "");
}

/// SIGKILL the daemon while many containers run; all that happened meanwhile is known to the next one.
#[test]
fn many_containers_outlive_their_daemon() {
    let Some(lab) = lab() else { return };
    let many: usize = std::env::var("RDOCK_TESTS_MANY").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let name = |n: usize| format!("c{n:02}");
    for n in 0..many {
        // Each third one ends while there is no daemon, with a status of its own; it is told to by its input's end.
        let script = format!(
            "i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo $i; done; [ {} = 0 ] || exec sleep 1000; while [ ! -e /go ]; do sleep 0.05; done; echo 501; exit {}",
            n % 3,
            n % 100
        );
        let _ = lab.rdock(["run", "-d", "--name", &name(n), "centos", "sh", "-c", &script]).ok();
    }
    let pids: Vec<i64> = (0..many).map(|n| state(&lab, &name(n))["Pid"].as_i64().unwrap()).collect();
    lab.kill_daemon();
    for n in (0..many).step_by(3) {
        std::fs::write(format!("/proc/{}/root/go", pids[n]), "").unwrap();
    }
    for n in (0..many).step_by(3) {
        wait_for("an end", || (!std::path::Path::new(&format!("/proc/{}", pids[n])).exists()).then_some(()));
    }
    lab.start_daemon();
    for (n, pid) in pids.iter().enumerate() {
        let seen = state(&lab, &name(n));
        match n % 3 {
            0 => assert_eq!((&seen["Status"], &seen["ExitCode"]), (&json!("exited"), &json!(n % 100)), "{n}"),
            _ => assert_eq!((&seen["Status"], &seen["Pid"]), (&json!("running"), &json!(pid)), "{n}"),
        }
        let last = if n % 3 == 0 { 501 } else { 500 };
        let complete = || {
            let log = lab.rdock(["logs", &name(n)]).ok().stdout;
            log.lines().map(|l| l.parse::<u32>().unwrap()).eq(1..=last).then_some(())
        };
        wait_for("the whole log, each line once", complete);
    }
    let names: Vec<String> = (0..many).map(name).collect();
    let _ = lab.rdock(["rm", "-f"].into_iter().chain(names.iter().map(String::as_str))).ok();
}

/// Eight clients do what they like to the same few containers. Whatever each of them is answered, the engine stays
/// whole: a container is what its process is, and afterwards nothing is left.
#[test]
fn racing_clients_never_corrupt_a_container() {
    let Some(lab) = lab() else { return };
    let operations: u64 = std::env::var("RDOCK_TESTS_OPERATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(240);
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for client in 0..8u64 {
            let (lab, done) = (&lab, &done);
            scope.spawn(move || {
                let mut seed = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(client + 1);
                while done.fetch_add(1, Ordering::Relaxed) < operations {
                    // xorshift64
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    one_operation(lab, seed);
                }
            });
        }
    });
    let (status, all) = api::request(&lab, "GET", "/containers/json?all=1", None);
    assert_eq!(status, 200);
    for container in all.as_array().unwrap() {
        let id = container["Id"].as_str().unwrap();
        // It may end or be started again by its policy at any moment: at some moment both agree.
        wait_for("a state that is true", || {
            let seen = state(&lab, id);
            let pid = seen["Pid"].as_i64().unwrap();
            let alive = pid != 0 && std::path::Path::new(&format!("/proc/{pid}")).exists();
            ((seen["Running"] == true && seen["Restarting"] == false) == alive).then_some(())
        });
        let (status, answer) = api::request(&lab, "DELETE", &format!("/containers/{id}?force=1"), None);
        assert_eq!(status, 204, "{answer}");
    }
    assert_eq!(std::fs::read_dir(lab.home().join("data/containers")).unwrap().count(), 0);
    let (_, rest) = api::request(&lab, "GET", "/containers/json?all=1", None);
    assert_eq!(rest, json!([]));
}

/// What is answered must be an answer: never 500, never a broken connection.
fn one_operation(lab: &Lab, seed: u64) {
    let name = ["red", "green", "blue"][(seed >> 8) as usize % 3];
    let other = ["red", "green", "blue"][(seed >> 16) as usize % 3];
    let policy = if seed & (1 << 40) == 0 { "no" } else { "always" };
    let body = json!({"Image": "centos", "Cmd": ["sleep", if seed & (1 << 41) == 0 { "0.05" } else { "1000" }],
        "HostConfig": {"RestartPolicy": {"Name": policy}}});
    let post = |path: String| api::request(lab, "POST", &path, Some(&json!({})));
    let (status, answer) = match (seed >> 24) % 9 {
        0 | 1 => api::post(lab, &format!("/containers/create?name={name}"), &body),
        2 | 3 => post(format!("/containers/{name}/start")),
        4 => post(format!("/containers/{name}/stop?t=0")),
        5 => post(format!("/containers/{name}/restart?t=0")),
        6 => post(format!("/containers/{name}/rename?name={other}")),
        7 => api::request(lab, "DELETE", &format!("/containers/{name}?force={}", (seed >> 30) & 1), None),
        _ => post(format!("/containers/{name}/{}", if seed & (1 << 42) == 0 { "pause" } else { "unpause" })),
    };
    assert!(matches!(status, 200..=204 | 304 | 400 | 404 | 409), "{status} {answer}");
}

#[test]
fn a_health_check_runs_in_the_container_and_tells_what_it_finds() {
    let Some(lab) = lab() else { return };
    let millis = |n: i64| n * 1_000_000;
    let body = json!({"Image": "centos", "Cmd": ["sleep", "1000"], "Healthcheck": {
        "Test": ["CMD-SHELL", "echo looked; test -e /well"], "Interval": millis(100), "Retries": 2}});
    let _ = api::create(&lab, "ward", &body);
    let _ = lab.rdock(["start", "ward"]).ok();
    let status = |wanted: &str| {
        wait_for(wanted, || {
            let seen = state(&lab, "ward")["Health"].clone();
            (seen["Status"] == wanted).then_some(seen)
        })
    };
    let unwell = status("unhealthy");
    assert!(unwell["FailingStreak"].as_u64() >= Some(2), "{unwell}");
    let probe = &unwell["Log"][0];
    assert_eq!((&probe["ExitCode"], &probe["Output"]), (&json!(1), &json!("looked\n")));
    std::fs::write(format!("/proc/{}/root/well", state(&lab, "ward")["Pid"]), "").unwrap();
    assert_eq!(status("healthy")["FailingStreak"], 0);
    let listed = lab.rdock(["ps", "--filter", "health=healthy", "--format", "{{.Status}}"]).ok().stdout;
    assert!(listed.starts_with("Up ") && listed.ends_with(" (healthy)\n"), "{listed}");
    let well = format!("/proc/{}/root/well", state(&lab, "ward")["Pid"]);
    lab.kill_daemon();
    std::fs::remove_file(well).unwrap();
    lab.start_daemon();
    assert!(status("unhealthy")["Log"].as_array().unwrap().len() <= 5, "the next daemon goes on looking");
    let _ = lab.rdock(["rm", "-f", "ward"]).ok();

    let slow = json!({"Image": "centos", "Cmd": ["sleep", "1000"], "Healthcheck": {
        "Test": ["CMD", "sleep", "999"], "Interval": millis(10), "Timeout": millis(100), "Retries": 1}});
    let _ = api::create(&lab, "slow", &slow);
    let _ = lab.rdock(["start", "slow"]).ok();
    let probe = wait_for("a probe that takes too long", || {
        state(&lab, "slow")["Health"]["Log"].as_array().and_then(|log| log.first().cloned())
    });
    assert_eq!((&probe["ExitCode"], &probe["Output"]), (&json!(-1), &json!("Health check exceeded timeout (100ms)")));
    let _ = lab.rdock(["rm", "-f", "slow"]).ok();
}
