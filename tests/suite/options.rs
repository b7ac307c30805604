//! What the options of `run` do, seen from inside the container; and that limits limit.

use super::support::need::{Need, skipped};
use super::support::{Answer, Lab, need, wait_for};
use serde_json::{Value, json};
use std::path::Path;

fn lab() -> Option<Lab> {
    need(&[Need::Root]).then(|| Lab::new().with_image("centos"))
}

/// `rdock run --rm OPTIONS centos sh -c SCRIPT`
fn run(lab: &Lab, options: &[&str], script: &str) -> Answer {
    let words = ["run", "--rm"].into_iter().chain(options.iter().copied()).chain(["centos", "sh", "-c", script]);
    lab.rdock(words)
}

#[test]
fn files_and_directories_of_the_host_are_shared() {
    let Some(lab) = lab() else { return };
    let dir = lab.file("shared");
    std::fs::create_dir_all(dir.join("sub")).unwrap();
    std::fs::write(dir.join("f"), "of the host\n").unwrap();
    let dir = dir.to_str().unwrap().to_owned();
    run(&lab, &["-v", &format!("{dir}:/s")], "cat /s/f; echo of the container > /s/g").is(0, "of the host\n", "");
    assert_eq!(std::fs::read_to_string(format!("{dir}/g")).unwrap(), "of the container\n");
    let closed = run(&lab, &["-v", &format!("{dir}:/deep/place:ro")], "cat /deep/place/f && touch /deep/place/x");
    let _ = closed.fails(1, "Read-only file system");
    let one = format!("type=bind,source={dir}/f,target=/etc/one,readonly");
    let _ = run(&lab, &["--mount", &one], "cat /etc/one && echo x >> /etc/one").fails(1, "Read-only file system");
    // `-v` makes what is not there, `--mount` does not.
    run(&lab, &["-v", &format!("{dir}/new/er:/n")], "touch /n/x").is(0, "", "");
    assert!(Path::new(&dir).join("new/er/x").exists());
    let missing = run(&lab, &["--mount", "type=bind,src=/no/such,dst=/x"], "true");
    let _ = missing.fails(125, "invalid mount config for type \"bind\": bind source path does not exist: /no/such");
}

#[test]
fn a_share_is_read_only_with_all_that_is_mounted_in_it() {
    let Some(lab) = lab() else { return };
    let dir = lab.file("shared");
    std::fs::create_dir_all(dir.join("below")).unwrap();
    let below = dir.join("below");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("tmpfs"), &below, Some("tmpfs"), flags, None::<&str>).unwrap();
    let share = format!("{}:/s:ro", dir.display());
    let answer = run(&lab, &["-v", &share], "touch /s/below/x");
    nix::mount::umount2(&below, nix::mount::MntFlags::MNT_DETACH).unwrap();
    let _ = answer.fails(1, "Read-only file system");
}

#[test]
fn file_systems_in_memory_have_their_size_and_the_root_can_be_closed() {
    let Some(lab) = lab() else { return };
    let options = [
        "--read-only",
        "--tmpfs",
        "/x:size=1m,exec",
        "--mount",
        "type=tmpfs,dst=/y,tmpfs-mode=700",
        "--shm-size",
        "8m",
    ];
    let answer = run(
        &lab,
        &options,
        "grep -E ' (/x|/y|/dev/shm) ' /proc/mounts; touch /etc/new; touch /etc/hosts; touch /x/a /y/b /dev/shm/c && stat -c %a /y",
    );
    let answer = answer.ok();
    let line =
        |at: &str| answer.stdout.lines().find(|l| l.split(' ').nth(1) == Some(at)).unwrap_or_default().to_owned();
    assert!(
        line("/x").contains("size=1024k") && line("/x").contains("nosuid") && !line("/x").contains("noexec"),
        "{answer:?}"
    );
    assert!(line("/y").contains("noexec") && line("/y").contains("mode=700"), "{answer:?}");
    assert!(line("/dev/shm").contains("size=8192k"), "{answer:?}");
    assert_eq!(answer.stdout.lines().last(), Some("700"));
    assert_eq!(answer.stderr.matches("Read-only file system").count(), 2, "{answer:?}");
}

