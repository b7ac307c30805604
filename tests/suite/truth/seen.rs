//! What strace saw, as deeds: who is who among the processes, and what is left out, by [`LEFT_OUT`].

use super::deed::{Deed, capability, capability_mask, flags, is_kernel_file, kernel_file, number};
use super::strace::{Answer, Call, Value};
use std::collections::{BTreeSet, HashMap};

/// The calls that strace is asked to show.
pub const TRACED: &str = "trace=clone,clone3,fork,vfork,unshare,setns,mount,umount2,pivot_root,chroot,open_tree,\
move_mount,fsopen,fsconfig,fsmount,mount_setattr,sethostname,setdomainname,mknod,mknodat,capset,prctl,seccomp,setuid,\
setgid,setreuid,setregid,setresuid,setresgid,setfsuid,setfsgid,setgroups,execve,execveat,write,pwrite64,writev,sendto,\
sendmsg,recvfrom,recvmsg,openat,openat2,kill,pidfd_send_signal";

/// Something that strace sees and the explanation leaves out on purpose.
pub struct LeftOut {
    /// What it is.
    pub what: &'static str,
    /// Why a learner is not told of it.
    pub why: &'static str,
    applies: fn(&Call, &Processes) -> bool,
}

/// All of it, in one place: nothing else is left out.
pub const LEFT_OUT: &[LeftOut] = &[
    LeftOut {
        what: "everything that the container's command does after its execve",
        why: "from there on it is the container's own doing, not its set-up",
        applies: |call, processes| processes.is_command(call.tid),
    },
    LeftOut {
        what: "clone, clone3 with CLONE_THREAD",
        why: "threads of the daemon's own: no new process, nothing of a container",
        applies: |call, _| clone_flags(call).is_some_and(|f| f.contains(&"CLONE_THREAD".to_owned())),
    },
    LeftOut {
        what: "clone, clone3, vfork, fork by which the daemon starts a shim",
        why: "how the standard library starts a program; told as the step shim.start, with its process number",
        applies: |call, processes| processes.starts_engine_process(call),
    },
    LeftOut {
        what: "execve of rdock itself (daemon, shim)",
        why: "the engine's own programs; told as the steps daemon.start and shim.start",
        applies: |call, _| call.name == "execve" && is_own_program(call),
    },
    LeftOut {
        what: "open_tree, mount_setattr by which the daemon takes hold of its own program when it starts",
        why: "the same for all containers, before the first command: shims are started from a read-only copy of that mount",
        applies: |call, processes| {
            matches!(call.name.as_str(), "open_tree" | "mount_setattr") && processes.is_daemon(call.tid)
        },
    },
    LeftOut {
        what: "prctl with PR_SET_NAME, PR_SET_VMA and the PR_GET_… and PR_CAP_AMBIENT_IS_SET readers",
        why: "names of threads and of memory for debuggers; questions: none has an effect on the container",
        applies: |call, _| call.name == "prctl" && is_idle_prctl(call),
    },
    LeftOut {
        what: "write, pwrite64, writev to anything but files of the kernel (/proc, /sys with its cgroups)",
        why: "file contents, sockets, pipes, logs: data, not set-up",
        applies: |call, _| {
            matches!(call.name.as_str(), "write" | "pwrite64" | "writev")
                && !call.args.first().is_some_and(|fd| matches!(fd, Value::Fd { path, .. } if is_kernel_file(path)))
        },
    },
    LeftOut {
        what: "sendto, sendmsg that are no netlink request; netlink requests RTM_GET…",
        why: "messages between the engine's own processes; questions to the kernel",
        applies: |call, _| {
            matches!(call.name.as_str(), "sendto" | "sendmsg")
                && netlink(call).is_none_or(|(kind, ..)| kind.starts_with("RTM_GET"))
        },
    },
    LeftOut {
        what: "recvfrom, recvmsg",
        why: "traced only to learn how the kernel answered a netlink request",
        applies: |call, _| matches!(call.name.as_str(), "recvfrom" | "recvmsg"),
    },
    LeftOut {
        what: "openat, openat2, except one for writing that fails on a file of the kernel",
        why: "opening has no effect; where a file of the kernel can't be opened, the write that was meant is told as failed",
        applies: |call, _| matches!(call.name.as_str(), "openat" | "openat2") && failed_kernel_open(call).is_none(),
    },
];

