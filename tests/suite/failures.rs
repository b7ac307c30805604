//! Things that go wrong: one sentence, nothing half-made, and the next command works.

use super::support::hub::HubStore;
use super::support::lab::{Background, RDOCK};
use super::support::need::Need;
use super::support::{Answer, Lab, need, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

fn lab() -> Option<Lab> {
    need(&[Need::Root]).then(Lab::new)
}

#[track_caller]
fn nothing_half_made(lab: &Lab) {
    assert_eq!(lab.half_made(), Vec::<PathBuf>::new());
    assert_eq!(lab.containers_on_disk(), Vec::<PathBuf>::new());
}

/// One layer of centos is served wrongly: the fault's name in `faults.json`, and words of the answer.
fn broken_layer(fault: &str, words: &[&str]) {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("hello-world");
    // The same host and recipe give the same digests: another home's hub tells which layers there will be.
    let other = Lab::new().with_image("centos");
    let (digest, _) = HubStore::of(&other).image("centos").layers.last().unwrap().clone();
    let hub = HubStore::of(&lab);
    hub.faults(Some(format!("{{\"{fault}\": \"{digest}\"}}")));
    for (command, status) in [(["pull", "centos"], 1), (["run", "centos"], 125)] {
        let answer = lab.rdock(command);
        let answer = words.iter().fold(answer, |a, w| a.fails(status, w));
        assert!(answer.stderr.contains(&digest[7..19]), "which layer it is: {answer:?}");
        nothing_half_made(&lab);
    }
    assert!(!lab.rdock(["images"]).ok().stdout.contains("centos"));
    hub.faults(None);
    lab.rdock(["run", "--rm", "centos", "echo", "well again"]).ok();
    assert!(lab.rdock(["images"]).ok().stdout.contains("centos"));
}

#[test]
fn a_layer_with_a_wrong_digest_is_refused() {
    broken_layer("corrupt", &["instead of"]);
}

#[test]
fn a_layer_that_is_cut_short_is_refused() {
    broken_layer("truncate", &["cut short"]);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let Some(mut lab) = lab() else { return };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    lab.env("RDOCK_HUB_LISTEN", address.as_str());
    let answer = lab.rdock(["run", "hello-world"]);
    assert_ne!(answer.status, 0, "{answer:?}");
    let status = answer.status;
    let answer = answer.fails(status, &address);
    assert!(answer.stderr.contains("another program"), "{answer:?}");
    drop(taken);
    let _ = lab.rdock(["run", "--rm", "hello-world"]).ok();
}

#[test]
fn somebody_elses_socket_is_a_sentence_with_a_hint() {
    if !need(&[Need::Root, Need::UtilLinux]) {
        return;
    }
    let lab = Lab::new();
    lab.start_daemon();
    std::fs::set_permissions(lab.home(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = lab.shared_binary();
    let mut command = lab.program("setpriv");
    command.args(["--reuid=65431", "--regid=65431", "--clear-groups"]).arg(binary).arg("ps").env("HOME", "/");
    let answer = super::support::lab::run(command, b"");
    let status = answer.status;
    let answer = answer.fails(status, "permission denied");
    assert_ne!(answer.status, 0);
    assert!(answer.stderr.contains("hint: "), "{answer:?}");
    let _ = lab.rdock(["ps"]).ok();
}

#[test]
fn a_dead_daemons_socket_is_no_obstacle() {
    let Some(lab) = lab() else { return };
    lab.start_daemon();
    let pid = lab.daemon_pid().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_for("the daemon's end", || std::os::unix::net::UnixStream::connect(lab.socket()).err());
    assert!(lab.socket().exists());
    let _ = lab.rdock(["run", "--rm", "hello-world"]).ok();
    assert_ne!(lab.daemon_pid(), Some(pid));
}

#[test]
fn a_full_disk_is_said_and_room_helps() {
    if !need(&[Need::Root, Need::UtilLinux]) {
        return;
    }
    let lab = Lab::new();
    // The hub's own images are there already; how it says that it can't make them is another test.
    let other = Lab::new().with_image("centos").with_image("hello-world");
    let hub = other.home().join("data/hub");
    // A small file system over the home, in a mount namespace that ends with the script.
    let script = r#"
        set -u
        mount -t tmpfs -o size=400m none "$RDOCK_HOME"
        mkdir "$RDOCK_HOME/data" && cp -a "$2" "$RDOCK_HOME/data/hub"
        "$1" pull -q hello-world || exit 90
        room=$(df --output=avail -k "$RDOCK_HOME" | tail -n 1)
        head -c "$((room - 2048))K" /dev/zero > "$RDOCK_HOME/filler"
        "$1" pull centos; echo "pull: $?"
        "$1" run centos; echo "run: $?"
        find "$RDOCK_HOME/data/snapshots" -mindepth 1 -maxdepth 1 -type d | while read -r d; do
            test -e "$d/layer.json" || echo "half-made: $d"
        done
        rm "$RDOCK_HOME/filler"
        "$1" run --rm centos echo room again; echo "again: $?"
        "$1" daemon stop
    "#;
    let mut command = lab.program("unshare");
    command.args(["--mount", "sh", "-c", script, "sh", RDOCK]).arg(hub);
    let answer = super::support::lab::run(command, b"");
    let answer = answer.fails(0, "no space left").fails(0, "RDOCK_HOME");
    let last: Vec<&str> = answer.stdout.lines().rev().take(2).collect();
    assert_eq!(last, ["again: 0", "room again"], "{answer:#?}");
    assert!(answer.stdout.contains("pull: 1\n") && answer.stdout.contains("run: 125\n"), "{answer:#?}");
    assert!(!answer.stdout.contains("half-made"), "{answer:#?}");
}

/// Kills the daemon as soon as `condition` holds while `args` are under way, and gives back the client's answer.
fn killed_while(lab: &Lab, args: &[&str], mut condition: impl FnMut() -> bool) -> Answer {
    let pid = lab.daemon_pid().unwrap();
    let mut command = lab.command(args);
    let out = lab.file("killed.out");
    let file = std::fs::File::create(&out).unwrap();
    command.stdout(Stdio::from(file.try_clone().unwrap())).stderr(Stdio::from(file));
    let mut client = Background(command.spawn().unwrap());
    wait_for("the moment to kill the daemon", || {
        (condition() || matches!(client.0.try_wait(), Ok(Some(_)))).then_some(())
    });
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let status = wait_for("the client's end", || client.0.try_wait().unwrap());
    Answer { stdout: String::new(), stderr: std::fs::read_to_string(out).unwrap(), status: status.code().unwrap_or(-1) }
}

/// What is left of a download that was killed is taken up or swept away; at whatever moment it was.
#[test]
fn a_daemon_killed_in_a_pull_leaves_nothing_behind() {
    let Some(lab) = lab() else { return };
    lab.start_daemon();
    let _ = lab.rdock(["pull", "-q", "hello-world"]).ok();
    let blobs = lab.home().join("data/content/blobs/sha256");
    let layers = lab.home().join("data/snapshots");
    let count = |dir: &PathBuf| std::fs::read_dir(dir).into_iter().flatten().count();
    let (blobs_before, layers_before) = (count(&blobs), count(&layers));
    for when in ["at once", "with the first blob", "with the first layer"] {
        let moment = || match when {
            "with the first blob" => count(&blobs) > blobs_before,
            "with the first layer" => count(&layers) > layers_before,
            _ => true,
        };
        let answer = killed_while(&lab, &["pull", "centos"], moment);
        if answer.status != 0 {
            let _ = answer.fails(1, "daemon");
        }
        // The next command starts a daemon, which first of all cleans up.
        let _ = lab.rdock(["version"]).ok();
        assert_eq!(lab.half_made(), Vec::<PathBuf>::new(), "killed {when}");
    }
    let _ = lab.rdock(["run", "--rm", "centos", "true"]).ok();
}

#[test]
fn a_daemon_killed_while_a_container_runs_finds_it_again() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let running = lab.home().join("data/containers");
    let shim = || {
        let dirs = std::fs::read_dir(&running).into_iter().flatten().flatten();
        dirs.map(|d| lab.home().join("run/containers").join(d.file_name()).join("shim.sock")).any(|s| s.exists())
    };
    let answer = killed_while(&lab, &["run", "--name", "long", "centos", "sleep", "1000"], shim);
    assert_ne!(answer.status, 0, "{answer:?}");
    let listed = lab.rdock(["ps", "-a"]).ok();
    assert!(listed.stdout.contains("long"), "{listed:?}");
    let _ = lab.rdock(["rm", "-f", "long"]).ok();
    nothing_half_made(&lab);
    let _ = lab.rdock(["run", "--rm", "--name", "long", "centos", "true"]).ok();
}

#[test]
fn a_daemon_killed_while_it_makes_a_container_leaves_nothing_that_can_not_be_removed() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let made = lab.home().join("data/containers");
    for _ in 0..5 {
        let some = || std::fs::read_dir(&made).into_iter().flatten().count() > 0;
        let _ = killed_while(&lab, &["run", "--rm", "centos", "true"], some);
        let all = lab.rdock(["ps", "-aq"]).ok();
        for id in all.stdout.lines() {
            let _ = lab.rdock(["rm", "-f", id]).ok();
        }
        nothing_half_made(&lab);
    }
    let _ = lab.rdock(["run", "--rm", "centos", "true"]).ok();
}

/// The shim is the one process that nobody watches: without it the container ends, and all is told and tidied.
#[test]
fn a_killed_shim_takes_its_container_with_it() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let _ = lab.rdock(["run", "-d", "--name", "orphan", "centos", "sleep", "1000"]).ok();
    let inspected = lab.rdock(["inspect", "orphan"]).ok();
    let value: serde_json::Value = serde_json::from_str(&inspected.stdout).unwrap();
    let pid = value[0]["State"]["Pid"].as_i64().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent: i32 = stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    kill(Pid::from_raw(parent), Signal::SIGKILL).unwrap();
    let waited = lab.rdock(["wait", "orphan"]).ok();
    assert_ne!(waited.stdout.trim(), "0", "{waited:?}");
    let _ = lab.rdock(["rm", "orphan"]).ok();
    nothing_half_made(&lab);
}

