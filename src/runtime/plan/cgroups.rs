//! Control groups: what limits and counts the container.

use super::Request;
use crate::kernel::{Call, Fd};
use crate::runtime::facts::{Cgroups, Facts, Hierarchy};
use crate::runtime::program::{Act, Program, Step, slot};
use nix::fcntl::{OFlag, ResolveFlag};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources};
use std::path::{Path, PathBuf};

/// The steps, by where they belong in the whole plan.
pub(super) struct Group {
    pub before: Program,
    pub join: Program,
    pub after: Program,
}

pub(super) fn plan(request: &Request<'_>, facts: &Facts) -> Group {
    let resources = request
        .spec
        .linux()
        .as_ref()
        .and_then(|l| l.resources().clone());
    match &facts.cgroups {
        Cgroups::None(_) => Group {
            before: vec![],
            join: vec![],
            after: vec![],
        },
        Cgroups::V1(hierarchies) => v1(request.cgroup, hierarchies, resources.as_ref()),
        Cgroups::V2 { own, controllers } => {
            v2(&own.join(request.cgroup), controllers, resources.as_ref())
        }
    }
}

/// The directories of a container's group, on this host: what is removed when it has ended.
pub(crate) fn directories(name: &str, facts: &Facts) -> Vec<PathBuf> {
    match &facts.cgroups {
        Cgroups::None(_) => vec![],
        Cgroups::V1(list) => list.iter().map(|h| h.own.join(name)).collect(),
        Cgroups::V2 { own, .. } => vec![own.join(name)],
    }
}

fn make(dir: &Path) -> Step {
    Step::call(
        "a control group of the container's own, to count and limit what it uses",
        Call::Mkdirat {
            dirfd: Fd::Cwd,
            pathname: dir.to_path_buf(),
            mode: 0o755,
        },
    )
}

fn remove(dir: &Path) -> Step {
    Step::call(
        "the group is empty now: takes it away",
        Call::Unlinkat {
            dirfd: Fd::Cwd,
            pathname: dir.to_path_buf(),
            remove_dir: true,
        },
    )
    .tolerate(&["ENOENT"])
}

fn write(why: &'static str, path: PathBuf, value: impl Into<String>) -> Step {
    Step::new(
        why,
        Act::Call(Call::Write {
            path,
            data: value.into().into_bytes(),
        }),
    )
}

fn v1(name: &str, hierarchies: &[Hierarchy], resources: Option<&LinuxResources>) -> Group {
    let mut group = Group {
        before: vec![],
        join: vec![],
        after: vec![],
    };
    for hierarchy in hierarchies {
        let dir = hierarchy.own.join(name);
        let has = |controller: &str| hierarchy.controllers.split(',').any(|c| c == controller);
        group.before.push(make(&dir));
        if let Some((cpus, mems)) = &hierarchy.cpuset {
            let why = "a new cpuset is empty and takes no process: gives it what its parent has";
            group
                .before
                .push(write(why, dir.join("cpuset.cpus"), cpus.clone()));
            group
                .before
                .push(write(why, dir.join("cpuset.mems"), mems.clone()));
        }
        if has("devices") {
            group.before.extend(devices(
                &dir,
                resources
                    .and_then(|r| r.devices().as_deref())
                    .unwrap_or(&[]),
            ));
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

/// Denies every device, then allows the rules of the spec, in its order (device controller, version 1).
fn devices(dir: &Path, rules: &[LinuxDeviceCgroup]) -> Vec<Step> {
    rules
        .iter()
        .map(|rule| {
            let number = |n: Option<i64>| {
                n.filter(|n| *n >= 0)
                    .map_or("*".to_owned(), |n| n.to_string())
            };
            let kind = rule.typ().map_or("a".to_owned(), |t| t.as_str().to_owned());
            let access = rule.access().clone().unwrap_or_else(|| "rwm".into());
            let value = if kind == "a" {
                "a".to_owned()
            } else {
                format!(
                    "{kind} {}:{} {access}",
                    number(rule.major()),
                    number(rule.minor())
                )
            };
            let (file, why) = if rule.allow() {
                ("devices.allow", "a device that the container may use")
            } else {
                ("devices.deny", "no device at all, to begin with")
            };
            write(why, dir.join(file), value)
        })
        .collect()
}

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
        limit(
            "memory.limit_in_bytes",
            memory.limit().map(|n| n.to_string()),
            "the most memory it may use, in bytes",
        );
        limit(
            "memory.memsw.limit_in_bytes",
            memory.swap().map(|n| n.to_string()),
            "memory and swap together",
        );
        limit(
            "memory.soft_limit_in_bytes",
            memory.reservation().map(|n| n.to_string()),
            "pressed down to this first",
        );
    }
    if has("cpu")
        && let Some(cpu) = resources.cpu()
    {
        limit(
            "cpu.shares",
            cpu.shares().map(|n| n.to_string()),
            "its share when the processors are busy",
        );
        limit(
            "cpu.cfs_period_us",
            cpu.period().map(|n| n.to_string()),
            "the period of the processor quota",
        );
        limit(
            "cpu.cfs_quota_us",
            cpu.quota().map(|n| n.to_string()),
            "processor time in each period",
        );
    }
    if has("cpuset")
        && let Some(cpu) = resources.cpu()
    {
        limit(
            "cpuset.cpus",
            cpu.cpus().clone(),
            "the processors that it may use",
        );
        limit(
            "cpuset.mems",
            cpu.mems().clone(),
            "the memory nodes that it may use",
        );
    }
    if has("pids")
        && let Some(pids) = resources.pids()
    {
        limit(
            "pids.max",
            Some(pids_max(pids.limit())),
            "the most processes it may have: a fork bomb stops here",
        );
    }
    steps
}

fn pids_max(limit: i64) -> String {
    if limit > 0 {
        limit.to_string()
    } else {
        "max".to_owned()
    }
}

/// One directory for all controllers; the new process is born in it (`CLONE_INTO_CGROUP`).
fn v2(dir: &Path, controllers: &[String], resources: Option<&LinuxResources>) -> Group {
    let mut before = vec![make(dir)];
    if let Some(resources) = resources {
        before.extend(v2_limits(dir, controllers, resources));
    }
    before.push(
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
        .save(slot::CGROUP),
    );
    Group {
        before,
        join: vec![],
        after: vec![remove(dir)],
    }
}

fn v2_limits(dir: &Path, controllers: &[String], resources: &LinuxResources) -> Vec<Step> {
    let has = |name: &str| controllers.iter().any(|c| c == name);
    let mut steps = vec![];
    if let (true, Some(limit)) = (
        has("memory"),
        resources.memory().as_ref().and_then(|m| m.limit()),
    ) {
        steps.push(write(
            "the most memory it may use, in bytes",
            dir.join("memory.max"),
            limit.to_string(),
        ));
    }
    if let (true, Some(pids)) = (has("pids"), resources.pids()) {
        steps.push(write(
            "the most processes it may have",
            dir.join("pids.max"),
            pids_max(pids.limit()),
        ));
    }
    if let (true, Some(cpu)) = (has("cpu"), resources.cpu())
        && let (Some(quota), period) = (cpu.quota(), cpu.period().unwrap_or(100_000))
    {
        steps.push(write(
            "processor time in each period",
            dir.join("cpu.max"),
            format!("{quota} {period}"),
        ));
    }
    steps
}