/// The table as text, for the documents.
pub fn left_out_as_text() -> String {
    LEFT_OUT.iter().map(|l| format!("- {}: {}\n", l.what, l.why)).collect()
}

/// Who is who: threads belong to a process; the container's command and what it starts are not ours.
#[derive(Debug, Default)]
pub struct Processes {
    /// thread → process
    process_of: HashMap<u32, u32>,
    commands: BTreeSet<u32>,
    /// Processes that became rdock (a shim) by execve.
    engine: BTreeSet<u32>,
    /// The first process of all.
    daemon: Option<u32>,
}

impl Processes {
    fn is_command(&self, tid: u32) -> bool {
        !self.process_of.contains_key(&tid) || self.commands.contains(&self.pid(tid))
    }

    fn is_daemon(&self, tid: u32) -> bool {
        self.daemon == Some(self.pid(tid))
    }

    fn pid(&self, tid: u32) -> u32 {
        self.process_of.get(&tid).copied().unwrap_or(tid)
    }

    fn starts_engine_process(&self, call: &Call) -> bool {
        matches!(call.name.as_str(), "clone" | "clone3" | "vfork" | "fork")
            && matches!(call.answer, Answer::Value(child) if self.engine.contains(&(child as u32)))
    }

    /// Learns from one call, after it was judged.
    fn learn(&mut self, call: &Call, inner: impl Fn() -> Option<u32>) {
        if self.is_command(call.tid) {
            return;
        }
        let pid = self.pid(call.tid);
        match (call.name.as_str(), &call.answer) {
            ("clone" | "clone3" | "vfork" | "fork", Answer::Value(child)) if *child > 0 => {
                // Process 1 of a namespace makes number 2: on the host that is somebody else, and long there.
                let child = if *child < 100 { inner().unwrap_or(*child as u32) } else { *child as u32 };
                let thread = clone_flags(call).is_some_and(|f| f.contains(&"CLONE_THREAD".to_owned()));
                self.process_of.insert(child, if thread { pid } else { child });
            }
            ("execve", Answer::Value(_) | Answer::Unknown) if !is_own_program(call) => {
                self.commands.insert(pid);
            }
            _ => {}
        }
    }
}

/// The deeds among `calls`, in their order, of the daemon (the first process in the list) and all it started.
pub fn deeds(calls: &[Call]) -> Vec<Deed> {
    let mut processes = Processes::default();
    if let Some(first) = calls.first() {
        processes.process_of.insert(first.tid, first.tid);
        processes.daemon = Some(first.tid);
    }
    for call in calls.iter().filter(|c| c.name == "execve" && is_own_program(c)) {
        if call.answer == Answer::Value(0) {
            processes.engine.insert(call.tid);
        }
    }
    let mut deeds = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        if !LEFT_OUT.iter().any(|l| (l.applies)(call, &processes)) {
            deeds.push(deed(call, processes.pid(call.tid), &calls[at + 1..]));
        }
        processes.learn(call, || child_of_inner_namespace(calls, at));
    }
    deeds
}

/// The child of a process that is in a pid namespace of its own: the call gives back its number there, and strace shows it
/// by the host's number, which is the next one that is new.
fn child_of_inner_namespace(calls: &[Call], at: usize) -> Option<u32> {
    let known: BTreeSet<u32> = calls[..=at].iter().map(|c| c.tid).collect();
    calls[at + 1..].iter().map(|c| c.tid).find(|tid| !known.contains(tid))
}