#[test]
fn capabilities_are_added_dropped_and_all_given() {
    let Some(lab) = lab() else { return };
    let set = |options: &[&str]| {
        let answer = run(&lab, options, "grep -E '^(CapEff|CapBnd)' /proc/self/status | cut -f2 | sort -u").ok();
        u64::from_str_radix(answer.stdout.trim(), 16).unwrap_or_else(|_| panic!("{answer:?}"))
    };
    assert_eq!(set(&["--cap-drop", "ALL", "--cap-add", "chown"]), 1);
    assert_eq!(set(&["--cap-drop", "net_raw", "--cap-drop", "CAP_MKNOD"]), 0xa804_25fb & !(1 << 13 | 1 << 27));
    assert_eq!(set(&["--cap-add", "SYS_ADMIN"]), 0xa804_25fb | 1 << 21);
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|l| l.strip_prefix("CapPrm:\t")).unwrap();
    assert_eq!(set(&["--privileged"]), u64::from_str_radix(own, 16).unwrap(), "as much as the engine has itself");
    let _ = run(&lab, &["--cap-add", "nope"], "true").fails(125, "invalid CapAdd: unknown capability: \"CAP_NOPE\"");
}

#[test]
fn a_privileged_container_may_do_what_the_engine_may() {
    let Some(lab) = lab() else { return };
    let script = "grep -E '^Seccomp:' /proc/self/status; mount -t tmpfs none /mnt && echo mounted; \
        test -w /proc/sys/kernel/msgmax && echo writable; ls -d /dev/fuse /dev/loop-control /dev/net/tun 2>/dev/null | wc -l";
    let answer = run(&lab, &["--privileged"], script).ok();
    assert!(answer.stdout.starts_with("Seccomp:\t0\nmounted\nwritable\n"), "{answer:?}");
    let inspected = lab.rdock(["create", "--name", "pr", "--privileged", "centos"]).ok();
    let shown = inspect(&lab, inspected.stdout.trim());
    assert_eq!(shown["HostConfig"]["Privileged"], true);
    assert_eq!(shown["HostConfig"]["MaskedPaths"], json!([]));
    let _ = lab.rdock(["rm", "pr"]).ok();
}

