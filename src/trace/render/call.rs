//! A call of the kernel as strace(1) writes it: `mount("overlay", "/merged", "overlay", 0, "lowerdir=…") = 0  <120 µs>`.

use super::lanes::time;
use crate::trace::event::{Outcome, TraceEvent};
use serde_json::Value;

/// Longest text that is written out in full; the whole is in `--explain=json`.
const LONGEST: usize = 400;

/// Arguments that hold flags: a list of names, or none.
const FLAGS: [&str; 4] = ["flags", "mountflags", "resolve", "nstype"];

/// Arguments that hold one symbolic name or a number in the notation that C uses.
const SYMBOLS: [&str; 11] = [
    "exit_signal",
    "kind",
    "option",
    "resource",
    "type",
    "mode",
    "effective",
    "permitted",
    "inheritable",
    "rlim_cur",
    "rlim_max",
];

/// Name, arguments, result and duration of a `kernel.*` event.
pub(super) fn strace(event: &TraceEvent) -> String {
    let name = event.op.trim_start_matches("kernel.");
    let args: Vec<String> = event.args.iter().map(|(key, value)| argument(key, value)).collect();
    let mut line = format!("{name}({})", args.join(", "));
    match &event.result {
        Some(Outcome::Ok { ok }) => line += &format!(" = {}", returned(ok)),
        Some(Outcome::Err { errno, message }) => line += &format!(" = -1 {errno} ({message})"),
        None => {}
    }
    if let Some(dur) = event.dur {
        line += &format!("  <{}>", time(dur));
    }
    line
}

/// What the call gave back: a number, or the pid where a call gives more than one thing.
fn returned(ok: &Value) -> String {
    let first = |map: &serde_json::Map<String, Value>| map.values().next().map(Value::to_string);
    match ok {
        Value::Object(map) => map.get("pid").map(Value::to_string).or_else(|| first(map)).unwrap_or_default(),
        Value::Null => "0".to_owned(),
        other => other.to_string(),
    }
}

fn argument(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Array(items) if FLAGS.contains(&key) => {
            let names: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            if names.is_empty() { "0".to_owned() } else { names.join("|") }
        }
        // strace does the same: the environment is long, and may hold what is nobody's business.
        Value::Array(items) if key == "envp" => format!("[/* {} vars */]", items.len()),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| argument(key, item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let fields: Vec<String> = map.iter().map(|(k, v)| format!("{k}={}", argument(k, v))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::String(text) if FLAGS.contains(&key) => text.clone(),
        Value::String(text) if matches!(key, "mode" | "mask") && text == "0o0" => "0".to_owned(),
        Value::String(text) if matches!(key, "mode" | "mask") => text.replacen("0o", "0", 1),
        Value::String(text) if SYMBOLS.contains(&key) || key.ends_with("fd") => text.clone(),
        Value::String(text) => quoted(text),
        Value::Bool(on) => format!("{key}={on}"),
        Value::Number(number) => named(key, number.as_u64()).map_or_else(|| number.to_string(), str::to_owned),
    }
}

/// The name that C has for a number.
fn named(key: &str, number: Option<u64>) -> Option<&'static str> {
    let index = usize::try_from(number?).ok()?;
    match key {
        "cap" => CAPABILITIES.get(index).copied(),
        "sig" => nix::sys::signal::Signal::try_from(i32::try_from(index).ok()?).ok().map(|signal| signal.as_str()),
        _ => None,
    }
}

/// capabilities(7), by number (linux/capability.h).
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// In quotes, with what can't be printed escaped, and cut where it is very long.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().take(LONGEST) {
        match c {
            '\u{a0}'.. => out.push(c),
            _ => out.extend(c.escape_default()),
        }
    }
    out.push('"');
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out.replace("\\'", "'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::render::tests::{call, err};
    use serde_json::json;

    fn line(op: &str, args: Value, ok: Value) -> String {
        strace(&call(op, args, ok))
    }

    #[test]
    fn calls_read_as_strace_writes_them() {
        assert_eq!(
            line(
                "kernel.mount",
                json!({"source": "overlay", "target": "/m", "filesystemtype": "overlay",
                       "mountflags": ["MS_NOSUID", "MS_NODEV"], "data": "lowerdir=a:b"}),
                json!(0)
            ),
            r#"mount("overlay", "/m", "overlay", MS_NOSUID|MS_NODEV, "lowerdir=a:b") = 0  <120 µs>"#
        );
        assert_eq!(
            line(
                "kernel.mount",
                json!({"source": null, "target": "/", "filesystemtype": null, "mountflags": [], "data": null}),
                json!(0)
            ),
            r#"mount(NULL, "/", NULL, 0, NULL) = 0  <120 µs>"#
        );
        assert_eq!(
            line(
                "kernel.clone3",
                json!({"flags": ["CLONE_NEWNS", "CLONE_NEWPID"], "exit_signal": "SIGCHLD"}),
                json!({"pid": 4127, "pidfd": 9})
            ),
            "clone3(CLONE_NEWNS|CLONE_NEWPID, SIGCHLD) = 4127  <120 µs>"
        );
        assert_eq!(
            line("kernel.mkdirat", json!({"dirfd": "AT_FDCWD", "pathname": "/a b", "mode": "0o755"}), json!(0)),
            r#"mkdirat(AT_FDCWD, "/a b", 0755) = 0  <120 µs>"#
        );
        assert_eq!(
            line(
                "kernel.capset",
                json!({"data": {"effective": "0x21", "permitted": "0x21", "inheritable": "0x0"}}),
                json!(0)
            ),
            "capset({effective=0x21, permitted=0x21, inheritable=0x0}) = 0  <120 µs>"
        );
    }

    #[test]
    fn numbers_that_have_names_are_named() {
        let drop = line("kernel.prctl", json!({"option": "PR_CAPBSET_DROP", "cap": 21}), json!(0));
        assert_eq!(drop, "prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN) = 0  <120 µs>");
        let later = line("kernel.prctl", json!({"option": "PR_CAPBSET_DROP", "cap": 41}), json!(0));
        assert_eq!(later, "prctl(PR_CAPBSET_DROP, 41) = 0  <120 µs>");
        let death = line("kernel.prctl", json!({"option": "PR_SET_PDEATHSIG", "sig": 9}), json!(0));
        assert_eq!(death, "prctl(PR_SET_PDEATHSIG, SIGKILL) = 0  <120 µs>");
    }

    #[test]
    fn execve_shows_its_words_but_not_the_environment() {
        let mut event = call(
            "kernel.execve",
            json!({"pathname": "/bin/sh", "argv": ["sh", "-c", "echo 'a\"\n"], "envp": ["TOKEN=x", "A=b"]}),
            json!(0),
        );
        event.result = None;
        event.dur = None;
        assert_eq!(strace(&event), r#"execve("/bin/sh", ["sh", "-c", "echo 'a\"\n"], [/* 2 vars */])"#);
    }

    #[test]
    fn a_call_that_failed_names_the_errno() {
        let mut event = call("kernel.chdir", json!({"path": "/工作"}), json!(0));
        event.result = Some(err("ENOENT", "No such file or directory"));
        assert_eq!(strace(&event), r#"chdir("/工作") = -1 ENOENT (No such file or directory)  <120 µs>"#);
    }

    #[test]
    fn very_long_text_is_cut() {
        let text = "x".repeat(LONGEST + 1);
        let line = line("kernel.chdir", json!({"path": text}), json!(0));
        assert!(line.contains("\"…) = 0"), "{line}");
    }
}