fn is_own_program(call: &Call) -> bool {
    let own = Some(env!("CARGO_BIN_EXE_rdock"));
    let path = call.args.first().and_then(Value::text);
    let path = path.as_deref();
    // A shim is started by the descriptor of a read-only copy of the program's mount.
    let copy = |path: &str| path.starts_with("/proc/self/fd/");
    path == own || path == Some("/proc/self/exe") || path.is_some_and(copy)
}

fn is_idle_prctl(call: &Call) -> bool {
    let word = |n: usize| call.args.get(n).map_or("", Value::word);
    word(0) == "PR_SET_NAME"
        || word(0) == "PR_SET_VMA"
        || word(0) == "PR_CAPBSET_READ"
        || word(0).starts_with("PR_GET_")
        || word(1) == "PR_CAP_AMBIENT_IS_SET"
}

/// The flags of any kind of clone.
fn clone_flags(call: &Call) -> Option<Vec<String>> {
    let value = match call.name.as_str() {
        "clone3" => call.args.first()?.get("flags")?,
        // `child_stack=NULL, flags=…`: names of arguments are not kept, the place is fixed.
        "clone" => call.args.get(1)?,
        _ => return None,
    };
    Some(value.flags().into_iter().map(str::to_owned).collect())
}

/// An open for writing of a file of the kernel that failed: (path, errno).
fn failed_kernel_open(call: &Call) -> Option<(String, String)> {
    let Answer::Errno(errno) = &call.answer else {
        return None;
    };
    let path = call.args.get(1)?.text()?;
    let how = call.args.get(2)?;
    let flags = how.get("flags").unwrap_or(how).flags();
    let writes = flags.iter().any(|f| *f == "O_WRONLY" || *f == "O_RDWR");
    (writes && is_kernel_file(&path)).then(|| (path, errno.clone()))
}

/// A netlink request: (type, index of the link, flags that are set).
fn netlink(call: &Call) -> Option<(String, i32, String)> {
    let message = call.args.iter().find_map(find_message)?;
    let kind = match message.first()?.get("nlmsg_type")?.word() {
        "0x10" => "RTM_NEWLINK",
        "0x11" => "RTM_DELLINK",
        "0x12" => "RTM_GETLINK",
        "0x14" => "RTM_NEWADDR",
        "0x16" => "RTM_GETADDR",
        "0x18" => "RTM_NEWROUTE",
        "0x1a" => "RTM_GETROUTE",
        other => other,
    };
    let (index, flags) = match message.get(1) {
        // strace could not tell which netlink family the socket is of: it belongs to another network namespace.
        Some(Value::Text(bytes)) => {
            let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
            (word(4), if word(8) & 1 == 1 { "IFF_UP" } else { "" }.to_owned())
        }
        Some(body) => {
            let index = body.get("ifi_index").map_or("", Value::word);
            let index = match index {
                "if_nametoindex(\"lo\")" => 1,
                other => other.parse().unwrap_or(-1),
            };
            let set = body.get("ifi_flags").map(|f| flags(f.flags())).unwrap_or_default();
            (index, set)
        }
        None => (0, String::new()),
    };
    Some((kind.to_owned(), index, flags))
}

fn find_message(value: &Value) -> Option<&[Value]> {
    match value {
        Value::List(values) if values.first().is_some_and(|v| v.get("nlmsg_len").is_some()) => Some(values),
        Value::List(values) => values.iter().find_map(find_message),
        Value::Struct(members) => members.iter().find_map(|(_, v)| find_message(v)),
        _ => None,
    }
}

