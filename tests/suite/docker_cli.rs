//! The unmodified `docker` command, on rdock's socket.

use super::support::lab::run;
use super::support::need::Need;
use super::support::{Answer, Lab, need};
use serde_json::Value;

fn lab() -> Option<Lab> {
    need(&[Need::Root, Need::DockerCli]).then(|| {
        let lab = Lab::new();
        lab.start_daemon();
        lab
    })
}

#[must_use]
fn docker(lab: &Lab, args: &[&str]) -> Answer {
    docker_with_input(lab, args, b"")
}

#[must_use]
fn docker_with_input(lab: &Lab, args: &[&str], input: &[u8]) -> Answer {
    let mut command = lab.program("docker");
    command.args(args).env("DOCKER_HOST", lab.host());
    run(command, input)
}

#[test]
fn docker_version_and_info_know_the_server() {
    let Some(lab) = lab() else { return };
    let version = docker(&lab, &["version"]).ok();
    assert!(version.stdout.contains("Server:") && version.stdout.contains("rdock"), "{version:?}");
    let api = docker(&lab, &["version", "--format", "{{.Server.APIVersion}} {{.Server.Os}}"]).ok();
    assert!(api.stdout.starts_with("1.") && api.stdout.ends_with(" linux\n"), "{api:?}");
    let info = docker(&lab, &["info", "--format", "{{.Containers}} {{.Images}} {{.Driver}} {{.OSType}}"]).ok();
    assert_eq!(info.stdout, "0 0 overlay2 linux\n", "{info:?}");
}

#[test]
fn docker_pulls_runs_lists_inspects_and_removes() {
    let Some(lab) = lab() else { return };
    let pulled = docker(&lab, &["pull", "centos"]).ok();
    for line in [
        "Using default tag: latest\n",
        "latest: Pulling from library/centos\n",
        ": Pull complete\n",
        "Status: Downloaded newer image for centos:latest\ndocker.io/library/centos:latest\n",
    ] {
        assert!(pulled.stdout.contains(line), "{line:?} is not in {pulled:#?}");
    }
    let again = docker(&lab, &["pull", "centos"]).ok();
    assert!(again.stdout.contains("Status: Image is up to date for centos:latest\n"), "{again:?}");
    let images = docker(&lab, &["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]).ok();
    assert!(images.stdout.starts_with("centos:latest ") && images.stdout.trim().len() == 26, "{images:?}");

    docker(&lab, &["run", "--rm", "centos", "sh", "-c", "echo out; echo err >&2; exit 7"]).is(7, "out\n", "err\n");
    docker_with_input(&lab, &["run", "-i", "--rm", "centos", "cat"], b"through the wire").is(0, "through the wire", "");
    let _ = docker(&lab, &["run", "--name", "one", "-e", "A=b", "centos", "true"]).ok();
    let listed = docker(&lab, &["ps", "-a", "--format", "{{.Names}} {{.Image}} {{.Command}} {{.Status}}"]).ok();
    assert!(listed.stdout.starts_with("one centos \"true\" Exited (0) "), "{listed:?}");
    let inspected = docker(&lab, &["inspect", "one"]).ok();
    let value: Value = serde_json::from_str(&inspected.stdout).unwrap();
    assert_eq!(value[0]["Name"], "/one");
    assert_eq!(value[0]["State"]["Status"], "exited");
    assert_eq!(value[0]["Config"]["Cmd"][0], "true");
    assert!(value[0]["Config"]["Env"].as_array().unwrap().iter().any(|e| e == "A=b"));
    docker(&lab, &["rm", "one"]).is(0, "one\n", "");
    docker(&lab, &["ps", "-aq"]).is(0, "", "");
}

#[test]
fn docker_gets_its_own_words_for_errors() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let missing = docker(&lab, &["run", "centos", "nosuchcommand"]);
    let _ = missing.fails(127, "exec: \"nosuchcommand\": executable file not found in $PATH");
    let _ = docker(&lab, &["run", "centos", "/etc"]).fails(126, "permission denied");
    let _ = docker(&lab, &["rm", "nosuch"]).fails(1, "Error response from daemon: No such container: nosuch");
    let inspected = docker(&lab, &["inspect", "nosuch"]).fails(1, "No such object: nosuch");
    assert_eq!(inspected.stdout.trim(), "[]");
    let conflict = ["run", "--name", "twice", "centos", "true"];
    let _ = docker(&lab, &conflict).ok();
    let _ =
        docker(&lab, &conflict).fails(125, "Conflict. The container name \"/twice\" is already in use by container");
}

/// A detached one, from start to end, seen by both clients.
#[test]
fn docker_and_rdock_see_the_same_containers() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let id = docker(&lab, &["run", "-d", "--name", "bg", "centos", "sleep", "1000"]).ok().stdout.trim().to_owned();
    assert_eq!(lab.rdock(["ps", "-q", "--no-trunc"]).ok().stdout.trim(), id);
    docker(&lab, &["kill", "bg"]).is(0, "bg\n", "");
    docker(&lab, &["wait", "bg"]).is(0, "137\n", "");
    lab.rdock(["rm", "bg"]).is(0, "bg\n", "");
    docker(&lab, &["ps", "-aq"]).is(0, "", "");
}

#[test]
fn dockers_run_on_a_terminal_works() {
    let Some(mut lab) = lab() else { return };
    let host = lab.host();
    lab.env("DOCKER_HOST", host);
    let lab = lab.with_image("centos");
    let mut terminal =
        super::support::terminal::Terminal::program(&lab, "docker", &["run", "--rm", "-it", "centos"], 31, 99);
    terminal.expect(" /]# ");
    // docker sets the size when the container has started: until it has, the answer is 0 0.
    terminal.send("until [ \"$(stty size)\" = '31 99' ]; do :; done; echo sized\r");
    terminal.expect("\rsized\r\n");
    terminal.send("exit 3\r");
    assert_eq!(terminal.end().0, 3);
}
