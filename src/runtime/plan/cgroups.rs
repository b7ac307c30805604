//! Control groups: what limits and counts the container.

mod change;

pub(crate) use change::{change_v1, change_v2, no_controller, undo};

use super::Request;
use crate::kernel::{Call, Errno, Fd};
use crate::runtime::facts::{Cgroups, Facts, Hierarchy};
use crate::runtime::interpret::StepError;
use crate::runtime::program::{Act, Program, Step, slot};
use nix::fcntl::{OFlag, ResolveFlag};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxResources, LinuxThrottleDevice};
use std::path::{Path, PathBuf};

/// The steps, by where they belong in the whole plan.
pub(super) struct Group {
    pub before: Program,
    pub join: Program,
    pub after: Program,
}

pub(super) fn plan(request: &Request<'_>, facts: &Facts) -> Group {
    let resources = request.spec.linux().as_ref().and_then(|l| l.resources().clone());
    match &facts.cgroups {
        Cgroups::None(_) => Group { before: vec![], join: vec![], after: vec![] },
        Cgroups::V1(hierarchies) => match request.prepared {
            Some(spare) => v1_prepared(spare, request.cgroup, hierarchies, resources.as_ref()),
            None => v1(request.cgroup, hierarchies, resources.as_ref()),
        },
        Cgroups::V2 { own, controllers, enabled } => {
            let mut group = v2(&own.join(request.cgroup), controllers, resources.as_ref());
            if let Some(step) = hand_on(own, controllers, enabled, resources.as_ref()) {
                group.before.insert(0, step);
            }
            group
        }
    }
}

/// Groups made in advance for a container that is still to come, by a process that will be its mother.
///
/// On version 1 the first write to any `cgroup.procs` waits for all processors to pass a quiet moment (an RCU
/// grace period): 8 to 20 ms, more than all else that makes a container together. A process that sits in the groups
/// already gives them to its children for nothing. None where there is nothing to gain: version 2 has
/// `CLONE_INTO_CGROUP`.
pub(super) fn prepare(name: &str, facts: &Facts) -> Option<super::Preparation> {
    match &facts.cgroups {
        Cgroups::V1(hierarchies) => {
            let Group { before, join, after } = v1(name, hierarchies, None);
            Some(super::Preparation { before, join, after })
        }
        _ => None,
    }
}

/// How one more process comes into a container's groups.
///
/// A process with one thread moves itself through version 1's `tasks` ("0": whoever writes) and waits for nobody: only a
/// move of a whole process or of another one takes the lock that an RCU grace period goes with (8 to 20 ms; the
/// kernel's cgroup_procs_write_start). On version 2 it is born there.
pub(super) fn join_running(name: &str, facts: &Facts) -> Group {
    let mut group = Group { before: vec![], join: vec![], after: vec![] };
    match &facts.cgroups {
        Cgroups::None(_) => {}
        Cgroups::V1(hierarchies) => group.join.extend(hierarchies.iter().map(|hierarchy| {
            write(
                "joins the container's group (0 is whoever writes it): what limits and counts the container does so here",
                hierarchy.own.join(name).join("tasks"),
                "0",
            )
        })),
        Cgroups::V2 { own, .. } => group.before.push(born_in(&own.join(name))),
    }
    group
}

/// Stops all processes of a group, or lets them go on: version 1's freezer controller, version 2's `cgroup.freeze`.
///
/// # Errors
/// There is no such controller here.
pub(crate) fn freeze(dir: Option<&Path>, unified: bool, on: bool) -> Result<Program, StepError> {
    let missing = || crate::runtime::lifecycle::failed("there is no freezer for this container", Errno::EOPNOTSUPP);
    let dir = dir.ok_or_else(missing)?;
    let why = match on {
        true => "the kernel gives the processes of the group no more processor time: they keep all they have",
        false => "the processes of the group go on as if nothing had been",
    };
    let (file, value) = match (unified, on) {
        (false, true) => ("freezer.state", "FROZEN"),
        (false, false) => ("freezer.state", "THAWED"),
        (true, true) => ("cgroup.freeze", "1"),
        (true, false) => ("cgroup.freeze", "0"),
    };
    Ok(vec![write(why, dir.join(file), value)])
}

fn make(dir: &Path) -> Step {
    Step::call(
        "a control group of the container's own, to count and limit what it uses",
        Call::Mkdirat { dirfd: Fd::Cwd, pathname: dir.to_path_buf(), mode: 0o755 },
    )
}

fn remove(dir: &Path) -> Step {
    Step::call(
        "the group is empty now: takes it away",
        Call::Unlinkat { dirfd: Fd::Cwd, pathname: dir.to_path_buf(), remove_dir: true },
    )
    .tolerate(&["ENOENT"])
}