/// What the kernel acknowledged: the next message that this thread received.
fn acknowledged(tid: u32, later: &[Call]) -> String {
    let answer = later
        .iter()
        .filter(|c| c.tid == tid && matches!(c.name.as_str(), "recvfrom" | "recvmsg"))
        .find_map(|c| c.args.iter().find_map(find_message));
    let error = answer.and_then(|m| m.get(1)?.get("error").map(|e| e.word().to_owned()));
    match error.as_deref() {
        Some("0") => "ok".to_owned(),
        Some(other) => other.trim_start_matches('-').to_owned(),
        None => "no acknowledgement".to_owned(),
    }
}

fn deed(call: &Call, pid: u32, later: &[Call]) -> Deed {
    let text = |n: usize| call.args.get(n).and_then(Value::text).unwrap_or_else(|| word(call, n));
    let names = |n: usize| flags(call.args.get(n).map(Value::flags).unwrap_or_default());
    let new = |name: &str| Deed::new(pid, name, result(call));
    match call.name.as_str() {
        "clone3" => {
            let args = &call.args[0];
            let deed = new("clone3")
                .with("flags", flags(args.get("flags").map(Value::flags).unwrap_or_default()))
                .with("exit_signal", args.get("exit_signal").map_or("", Value::word));
            match args.get("cgroup").map(Value::word) {
                Some(cgroup) if cgroup != "0" => deed.with("cgroup", cgroup),
                _ => deed,
            }
        }
        "unshare" => new("unshare").with("flags", names(0)),
        "setns" => new("setns").with("fd", word(call, 0)).with("nstype", names(1)),
        "mount" => new("mount")
            .with("source", text(0))
            .with("target", text(1))
            .with("filesystemtype", text(2))
            .with("mountflags", names(3))
            .with("data", text(4)),
        "umount2" => new("umount2").with("target", text(0)).with("flags", names(1)),
        "kill" => new("kill").with("pid", word(call, 0)).with("sig", word(call, 1)),
        "pivot_root" => new("pivot_root").with("new_root", text(0)).with("put_old", text(1)),
        "chroot" => new("chroot").with("path", text(0)),
        "open_tree" => new("open_tree").with("dfd", word(call, 0)).with("filename", text(1)).with("flags", names(2)),
        "move_mount" => new("move_mount")
            .with("from_dfd", word(call, 0))
            .with("from_pathname", text(1))
            .with("to_dfd", word(call, 2))
            .with("to_pathname", text(3))
            .with("flags", names(4)),
        "mount_setattr" => {
            let set = call.args.get(3).and_then(|a| a.get("attr_set")).map(Value::flags).unwrap_or_default();
            new("mount_setattr")
                .with("dfd", word(call, 0))
                .with("pathname", text(1))
                .with("flags", names(2))
                .with("attr_set", flags(set))
        }
        "sethostname" | "setdomainname" => new(&call.name).with("name", text(0)),
        "mknodat" => {
            let dev = word(call, 3);
            let mut dev = dev.trim_start_matches("makedev(").trim_end_matches(')').split(", ");
            let mut part = || dev.next().and_then(number).unwrap_or(0);
            let (major, minor) = (part(), part());
            new("mknodat")
                .with("dirfd", word(call, 0))
                .with("pathname", text(1))
                .with("mode", word(call, 2))
                .with("dev", format!("{major}:{minor}"))
        }
        "capset" => ["effective", "permitted", "inheritable"].into_iter().fold(new("capset"), |deed, set| {
            let mask = call.args.get(1).and_then(|a| a.get(set)).map_or("0", Value::word);
            deed.with(set, capability_mask(mask))
        }),
        "prctl" => prctl(call, new("prctl")),
        "seccomp" => new("seccomp")
            .with("operation", word(call, 0))
            .with("flags", names(1))
            .with("instructions", call.args.get(2).and_then(|a| a.get("len")).map_or("", Value::word)),
        "setgroups" => {
            let list: Vec<_> = call.args[1].list().iter().map(Value::word).collect();
            new("setgroups").with("list", list.join(","))
        }
        "setresuid" => new("setresuid").with("ruid", id(call, 0)).with("euid", id(call, 1)).with("suid", id(call, 2)),
        "setresgid" => new("setresgid").with("rgid", id(call, 0)).with("egid", id(call, 1)).with("sgid", id(call, 2)),
        "execve" => {
            let strings = |n: usize| {
                let list: Vec<_> = call.args[n].list().iter().filter_map(Value::text).collect();
                list.join("\u{1f}")
            };
            new("execve").with("pathname", text(0)).with("argv", strings(1)).with("envp", strings(2))
        }
        "write" | "pwrite64" | "writev" => {
            let path = match &call.args[0] {
                Value::Fd { path, .. } => kernel_file(path, pid),
                _ => String::new(),
            };
            new("write").with("path", path).with("data", text(1))
        }
        "openat" | "openat2" => {
            let (path, errno) = failed_kernel_open(call).unwrap_or_default();
            Deed::new(pid, "write", errno).with("path", kernel_file(&path, pid)).with("data", "?")
        }
        "sendto" | "sendmsg" => {
            let (kind, index, set) = netlink(call).unwrap_or_default();
            Deed::new(pid, "netlink", acknowledged(call.tid, later))
                .with("type", kind)
                .with("index", index.to_string())
                .with("flags", set)
        }
        // A call that the explanation has no form for yet: it will be reported as missing there, which is right.
        other => new(other).with("all", format!("{:?}", call.args)),
    }
}

