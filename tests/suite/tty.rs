//! A person before a terminal: `run -it`.

use super::support::lab::{Background, RDOCK};
use super::support::need::Need;
use super::support::terminal::Terminal;
use super::support::{Lab, api, need, wait_for};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

fn lab() -> Option<Lab> {
    need(&[Need::Root]).then(|| Lab::new().with_image("centos"))
}

/// `[root@82893955fb41 /]# `: the id between is given back.
fn prompt(terminal: &mut Terminal) -> String {
    let text = terminal.expect(" /]# ");
    let at = text.rfind("[root@").unwrap_or_else(|| panic!("no prompt in {text:?}"));
    let id: String = text[at + 6..].chars().take_while(|c| *c != ' ').collect();
    assert!(id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{text:?}");
    id
}

#[test]
fn bash_shows_the_documents_prompt_and_exit_ends_it() {
    let Some(lab) = lab() else { return };
    let mut terminal = Terminal::rdock(&lab, &["run", "-it", "centos", "/bin/bash"], 24, 80);
    let id = prompt(&mut terminal);
    terminal.send("ls /\r");
    let listing = terminal.expect("[root@");
    for name in ["bin", "lost+found", "var"] {
        assert!(listing.contains(name), "{listing:?}");
    }
    terminal.send("exit\r");
    let (status, shown) = terminal.end();
    assert_eq!(status, 0);
    assert!(shown.trim_end().ends_with("exit"), "{shown:?}");
    assert_eq!(lab.rdock(["ps", "-aq"]).ok().stdout.trim(), id);
    assert_eq!(lab.rdock(["ps", "-q"]).ok().stdout, "");
}

#[test]
fn the_status_comes_through_a_terminal() {
    let Some(lab) = lab() else { return };
    let mut terminal = Terminal::rdock(&lab, &["run", "--rm", "-it", "centos"], 24, 80);
    prompt(&mut terminal);
    terminal.send("exit 3\r");
    assert_eq!(terminal.end().0, 3);
}

#[test]
fn the_window_has_the_clients_size_and_follows_it() {
    let Some(lab) = lab() else { return };
    let mut terminal = Terminal::rdock(&lab, &["run", "--rm", "-it", "centos"], 33, 101);
    prompt(&mut terminal);
    terminal.send("stty size; tty\r");
    terminal.expect("33 101\r\n/dev/pts/0\r\n");
    prompt(&mut terminal);
    // bash learns of the new size by SIGWINCH; the trap tells when it has come.
    // It reads until then, since a trap waits for the end of the command at hand.
    terminal.send("trap 'echo now $(stty size); d=1' WINCH; echo ready; while [ -z \"$d\" ]; do read -t 0.1 x; done\r");
    terminal.expect("ready\r\n");
    terminal.resize(40, 120);
    terminal.expect("now 40 120");
    prompt(&mut terminal);
    terminal.send("exit 0\r");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn ctrl_c_goes_to_the_container_and_not_to_the_client() {
    let Some(lab) = lab() else { return };
    let mut terminal = Terminal::rdock(&lab, &["run", "--rm", "-it", "centos"], 24, 80);
    prompt(&mut terminal);
    // The program says itself that it has begun (typed in two halves, so that the echo does not say it first).
    terminal.send("sh -c 'echo be\"\"gun; exec sleep 1000'; echo status $?\r");
    terminal.expect("begun\r\n");
    terminal.send("\x03");
    prompt(&mut terminal);
    terminal.send("echo still here\r");
    terminal.expect("\rstill here\r\n");
    terminal.send("exit\r");
    terminal.end();
}

#[test]
fn ctrl_p_ctrl_q_leaves_it_running_and_attach_comes_back() {
    let Some(lab) = lab() else { return };
    let mut terminal = Terminal::rdock(&lab, &["run", "-it", "--name", "left", "centos"], 24, 80);
    prompt(&mut terminal);
    terminal.send("x=kept\r");
    prompt(&mut terminal);
    terminal.send("\x10\x11");
    assert_eq!(terminal.end().0, 0);
    let listed = lab.rdock(["ps"]).ok();
    assert!(listed.stdout.contains("left") && listed.stdout.contains("Up "), "{listed:?}");
    let mut again = Terminal::rdock(&lab, &["attach", "left"], 24, 80);
    again.send("echo $x\r");
    again.expect("\rkept\r\n");
    again.send("exit 5\r");
    assert_eq!(again.end().0, 5);
}

#[test]
fn the_terminal_is_as_before_when_the_client_has_gone() {
    let Some(lab) = lab() else { return };
    // The shell around it shows the settings before and after: the same, however the container ended.
    let script = format!(
        "stty -g; {} run --rm -it centos sh -c 'exit 1'; {} run --rm -it centos nosuchcommand; stty -g; echo END",
        super::support::lab::RDOCK,
        super::support::lab::RDOCK
    );
    let mut terminal = Terminal::program(&lab, "sh", &["-c", &script], 24, 80);
    terminal.expect("END");
    let (_, shown) = terminal.end();
    let settings: Vec<&str> = shown.lines().filter(|l| l.matches(':').count() > 20).map(str::trim).collect();
    assert_eq!(settings.len(), 2, "{shown:?}");
    assert_eq!(settings[0], settings[1]);
}

#[test]
fn a_terminal_for_the_container_needs_one_at_the_client() {
    let Some(lab) = lab() else { return };
    let _ = lab.rdock(["run", "--rm", "-it", "centos", "true"]).fails(1, "the input device is not a TTY");
    // -t alone is allowed: output of a terminal, carriage returns and all.
    lab.rdock(["run", "--rm", "-t", "centos", "echo", "hi"]).is(0, "hi\r\n", "");
}

#[test]
fn the_terminal_belongs_to_the_user() {
    let Some(lab) = lab() else { return };
    let shown = lab.rdock(["run", "--rm", "-t", "-u", "1000", "centos", "stat", "-c", "%u %a", "/dev/pts/0"]).ok();
    assert_eq!(shown.stdout, "1000 620\r\n");
    let console = lab
        .rdock([
            "run",
            "--rm",
            "-t",
            "centos",
            "sh",
            "-c",
            "test -c /dev/console && test -t 0 && test -t 2 && ps -o tty= 1",
        ])
        .ok();
    assert_eq!(console.stdout.trim(), "pts/0");
}

#[test]
fn jobs_stop_and_go_on_and_the_end_of_input_ends_the_shell() {
    let Some(lab) = lab() else { return };
    let mut terminal = Terminal::rdock(&lab, &["run", "--rm", "-it", "centos", "/bin/bash"], 24, 80);
    prompt(&mut terminal);
    terminal.send("sh -c 'echo be\"\"gun; exec sleep 1000'\r");
    terminal.expect("begun\r\n");
    terminal.send("\x1a");
    terminal.expect("Stopped");
    prompt(&mut terminal);
    terminal.send("jobs; bg >/dev/null; kill %1; wait; echo no more\" \"jobs\r");
    terminal.expect("no more jobs\r\n");
    prompt(&mut terminal);
    // What Ctrl-C interrupts is the line, not the shell; Ctrl-D at its beginning is the end of input.
    terminal.send("half a line\x03");
    prompt(&mut terminal);
    terminal.send("\x04");
    let (status, shown) = terminal.end();
    assert_eq!(status, 130, "bash ends with the status of what was interrupted: {shown:?}");
}

#[test]
fn the_keys_to_leave_can_be_chosen() {
    let Some(lab) = lab() else { return };
    let refused = lab.rdock(["run", "--detach-keys", "ctrl-p,nope", "centos"]);
    let _ = refused.fails(125, "invalid detach keys (ctrl-p,nope): Unknown character: 'nope'");
    let keys = ["run", "-it", "--name", "keyed", "--detach-keys", "ctrl-a,x", "centos"];
    let mut terminal = Terminal::rdock(&lab, &keys, 24, 80);
    prompt(&mut terminal);
    // The usual keys mean nothing now: bash gets them (Ctrl-P is its last line, Ctrl-Q nothing).
    terminal.send("\x10\x11echo still\" \"here\r");
    terminal.expect("still here\r\n");
    terminal.send("\x01x");
    assert_eq!(terminal.end().0, 0);
    // `attach` has keys of its own, or those of the configuration file.
    let mut again = Terminal::rdock(&lab, &["attach", "--detach-keys", "ctrl-]", "keyed"], 24, 80);
    again.send("echo again\" \"here\r");
    again.expect("again here\r\n");
    again.send("\x1d");
    let (status, shown) = again.end();
    assert_eq!((status, shown.ends_with("read escape sequence\r\n")), (1, true), "{shown:?}");
    let config = lab.file("user").join(".docker");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(config.join("config.json"), r#"{"detachKeys": "q,q"}"#).unwrap();
    let mut third = Terminal::rdock(&lab, &["attach", "keyed"], 24, 80);
    third.send("echo third\" \"time\r");
    third.expect("third time\r\n");
    third.send("qq");
    assert_eq!(third.end().0, 1);
    lab.rdock(["stop", "-t", "0", "keyed"]).is(0, "keyed\n", "");
    let mut started = Terminal::rdock(&lab, &["start", "-ai", "--detach-keys", "ctrl-b", "keyed"], 24, 80);
    prompt(&mut started);
    started.send("\x02");
    assert_eq!(started.end().0, 0);
    lab.rdock(["ps", "--format", "{{.Names}}"]).is(0, "keyed\n", "");
}

#[test]
fn attach_shows_without_typing_passes_signals_and_ends_as_the_container_does() {
    let Some(lab) = lab() else { return };
    let script = "trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; echo up; while :; do sleep 0.1; done";
    lab.rdock(["run", "-d", "-i", "--name", "bg", "centos", "sh", "-c", script]).ok();
    let attach = |args: &[&str]| {
        let mut command = lab.command(args);
        Background(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let kill = |client: &Background, signal| {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(client.0.id() as i32), signal).unwrap();
    };
    let line = |client: &mut Background| {
        let mut bytes = [0; 5];
        client.0.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut quiet = attach(&["attach", "--no-stdin", "--sig-proxy=false", "bg"]);
    let mut proxy = attach(&["attach", "--no-stdin", "bg"]);
    // Both are there when what the container says has come to both.
    lab.rdock(["kill", "-s", "USR1", "bg"]).ok();
    let (first, second) = (line(&mut quiet), line(&mut proxy));
    assert_eq!((first.as_str(), second.as_str()), ("usr1\n", "usr1\n"));
    kill(&quiet, nix::sys::signal::Signal::SIGTERM);
    let ended = wait_for("the client without a proxy", || quiet.0.try_wait().unwrap());
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(15));
    lab.rdock(["ps", "-q", "--filter", "name=bg"]).ok();
    kill(&proxy, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(line(&mut proxy), "term\n");
    assert_eq!(wait_for("the other client", || proxy.0.try_wait().unwrap()).code(), Some(9));
    lab.rdock(["attach", "bg"]).is(1, "", "cannot attach to a stopped container, start it first\n");
    let _ = lab.rdock(["attach", "nosuch"]).fails(1, "No such container: nosuch");
}

/// The shell around the client shows its settings before and after, and the container is found again.
#[test]
fn a_daemon_that_dies_leaves_a_sane_terminal_and_a_container_to_come_back_to() {
    let Some(lab) = lab() else { return };
    let script = format!("stty -g; {RDOCK} run -it --name kept centos; echo status $?; stty -g; echo E\"\"ND");
    let mut terminal = Terminal::program(&lab, "sh", &["-c", &script], 24, 80);
    prompt(&mut terminal);
    terminal.send("x=kept\r");
    prompt(&mut terminal);
    let pid = nix::unistd::Pid::from_raw(lab.daemon_pid().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    terminal.expect("END");
    let (_, shown) = terminal.end();
    assert!(shown.contains("rdock: the connection to the daemon was lost"), "{shown:?}");
    assert!(shown.contains("status 125"), "{shown:?}");
    let settings: Vec<&str> = shown.lines().filter(|l| l.matches(':').count() > 20).map(str::trim).collect();
    assert_eq!((settings.len(), settings[0]), (2, settings[settings.len() - 1]), "{shown:?}");
    let mut again = Terminal::rdock(&lab, &["attach", "kept"], 24, 80);
    again.send("echo $x\r");
    again.expect("\rkept\r\n");
    again.send("exit 6\r");
    assert_eq!(again.end().0, 6);
}

#[test]
fn dockers_client_leaves_and_comes_back() {
    if !need(&[Need::DockerCli]) {
        return;
    }
    let Some(mut lab) = lab() else { return };
    let host = lab.host();
    lab.env("DOCKER_HOST", host);
    let mut terminal = Terminal::program(&lab, "docker", &["run", "-it", "--name", "left", "centos"], 24, 80);
    prompt(&mut terminal);
    terminal.send("x=kept\r");
    prompt(&mut terminal);
    terminal.send("\x10\x11");
    assert_eq!(terminal.end().0, 0);
    let mut again = Terminal::program(&lab, "docker", &["attach", "left"], 24, 80);
    again.send("echo $x\r");
    again.expect("\rkept\r\n");
    again.send("\x10\x11");
    again.end();
    // The same container, from rdock's client.
    let mut ours = Terminal::rdock(&lab, &["attach", "left"], 24, 80);
    ours.send("echo $x; exit 5\r");
    ours.expect("\rkept\r\n");
    assert_eq!(ours.end().0, 5);
}

/// A client that looks for no keys itself: the daemon does, for containers and for what is added to them.
#[test]
fn the_daemon_looks_for_the_keys_too() {
    let Some(lab) = lab() else { return };
    lab.rdock(["run", "-dit", "--name", "left", "centos", "sh", "-c", "stty -echo; cat"]).ok();
    let refused = api::request(&lab, "POST", "/containers/left/attach?stream=1&stdin=1&detachKeys=nope", None);
    assert_eq!((refused.0, refused.1["message"].as_str()), (400, Some("Invalid detach keys (nope) provided")));
    for (query, keys) in [("", "\x10\x11"), ("&detachKeys=ctrl-a,x", "\x01x")] {
        let mut client = api::hijack(&lab, &format!("/containers/left/attach?stream=1&stdin=1&stdout=1{query}"));
        client.write_all(format!("word{keys}never\r").as_bytes()).unwrap();
        // The connection ends here, and the container's life does not.
        let mut shown = Vec::new();
        client.read_to_end(&mut shown).unwrap();
        assert!(!String::from_utf8_lossy(&shown).contains("never"), "{shown:?}");
    }
    let (_, made) = api::post(
        &lab,
        "/containers/left/exec",
        &json!({"Tty": true, "AttachStdin": true, "AttachStdout": true, "DetachKeys": "q", "Cmd": ["cat"]}),
    );
    let id = made["Id"].as_str().unwrap();
    let mut client = api::hijack(&lab, &format!("/exec/{id}/start"));
    client.write_all(b"q").unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    let (_, exec) = api::request(&lab, "GET", &format!("/exec/{id}/json"), None);
    assert_eq!(exec["Running"], true, "{exec}");
    assert_eq!(api::inspect(&lab, "left")["State"]["Running"], true);
    let now = lab.program("date").arg("+%s.%N").output().unwrap().stdout;
    let now = String::from_utf8(now).unwrap();
    let told = lab.rdock(["events", "--since", "10m", "--until", now.trim(), "--format", "{{.Action}}"]).ok();
    let times = |action: &str| told.stdout.lines().filter(|line| *line == action).count();
    assert_eq!((times("detach"), times("exec_detach")), (2, 1), "{told:?}");
}
