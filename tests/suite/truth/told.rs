//! What the trace tells, as deeds.

use super::deed::{Deed, flags, is_kernel_file, kernel_file};
use rdock::trace::{Outcome, TraceEvent};
use serde_json::Value;

/// The calls that are compared: those that strace is asked for. The trace tells more (files of a layer, limits,
/// descriptors), which this test does not judge.
const COMPARED: [&str; 23] = [
    "kernel.clone3",
    "kernel.unshare",
    "kernel.setns",
    "kernel.execve",
    "kernel.mount",
    "kernel.umount2",
    "kernel.open_tree",
    "kernel.move_mount",
    "kernel.pivot_root",
    "kernel.chroot",
    "kernel.sethostname",
    "kernel.setdomainname",
    "kernel.mknodat",
    "kernel.setgroups",
    "kernel.setresgid",
    "kernel.setresuid",
    "kernel.capset",
    "kernel.prctl",
    "kernel.seccomp",
    "kernel.netlink",
    "kernel.write",
    "kernel.mount_setattr",
    "kernel.kill",
];

/// The deeds among `events`, in the order of the stream.
pub fn deeds(events: &[TraceEvent]) -> Vec<Deed> {
    let mut deeds = Vec::new();
    for (at, event) in events.iter().enumerate() {
        if !COMPARED.contains(&event.op.as_str()) || announces_a_failure(event, &events[at + 1..]) {
            continue;
        }
        deeds.push(deed(event));
    }
    deeds
}

/// An execve is told before it is made; when it fails the same process tells it again, with the errno.
fn announces_a_failure(event: &TraceEvent, later: &[TraceEvent]) -> bool {
    event.op == "kernel.execve"
        && event.result.is_none()
        && later
            .iter()
            .filter(|e| e.pid == event.pid && e.op.starts_with("kernel."))
            .take(1)
            .any(|e| e.op == event.op && e.args == event.args && e.result.is_some())
}

fn deed(event: &TraceEvent) -> Deed {
    let name = event.op.trim_start_matches("kernel.");
    let result = result(event);
    let arg = |key: &str| event.args.get(key).unwrap_or(&Value::Null);
    let new = Deed::new(event.pid, name, result.clone());
    let copy = |deed: Deed, keys: &[&'static str]| keys.iter().fold(deed, |d, key| d.with(key, plain(arg(key))));
    match name {
        "clone3" => {
            let mut names = strings(arg("flags"));
            let cgroup = arg("cgroup");
            if !cgroup.is_null() {
                names.push("CLONE_INTO_CGROUP".to_owned());
            }
            let deed = copy(new, &["exit_signal"]).with("flags", flags(names.iter().map(String::as_str)));
            if cgroup.is_null() { deed } else { deed.with("cgroup", plain(cgroup)) }
        }
        "unshare" => new.with("flags", names(arg("flags"))),
        "setns" => copy(new, &["fd"]).with("nstype", names(arg("nstype"))),
        "mount" => {
            copy(new, &["source", "target", "filesystemtype", "data"]).with("mountflags", names(arg("mountflags")))
        }
        "umount2" => copy(new, &["target"]).with("flags", names(arg("flags"))),
        "open_tree" => {
            let mut fixed = vec!["OPEN_TREE_CLONE", "OPEN_TREE_CLOEXEC"];
            if arg("recursive") == &Value::Bool(true) {
                fixed.push("AT_RECURSIVE");
            }
            copy(new, &["dfd", "filename"]).with("flags", flags(fixed))
        }
        "move_mount" => copy(new, &["from_dfd", "to_dfd", "to_pathname"])
            .with("from_pathname", "")
            .with("flags", "MOVE_MOUNT_F_EMPTY_PATH"),
        "mount_setattr" => {
            let mut fixed = vec!["AT_EMPTY_PATH"];
            if arg("recursive") == &Value::Bool(true) {
                fixed.push("AT_RECURSIVE");
            }
            copy(new, &["dfd"])
                .with("pathname", "")
                .with("flags", flags(fixed))
                .with("attr_set", names(arg("attr_set")))
        }
        "kill" => {
            let number = arg("sig").as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(0);
            let name = nix::sys::signal::Signal::try_from(number).map_or("?", |signal| signal.as_str());
            copy(new, &["pid"]).with("sig", name)
        }
        "pivot_root" => copy(new, &["new_root", "put_old"]),
        "chroot" => copy(new, &["path"]),
        "sethostname" | "setdomainname" => copy(new, &["name"]),
        "mknodat" => {
            let mode = plain(arg("mode")).replacen("0o", "0", 1);
            let dev = arg("dev");
            copy(new, &["dirfd", "pathname"])
                .with("mode", format!("{}|{mode}", plain(arg("kind"))))
                .with("dev", format!("{}:{}", plain(&dev["major"]), plain(&dev["minor"])))
        }
        "setgroups" => new.with("list", strings(arg("list")).join(",")),
        "setresuid" => copy(new, &["ruid", "euid", "suid"]),
        "setresgid" => copy(new, &["rgid", "egid", "sgid"]),
        "capset" => ["effective", "permitted", "inheritable"]
            .into_iter()
            .fold(new, |d, set| d.with(set, plain(&arg("data")[set]))),
        "prctl" => {
            let known = ["option", "cap", "on", "sig"].into_iter().filter(|k| !arg(k).is_null());
            known.fold(new, |d, key| d.with(key, plain(arg(key))))
        }
        "seccomp" => copy(new, &["instructions"])
            .with("flags", if arg("flags") == 0 { String::new() } else { plain(arg("flags")) })
            .with("operation", "SECCOMP_SET_MODE_FILTER"),
        "execve" => copy(new, &["pathname"])
            .with("argv", strings(arg("argv")).join("\u{1f}"))
            .with("envp", strings(arg("envp")).join("\u{1f}")),
        "write" => {
            let path = plain(arg("path"));
            debug_assert!(is_kernel_file(&path), "{path}");
            // Whether the open or the write failed, the trace does not say: strace's failed open has no data.
            copy(new, &["data"]).with("path", kernel_file(&path, event.pid))
        }
        "netlink" => copy(new, &["type", "index", "flags"]),
        _ => new.with("all", format!("{:?}", event.args)),
    }
}

fn result(event: &TraceEvent) -> String {
    match &event.result {
        None => "ok".to_owned(),
        Some(Outcome::Err { errno, .. }) => errno.clone(),
        Some(Outcome::Ok { ok }) => match event.op.as_str() {
            "kernel.clone3" => plain(&ok["pid"]),
            "kernel.open_tree" => plain(ok),
            _ => "ok".to_owned(),
        },
    }
}

/// Text as it stands, NULL, numbers in decimal.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().map(|list| list.iter().map(plain).collect()).unwrap_or_default()
}