fn word(call: &Call, n: usize) -> String {
    call.args.get(n).map_or("", Value::word).to_owned()
}

/// A user or group id; -1 (leave as it is) is the same as 4294967295.
fn id(call: &Call, n: usize) -> String {
    match word(call, n).as_str() {
        "-1" => u32::MAX.to_string(),
        other => other.to_owned(),
    }
}

fn prctl(call: &Call, deed: Deed) -> Deed {
    let (option, arg) = (word(call, 0), word(call, 1));
    let cap = |name: &str| capability(name).map_or_else(|| name.to_owned(), |n| n.to_string());
    match option.as_str() {
        "PR_CAPBSET_DROP" => deed.with("cap", cap(&arg)).with("option", option),
        "PR_CAP_AMBIENT" if arg == "PR_CAP_AMBIENT_RAISE" => deed.with("option", arg).with("cap", cap(&word(call, 2))),
        "PR_CAP_AMBIENT" => deed.with("option", arg),
        "PR_SET_KEEPCAPS" => deed.with("option", option).with("on", (arg == "1").to_string()),
        "PR_SET_DUMPABLE" => deed.with("option", option).with("on", (arg == "SUID_DUMP_USER").to_string()),
        "PR_SET_NO_NEW_PRIVS" | "PR_SET_CHILD_SUBREAPER" if arg == "1" => deed.with("option", option),
        "PR_SET_PDEATHSIG" => {
            let signal = arg.parse::<nix::sys::signal::Signal>();
            let number = signal.map_or(arg.clone(), |s| (s as i32).to_string());
            deed.with("option", option).with("sig", number)
        }
        _ => deed.with("option", option).with("arg", arg),
    }
}

