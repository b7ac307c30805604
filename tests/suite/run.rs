//! `rdock run`: what comes out, how it ends, and what the container is.

use super::support::need::{Need, skipped};
use super::support::{Lab, need};
use std::collections::BTreeMap;

fn lab() -> Option<Lab> {
    need(&[Need::Root]).then(Lab::new)
}

/// A whole shell script in a container of its own.
fn script(lab: &Lab, text: &str) -> super::support::Answer {
    lab.rdock(["run", "--rm", "centos", "sh", "-c", text])
}

#[test]
fn hello_world_says_hello() {
    let Some(lab) = lab() else { return };
    let answer = lab.rdock(["run", "--rm", "hello-world"]).ok();
    assert!(answer.stdout.to_lowercase().contains("hello"), "{answer:?}");
    assert!(answer.stderr.starts_with("Unable to find image 'hello-world:latest' locally\n"), "{answer:?}");
}

#[test]
fn the_first_run_downloads_and_the_second_does_not() {
    let Some(lab) = lab() else { return };
    let first = lab.rdock(["run", "centos"]).ok();
    assert_eq!(first.stdout, "");
    for line in [
        "Unable to find image 'centos:latest' locally\n",
        "latest: Pulling from library/centos\n",
        ": Pull complete\n",
        "Digest: sha256:",
        "Status: Downloaded newer image for centos:latest\n",
    ] {
        assert!(first.stderr.contains(line), "{line:?} is not in {first:#?}");
    }
    lab.rdock(["run", "centos"]).is(0, "", "");
}

#[test]
fn the_status_is_the_commands_own() {
    let Some(lab) = lab() else { return };
    for status in [0, 1, 7, 125, 255] {
        let answer = script(&lab, &format!("exit {status}"));
        assert_eq!(answer.status, status, "{answer:?}");
    }
    // Process 1 of a pid namespace is safe from signals out of it that it does not handle (pid_namespaces(7)).
    assert_eq!(script(&lab, "kill -9 $$; kill -15 $$").status, 0);
    assert_eq!(script(&lab, "sh -c 'kill -9 $$'; exit $?").status, 137);
}

#[test]
fn a_container_that_is_killed_ends_with_128_and_the_signal() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    for (signal, status) in [("KILL", 137), ("TERM", 143)] {
        // The shell says when its handler is there; TERM without one would not reach a process 1.
        let script = "trap 'trap - TERM; exit 143' TERM; echo ready; while :; do sleep 1; done";
        let mut command = lab.command(["run", "--rm", "--name", "doomed", "centos", "sh", "-c", script]);
        let mut client = super::support::lab::Background(command.stdout(std::process::Stdio::piped()).spawn().unwrap());
        let mut ready = [0; 6];
        std::io::Read::read_exact(client.0.stdout.as_mut().unwrap(), &mut ready).unwrap();
        lab.rdock(["kill", "-s", signal, "doomed"]).is(0, "doomed\n", "");
        let ended = super::support::wait_for("the client's end", || client.0.try_wait().unwrap());
        assert_eq!(ended.code(), Some(status), "{signal}");
    }
}

#[test]
fn what_can_not_be_started_is_told_apart() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let missing = lab
        .rdock(["run", "centos", "nosuchcommand"])
        .fails(127, "exec: \"nosuchcommand\": executable file not found in $PATH");
    assert!(missing.stderr.starts_with("rdock: Error response from daemon: "), "{missing:?}");
    assert!(missing.stderr.contains("Run 'rdock run --help' for more information"), "{missing:?}");
    let _ = lab.rdock(["run", "centos", "/no/such/file"]).fails(127, "no such file or directory");
    let _ = lab.rdock(["run", "centos", "/etc"]).fails(126, "exec: \"/etc\": permission denied");
    let _ = lab.rdock(["run", "centos", "/etc/passwd"]).fails(126, "permission denied");
    let _ = lab.rdock(["run", "--nosuchflag", "centos"]).fails(125, "unknown flag: --nosuchflag");
    let _ = lab.rdock(["run"]).fails(1, "'rdock run' requires at least 1 argument");
}

