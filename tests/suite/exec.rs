//! `rdock exec`: one more process in a container that runs.

use super::support::need::Need;
use super::support::terminal::Terminal;
use super::support::{Answer, Lab, need, wait_for};

/// A lab with a container named `box` that runs.
fn lab(options: &[&str]) -> Option<Lab> {
    need(&[Need::Root]).then(|| {
        let lab = Lab::new().with_image("centos");
        let run = ["run", "-d", "--name", "box", "-e", "A=1", "--network", "none"];
        lab.rdock([&run, options, &["centos", "sleep", "1000"]].concat()).ok();
        lab
    })
}

#[test]
fn a_command_runs_inside_and_its_status_and_streams_come_out() {
    let Some(lab) = lab(&["--hostname", "inside"]) else { return };
    lab.rdock(["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 7"]).is(7, "out\n", "err\n");
    lab.rdock(["exec", "box", "sh", "-c", "kill -9 $$"]).is(137, "", "");
    lab.rdock(["exec", "box", "hostname"]).is(0, "inside\n", "");
    // The same namespaces, one process more, under the first one's eyes.
    let same = "for n in mnt uts ipc net pid cgroup; do cmp -s <(readlink /proc/1/ns/$n) <(readlink /proc/self/ns/$n) || echo $n; done; ps -o args= 1";
    lab.rdock(["exec", "box", "bash", "-c", same]).is(0, "sleep 1000\n", "");
    lab.rdock_with_input(["exec", "-i", "box", "cat"], b"through").is(0, "through", "");
    lab.rdock_with_input(["exec", "box", "cat"], b"not without -i").is(0, "", "");
    let long = lab.rdock(["exec", "box", "seq", "1", "200000"]).ok();
    assert_eq!(long.stdout.lines().count(), 200_000, "no tail is lost");
    assert!(long.stdout.ends_with("\n200000\n"));
    // What a command leaves behind does not keep its caller for ever, and what it says soon still comes.
    lab.rdock(["exec", "box", "sh", "-c", "sleep 1000 & (read -t 0.2 x </dev/zero; echo late) & echo early"]).is(
        0,
        "early\nlate\n",
        "",
    );
    lab.rdock(["exec", "-d", "box", "sh", "-c", "echo kept > /tmp/kept"]).is(0, "", "");
    lab.rdock(["exec", "box", "sh", "-c", "until [ -s /tmp/kept ]; do read -t 0.01 x </dev/zero; done; cat /tmp/kept"])
        .is(0, "kept\n", "");
}

#[test]
fn environment_directory_and_user_are_the_containers_or_what_is_said() {
    let Some(lab) = lab(&["-w", "/tmp"]) else { return };
    let id = lab.rdock(["ps", "-q"]).ok().stdout;
    let own = format!(
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME={}\nA=1\nHOME=/root\n",
        id.trim()
    );
    lab.rdock(["exec", "box", "env"]).is(0, &own, "");
    let said = own.replace("A=1", "A=2").replace("HOME=/root\n", "") + "B=x y\nC=3\nHOME=/root\n";
    std::fs::write(lab.file("env"), "# a comment\nB=x y\n").unwrap();
    let file = lab.file("env").display().to_string();
    lab.rdock(["exec", "--env-file", &file, "-e", "A=2", "-e", "C=3", "box", "env"]).is(0, &said, "");
    lab.rdock(["exec", "box", "pwd"]).is(0, "/tmp\n", "");
    lab.rdock(["exec", "-w", "/etc", "box", "pwd"]).is(0, "/etc\n", "");
    lab.rdock(["exec", "-u", "1000:7", "box", "sh", "-c", "id -u; id -g; id -G"]).is(0, "1000\n7\n7\n", "");
    lab.rdock(["exec", "-u", "daemon", "box", "id", "-un"]).is(0, "daemon\n", "");
}