fn names(value: &Value) -> String {
    flags(strings(value).iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdock::kernel::call::{CapSets, Dev, NodeKind, Prctl};
    use rdock::kernel::{Call, Fd};
    use serde_json::json;

    /// The event that `Traced` makes of a call, without a kernel.
    fn event(call: &Call, result: Value) -> TraceEvent {
        let args = serde_json::to_value(call).unwrap();
        serde_json::from_value(json!({
            "v": 1, "seq": 1, "trace": "0".repeat(32), "span": "0".repeat(16), "ts": 1, "actor": "runtime",
            "op": call.op(), "pid": 30, "summary": "", "args": args, "result": result,
        }))
        .unwrap()
    }

    fn told(call: &Call, result: Value) -> String {
        deeds(&[event(call, result)])[0].to_string().trim().to_owned()
    }

    #[test]
    fn a_mount_is_told_as_strace_shows_it() {
        let call = Call::Mount {
            source: None,
            target: "/".into(),
            filesystemtype: None,
            mountflags: nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_SLAVE,
            data: None,
        };
        assert_eq!(
            told(&call, json!({"ok": 0})),
            r#"30 mount(data="NULL", filesystemtype="NULL", mountflags="MS_REC|MS_SLAVE", source="NULL", target="/") = ok"#
        );
    }

    #[test]
    fn a_new_process_is_told_with_its_number() {
        let call = Call::Clone3 { flags: nix::sched::CloneFlags::CLONE_NEWNS, exit_signal: "SIGCHLD", cgroup: None };
        assert_eq!(
            told(&call, json!({"ok": {"pid": 31, "pidfd": 5}})),
            r#"30 clone3(exit_signal="SIGCHLD", flags="CLONE_NEWNS|CLONE_PIDFD") = 31"#
        );
        let in_group = Call::Clone3 {
            flags: nix::sched::CloneFlags::CLONE_NEWNS,
            exit_signal: "SIGCHLD",
            cgroup: Some(Fd::Raw(6)),
        };
        assert!(told(&in_group, json!({"ok": {"pid": 31}})).contains("cgroup=\"6\""));
        assert!(told(&in_group, json!({"ok": {"pid": 31}})).contains("CLONE_INTO_CGROUP"));
    }

    #[test]
    fn nodes_sets_and_options_too() {
        let node = Call::Mknodat {
            dirfd: Fd::Cwd,
            pathname: "/dev/null".into(),
            kind: NodeKind::Char,
            mode: 0o666,
            dev: Dev { major: 1, minor: 3 },
        };
        assert_eq!(
            told(&node, json!({"ok": 0})),
            r#"30 mknodat(dev="1:3", dirfd="AT_FDCWD", mode="S_IFCHR|0666", pathname="/dev/null") = ok"#
        );
        let sets = Call::Capset { data: CapSets { effective: 3, permitted: 0, inheritable: 0 } };
        assert_eq!(
            told(&sets, json!({"ok": 0})),
            r#"30 capset(effective="0x3", inheritable="0x0", permitted="0x0") = ok"#
        );
        let raise = Call::Prctl(Prctl::CapAmbientRaise { cap: 6 });
        assert_eq!(
            told(&raise, json!({"errno": "EPERM", "message": "no"})),
            r#"30 prctl(cap="6", option="PR_CAP_AMBIENT_RAISE") = EPERM"#
        );
    }

    #[test]
    fn an_execve_that_failed_is_one_deed_and_one_that_worked_too() {
        let call = Call::Execve { pathname: "/bin/sh".into(), argv: vec!["sh".into()], envp: vec![] };
        let mut before = event(&call, json!({"ok": 0}));
        before.result = None;
        let after = event(&call, json!({"errno": "ENOENT", "message": "no such file"}));
        assert_eq!(deeds(&[before.clone(), after])[0].result, "ENOENT");
        assert_eq!(deeds(&[before])[0].result, "ok");
    }
}