#[test]
fn the_filter_of_system_calls_refuses_and_can_be_changed() {
    let Some(lab) = lab() else { return };
    let tries = "grep -E '^Seccomp:' /proc/self/status; unshare -U true; unshare -n true; mkdir /made && echo made";
    let usual = run(&lab, &[], tries).ok();
    assert_eq!(usual.stdout, "Seccomp:\t2\nmade\n");
    assert_eq!(usual.stderr.matches("Operation not permitted").count(), 2, "{usual:?}");
    // Without the filter the kernel's own rules are left: who is root may make a user namespace.
    let open = run(&lab, &["--security-opt", "seccomp=unconfined"], tries).ok();
    assert_eq!(open.stdout, "Seccomp:\t0\nmade\n");
    assert_eq!(open.stderr.matches("Operation not permitted").count(), 1, "{open:?}");
    // A profile of one's own, in Docker's form; ENOTSUP tells it from all else.
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
                    {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "args": [], "comment": "no"},
            {"names": ["chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        ],
    });
    std::fs::write(lab.file("profile.json"), profile.to_string()).unwrap();
    let own = run(&lab, &["--security-opt", "seccomp=profile.json"], &format!("{tries}; chmod 700 /tmp")).ok();
    assert!(own.stderr.contains("'/made': Operation not supported"), "{own:?}");
    assert_eq!(own.stdout, "Seccomp:\t2\n");
    let broken = run(&lab, &["--security-opt", "seccomp=/dev/null"], "true");
    let _ = broken.fails(125, "compacting json for seccomp profile (/dev/null) failed");
    std::fs::write(lab.file("odd.json"), r#"{"defaultAction": "SCMP_ACT_NOPE"}"#).unwrap();
    let _ = run(&lab, &["--security-opt", "seccomp=odd.json"], "true").fails(125, "Decoding seccomp profile failed");
}

/// `exec`, also with all privileges, and health checks: what the container may not call, nobody in it may.
#[test]
fn the_filter_is_that_of_processes_that_come_later_too() {
    let Some(lab) = lab() else { return };
    let tries = "grep -E '^Seccomp:' /proc/self/status; unshare -U true && echo left";
    let check = ["--health-cmd", tries, "--health-interval", "100ms"];
    let own = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]});
    std::fs::write(lab.file("own.json"), own.to_string()).unwrap();
    for (name, options) in [
        ("usual", &check[..]),
        ("open", &["--security-opt", "seccomp=unconfined"]),
        ("all", &["--privileged"]),
        ("own", &["--security-opt", "seccomp=own.json"]),
    ] {
        let run = ["run", "-d", "--name", name].into_iter().chain(options.iter().copied());
        let _ = lab.rdock(run.chain(["centos", "sleep", "1000"])).ok();
    }
    for options in [&["usual"][..], &["--privileged", "usual"], &["-u", "1000", "usual"]] {
        let seen = lab.rdock(["exec"].into_iter().chain(options.iter().copied()).chain(["sh", "-c", tries]));
        assert_eq!((seen.status, seen.stdout.as_str()), (1, "Seccomp:\t2\n"), "{options:?}: {seen:?}");
        assert!(seen.stderr.contains("Operation not permitted"), "{options:?}: {seen:?}");
    }
    for name in ["open", "all"] {
        lab.rdock(["exec", name, "sh", "-c", tries]).is(0, "Seccomp:\t0\nleft\n", "");
    }
    let made = lab.rdock(["exec", "own", "sh", "-c", "grep -E '^Seccomp:' /proc/self/status; mkdir /made"]);
    assert!(made.stdout == "Seccomp:\t2\n" && made.stderr.contains("Operation not supported"), "{made:?}");
    let probe = wait_for("a health check", || {
        inspect(&lab, "usual")["State"]["Health"]["Log"].as_array().and_then(|log| log.first().cloned())
    });
    let output = probe["Output"].as_str().unwrap();
    assert!(output.contains("Seccomp:\t2\n") && output.contains("Operation not permitted"), "{probe}");
    let _ = lab.rdock(["rm", "-f", "usual", "open", "all", "own"]).ok();
}

#[test]
fn no_new_privileges_stay_away() {
    let Some(lab) = lab() else { return };
    let script = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status";
    run(&lab, &["--security-opt", "no-new-privileges", "-u", "1000"], script).is(
        0,
        "NoNewPrivs:\t1\nSeccomp:\t2\n",
        "",
    );
    run(&lab, &["--security-opt", "no-new-privileges:false"], script).is(0, "NoNewPrivs:\t0\nSeccomp:\t2\n", "");
    let paths = "cat /proc/timer_list > /dev/null && echo open";
    run(&lab, &["--security-opt", "systempaths=unconfined"], paths).is(0, "open\n", "");
}

