//! What the two witnesses are compared by: one deed is one call with its arguments, written the same way whether
//! strace saw it or the trace tells it.

use std::collections::BTreeMap;
use std::fmt;

/// One set-up call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deed {
    /// The process, as the host numbers it (not the thread).
    pub pid: u32,
    /// The system call; `netlink` for a request over such a socket.
    pub call: String,
    /// By the man page's names. Flags are sorted and joined with `|`, NULL is `NULL`.
    pub args: BTreeMap<&'static str, String>,
    /// `ok`, the new descriptor or process, or the errno.
    pub result: String,
}

impl Deed {
    pub fn new(pid: u32, call: &str, result: String) -> Deed {
        Deed { pid, call: call.to_owned(), args: BTreeMap::new(), result }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Deed {
        self.args.insert(name, value.into());
        self
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7} {}(", self.pid, self.call)?;
        for (n, (name, value)) in self.args.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value:?}")?;
        }
        write!(f, ") = {}", self.result)
    }
}

/// Flags in one order, whoever named them.
pub fn flags<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<_> = names.into_iter().filter(|n| *n != "0").collect();
    names.sort_unstable();
    names.join("|")
}

/// A file of the kernel, named so that both witnesses mean the same: a process's own directory in /proc is `self`
/// (strace resolves the link; in a new pid namespace the number is 1).
pub fn kernel_file(path: &str, pid: u32) -> String {
    let Some(rest) = path.strip_prefix("/proc/") else {
        return path.to_owned();
    };
    let (first, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let own = first == "self" || first == "thread-self" || first == "1" || first == pid.to_string();
    if !own {
        return path.to_owned();
    }
    // /proc/PID/task/TID/x is /proc/thread-self/x.
    let mut parts: Vec<_> = rest.split('/').collect();
    if parts.len() > 2 && parts[0] == "task" {
        parts.drain(..2);
    }
    format!("/proc/self/{}", parts.join("/"))
}

/// Whether a path is a file of the kernel: writing there has an effect on the system.
pub fn is_kernel_file(path: &str) -> bool {
    ["/proc/", "/sys/"].iter().any(|p| path.starts_with(p))
}

/// Multiset difference: what `left` has and `right` has not (as often).
pub fn missing<'a>(left: &'a [Deed], right: &[Deed]) -> Vec<&'a Deed> {
    let mut counts: BTreeMap<&Deed, usize> = BTreeMap::new();
    for deed in right {
        *counts.entry(deed).or_default() += 1;
    }
    left.iter()
        .filter(|deed| match counts.get_mut(deed) {
            Some(n) if *n > 0 => {
                *n -= 1;
                false
            }
            _ => true,
        })
        .collect()
}

/// Numbers of capabilities (capabilities(7)) by name, `CAP_` left out.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// `CAP_CHOWN` → 0; a number that strace has no name for stays a number.
pub fn capability(name: &str) -> Option<u64> {
    let bare = name.trim_start_matches("CAP_");
    CAPABILITIES.iter().position(|n| *n == bare).map(|n| n as u64).or_else(|| number(name))
}

/// Decimal, `0x…` or `0…` (octal).
pub fn number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    if text.len() > 1 && text.starts_with('0') {
        return u64::from_str_radix(&text[1..], 8).ok();
    }
    text.parse().ok()
}

/// `1<<CAP_CHOWN|1<<CAP_SETFCAP` or a number, as a mask in hexadecimal.
pub fn capability_mask(text: &str) -> String {
    let mask = text.split('|').fold(0u64, |mask, part| {
        mask | match part.strip_prefix("1<<") {
            Some(cap) => capability(cap).map_or(0, |n| 1 << n),
            None => number(part).unwrap_or(0),
        }
    });
    format!("{mask:#x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_writes_to_itself_under_several_names() {
        for path in [
            "/proc/self/uid_map",
            "/proc/77/uid_map",
            "/proc/1/uid_map",
            "/proc/thread-self/uid_map",
            "/proc/77/task/77/uid_map",
        ] {
            assert_eq!(kernel_file(path, 77), "/proc/self/uid_map", "{path}");
        }
        assert_eq!(kernel_file("/proc/78/uid_map", 77), "/proc/78/uid_map");
        assert_eq!(kernel_file("/proc/sys/kernel/x", 77), "/proc/sys/kernel/x");
        assert_eq!(kernel_file("/sys/fs/cgroup/a", 77), "/sys/fs/cgroup/a");
    }

    #[test]
    fn the_difference_counts_how_often() {
        let deed = |call: &str| Deed::new(1, call, "ok".into());
        let left = [deed("mount"), deed("mount"), deed("chroot")];
        let right = [deed("mount"), deed("chroot"), deed("chroot")];
        assert_eq!(missing(&left, &right), [&left[0]].map(|d| d));
        assert_eq!(missing(&right, &left), [&right[2]]);
    }

    #[test]
    fn capabilities_have_the_numbers_of_the_kernel() {
        assert_eq!(capability("CAP_SYS_ADMIN"), Some(21));
        assert_eq!(capability("CAP_CHECKPOINT_RESTORE"), Some(40));
        assert_eq!(capability("0x29"), Some(41));
        assert_eq!(capability_mask("1<<CAP_CHOWN|1<<CAP_DAC_OVERRIDE"), "0x3");
        assert_eq!(capability_mask("0"), "0x0");
    }

    #[test]
    fn flags_have_one_order() {
        assert_eq!(flags(["MS_REC", "MS_BIND"]), flags(["MS_BIND", "MS_REC"]));
        assert_eq!(flags(["0"]), "");
    }
}