fn write(why: &'static str, path: PathBuf, value: impl Into<String>) -> Step {
    Step::new(why, Act::Call(Call::Write { path, data: value.into().into_bytes() }))
}

fn v1(name: &str, hierarchies: &[Hierarchy], resources: Option<&LinuxResources>) -> Group {
    let mut group = Group { before: vec![], join: vec![], after: vec![] };
    for hierarchy in hierarchies {
        let dir = hierarchy.own.join(name);
        let has = |controller: &str| hierarchy.controllers.split(',').any(|c| c == controller);
        group.before.push(make(&dir));
        if let Some((cpus, mems)) = &hierarchy.cpuset {
            let why = "a new cpuset is empty and takes no process: gives it what its parent has";
            group.before.push(write(why, dir.join("cpuset.cpus"), cpus.clone()));
            group.before.push(write(why, dir.join("cpuset.mems"), mems.clone()));
        }
        if has("devices") {
            group.before.extend(devices(&dir, resources.and_then(|r| r.devices().as_deref()).unwrap_or(&[])));
        }
        if let Some(resources) = resources {
            group.before.extend(v1_limits(&dir, &has, resources));
        }
        group.join.push(write(
            "joins the group (0 is whoever writes it), and with it all processes that come after",
            dir.join("cgroup.procs"),
            "0",
        ));
        group.after.push(remove(&dir));
    }
    group
}

/// As [`v1`], for groups that were made in advance: they get the container's name and its limits.
fn v1_prepared(spare: &str, name: &str, hierarchies: &[Hierarchy], resources: Option<&LinuxResources>) -> Group {
    let mut group = Group { before: vec![], join: vec![], after: vec![] };
    for hierarchy in hierarchies {
        let (from, dir) = (hierarchy.own.join(spare), hierarchy.own.join(name));
        let has = |controller: &str| hierarchy.controllers.split(',').any(|c| c == controller);
        group.before.push(Step::call(
            "a control group that was made in advance gets the container's name",
            Call::Renameat { olddirfd: Fd::Cwd, oldpath: from, newdirfd: Fd::Cwd, newpath: dir.clone() },
        ));
        if has("devices") {
            let rules = resources.and_then(|r| r.devices().as_deref()).unwrap_or(&[]);
            let (there, wanted) = (devices(&dir, &[]), devices(&dir, rules));
            let only_more = there.iter().all(|step| wanted.contains(step));
            group.before.extend(wanted.into_iter().filter(|step| !only_more || !there.contains(step)));
        }
        if let Some(resources) = resources {
            group.before.extend(v1_limits(&dir, &has, resources));
        }
        group.after.push(remove(&dir));
    }
    group
}

/// What every container may use whatever the spec says (OCI runtime spec, Default Devices), in the device
/// controller's own words: making any node is harmless, since using it is what is checked.
const DEFAULT_DEVICES: [&str; 10] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// Denies every device, then allows the rules of the spec, in its order, and the defaults (device controller,
/// version 1).
fn devices(dir: &Path, rules: &[LinuxDeviceCgroup]) -> Vec<Step> {
    let deny = |value: String| write("no device at all, to begin with", dir.join("devices.deny"), value);
    let allow = |value: String| write("a device that the container may use", dir.join("devices.allow"), value);
    let mut steps = if rules.is_empty() { vec![deny("a".into())] } else { vec![] };
    for rule in rules {
        let number = |n: Option<i64>| n.filter(|n| *n >= 0).map_or("*".to_owned(), |n| n.to_string());
        let access = rule.access().as_deref().unwrap_or("rwm");
        let value = match rule.typ().map(|t| t.as_str().to_owned()) {
            Some(kind) if kind != "a" => format!("{kind} {}:{} {access}", number(rule.major()), number(rule.minor())),
            _ => "a".to_owned(),
        };
        // The defaults come below, once.
        if !rule.allow() {
            steps.push(deny(value));
        } else if !DEFAULT_DEVICES.contains(&value.as_str()) {
            steps.push(allow(value));
        }
    }
    let everything = rules.iter().any(|r| r.allow() && r.typ().is_none_or(|t| t.as_str() == "a"));
    if !everything {
        steps.extend(DEFAULT_DEVICES.map(|value| allow(value.to_owned())));
    }
    steps
}

/// Memory and swap together, in version 1.
const BOTH: &str = "memory.memsw.limit_in_bytes";

