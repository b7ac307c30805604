//! The calls of the kernel that make a container, as the few things that a learner has to understand.

use super::call::strace;
use super::layout::{Kind, Line};
use super::steps::Tree;
use super::words::{self, Words, fill};
use crate::trace::event::{Actor, Outcome, TraceEvent};
use serde_json::Value;
use std::collections::HashSet;

/// What a call is for. In the order in which `match` finds it, not in that of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    ControlGroup,
    ControlGroupGone,
    /// All processes of a group stand still, or go on.
    Held,
    /// A signal to the container's first process.
    Signal,
    /// Into the namespaces of a container that runs.
    Joined,
    Namespaces,
    Overlay,
    Root,
    Mounts,
    Hidden,
    Devices,
    HostName,
    Network,
    Privileges,
    Command,
    /// Descriptors, directories to mount on, the terminal: told in `syscalls`.
    Rest,
}

const TOPICS: [Topic; 15] = [
    Topic::ControlGroup,
    Topic::ControlGroupGone,
    Topic::Held,
    Topic::Signal,
    Topic::Joined,
    Topic::Namespaces,
    Topic::Overlay,
    Topic::Root,
    Topic::Mounts,
    Topic::Hidden,
    Topic::Devices,
    Topic::HostName,
    Topic::Network,
    Topic::Privileges,
    Topic::Command,
];

/// Calls that make and remove files, of which an unpack makes thousands.
pub(super) fn is_file_call(call: &TraceEvent) -> bool {
    const FILE_CALLS: [&str; 12] = [
        "openat2",
        "close",
        "mkdirat",
        "mknodat",
        "symlinkat",
        "linkat",
        "renameat",
        "unlinkat",
        "fchownat",
        "fchmodat",
        "utimensat",
        "lsetxattr",
    ];
    let works_on_files = matches!(call.actor, Actor::Layer | Actor::Daemon);
    works_on_files && FILE_CALLS.contains(&call.op.trim_start_matches("kernel."))
}

const CGROUPS: &str = "/sys/fs/cgroup/";

fn topic(call: &TraceEvent) -> Topic {
    let text = |key: &str| call.text(key).unwrap_or("");
    // Not the places inside the container where its own groups are shown.
    let in_cgroups = |key: &str| text(key).starts_with(CGROUPS) && text(key).contains("/rdock-");
    match call.op.trim_start_matches("kernel.") {
        "mkdirat" if in_cgroups("pathname") => Topic::ControlGroup,
        "write" if in_cgroups("path") && is_freezer(text("path")) => Topic::Held,
        "write" if in_cgroups("path") => Topic::ControlGroup,
        "renameat" if in_cgroups("newpath") => Topic::ControlGroup,
        "unlinkat" if in_cgroups("pathname") => Topic::ControlGroupGone,
        "kill" if call.actor == Actor::Shim => Topic::Signal,
        // A copy without namespaces of its own is the engine's helper, not the container.
        "clone3" if !names(call, "flags").any(|f| f.starts_with("CLONE_NEW")) => Topic::Rest,
        "clone3" | "unshare" => Topic::Namespaces,
        "setns" => Topic::Joined,
        "mount" if text("filesystemtype") == "overlay" => Topic::Overlay,
        "pivot_root" | "umount2" => Topic::Root,
        "mount" if call.args.get("source").is_some_and(Value::is_null) => Topic::Rest,
        "mount" if is_covered(text("target")) => Topic::Hidden,
        "mount" | "move_mount" => Topic::Mounts,
        "mknodat" => Topic::Devices,
        "sethostname" => Topic::HostName,
        "netlink" => Topic::Network,
        // Who hides from the container while it joins it, and who ends with whom, gives nothing up.
        "prctl" if matches!(text("option"), "PR_SET_DUMPABLE" | "PR_SET_PDEATHSIG") => Topic::Rest,
        "prctl" | "capset" | "seccomp" | "setresuid" | "setresgid" | "setgroups" => Topic::Privileges,
        "execve" => Topic::Command,
        _ => Topic::Rest,
    }
}

/// The file that stops all processes of a group (freezer controller; cgroup.freeze in version 2).
fn is_freezer(path: &str) -> bool {
    path.ends_with("/freezer.state") || path.ends_with("/cgroup.freeze")
}

/// A place in /proc or /sys that the container is to see nothing of, or must not write to.
fn is_covered(target: &str) -> bool {
    (target.starts_with("/proc/") || target.starts_with("/sys/")) && !target.starts_with("/sys/fs/")
}

/// Whether a call removes the container's control group.
pub(super) fn removes_group(call: &TraceEvent) -> bool {
    topic(call) == Topic::ControlGroupGone
}