#[test]
fn namespaces_are_shared_when_asked_for() {
    let Some(lab) = lab() else { return };
    let own = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned();
    let links = "for n in pid uts ipc cgroup; do readlink /proc/self/ns/$n; done";
    let host = run(&lab, &["--pid", "host", "--uts", "host", "--ipc", "host", "--cgroupns", "host"], links).ok();
    let expected: Vec<String> = ["pid", "uts", "ipc", "cgroup"].into_iter().map(own).collect();
    assert_eq!(host.stdout.lines().collect::<Vec<_>>(), expected);

    let script = "echo shared > /dev/shm/f; exec sleep 1000";
    let started = ["run", "-d", "--name", "donor", "--ipc", "shareable", "centos", "sh", "-c", script];
    let _ = lab.rdock(started).ok();
    let joined = &["--pid", "container:donor", "--ipc", "container:donor"];
    let wait = "until test -s /dev/shm/f; do :; done; cat /dev/shm/f; cat /proc/1/comm; ";
    let seen = run(&lab, joined, &format!("{wait}{links}")).ok();
    assert!(seen.stdout.starts_with("shared\nsleep\n"), "{seen:?}");
    let pid = inspect(&lab, "donor")["State"]["Pid"].as_i64().unwrap();
    let theirs =
        |kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_string_lossy().into_owned();
    let lines: Vec<&str> = seen.stdout.lines().skip(2).collect();
    assert_eq!((lines[0], lines[2]), (theirs("pid").as_str(), theirs("ipc").as_str()));
    assert_ne!(lines[1], theirs("uts"));

    // Who shares the host's process numbers still takes all its processes along.
    let answer = run(&lab, &["--pid", "host"], "sleep 987654 & echo $!").ok();
    let left = Path::new("/proc").join(answer.stdout.trim()).join("stat");
    let alive = |stat: String| stat.contains("(sleep)") && !stat.contains(") Z ");
    assert!(!std::fs::read_to_string(left).is_ok_and(alive), "{answer:?}");

    let _ = run(&lab, &["--pid", "container:nosuch"], "true").fails(125, "No such container: nosuch");
    let _ = lab.rdock(["create", "--name", "stopped", "centos"]).ok();
    let _ = run(&lab, &["--pid", "container:stopped"], "true").fails(125, "is not running");
    let _ = lab.rdock(["rm", "-f", "donor", "stopped"]).ok();
}

#[test]
fn process_1_of_the_engines_own_reaps_and_hands_signals_on() {
    let Some(lab) = lab() else { return };
    let seen = run(
        &lab,
        &["--init"],
        "echo $$; cat /proc/$$/stat | cut -d' ' -f4; grep -E '^(CapEff|Seccomp):' /proc/1/status",
    )
    .ok();
    assert_eq!(seen.stdout, "2\n1\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n");
    // An orphan ends: process 1 waits for it, so that no zombie is left to count.
    let orphan = "sh -c 'sh -c \"exit 0\" &'; i=0; \
        until ! grep -ls 'State:.Z' /proc/[0-9]*/status || test $((i=i+1)) = 2000; do :; done; echo $i | grep -vx 2000 > /dev/null";
    let _ = run(&lab, &["--init"], orphan).ok();
    assert_eq!(run(&lab, &["--init"], "exit 7").status, 7);
    assert_eq!(run(&lab, &["--init"], "kill -9 $$").status, 137);
    // A command that knows nothing of being process 1 is ended by a plain SIGTERM.
    let _ = lab.rdock(["run", "-d", "--name", "in", "--init", "centos", "sleep", "1000"]).ok();
    let _ = lab.rdock(["kill", "-s", "TERM", "in"]).ok();
    lab.rdock(["wait", "in"]).is(0, "143\n", "");
    let _ = lab.rdock(["rm", "in"]).ok();
    let _ = run(&lab, &["--init"], "cat /proc/1/exe").fails(1, "Permission denied");
}