fn v1_limits(dir: &Path, has: &dyn Fn(&str) -> bool, resources: &LinuxResources) -> Vec<Step> {
    let mut steps = vec![];
    let mut limit = |file: &str, value: Option<String>, why: &'static str| {
        if let Some(value) = value {
            steps.push(write(why, dir.join(file), value));
        }
    };
    if has("memory")
        && let Some(memory) = resources.memory()
    {
        limit("memory.limit_in_bytes", memory.limit().map(|n| n.to_string()), "the most memory it may use, in bytes");
        limit("memory.soft_limit_in_bytes", memory.reservation().map(|n| n.to_string()), "pressed down to this first");
        limit("memory.swappiness", memory.swappiness().map(|n| n.to_string()), "how soon its memory is swapped out");
        let off = memory.disable_oom_killer().filter(|off| *off).map(|_| "1".to_owned());
        limit("memory.oom_control", off, "out of memory, it waits and is not ended");
    }
    if has("cpu")
        && let Some(cpu) = resources.cpu()
    {
        limit("cpu.shares", cpu.shares().map(|n| n.to_string()), "its share when the processors are busy");
        limit("cpu.cfs_period_us", cpu.period().map(|n| n.to_string()), "the period of the processor quota");
        limit("cpu.cfs_quota_us", cpu.quota().map(|n| n.to_string()), "processor time in each period");
        limit("cpu.rt_period_us", cpu.realtime_period().map(|n| n.to_string()), "the period of real-time work");
        limit("cpu.rt_runtime_us", cpu.realtime_runtime().map(|n| n.to_string()), "real-time work in each period");
    }
    if has("cpuset")
        && let Some(cpu) = resources.cpu()
    {
        limit("cpuset.cpus", cpu.cpus().clone(), "the processors that it may use");
        limit("cpuset.mems", cpu.mems().clone(), "the memory nodes that it may use");
    }
    if has("pids")
        && let Some(pids) = resources.pids()
    {
        limit("pids.max", Some(pids_max(pids.limit())), "the most processes it may have: a fork bomb stops here");
    }
    if has("memory")
        && let Some(swap) = resources.memory().as_ref().and_then(|m| m.swap())
    {
        // After the limit of memory, which it may not be less than. A kernel without swap accounting has no such file.
        let step = write("memory and swap together", dir.join(BOTH), swap.to_string());
        steps.push(step.tolerate(&["ENOENT", "EACCES"]));
    }
    if has("blkio")
        && let Some(io) = resources.block_io()
    {
        steps.extend(v1_disks(dir, io));
    }
    steps
}

fn v1_disks(dir: &Path, io: &LinuxBlockIo) -> Vec<Step> {
    let mut steps = vec![];
    if let Some(weight) = io.weight() {
        let step = write("its share when the disks are busy", dir.join("blkio.weight"), weight.to_string());
        steps.push(step.tolerate(&["ENOENT", "EACCES"]));
    }
    let why = "the most that it may read or write in a second";
    for (file, list) in rates(io) {
        let file = dir.join(format!("blkio.throttle.{file}_device"));
        for device in list {
            let value = format!("{}:{} {}", device.major(), device.minor(), device.rate());
            steps.push(write(why, file.clone(), value));
        }
    }
    steps
}