#[test]
fn a_container_that_could_not_start_leaves_no_layer_mounted_and_can_be_removed() {
    let Some(lab) = lab() else { return };
    let _ = lab.rdock(["run", "--name", "broken", "centos", "nosuchcommand"]).fails(127, "nosuchcommand");
    let listed = lab.rdock(["ps", "-a"]).ok();
    assert!(listed.stdout.contains("broken") && listed.stdout.contains("Created"), "{listed:?}");
    lab.rdock(["rm", "broken"]).is(0, "broken\n", "");
    assert_eq!(lab.containers_on_disk(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn output_and_errors_stay_apart() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    script(&lab, "echo out; echo err >&2; exit 7").is(7, "out\n", "err\n");
}

#[test]
fn a_megabyte_comes_out_whole() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let answer = script(&lab, "yes 0123456789abcde | head -n 65536").ok();
    assert_eq!(answer.stdout.len(), 1 << 20);
    assert!(answer.stdout.lines().all(|l| l == "0123456789abcde"));
}

#[test]
fn input_is_handed_in_and_ends() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let input = "ein Text, 中文, and bytes\n".repeat(20_000);
    let answer = lab.rdock_with_input(["run", "-i", "--rm", "centos", "cat"], input.as_bytes()).ok();
    assert_eq!(answer.stdout, input);
    // Without -i the container has no input, whatever the client has.
    lab.rdock_with_input(["run", "--rm", "centos", "cat"], b"lost").is(0, "", "");
    let counted = lab.rdock_with_input(["run", "-i", "--rm", "centos", "wc", "-c"], b"12345").ok();
    assert_eq!(counted.stdout.trim(), "5");
}

#[test]
fn bash_with_input_and_no_terminal_runs_a_script() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    lab.rdock_with_input(["run", "-i", "--rm", "centos"], b"echo from bash; exit 4\n").is(4, "from bash\n", "");
}

#[test]
fn removed_means_gone() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    lab.rdock(["run", "--rm", "centos", "true"]).is(0, "", "");
    assert_eq!(lab.containers_on_disk(), Vec::<std::path::PathBuf>::new());
    let header_only = lab.rdock(["ps", "-a"]).ok();
    assert_eq!(header_only.stdout.lines().count(), 1, "{header_only:?}");
    assert!(header_only.stdout.starts_with("CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES"));
}

#[test]
fn a_name_is_given_once() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let _ = lab.rdock(["run", "--name", "tomcat01", "centos", "true"]).ok();
    let again = lab.rdock(["run", "--name", "tomcat01", "centos", "true"]);
    let id = lab.rdock(["ps", "-aq", "--no-trunc"]).ok().stdout.trim().to_owned();
    let words = format!(
        "rdock: Error response from daemon: Conflict. The container name \"/tomcat01\" is already in use by container \"{id}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    );
    let again = again.fails(125, &words);
    assert!(again.stderr.contains("Run 'rdock run --help' for more information"), "{again:?}");
    let _ = lab.rdock(["rm", "tomcat01"]).ok();
    let _ = lab.rdock(["run", "--rm", "--name", "tomcat01", "centos", "true"]).ok();
    let _ = lab.rdock(["run", "--name", "no spaces", "centos"]).fails(125, "Invalid container name (no spaces)");
}

#[test]
fn environment_directory_user_and_name_are_as_asked_for() {
    let Some(mut lab) = lab() else { return };
    lab.env("FROM_CLIENT", "taken along");
    let lab = lab.with_image("centos");
    let shown = lab
        .rdock([
            "run",
            "--rm",
            "-e",
            "A=1",
            "--env",
            "B=two words",
            "-e",
            "FROM_CLIENT",
            "-e",
            "NOT_SET_ANYWHERE",
            "-w",
            "/tmp/new",
            "--hostname",
            "box",
            "centos",
            "sh",
            "-c",
            "echo \"$A|$B|$FROM_CLIENT|${NOT_SET_ANYWHERE-unset}|$HOME|$PATH\"; pwd; hostname; cat /etc/hostname",
        ])
        .ok();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(shown.stdout, format!("1|two words|taken along|unset|/root|{path}\n/tmp/new\nbox\nbox\n"));
    for (user, expected) in
        [("1000:1001", "1000 1001"), ("65534", "65534 65534"), ("4711", "4711 0"), ("0", "0 0"), ("root", "0 0")]
    {
        let ids = lab.rdock(["run", "--rm", "-u", user, "centos", "sh", "-c", "echo $(id -u) $(id -g)"]).ok();
        assert_eq!(ids.stdout, format!("{expected}\n"), "-u {user}");
    }
    let _ =
        lab.rdock(["run", "--rm", "-u", "nobodyknows", "centos", "true"]).fails(125, "unable to find user nobodyknows");
    lab.rdock(["run", "--rm", "--entrypoint", "/bin/echo", "centos", "a", "b"]).is(0, "a b\n", "");
}