#[test]
fn settings_devices_and_limits_of_processes() {
    let Some(lab) = lab() else { return };
    let options = [
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--sysctl",
        "kernel.msgmax=4096",
        "--ulimit",
        "nofile=100:200",
        "--ulimit",
        "core=0",
    ];
    let more = ["--oom-score-adj", "200", "--group-add", "1234", "--domainname", "dom"];
    let all: Vec<&str> = options.into_iter().chain(more).collect();
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/self/oom_score_adj /proc/sys/kernel/domainname; \
        ulimit -Sn; ulimit -Hn; id -G";
    run(&lab, &all, script).is(0, "1\n4096\n200\ndom\n100\n200\n0 1234\n", "");
    if Path::new("/dev/fuse").exists() && Path::new("/sys/fs/cgroup/devices").exists() {
        // Reading was asked for, not writing.
        let open = "exec 3< /dev/box/fuse && echo read; exec 4> /dev/box/fuse";
        let answer = run(&lab, &["--device", "/dev/fuse:/dev/box/fuse:r"], open);
        assert!(answer.stdout == "read\n" && answer.stderr.contains("Operation not permitted"), "{answer:?}");
    } else {
        skipped("no /dev/fuse, or no device controller of version 1");
    }
    let _ =
        run(&lab, &["--sysctl", "net.nosuch=1"], "true").fails(125, "/proc/sys/net/nosuch: no such file or directory");
    let _ = run(&lab, &["--device", "/dev/nosuch"], "true").fails(
        125,
        "error gathering device information while adding custom device \"/dev/nosuch\": no such file or directory",
    );
    let _ = run(&lab, &["--tmpfs", "/x:size=nonsense"], "true").fails(125, "mount tmpfs on /x: invalid argument");
}

#[test]
fn names_and_addresses_that_were_asked_for_are_known() {
    let Some(lab) = lab() else { return };
    let options = [
        "--add-host",
        "one:1.2.3.4",
        "--add-host",
        "two=::5",
        "--dns",
        "9.9.9.9",
        "--dns-search",
        "a.b",
        "--dns-option",
        "ndots:2",
    ];
    let script = "grep -E 'one|two' /etc/hosts; grep -vE '^#' /etc/resolv.conf | tail -3";
    run(&lab, &options, script).is(0, "1.2.3.4\tone\n::5\ttwo\nnameserver 9.9.9.9\nsearch a.b\noptions ndots:2\n", "");
}

fn inspect(lab: &Lab, name: &str) -> Value {
    let all: Value = serde_json::from_str(&lab.rdock(["inspect", name]).ok().stdout).unwrap();
    all[0].clone()
}

/// Whether the groups of version 1 that limits are written to are here.
fn limits() -> bool {
    let there = ["memory", "pids", "cpu"].iter().all(|c| Path::new("/sys/fs/cgroup").join(c).is_dir());
    if !there {
        skipped("no control groups of version 1 to measure");
    }
    there
}

#[test]
fn limits_really_limit() {
    let Some(lab) = lab() else { return };
    if !limits() {
        return;
    }
    // The kernel ends what takes more memory than it may, and the container is told to have ended so.
    let hungry = "x=a; while :; do x=$x$x; done";
    let words = ["run", "--name", "hungry", "-m", "16m", "--memory-swap", "16m", "centos", "sh", "-c", hungry];
    assert_eq!(lab.rdock(words).status, 137);
    assert_eq!(inspect(&lab, "hungry")["State"]["OOMKilled"], true);
    let _ = lab.rdock(["rm", "hungry"]).ok();
    // A fork bomb stops at its limit, and the machine goes on.
    let bomb = "n=0; while sh -c 'sleep 1000 & exit 0' 2>/dev/null && test $n -lt 100; do n=$((n+1)); done; echo $n";
    let stopped = run(&lab, &["--pids-limit", "20"], bomb);
    let born: u32 = stopped.stdout.lines().last().and_then(|l| l.parse().ok()).unwrap_or(0);
    assert!(born < 20, "{stopped:?}");
    // A fifth of a processor: two fifths of a second of work take about two seconds. What else runs here can only make
    // it longer, so only the lower bound is a law.
    let work = "cat /sys/fs/cgroup/cpu/cpu.stat > /tmp/a; i=0; while test $i -lt 150000; do i=$((i+1)); done; \
        cat /sys/fs/cgroup/cpu/cpu.stat";
    let slow = run(&lab, &["--cpus", "0.2"], work).ok();
    let number = |key: &str| {
        let line = slow.stdout.lines().find_map(|l| l.strip_prefix(key));
        line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or_else(|| panic!("{slow:?}"))
    };
    assert!(number("nr_throttled ") > 0, "{slow:?}");
    // All the rest is read back from the kernel.
    let options = [
        "-m",
        "64m",
        "--memory-reservation",
        "32m",
        "--memory-swappiness",
        "50",
        "--cpu-shares",
        "512",
        "--cpuset-cpus",
        "0",
        "--cpu-period",
        "50000",
        "--cpu-quota",
        "25000",
    ];
    let script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes \
        memory/memory.swappiness cpu/cpu.shares cpuset/cpuset.cpus cpu/cpu.cfs_period_us cpu/cpu.cfs_quota_us";
    run(&lab, &options, script).is(0, "67108864\n33554432\n50\n512\n0\n50000\n25000\n", "");
}