fn result(call: &Call) -> String {
    match (&call.answer, call.name.as_str()) {
        (Answer::Errno(errno), _) => errno.clone(),
        (Answer::Value(n), "clone" | "clone3" | "fork" | "vfork" | "open_tree" | "fsopen" | "fsmount") => n.to_string(),
        (Answer::Value(_) | Answer::Unknown, _) => "ok".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::truth::strace::parse;

    const RDOCK: &str = env!("CARGO_BIN_EXE_rdock");

    /// A daemon (10, with a thread 11) that starts a shim (20), which makes a container (30).
    fn story(extra: &str) -> Vec<Deed> {
        let log = format!(
            "10 execve(\"{RDOCK}\", [\"rdock\", \"daemon\"], []) = 0\n\
             10 clone3({{flags=CLONE_VM|CLONE_THREAD, exit_signal=0}}, 88) = 11\n\
             11 prctl(PR_SET_NAME, \"tokio\")     = 0\n\
             11 clone(child_stack=0x1, flags=CLONE_VM|CLONE_VFORK|SIGCHLD <unfinished ...>\n\
             20 execve(\"/proc/self/exe\", [\"rdock\", \"shim\"], []) = 0\n\
             11 <... clone resumed>) = 20\n\
             20 clone3({{flags=CLONE_PIDFD|CLONE_NEWNS, pidfd=0x7, exit_signal=SIGCHLD, stack=NULL, stack_size=0}} => {{pidfd=[3<anon_inode:[pidfd]>]}}, 88) = 30\n\
             {extra}\
             30 execve(\"/bin/sh\", [\"sh\", \"-c\", \"true\"], [\"A=b\"]) = 0\n\
             30 mount(\"a\", \"b\", \"c\", 0, NULL) = -1 EPERM (Operation not permitted)\n\
             30 clone(child_stack=NULL, flags=SIGCHLD) = 7\n\
             31 mount(\"a\", \"b\", \"c\", 0, NULL) = -1 EPERM (Operation not permitted)\n"
        );
        deeds(&parse(&log).unwrap())
    }

    fn shown(deeds: &[Deed]) -> Vec<String> {
        deeds.iter().map(|d| d.to_string().trim().to_owned()).collect()
    }

    #[test]
    fn the_engines_own_processes_and_the_commands_doings_are_left_out() {
        assert_eq!(
            shown(&story("")),
            [
                r#"20 clone3(exit_signal="SIGCHLD", flags="CLONE_NEWNS|CLONE_PIDFD") = 30"#,
                "30 execve(argv=\"sh\\u{1f}-c\\u{1f}true\", envp=\"A=b\", pathname=\"/bin/sh\") = ok",
            ]
        );
    }

    #[test]
    fn a_call_of_a_thread_is_the_processs() {
        let deeds = story("11 mount(NULL, \"/\", NULL, MS_REC|MS_SLAVE, NULL) = 0\n");
        assert_eq!(
            deeds[1].to_string().trim(),
            r#"10 mount(data="NULL", filesystemtype="NULL", mountflags="MS_REC|MS_SLAVE", source="NULL", target="/") = ok"#
        );
    }

    #[test]
    fn only_writes_to_the_kernel_count() {
        let deeds = story(
            "30 write(3</tmp/x>, \"data\", 4) = 4\n\
             30 write(3</proc/30/oom_score_adj>, \"100\", 3) = 3\n\
             30 write(4</sys/fs/cgroup/pids/x/cgroup.procs>, \"0\", 1) = -1 EINVAL (Invalid argument)\n\
             30 openat(AT_FDCWD</>, \"/sys/fs/cgroup/no\", O_WRONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)\n\
             30 openat(AT_FDCWD</>, \"/sys/fs/cgroup/no\", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)\n",
        );
        assert_eq!(
            shown(&deeds)[1..4],
            [
                r#"30 write(data="100", path="/proc/self/oom_score_adj") = ok"#,
                r#"30 write(data="0", path="/sys/fs/cgroup/pids/x/cgroup.procs") = EINVAL"#,
                r#"30 write(data="?", path="/sys/fs/cgroup/no") = ENOENT"#,
            ]
        );
    }

    #[test]
    fn netlink_is_told_with_the_kernels_acknowledgement() {
        let both = story(
            "30 sendto(3<socket:[24630]>, [{nlmsg_len=32, nlmsg_type=0x10 /* NLMSG_??? */, nlmsg_flags=NLM_F_REQUEST|NLM_F_ACK, nlmsg_seq=1, nlmsg_pid=0}, \"\\x00\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x01\\x00\\x00\\x00\"], 32, 0, NULL, 0) = 32\n\
             30 recvfrom(3<socket:[24630]>, [{nlmsg_len=36, nlmsg_type=NLMSG_ERROR, nlmsg_flags=0, nlmsg_seq=1, nlmsg_pid=1}, {error=0, msg={nlmsg_len=32}}], 1024, 0, NULL, NULL) = 36\n\
             30 sendto(3<NETLINK:[1]>, [{nlmsg_len=32, nlmsg_type=RTM_NEWLINK, nlmsg_flags=NLM_F_REQUEST|NLM_F_ACK, nlmsg_seq=1, nlmsg_pid=0}, {ifi_family=AF_UNSPEC, ifi_type=ARPHRD_NETROM, ifi_index=if_nametoindex(\"lo\"), ifi_flags=IFF_UP, ifi_change=0x1}], 32, 0, NULL, 0) = 32\n\
             30 recvfrom(3<NETLINK:[1]>, [{nlmsg_len=36, nlmsg_type=NLMSG_ERROR}, {error=-EPERM, msg={nlmsg_len=32}}], 1024, 0, NULL, NULL) = 36\n\
             30 sendto(3<UNIX:[1->2]>, \"{}\", 2, 0, NULL, 0) = 2\n",
        );
        assert_eq!(
            shown(&both)[1..3],
            [
                r#"30 netlink(flags="IFF_UP", index="1", type="RTM_NEWLINK") = ok"#,
                r#"30 netlink(flags="IFF_UP", index="1", type="RTM_NEWLINK") = EPERM"#,
            ]
        );
        assert_eq!(both.len(), 4);
    }

    #[test]
    fn privileges_are_numbers_and_masks() {
        let deeds = story(
            "30 prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN) = 0\n\
             30 prctl(PR_SET_KEEPCAPS, 1) = 0\n\
             30 prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETGID, 0, 0) = -1 EPERM (Operation not permitted)\n\
             30 prctl(PR_SET_PDEATHSIG, SIGKILL) = 0\n\
             30 prctl(PR_GET_KEEPCAPS) = 1\n\
             30 setgroups(2, [5, 6]) = 0\n\
             30 setgroups(0, []) = 0\n\
             30 setresuid(1, -1, 1) = 0\n\
             30 capset({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=1<<CAP_CHOWN|1<<CAP_DAC_OVERRIDE, permitted=0, inheritable=0}) = 0\n",
        );
        assert_eq!(
            shown(&deeds)[1..9],
            [
                r#"30 prctl(cap="21", option="PR_CAPBSET_DROP") = ok"#,
                r#"30 prctl(on="true", option="PR_SET_KEEPCAPS") = ok"#,
                r#"30 prctl(cap="6", option="PR_CAP_AMBIENT_RAISE") = EPERM"#,
                r#"30 prctl(option="PR_SET_PDEATHSIG", sig="9") = ok"#,
                r#"30 setgroups(list="5,6") = ok"#,
                r#"30 setgroups(list="") = ok"#,
                r#"30 setresuid(euid="4294967295", ruid="1", suid="1") = ok"#,
                r#"30 capset(effective="0x3", inheritable="0x0", permitted="0x0") = ok"#,
            ]
        );
    }

    #[test]
    fn device_nodes_have_their_kind_mode_and_numbers() {
        let deeds = story("30 mknodat(AT_FDCWD</>, \"/dev/null\", S_IFCHR|0666, makedev(0x1, 0x3)) = 0\n");
        assert_eq!(
            deeds[1].to_string().trim(),
            r#"30 mknodat(dev="1:3", dirfd="AT_FDCWD", mode="S_IFCHR|0666", pathname="/dev/null") = ok"#
        );
    }

    #[test]
    fn a_call_that_the_explanation_does_not_know_is_not_passed_over() {
        let deeds = story("30 chroot(\"/x\") = 0\n30 setuid(0) = 0\n");
        assert_eq!(deeds[1].call, "chroot");
        assert_eq!(deeds[2].call, "setuid");
    }
}