#[test]
fn what_can_not_be_run_is_told_in_dockers_words() {
    let Some(lab) = lab(&[]) else { return };
    let failed = |what: &str| {
        format!("OCI runtime exec failed: exec failed: unable to start container process: {what}: unknown\r\n")
    };
    let missing = failed("exec: \"nosuch\": executable file not found in $PATH");
    lab.rdock(["exec", "box", "nosuch"]).is(127, &missing, "");
    lab.rdock(["exec", "box", "/etc"]).is(126, &failed("exec: \"/etc\": permission denied"), "");
    lab.rdock(["exec", "box", "/no"]).is(127, &failed("exec: \"/no\": stat /no: no such file or directory"), "");
    let nowhere = failed("chdir to cwd (\"/nowhere\") set in config.json failed: no such file or directory");
    lab.rdock(["exec", "-w", "/nowhere", "box", "pwd"]).is(126, &nowhere, "");
    let nobody = "unable to find user nobodyhere: no matching entries in passwd file\r\n";
    lab.rdock(["exec", "-u", "nobodyhere", "box", "true"]).is(126, nobody, "");
    let _ = lab.rdock(["exec", "-d", "box", "nosuch"]).fails(
        1,
        "Error response from daemon: OCI runtime exec failed: exec failed: unable to start container process: exec: \"nosuch\": executable file not found in $PATH: unknown",
    );
    let _ = lab.rdock(["exec", "nosuch", "true"]).fails(1, "Error response from daemon: No such container: nosuch");
    let _ = lab.rdock(["exec", "-it", "box", "true"]).fails(1, "the input device is not a TTY");
    let keys = lab.rdock(["exec", "--detach-keys", "nosuch", "-t", "box", "true"]);
    let _ = keys.fails(1, "Error response from daemon: Invalid escape keys (nosuch) provided");
    let few = lab.rdock(["exec", "box"]).fails(1, "rdock: 'rdock exec' requires at least 2 arguments");
    assert!(few.stderr.ends_with("See 'rdock exec --help' for more information\n"), "{few:?}");
    // Nothing is left of what failed.
    lab.rdock(["exec", "box", "ps", "-e", "-o", "args="]).is(0, "sleep 1000\nps -e -o args=\n", "");
    lab.rdock(["kill", "box"]).ok();
    lab.rdock(["wait", "box"]).ok();
    let gone = lab.rdock(["exec", "box", "true"]).fails(1, "Error response from daemon: Container ");
    assert!(gone.stderr.ends_with(" is not running\n"), "{gone:?}");
}

/// The class of CVE-2024-21626 and CVE-2016-9962, and what a process may do.
#[test]
fn it_may_do_what_the_container_may_and_holds_nothing_of_the_engine() {
    let Some(lab) = lab(&[]) else { return };
    let bounds = "^(Cap(Eff|Prm|Bnd)|NoNewPrivs|Seccomp):";
    let of = |who: &str| lab.rdock(["exec", "box", "grep", "-E", bounds, &format!("/proc/{who}/status")]).ok().stdout;
    assert_eq!(of("self"), of("1"));
    assert!(of("self").contains("CapEff:\t00000000a80425fb"), "{}", of("self"));
    let open =
        lab.rdock(["exec", "box", "sh", "-c", "for f in /proc/self/fd/*; do readlink $f; done | grep -v ^pipe:"]);
    assert_eq!(open.stdout.replace(char::is_numeric, "N"), "/dev/null\n");
    let out = ["exec", "-w", "/proc/self/fd/7", "box", "pwd"];
    assert_ne!(lab.rdock(out).status, 0, "a descriptor of the engine can be a working directory");
    let groups = |who: &str| lab.rdock(["exec", "box", "cat", &format!("/proc/{who}/cgroup")]).ok().stdout;
    assert_eq!(groups("self"), groups("1"));
    let user = lab.rdock(["exec", "-u", "1", "box", "grep", "CapEff", "/proc/self/status"]).ok();
    assert_eq!(user.stdout, "CapEff:\t0000000000000000\n");
}

