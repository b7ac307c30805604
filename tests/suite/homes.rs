//! Everything under one RDOCK_HOME, beside another one, and beside nothing else.

use super::support::lab::run;
use super::support::leaks::Watch;
use super::support::need::Need;
use super::support::{Lab, need, wait_for};
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn two_homes_do_not_know_each_other() {
    if !need(&[Need::Root]) {
        return;
    }
    let (one, two) = (Lab::new().with_image("hello-world"), Lab::new());
    assert!(one.rdock(["images"]).ok().stdout.contains("hello-world"));
    assert!(!two.rdock(["images"]).ok().stdout.contains("hello-world"));
    let _ = one.rdock(["run", "--name", "same", "hello-world"]).ok();
    let _ = two.rdock(["run", "--name", "same", "hello-world"]).ok();
    assert_ne!(one.daemon_pid(), two.daemon_pid());
    let _ = one.rdock(["daemon", "stop"]).ok();
    assert!(two.rdock(["ps", "-a"]).ok().stdout.contains("same"));
}

#[test]
fn a_home_may_have_a_long_name() {
    if !need(&[Need::Root]) {
        return;
    }
    let outer = tempfile::tempdir().unwrap();
    // The path of a shim's socket below it is longer than the 107 bytes that a socket's path may have.
    let long = outer.path().join("a-directory-with-a-name-that-is-rather-long");
    std::fs::create_dir(&long).unwrap();
    let lab = Lab::in_directory(&long);
    let _ = lab.rdock(["run", "--rm", "hello-world"]).ok();
    let _ = lab.rdock(["run", "-d", "--name", "bg", "centos", "sleep", "1000"]).ok();
    let _ = lab.rdock(["daemon", "stop"]).ok();
    assert!(lab.rdock(["ps"]).ok().stdout.contains("bg"));
    let _ = lab.rdock(["rm", "-f", "bg"]).ok();
}

#[test]
fn clients_that_come_together_start_one_daemon() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new();
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| lab.rdock(["version"]))).collect();
        for answer in all {
            let _ = answer.join().unwrap().ok();
        }
    });
    let home = format!("RDOCK_HOME={}", lab.home().display());
    let daemons = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|e| {
            let read = |n: &str| std::fs::read(e.path().join(n)).unwrap_or_default();
            let has = |bytes: Vec<u8>, what: &str| bytes.split(|b| *b == 0).any(|v| v == what.as_bytes());
            has(read("environ"), &home) && has(read("cmdline"), "daemon")
        })
        .count();
    assert_eq!(daemons, 1);
}

#[test]
fn containers_started_together_all_end() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new().with_image("centos");
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|n| {
                let lab = &lab;
                scope.spawn(move || lab.rdock(["run", "--rm", "centos", "sh", "-c", &format!("echo {n}; exit {n}")]))
            })
            .collect();
        for (n, answer) in all.into_iter().enumerate() {
            answer.join().unwrap().is(n as i32, &format!("{n}\n"), "");
        }
    });
}

/// The same command as an ordinary user: own home, user namespace, the same container.
#[test]
fn an_ordinary_user_runs_containers_too() {
    if !need(&[Need::OrdinaryUser]) {
        return;
    }
    let lab = Lab::new();
    let binary = lab.shared_binary();
    let user = 65431;
    for place in [lab.home().to_path_buf(), lab.file("tmp"), lab.file("user"), lab.file("")] {
        std::os::unix::fs::chown(&place, Some(user), Some(user)).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let rdock = |args: &[&str]| {
        let mut command = lab.program("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
        command.arg(&binary).args(args);
        run(command, b"")
    };
    let hello = rdock(&["run", "--rm", "hello-world"]).ok();
    assert!(hello.stdout.to_lowercase().contains("hello"), "{hello:?}");
    let _ = rdock(&["pull", "-q", "centos"]).ok();
    rdock(&["run", "--rm", "centos", "sh", "-c", "echo $$ $(id -u); exit 6"]).is(6, "1 0\n", "");
    let host = std::fs::read_link("/proc/self/ns/user").unwrap();
    let inside = rdock(&["run", "--rm", "centos", "readlink", "/proc/self/ns/user"]).ok();
    assert_ne!(inside.stdout.trim(), host.to_string_lossy());
    let written = rdock(&[
        "run",
        "--name",
        "kept",
        "centos",
        "sh",
        "-c",
        "echo mine > /root/new; rm -r /srv; ls -d /dev/null /proc/self/fd",
    ])
    .ok();
    assert_eq!(written.stdout, "/dev/null\n/proc/self/fd\n");
    let upper = lab.containers_on_disk()[0].join("upper/root/new");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(upper).unwrap());
    assert_eq!(owner, user, "what root writes in there belongs to the user out here");
    rdock(&["rm", "kept"]).is(0, "kept\n", "");
    let _ = rdock(&["daemon", "stop"]).ok();
}

#[test]
fn where_the_kernel_forbids_it_the_way_out_is_said() {
    if !need(&[Need::OrdinaryUser]) {
        return;
    }
    let lab = Lab::new();
    let binary = lab.shared_binary();
    for place in [lab.home().to_path_buf(), lab.file("tmp"), lab.file("user"), lab.file("")] {
        std::os::unix::fs::chown(&place, Some(65431), Some(65431)).unwrap();
    }
    // A user namespace in which no further one may be made: its own limit, not the host's.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all \"$0\" run hello-world";
    let mut command = lab.program("setpriv");
    command
        .args(["--reuid=65431", "--regid=65431", "--clear-groups"])
        .args(["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", script])
        .arg(binary);
    let answer = run(command, b"").fails(125, "user namespaces");
    assert!(answer.stderr.contains("sysctl"), "{answer:?}");
}

/// What is kept ready is busy (here: stopped) while its daemon ends: `daemon stop` returns when nothing of it is left.
#[test]
fn a_daemon_that_ends_takes_along_what_it_kept_ready() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new().with_image("centos");
    let watch = Watch::new(lab.home());
    let _ = lab.rdock(["run", "--rm", "centos", "true"]).ok();
    let daemon = lab.daemon_pid().unwrap().to_string();
    let text = |pid: i32, file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let field = |pid: i32, n: usize| text(pid, "stat").rsplit(')').next()?.split_whitespace().nth(n).map(str::to_owned);
    let of_daemon = |pid: &i32| text(*pid, "cmdline") == "rdock\0shim\0" && field(*pid, 1).as_ref() == Some(&daemon);
    let spares = wait_for("two shims that are kept ready, and no other", || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(of_daemon);
        Some(pids.collect::<Vec<i32>>()).filter(|pids| pids.len() == 2)
    });
    let spares = spares.into_iter().map(nix::unistd::Pid::from_raw);
    let _ =
        spares.map(|pid| nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap()).collect::<Vec<_>>();
    let _ = lab.rdock(["daemon", "stop"]).ok();
    let left = watch.leaks();
    assert!(!left.iter().any(|l| l.starts_with("control group") || l.contains("rdock shim")), "{left:?}");
}