/// All that could clean up is killed at once: shims with containers, those that were kept ready, the daemon.
#[test]
fn a_daemon_killed_with_its_shims_leaves_nothing_that_the_next_does_not_take_away() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let _ = lab.rdock(["run", "-d", "--name", "orphan", "centos", "sleep", "1000"]).ok();
    let daemon = lab.daemon_pid().unwrap();
    // One of the container, and two that are kept ready.
    let shims = wait_for("the shims", || Some(children(daemon)).filter(|shims| shims.len() == 3));
    // Stopped, the daemon sees none of the deaths.
    kill(Pid::from_raw(daemon), Signal::SIGSTOP).unwrap();
    for pid in shims.into_iter().chain([daemon]) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    wait_for("the daemon's end", || std::os::unix::net::UnixStream::connect(lab.socket()).err());
    let inspected = lab.rdock(["inspect", "orphan"]).ok();
    assert!(inspected.stdout.contains("\"Status\": \"dead\""), "{inspected:?}");
    assert_eq!(std::fs::read_dir(lab.home().join("run/containers")).into_iter().flatten().count(), 0);
    let _ = lab.rdock(["rm", "orphan"]).ok();
    nothing_half_made(&lab);
}

fn children(parent: i32) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent_of = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<i32>().ok()
    };
    pids.filter(|pid| parent_of(pid) == Some(parent)).collect()
}

/// Both witnesses of an interrupted client: the container of `run` is signalled, and the terminal's user gets 130.
#[test]
fn an_interrupted_client_interrupts_the_command() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let mut command =
        lab.command(["run", "--rm", "centos", "sh", "-c", "trap 'exit 9' INT; echo ready; while :; do sleep 1; done"]);
    let mut client = Background(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut ready = [0; 6];
    std::io::Read::read_exact(client.0.stdout.as_mut().unwrap(), &mut ready).unwrap();
    kill(Pid::from_raw(client.0.id() as i32), Signal::SIGINT).unwrap();
    let status = wait_for("the client's end", || client.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(9));
}