#[test]
fn several_run_at_once_and_outlive_the_daemon() {
    let Some(lab) = lab(&[]) else { return };
    lab.rdock(["exec", "-d", "box", "sh", "-c", "echo $$ > /tmp/pid; exec sleep 999"]).ok();
    std::thread::scope(|scope| {
        for n in 0..12 {
            let lab = &lab;
            scope.spawn(move || {
                let script = format!("read x; echo {n} $x; exit {n}");
                lab.rdock_with_input(["exec", "-i", "box", "sh", "-c", &script], b"said\n").is(
                    n,
                    &format!("{n} said\n"),
                    "",
                );
            });
        }
    });
    let ids = |lab: &Lab| {
        let inspected: serde_json::Value = serde_json::from_str(&lab.rdock(["inspect", "box"]).ok().stdout).unwrap();
        inspected[0]["ExecIDs"].clone()
    };
    let before = ids(&lab);
    assert_eq!(before.as_array().map(Vec::len), Some(1), "{before}");
    let daemon = nix::unistd::Pid::from_raw(lab.daemon_pid().unwrap());
    nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_for("the daemon's end", || std::os::unix::net::UnixStream::connect(lab.socket()).err());
    lab.start_daemon();
    assert_eq!(ids(&lab), before, "the next daemon finds it");
    lab.rdock(["exec", "box", "sh", "-c", "kill $(cat /tmp/pid)"]).ok();
    wait_for("its end to be seen", || ids(&lab).is_null().then_some(()));
}

#[test]
fn a_terminal_has_size_signals_and_job_control() {
    let Some(lab) = lab(&[]) else { return };
    let mut terminal = Terminal::rdock(&lab, &["exec", "-it", "box", "bash"], 33, 101);
    terminal.expect("/]# ");
    terminal.send("stty size; tty; ps -o tty= $$\r");
    terminal.expect("33 101\r\n/dev/pts/0\r\npts/0\r\n");
    terminal.expect("/]# ");
    terminal.send("trap 'echo now $(stty size); d=1' WINCH; echo ready; while [ -z \"$d\" ]; do read -t 0.1 x; done\r");
    terminal.expect("ready\r\n");
    terminal.resize(40, 120);
    terminal.expect("now 40 120");
    terminal.expect("/]# ");
    terminal.send("sh -c 'echo be\"\"gun; exec sleep 1000'; echo status $?\r");
    terminal.expect("begun\r\n");
    terminal.send("\x03");
    terminal.expect("/]# ");
    terminal.send("sleep 1000 &\r");
    terminal.expect("[1] ");
    terminal.send("jobs\r");
    terminal.expect("Running");
    terminal.send("kill %1; exit 4\r");
    assert_eq!(terminal.end().0, 4);
}

#[test]
fn the_detach_keys_leave_it_running() {
    let Some(lab) = lab(&[]) else { return };
    let command = ["exec", "-it", "--detach-keys", "ctrl-a,x", "box", "sh", "-c", "echo here; exec sleep 998"];
    let mut terminal = Terminal::rdock(&lab, &command, 24, 80);
    terminal.expect("here\r\n");
    terminal.send("\x01x");
    let (status, shown) = terminal.end();
    assert_eq!(status, 1);
    assert!(shown.ends_with("read escape sequence\r\n"), "{shown:?}");
    let left = lab.rdock(["exec", "box", "ps", "-e", "-o", "args="]).ok().stdout;
    assert!(left.contains("sleep 998\n"), "{left}");
}

#[test]
fn the_docker_command_does_the_same_on_our_socket() {
    if !need(&[Need::DockerCli]) {
        return;
    }
    let Some(lab) = lab(&[]) else { return };
    let docker = |args: &[&str], input: &[u8]| -> Answer {
        let mut command = lab.program("docker");
        command.args(args).env("DOCKER_HOST", lab.host());
        super::support::lab::run(command, input)
    };
    docker(&["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 9"], b"").is(9, "out\n", "err\n");
    docker(&["exec", "-i", "box", "cat"], b"through").is(0, "through", "");
    assert_eq!(docker(&["exec", "box", "nosuch"], b"").status, 127);
    docker(&["exec", "-d", "box", "sleep", "1"], b"").is(0, "", "");
    docker(&["exec", "-t", "box", "tty"], b"").is(0, "/dev/pts/0\r\n", "");
}