/// One line for each topic that has calls which worked, where its first call stands; and one for each call that
/// stopped the work.
pub(super) fn teach<'a>(calls: &[&'a TraceEvent], tree: &Tree<'a>, words: &Words) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for wanted in TOPICS {
        let of_topic: Vec<&TraceEvent> = calls.iter().copied().filter(|c| topic(c) == wanted && !c.failed()).collect();
        if wanted == Topic::Signal {
            // Each is one of its own: the one that asks, and the one that does not.
            let told = of_topic.iter().filter_map(|&c| Some((c, tell(wanted, &[c], calls, words)?)));
            lines.extend(told.map(|(call, (text, right))| line(call, tree, text, right, false)));
            continue;
        }
        if let Some(&first) = of_topic.first()
            && let Some((text, right)) = tell(wanted, &of_topic, calls, words)
        {
            // Where the words are about the last call (the root is switched, the command begins), there it stands.
            let place = if wanted == Topic::Command { *of_topic.last().unwrap_or(&first) } else { first };
            lines.push(line(place, tree, text, right, false));
        }
    }
    for failed in deciding(calls, tree) {
        lines.push(line(failed, tree, format!("{}  {}", words.failed, strace(failed)), String::new(), true));
    }
    lines
}

fn line<'a>(event: &'a TraceEvent, tree: &Tree<'a>, text: String, right: String, failed: bool) -> Line<'a> {
    let (at, actor, depth) = (event.ts, event.actor, tree.depth(event));
    Line { event, at, actor, depth, kind: Kind::Step, text, right, failed, below: Vec::new() }
}

/// Calls that failed and were not put up with. A plan tolerates some (an option that this kernel lacks): then the
/// step around it worked. Under a step that failed, it is the call with the step's errno, or else the last.
fn deciding<'a>(calls: &[&'a TraceEvent], tree: &Tree<'a>) -> Vec<&'a TraceEvent> {
    let failed: Vec<&TraceEvent> = calls
        .iter()
        .copied()
        .filter(|c| c.failed() && tree.parent(c).is_none_or(TraceEvent::failed))
        .filter(|c| topic(c) != Topic::Command || !replaced(c, calls))
        .collect();
    let named: Vec<&TraceEvent> =
        failed.iter().copied().filter(|c| tree.parent(c).is_some_and(|p| errno(p) == errno(c))).collect();
    let candidates = if named.is_empty() { failed } else { named };
    candidates.last().copied().into_iter().collect()
}

fn errno(event: &TraceEvent) -> Option<&str> {
    match &event.result {
        Some(Outcome::Err { errno, .. }) => Some(errno),
        _ => None,
    }
}

/// Whether an execve that failed was followed by one that did not (the next directory of PATH).
fn replaced(failed: &TraceEvent, calls: &[&TraceEvent]) -> bool {
    calls.iter().any(|c| c.ts > failed.ts && succeeded(c, calls))
}

/// An execve is told before it is made; when it fails, that is a second event with the same start.
fn succeeded(call: &TraceEvent, calls: &[&TraceEvent]) -> bool {
    let same = |c: &&&TraceEvent| c.op == call.op && c.pid == call.pid && c.ts == call.ts && c.failed();
    call.op == "kernel.execve" && !call.failed() && !calls.iter().any(|c| same(&c))
}

/// The sentence of a topic and what stands to its right. None: nothing worth telling happened.
fn tell(topic: Topic, calls: &[&TraceEvent], all: &[&TraceEvent], words: &Words) -> Option<(String, String)> {
    let none = String::new;
    let kernel = &words.kernel;
    match topic {
        Topic::ControlGroup => Some((control_group(calls, kernel)?, fill(words.lesson, &[CONTROL_GROUPS]))),
        Topic::ControlGroupGone => Some((kernel.group_gone.to_owned(), none())),
        Topic::Held => {
            let held = matches!(calls.last()?.text("data")?.trim(), "FROZEN" | "1");
            let file = last_part(calls.last()?.text("path")?)?.to_owned();
            Some(((if held { kernel.holds } else { kernel.lets_go_on }).to_owned(), file))
        }
        Topic::Signal => {
            let number = |key: &str| calls.last().and_then(|c| c.args.get(key)).and_then(Value::as_i64);
            let (pid, sig) = (number("pid")?, number("sig")?);
            let name = i32::try_from(sig).ok().and_then(|n| nix::sys::signal::Signal::try_from(n).ok());
            let sig = name.map_or(sig.to_string(), |name| format!("{name} ({sig})"));
            Some((fill(kernel.signals, &[&sig, &pid.to_string()]), "kill".into()))
        }
        Topic::Joined => {
            let kinds = kinds(calls, "nstype", kernel)?;
            Some((fill(kernel.joins_namespaces, &[&kinds]), "setns".into()))
        }
        Topic::Namespaces => namespaces(calls, kernel),
        Topic::Overlay => overlay(calls, kernel),
        Topic::Root => root(calls, all, kernel),
        Topic::Mounts => Some((fill(kernel.mounts, &[&mounted(calls, kernel)]), none())),
        Topic::Hidden => {
            let places: HashSet<&str> = calls.iter().filter_map(|c| c.text("target")).collect();
            Some((fill(kernel.hides, &[&places.len().to_string()]), none()))
        }
        Topic::Devices => {
            let names: Vec<&str> = calls.iter().filter_map(|c| last_part(c.text("pathname")?)).collect();
            Some((fill(kernel.devices, &[&names.len().to_string(), &names.join(" ")]), none()))
        }
        Topic::HostName => Some((fill(kernel.host_name, &[calls.last()?.text("name")?]), "sethostname".into())),
        Topic::Network => network(calls, kernel),
        Topic::Privileges => privileges(calls, kernel).map(|text| (text, fill(words.lesson, &[CAPABILITIES]))),
        Topic::Command => {
            let call = calls.iter().rfind(|c| succeeded(c, all))?;
            Some((fill(kernel.becomes, &[&command(call)]), "execve".into()))
        }
        Topic::Rest => None,
    }
}