/// The four rates, by what version 1 calls them.
fn rates(io: &LinuxBlockIo) -> [(&'static str, Vec<LinuxThrottleDevice>); 4] {
    let list = |l: &Option<Vec<LinuxThrottleDevice>>| l.clone().unwrap_or_default();
    [
        ("read_bps", list(io.throttle_read_bps_device())),
        ("write_bps", list(io.throttle_write_bps_device())),
        ("read_iops", list(io.throttle_read_iops_device())),
        ("write_iops", list(io.throttle_write_iops_device())),
    ]
}

fn pids_max(limit: i64) -> String {
    if limit > 0 { limit.to_string() } else { "max".to_owned() }
}

/// One directory for all controllers; the new process is born in it (`CLONE_INTO_CGROUP`).
fn v2(dir: &Path, controllers: &[String], resources: Option<&LinuxResources>) -> Group {
    let mut before = vec![make(dir)];
    if let Some(resources) = resources {
        before.extend(v2_limits(dir, controllers, resources));
    }
    before.push(born_in(dir));
    Group { before, join: vec![], after: vec![remove(dir)] }
}

fn born_in(dir: &Path) -> Step {
    Step::call(
        "the new process will be born in this group",
        Call::Openat2 {
            dirfd: Fd::Cwd,
            pathname: dir.to_path_buf(),
            flags: OFlag::O_PATH | OFlag::O_DIRECTORY,
            mode: 0,
            resolve: ResolveFlag::empty(),
        },
    )
    .save(slot::CGROUP)
}

/// Controllers that the limits need and that the groups below are not given yet (cgroups(7), `cgroup.subtree_control`).
fn hand_on(own: &Path, controllers: &[String], enabled: &[String], resources: Option<&LinuxResources>) -> Option<Step> {
    let has = |list: &[String], name: &str| list.iter().any(|c| c == name);
    let missing: Vec<String> = needs(resources?)
        .into_iter()
        .filter(|(name, needed)| *needed && has(controllers, name) && !has(enabled, name))
        .map(|(name, _)| format!("+{name}"))
        .collect();
    let why = "limits count only where the group above hands the controller on";
    // A group of an ordinary user that holds processes itself may not (EBUSY); then the limit's own write fails.
    (!missing.is_empty())
        .then(|| write(why, own.join("cgroup.subtree_control"), missing.join(" ")).tolerate(&["EBUSY"]))
}

/// Which controllers limits are of, by their names in version 2.
fn needs(resources: &LinuxResources) -> [(&'static str, bool); 5] {
    let cpu = resources.cpu().as_ref();
    let times = |c: &LinuxCpu| {
        let real = c.realtime_period().is_some() || c.realtime_runtime().is_some();
        c.shares().is_some() || c.quota().is_some() || c.period().is_some() || real
    };
    [
        ("memory", resources.memory().is_some()),
        ("pids", resources.pids().is_some()),
        ("cpu", cpu.is_some_and(times)),
        ("cpuset", cpu.is_some_and(|c| c.cpus().is_some() || c.mems().is_some())),
        ("io", resources.block_io().is_some()),
    ]
}

fn v2_limits(dir: &Path, controllers: &[String], resources: &LinuxResources) -> Vec<Step> {
    let has = |name: &str| controllers.iter().any(|c| c == name);
    let mut steps = vec![];
    let mut limit = |on: bool, file: &str, value: Option<String>, why: &'static str| {
        if let (true, Some(value)) = (on, value) {
            steps.push(write(why, dir.join(file), value));
        }
    };
    let most = |n: i64| if n < 0 { "max".to_owned() } else { n.to_string() };
    if let Some(memory) = resources.memory() {
        let on = has("memory");
        limit(on, "memory.max", memory.limit().map(most), "the most memory it may use, in bytes");
        // Version 2 counts swap alone; the spec has memory and swap together.
        let swap = memory.swap().map(|both| if both < 0 { both } else { both - memory.limit().unwrap_or(0).max(0) });
        limit(on, "memory.swap.max", swap.map(most), "the most swap it may use, in bytes");
        limit(on, "memory.low", memory.reservation().map(|n| n.to_string()), "left alone as long as others have more");
    }
    limit(
        has("pids"),
        "pids.max",
        resources.pids().as_ref().map(|p| pids_max(p.limit())),
        "the most processes it may have",
    );
    if let Some(cpu) = resources.cpu() {
        limit(has("cpu"), "cpu.weight", cpu.shares().map(weight), "its share when the processors are busy");
        let period = cpu.period().unwrap_or(100_000);
        let quota = cpu.quota().map(|quota| format!("{} {period}", most(quota)));
        limit(has("cpu"), "cpu.max", quota, "processor time in each period");
        limit(has("cpuset"), "cpuset.cpus", cpu.cpus().clone(), "the processors that it may use");
        limit(has("cpuset"), "cpuset.mems", cpu.mems().clone(), "the memory nodes that it may use");
    }
    if let Some(io) = resources.block_io() {
        let share = io.weight().map(|w| format!("default {}", 1 + (u32::from(w).saturating_sub(10)) * 9999 / 990));
        limit(has("io"), "io.weight", share, "its share when the disks are busy");
        for ((_, list), key) in rates(io).into_iter().zip(["rbps", "wbps", "riops", "wiops"]) {
            for device in list {
                let value = format!("{}:{} {key}={}", device.major(), device.minor(), device.rate());
                limit(has("io"), "io.max", Some(value), "the most that it may read or write in a second");
            }
        }
    }
    steps
}

/// Shares of version 1 (2 to 262144) as a weight of version 2 (1 to 10000), as runc and crun count.
fn weight(shares: u64) -> String {
    (1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142).to_string()
}

/// Whether the kernel ended a process of the group for want of memory: read before the group is taken away
/// (memory controller: `memory.oom_control` in version 1, `memory.events` in version 2).
pub(crate) fn oom_killed(after: &[Step]) -> bool {
    after.iter().any(|step| match &step.act {
        Act::Call(Call::Unlinkat { pathname, .. }) => ["memory.oom_control", "memory.events"].iter().any(|file| {
            let text = std::fs::read_to_string(pathname.join(file)).unwrap_or_default();
            text.lines().filter_map(|l| l.strip_prefix("oom_kill ")).any(|n| n.trim() != "0")
        }),
        _ => false,
    })
}