#[test]
fn the_host_name_is_the_short_id() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let name = lab.rdock(["run", "centos", "hostname"]).ok().stdout.trim().to_owned();
    let id = lab.rdock(["ps", "-aq"]).ok().stdout.trim().to_owned();
    assert_eq!(name, id);
    assert_eq!(id.len(), 12);
}

/// `readlink /proc/self/ns/*` inside and on the host.
#[test]
fn the_namespaces_are_the_containers_own() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let inside =
        script(&lab, "for n in pid mnt uts ipc net cgroup user; do echo $n $(readlink /proc/self/ns/$n); done").ok();
    let inside: BTreeMap<&str, &str> = inside.stdout.lines().filter_map(|l| l.split_once(' ')).collect();
    for (name, link) in &inside {
        let host = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let same = *link == host.to_string_lossy();
        assert_eq!(same, *name == "user", "{name}: {link} inside, {} on the host", host.display());
    }
    assert_eq!(inside.len(), 7);
}

#[test]
fn the_command_is_process_1_and_sees_no_other() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    script(&lab, "echo $$").is(0, "1\n", "");
    let ps = lab.rdock(["run", "--rm", "centos", "ps", "-e", "-o", "pid,comm"]).ok();
    let lines: Vec<&str> = ps.stdout.lines().map(str::trim).collect();
    assert_eq!(lines.len(), 2, "{ps:?}");
    assert_eq!(lines[1], "1 ps");
}

#[test]
fn root_has_dockers_default_capabilities_and_no_more() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let status = script(&lab, "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status").ok();
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(status.stdout.contains(&format!("{set}:\t00000000a80425fb")), "{status:?}");
    }
    let _ = script(&lab, "mount -t tmpfs none /mnt 2>/dev/null || chroot / true && hostname other").fails(1, "");
    let user = lab.rdock(["run", "--rm", "-u", "1000", "centos", "grep", "CapEff", "/proc/self/status"]).ok();
    assert_eq!(user.stdout, "CapEff:\t0000000000000000\n");
}

#[test]
fn the_root_directory_is_the_documents() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let listed = lab.rdock(["run", "--rm", "centos", "ls", "/"]).ok();
    let names: Vec<&str> = listed.stdout.split_whitespace().collect();
    let document = "bin dev etc home lib lib64 lost+found media mnt opt proc root run sbin srv sys tmp usr var";
    assert_eq!(names.join(" "), document);
}

#[test]
fn dev_holds_what_every_container_has() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let listed = script(&lab, "ls /dev").ok();
    let names: Vec<&str> = listed.stdout.split_whitespace().collect();
    let expected = [
        "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    ];
    assert_eq!(names, expected);
    script(
        &lab,
        "echo gone > /dev/null && head -c 3 /dev/zero | od -An -tx1 && test -c /dev/full && echo x > /dev/full",
    )
    .fails(1, "No space left on device");
    script(&lab, "cat /dev/fd/0 < /etc/hostname > /dev/stdout; stat -c '%a %t:%T' /dev/null").ok();
    let modes = script(&lab, "stat -c '%n %a %t:%T' /dev/null /dev/tty /dev/random").ok();
    assert_eq!(modes.stdout, "/dev/null 666 1:3\n/dev/tty 666 5:0\n/dev/random 666 1:8\n");
}

#[test]
fn what_would_change_or_betray_the_host_is_closed() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let tries = [
        "echo 1 > /proc/sys/kernel/hostname",
        "echo c > /proc/sysrq-trigger",
        "echo 1 > /sys/kernel/mm/ksm/run",
        "mknod /tmp/sda b 8 0 && cat /tmp/sda",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "ls /proc/acpi | grep -q .",
    ];
    for attempt in tries {
        let answer = script(&lab, attempt);
        assert_ne!(answer.status, 0, "{attempt} worked: {answer:?}");
    }
    let mounts = script(&lab, "cat /proc/self/mountinfo").ok();
    let home = lab.home().to_string_lossy().into_owned();
    for line in mounts.stdout.lines() {
        let options = line.split(' ').nth(5).unwrap_or("");
        let point = line.split(' ').nth(4).unwrap_or("");
        let writable = options.split(',').any(|o| o == "rw");
        assert!(!(writable && point.starts_with("/sys")), "{line}");
        // Where the layers are is seen in the overlay's options (as with Docker), but nothing of it can be reached.
        assert!(!point.contains(&home), "{line}");
    }
}