/// Lessons that tell more of a topic (`lessons/NN-…`).
const CONTROL_GROUPS: &str = "17";
const CAPABILITIES: &str = "20";

fn last_part(path: &str) -> Option<&str> {
    path.rsplit('/').find(|part| !part.is_empty())
}

fn names<'a>(call: &'a TraceEvent, key: &str) -> impl Iterator<Item = &'a str> {
    call.args.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// `puts it into the control group rdock-1-ab: pids.max = 10`
fn control_group(calls: &[&TraceEvent], words: &words::Kernel) -> Option<String> {
    const HIERARCHIES: [&str; 15] = [
        "cpu",
        "cpuacct",
        "cpuset",
        "memory",
        "devices",
        "freezer",
        "net_cls",
        "net_prio",
        "blkio",
        "perf_event",
        "hugetlb",
        "pids",
        "rdma",
        "misc",
        "systemd",
    ];
    let (mut group, mut limits, mut enters) = (None, Vec::new(), false);
    for call in calls {
        let (path, file) = match (call.text("path"), call.text("pathname").or(call.text("newpath"))) {
            (Some(path), _) => path.rsplit_once('/')?,
            (None, Some(directory)) => (directory, ""),
            (None, None) => continue,
        };
        let below = path.strip_prefix(CGROUPS).unwrap_or(path);
        let name = match below.split_once('/') {
            // One tree for each kind of account (cgroup v1), or one for all.
            Some((first, rest)) if first.split(',').all(|f| HIERARCHIES.contains(&f)) => rest,
            _ => below,
        };
        group = Some(name);
        enters |= ["cgroup.procs", "tasks", ""].contains(&file);
        let told = ["cgroup.procs", "tasks", "cpuset.cpus", "cpuset.mems", "devices.allow", "devices.deny", ""];
        // Where processes are put into the group, that its processors are its parent's goes without saying.
        if !told.contains(&file) || (!enters && file.starts_with("cpuset.")) {
            limits.push(format!("{file} = {}", call.text("data").unwrap_or("").trim()));
        }
    }
    let mut text = fill(if enters { words.group } else { words.limits }, &[group?]);
    if !limits.is_empty() {
        text += &format!(": {}", limits.join(", "));
    }
    Some(text)
}

/// The kinds of namespaces that calls name in `key`: `pid, mount and uts`; none when they name none.
fn kinds(calls: &[&TraceEvent], key: &str, words: &words::Kernel) -> Option<String> {
    const KINDS: [(&str, &str); 8] = [
        ("CLONE_NEWUSER", "user"),
        ("CLONE_NEWPID", "pid"),
        ("CLONE_NEWNS", "mount"),
        ("CLONE_NEWUTS", "uts"),
        ("CLONE_NEWIPC", "ipc"),
        ("CLONE_NEWNET", "net"),
        ("CLONE_NEWCGROUP", "cgroup"),
        ("CLONE_NEWTIME", "time"),
    ];
    let asked = |flag: &str| calls.iter().any(|c| names(c, key).any(|f| f == flag));
    let kinds: Vec<&str> = KINDS.iter().filter(|(flag, _)| asked(flag)).map(|(_, kind)| *kind).collect();
    match kinds.as_slice() {
        [] => None,
        [one] => Some((*one).to_owned()),
        [most @ .., last] => Some(most.join(", ") + words.and + last),
    }
}

fn namespaces(calls: &[&TraceEvent], words: &words::Kernel) -> Option<(String, String)> {
    let clone = calls.iter().rfind(|c| c.op == "kernel.clone3");
    let right = match clone.and_then(|c| c.ok_field("pid")) {
        Some(pid) => format!("clone3 = {pid}"),
        None => String::new(),
    };
    let who = if clone.is_some() { words.new_process } else { words.leaves_view };
    match kinds(calls, "flags", words) {
        None => clone.map(|_| (who.to_owned(), right)),
        Some(kinds) => Some((fill(words.own_namespaces, &[who, &kinds]), right)),
    }
}