#[test]
fn inspect_shows_what_was_set() {
    let Some(lab) = lab() else { return };
    let words = shlex::split(
        "create --name all --restart on-failure:3 --stop-timeout 5 --init --read-only --tmpfs /x:size=1m --cap-add SYS_TIME \
         --cap-drop CHOWN --security-opt no-new-privileges --pid host --ipc shareable --ulimit nofile=5:6 \
         --sysctl net.ipv4.ip_forward=1 --device /dev/null --group-add 7 --shm-size 1m -m 64m --cpus 1.5 --cpu-shares 5 \
         --pids-limit 9 --health-cmd 'true && true' --health-interval 2s --log-opt max-size=1m --annotation a=b --dns 1.2.3.4 \
         --add-host h:1.2.3.4 -v /tmp:/t:ro --label k=v centos",
    );
    let _ = lab.rdock(words.unwrap()).ok();
    let all = inspect(&lab, "all");
    let host = &all["HostConfig"];
    let expected = json!({
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "Init": true, "ReadonlyRootfs": true,
        "Tmpfs": {"/x": "size=1m"}, "CapAdd": ["CAP_SYS_TIME"], "CapDrop": ["CAP_CHOWN"],
        "SecurityOpt": ["no-new-privileges"], "PidMode": "host", "IpcMode": "shareable",
        "Ulimits": [{"Name": "nofile", "Hard": 6, "Soft": 5}], "Sysctls": {"net.ipv4.ip_forward": "1"},
        "GroupAdd": ["7"], "ShmSize": 1 << 20, "Memory": 64 << 20, "MemorySwap": 128 << 20, "NanoCpus": 1_500_000_000,
        "CpuShares": 5, "PidsLimit": 9, "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "Annotations": {"a": "b"}, "Dns": ["1.2.3.4"], "ExtraHosts": ["h:1.2.3.4"], "Binds": ["/tmp:/t:ro"],
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/null", "CgroupPermissions": "rwm"}],
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&host[key], value, "{key}");
    }
    assert_eq!(all["Config"]["StopTimeout"], 5);
    assert_eq!(all["Config"]["Healthcheck"], json!({"Test": ["CMD-SHELL", "true && true"], "Interval": 2_000_000_000}));
    let mounts = all["Mounts"].as_array().unwrap();
    assert_eq!(mounts.len(), 1, "{mounts:?}");
    assert_eq!(
        mounts[0],
        json!({"Type": "bind", "Source": "/tmp", "Destination": "/t", "Mode": "ro", "RW": false, "Propagation": "rprivate"})
    );
    let _ = lab.rdock(["rm", "all"]).ok();
}