#[test]
fn loopback_is_up_and_there_is_no_other_way_out() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let links = script(&lab, "cat /sys/class/net/lo/flags; ls /sys/class/net; cat /etc/hosts | grep -c localhost").ok();
    let lines: Vec<&str> = links.stdout.lines().collect();
    assert_eq!(lines[0], "0x9", "IFF_UP and IFF_LOOPBACK: {links:?}");
    assert!(lines[1..].contains(&"lo"), "{links:?}");
    assert!(!lines.contains(&"eth0"), "{links:?}");
}

#[test]
fn what_a_container_writes_is_its_own_and_not_the_images() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let _ = lab
        .rdock([
            "run",
            "--name",
            "one",
            "centos",
            "sh",
            "-c",
            "rm /etc/centos-release || exit 1; echo mine > /root/new",
        ])
        .ok();
    script(&lab, "test ! -e /root/new && test -e /etc/centos-release").is(0, "", "");
    // Started again, it finds what it wrote.
    let _ = lab.rdock(["start", "one"]).ok();
    lab.rdock(["wait", "one"]).is(0, "1\n", "");
    let upper = lab.containers_on_disk()[0].join("upper");
    assert_eq!(std::fs::read_to_string(upper.join("root/new")).unwrap(), "mine\n");
    let _ = lab.rdock(["rm", "-f", "one"]).ok();
    assert!(!upper.exists());
}

#[test]
fn limits_of_the_group_hold() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let groups = script(&lab, "cat /proc/self/cgroup").ok();
    // Its own view begins at its own group.
    if groups.stdout.lines().any(|l| l.contains(":/../") || l.contains("/..")) {
        panic!("the group is seen from outside: {groups:?}");
    }
    if std::path::Path::new("/sys/fs/cgroup/pids").exists() {
        assert!(groups.stdout.lines().any(|l| l.contains("pids") && l.ends_with(":/")), "{groups:?}");
    } else {
        skipped("no pids hierarchy of version 1 to look at");
    }
}

#[test]
fn the_image_says_that_it_is_a_stand_in() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let release = lab.rdock(["run", "--rm", "centos", "cat", "/etc/os-release"]).ok();
    assert!(release.stdout.contains("stand-in"), "{release:?}");
    let inspected = lab.rdock(["inspect", "centos"]).ok();
    assert!(inspected.stdout.contains("org.rdock.lab.stand-in"), "{inspected:?}");
}

#[test]
fn a_detached_container_goes_on_until_it_is_stopped() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let id = lab.rdock(["run", "-d", "--name", "bg", "centos", "sleep", "1000"]).ok().stdout.trim().to_owned();
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let listed = lab.rdock(["ps"]).ok();
    assert!(
        listed.stdout.contains(&id[..12]) && listed.stdout.contains("\"sleep 1000\"") && listed.stdout.contains("Up ")
    );
    let running = lab.rdock(["rm", "bg"]);
    let _ = running.fails(
        1,
        &format!(
            "You cannot remove a running container {id}. Stop the container before attempting removal or force remove"
        ),
    );
    lab.rdock(["kill", "bg"]).is(0, "bg\n", "");
    lab.rdock(["wait", "bg"]).is(0, "137\n", "");
    let _ = lab.rdock(["kill", "bg"]).fails(1, "is not running");
    lab.rdock(["rm", "bg"]).is(0, "bg\n", "");
    let _ = lab.rdock(["rm", "bg"]).fails(1, "Error response from daemon: No such container: bg");
}

#[test]
fn containers_outlive_the_daemon() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let _ = lab.rdock(["run", "-d", "--name", "kept", "centos", "sleep", "1000"]).ok();
    let before = lab.daemon_pid().unwrap();
    let _ = lab.rdock(["daemon", "stop"]).ok();
    let listed = lab.rdock(["ps"]).ok();
    assert_ne!(lab.daemon_pid(), Some(before));
    assert!(listed.stdout.contains("kept") && listed.stdout.contains("Up "), "{listed:?}");
    let _ = lab.rdock(["kill", "kept"]).ok();
    lab.rdock(["wait", "kept"]).is(0, "137\n", "");
}