fn overlay(calls: &[&TraceEvent], words: &words::Kernel) -> Option<(String, String)> {
    let call = calls.last()?;
    let option = |name: &str| call.text("data")?.split(',').find_map(|o| o.strip_prefix(name)?.strip_prefix('='));
    let lower = option("lowerdir").map_or(0, |dirs| dirs.split(':').count());
    let sentence = if option("upperdir").is_some() { words.joins } else { words.joins_read_only };
    let text = fill(sentence, &[&lower.to_string()]);
    Some((text, format!("→ {}/", call.text("target").and_then(last_part)?)))
}

fn root(calls: &[&TraceEvent], all: &[&TraceEvent], words: &words::Kernel) -> Option<(String, String)> {
    let has = |op: &str| calls.iter().any(|c| c.op == op);
    let joined = all.iter().any(|c| topic(c) == Topic::Overlay);
    let tree = if joined { words.joined_tree } else { words.its_directory };
    match (has("kernel.pivot_root"), has("kernel.umount2")) {
        (true, true) => Some((fill(words.root_lets_go, &[tree]), "pivot_root".into())),
        (true, false) => Some((fill(words.root, &[tree]), "pivot_root".into())),
        (false, _) => {
            let targets: Vec<&str> = calls.iter().filter_map(|c| c.text("target")).collect();
            Some((fill(words.unmounts, &[&targets.join(" ")]), String::new()))
        }
    }
}

/// The places, each once, in order; a hierarchy below another place that is named is left out.
fn mounted(calls: &[&TraceEvent], words: &words::Kernel) -> String {
    const MOST: usize = 10;
    let mut places: Vec<&str> = Vec::new();
    for place in calls.iter().filter_map(|c| c.text("target").or_else(|| c.text("to_pathname"))) {
        let under = |other: &&str| place.strip_prefix(*other).is_some_and(|rest| rest.starts_with('/'));
        if !places.contains(&place) && !places.iter().any(|p| p.starts_with("/sys/fs/") && under(p)) {
            places.push(place);
        }
    }
    let more = places.len().saturating_sub(MOST);
    let shown = places[..places.len() - more].join(" ");
    if more > 0 { shown + &fill(words.more_mounts, &[&more.to_string()]) } else { shown }
}

fn network(calls: &[&TraceEvent], words: &words::Kernel) -> Option<(String, String)> {
    let index = calls.last()?.args.get("index")?;
    // In a new network namespace the first link is loopback (network_namespaces(7)).
    let name = if index == 1 { words.loopback } else { "" };
    Some((fill(words.link_up, &[&index.to_string(), name]), "netlink".into()))
}

fn privileges(calls: &[&TraceEvent], words: &words::Kernel) -> Option<String> {
    let mut parts = Vec::new();
    let dropped = calls.iter().filter(|c| c.text("option") == Some("PR_CAPBSET_DROP")).count();
    if dropped > 0 {
        parts.push(fill(words.gives_up, &[&dropped.to_string()]));
    }
    let kept = calls.iter().rfind(|c| c.op == "kernel.capset").and_then(|c| {
        let mask = c.args.get("data")?.get("permitted")?.as_str()?;
        u64::from_str_radix(mask.trim_start_matches("0x"), 16).ok()
    });
    if let Some(kept) = kept {
        parts.push(fill(words.keeps, &[&kept.count_ones().to_string()]));
    }
    if let Some(length) = calls.iter().rfind(|c| c.op == "kernel.seccomp").and_then(|c| c.args.get("instructions")) {
        parts.push(fill(words.filters, &[&length.to_string()]));
    }
    let id = |op: &str, key: &str| calls.iter().rfind(|c| c.op == op).and_then(|c| c.args.get(key)?.as_u64());
    match (id("kernel.setresuid", "euid"), id("kernel.setresgid", "egid")) {
        (Some(0) | None, _) => {}
        (Some(uid), None) => parts.push(fill(words.user, &[&uid.to_string()])),
        (Some(uid), Some(gid)) => parts.push(fill(words.user_group, &[&uid.to_string(), &gid.to_string()])),
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The program and its words, as they would be typed.
fn command(call: &TraceEvent) -> String {
    let words = names(call, "argv").skip(1).map(|word| match word.is_empty() || word.contains([' ', '\'', '"', '$']) {
        true => format!("'{}'", word.replace('\'', "'\\''")),
        false => word.to_owned(),
    });
    let words: Vec<String> = std::iter::once(call.text("pathname").unwrap_or("?").to_owned()).chain(words).collect();
    words.join(" ")
}