#[test]
fn what_can_not_be_is_refused_in_dockers_words_and_nothing_is_left() {
    let Some(lab) = lab() else { return };
    for (options, words) in [
        (
            "--restart bogus",
            "invalid restart policy: unknown policy 'bogus'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        ),
        ("--restart always:3", "maximum retry count cannot be used with restart policy 'always'"),
        ("-m 1m", "Minimum memory limit allowed is 6MB"),
        ("--memory-swap 1g", "You should always set the Memory limit when using Memoryswap limit, see usage"),
        (
            "-m 64m --memory-reservation 128m",
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        ("--cpus 1000", "Range of CPUs is from 0.01 to "),
        ("--cpus 1 --cpu-quota 5000", "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        ("--cpu-period 5", "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
        ("--cpuset-cpus 5000", "Requested CPUs are not available - requested 5000, available: "),
        ("--oom-score-adj 2000", "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        ("--security-opt foo=bar", "invalid --security-opt 2: \"foo=bar\""),
        ("--ipc foo", "Invalid IPC mode: foo"),
        ("--runtime nosuch", "unknown or invalid runtime name: nosuch"),
        ("--isolation hyperv", "Invalid isolation: \"hyperv\" - linux only supports 'default'"),
        ("-v /tmp:/b:xx", "invalid mode: xx"),
        (
            "-v /tmp:b",
            "invalid volume specification: '/tmp:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
        ),
        ("-v /tmp:/", "invalid specification: destination can't be '/'"),
        ("-v /tmp:/b -v /etc:/b", "Duplicate mount point: /b"),
        ("--tmpfs x", "invalid mount path: 'x' mount path must be absolute"),
        ("--tmpfs /x:foo", "invalid tmpfs option [\"foo\"]"),
        ("--mount type=foo,src=/tmp,dst=/b", "invalid mount config for type \"foo\": mount type unknown"),
        ("--stop-signal FOO", "Invalid signal: FOO"),
        ("--health-cmd x --health-interval 1us", "Interval in Healthcheck cannot be less than 1ms"),
        ("--uts host --hostname foo", "conflicting options: hostname and the UTS mode"),
        ("-w x", "the working directory 'x' is invalid, it needs to be an absolute path"),
        ("-p 80:80", "rdock can't do --publish yet"),
        ("-v named:/x", "rdock can't do named volumes yet"),
    ] {
        let words_of = ["run", "--name", "xx"].into_iter().chain(options.split(' ')).chain(["centos", "true"]);
        let said = lab.rdock(words_of).fails(125, words);
        assert!(said.stderr.contains("Error response from daemon: "), "{said:?}");
    }
    assert_eq!(lab.containers_on_disk(), Vec::<std::path::PathBuf>::new());
}

/// `update`: what was said counts at once, is kept, and all else stays.
#[test]
fn limits_of_a_container_that_runs_are_changed() {
    let Some(lab) = lab() else { return };
    if !std::path::Path::new("/sys/fs/cgroup/pids").exists() {
        return skipped("cgroup v1 controllers");
    }
    for name in ["box", "other"] {
        let limits = ["--pids-limit", "4", "-m", "64m", "--memory-swap", "64m"];
        let run = ["run", "-d", "--name", name].into_iter().chain(limits);
        let _ = lab.rdock(run.chain(["centos", "sleep", "1000"])).ok();
    }
    let many = "for n in 1 2 3 4 5 6; do sleep 100 & done; kill $(jobs -p)";
    let fork = || lab.rdock(["exec", "box", "bash", "-c", many]);
    assert!(fork().stderr.contains("Resource temporarily unavailable"), "{:?}", fork());
    lab.rdock(["update", "--pids-limit", "40", "box", "other"]).is(0, "box\nother\n", "");
    assert!(!fork().stderr.contains("unavailable"), "{:?}", fork());
    lab.rdock(["update", "-m", "16m", "--memory-swap", "16m", "--cpu-shares", "77", "box"]).is(0, "box\n", "");
    let eats = lab.rdock(["exec", "box", "sh", "-c", "head -c 40000000 /dev/zero | tail -c 39000000 | wc -c"]);
    assert_ne!(eats.stdout, "39000000\n", "40 MB where 16 are allowed");
    let host = inspect(&lab, "box")["HostConfig"].clone();
    let shown = ["Memory", "MemorySwap", "PidsLimit", "CpuShares"].map(|key| host[key].as_i64().unwrap());
    assert_eq!(shown, [16 << 20, 16 << 20, 40, 77]);
    assert_eq!(inspect(&lab, "other")["HostConfig"]["Memory"], 64 << 20);
    // Larger again, both at once; without a limit; with another policy.
    let grown = ["update", "-m", "128m", "--memory-swap", "256m", "--pids-limit", "-1", "--restart", "on-failure:3"];
    lab.rdock(grown.into_iter().chain(["box"])).is(0, "box\n", "");
    let host = inspect(&lab, "box")["HostConfig"].clone();
    assert_eq!((&host["PidsLimit"], &host["RestartPolicy"]["MaximumRetryCount"]), (&Value::Null, &json!(3)));
    let groups = rdock::shim::groups::Groups::of(
        inspect(&lab, "box")["State"]["Pid"].as_i64().unwrap() as i32,
        &group_of(&lab, "box"),
    );
    let file = |controller, file| groups.read(controller, file).map(|text| text.trim().to_owned());
    assert_eq!(file("pids", "pids.max").as_deref(), Some("max"));
    assert_eq!(file("memory", "memory.limit_in_bytes"), Some((128 << 20).to_string()));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let events = ["events", "--since", "1h", "--until", &now, "--filter", "event=update"];
    let told = lab.rdock(events.into_iter().chain(["--format", "{{.Actor.Attributes.name}}"]));
    assert_eq!(told.ok().stdout, "box\nother\nbox\nbox\n");
    // What is refused changes nothing, and is told in Docker's words; the next daemon knows what was changed.
    lab.kill_daemon();
    lab.start_daemon();
    let id = inspect(&lab, "box")["Id"].as_str().unwrap().to_owned();
    let cant = format!("Error response from daemon: Cannot update container {id}: ");
    for (options, words) in [
        (
            &["-m", "512m"][..],
            format!(
                "{cant}Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
            ),
        ),
        (
            &["--cpuset-cpus", "999"],
            "Error response from daemon: Requested CPUs are not available - requested 999, available: ".into(),
        ),
        (&["-m", "1m"], "Error response from daemon: Minimum memory limit allowed is 6MB".into()),
        (&["--memory-swap", "7m"], cant.clone()),
        (&["--restart", "foo"], "Error response from daemon: invalid restart policy".into()),
    ] {
        let _ = lab.rdock(["update"].into_iter().chain(options.iter().copied()).chain(["box"])).fails(1, &words);
    }
    assert_eq!(inspect(&lab, "box")["HostConfig"], host);
    assert_eq!(file("memory", "memory.limit_in_bytes"), Some((128 << 20).to_string()));
    let _ = lab.rdock(["update", "box"]).fails(1, "you must provide one or more flags when using this command");
    let some = lab.rdock(["update", "--cpus", "0.5", "nosuch", "box"]);
    some.is(1, "box\n", "Error response from daemon: No such container: nosuch\n");
    let _ = lab
        .rdock(["update", "--cpu-quota", "5000", "box"])
        .fails(1, "CPU Quota cannot be updated as NanoCPUs has already been set");
    let _ = lab.rdock(["run", "-d", "--rm", "--name", "brief", "centos", "sleep", "1000"]).ok();
    let _ = lab
        .rdock(["update", "--restart", "always", "brief"])
        .fails(1, "Restart policy cannot be updated because AutoRemove is enabled for the container");
    let _ = lab.rdock(["rm", "-f", "box", "other", "brief"]).ok();
}

/// `rdock-<tag>-<id>`
fn group_of(lab: &Lab, name: &str) -> String {
    let home = lab.home();
    let home = rdock::app::Home { data: home.join("data"), run: home.join("run"), config: home.join("config") };
    format!("rdock-{}-{}", home.tag(), inspect(lab, name)["Id"].as_str().unwrap())
}
