//! What the plan needs to know of this host. Read once (reads have no effect), given to the pure planner as data,
//! so that plans for other hosts can be made in tests.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What this host offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// This process is root only inside a user namespace (user_namespaces(7)).
    pub rootless: bool,
    /// How many user ids are mapped; 1 when only the user's own is.
    pub mapped_ids: u64,
    /// `/proc/self/setgroups` says `deny`.
    pub setgroups_denied: bool,
    pub cgroups: Cgroups,
    /// Capabilities that this process has and may hand on (`CapPrm`): an engine that is confined itself can give no more.
    pub held: u64,
    /// Number of the highest capability that the kernel knows (`/proc/sys/kernel/cap_last_cap`).
    pub last_cap: u8,
}

/// How control groups are mounted here (cgroups(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cgroups {
    /// None that this process may make groups in, and why.
    None(String),
    /// Version 1 hierarchies (hybrid hosts too: their unified hierarchy has no controllers).
    V1(Vec<Hierarchy>),
    /// The unified hierarchy: the directory that groups are made in, the controllers that it has, and those of them that
    /// it hands to the groups below it (`cgroup.subtree_control`).
    V2 { own: PathBuf, controllers: Vec<String>, enabled: Vec<String> },
}

/// One version 1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// `memory`, `cpu,cpuacct`, `name=systemd`.
    pub controllers: String,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// This process's own group in it: a directory below `mount`.
    pub own: PathBuf,
    /// For `cpuset`: the parent's CPUs and memory nodes, which a new group must be given before it takes a process.
    pub cpuset: Option<(String, String)>,
}

impl Facts {
    /// Looks at the host that this process runs on.
    pub fn read() -> Facts {
        let uid_map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let mapped_ids = mapped(&uid_map);
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Facts {
            rootless: mapped_ids < u64::from(u32::MAX),
            mapped_ids,
            setgroups_denied: text("/proc/self/setgroups").trim() == "deny",
            cgroups: cgroups(&text("/proc/self/mountinfo"), &text("/proc/self/cgroup")),
            held: permitted(&text("/proc/self/status")),
            last_cap: text("/proc/sys/kernel/cap_last_cap").trim().parse().unwrap_or(40),
        }
    }
}

/// Sum of the third column of uid_map (user_namespaces(7)): 4294967295 in the initial namespace.
fn mapped(uid_map: &str) -> u64 {
    uid_map.lines().filter_map(|l| l.split_whitespace().nth(2)?.parse::<u64>().ok()).sum()
}

/// `CapPrm` of /proc/self/status; all where it can't be read.
fn permitted(status: &str) -> u64 {
    let line = status.lines().find_map(|l| l.strip_prefix("CapPrm:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(u64::MAX)
}

/// Joins the mounts (proc_pid_mountinfo(5)) with this process's groups (cgroups(7), `/proc/pid/cgroup`).
fn cgroups(mountinfo: &str, own: &str) -> Cgroups {
    let mut hierarchies = Vec::new();
    let mut unified = None;
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let Some(mount) = mount_of(mountinfo, controllers) else {
            continue;
        };
        let dir = join(&mount.1, &mount.0, path);
        if controllers.is_empty() {
            // A group that has processes can't hand controllers on (cgroups(7), no internal processes); the highest one
            // can. Who may write there makes its groups there, as Docker does.
            let top = writable(&mount.1).then(|| mount.1.clone());
            unified = Some((top.unwrap_or(dir), mount.1));
        } else {
            let cpuset = controllers.split(',').any(|c| c == "cpuset").then(|| cpuset(&dir));
            hierarchies.push(Hierarchy { controllers: controllers.into(), mount: mount.1, own: dir, cpuset });
        }
    }
    hierarchies.sort_by(|a, b| a.controllers.cmp(&b.controllers));
    if !hierarchies.is_empty() {
        return if writable(&hierarchies[0].own) {
            Cgroups::V1(hierarchies)
        } else {
            Cgroups::None("this user may not make cgroups (version 1 hierarchies belong to root)".into())
        };
    }
    match unified {
        Some((own, _)) if writable(&own) => {
            let list = |file: &str| {
                let text = std::fs::read_to_string(own.join(file)).unwrap_or_default();
                text.split_whitespace().map(str::to_owned).collect()
            };
            let (controllers, enabled) = (list("cgroup.controllers"), list("cgroup.subtree_control"));
            Cgroups::V2 { own, controllers, enabled }
        }
        Some(_) => Cgroups::None("this user's cgroup was not delegated to it (systemd: Delegate=yes)".into()),
        None => Cgroups::None("no cgroup file system is mounted".into()),
    }
}

/// Root within the hierarchy and mount point of the cgroup mount with these controllers.
pub(crate) fn mount_of(mountinfo: &str, controllers: &str) -> Option<(PathBuf, PathBuf)> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, mount) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (fstype, _, options) = (right.next()?, right.next()?, right.next()?);
        let matches = match (fstype, controllers) {
            ("cgroup2", "") => true,
            ("cgroup", c) if !c.is_empty() => c.split(',').all(|c| options.split(',').any(|o| o == c)),
            _ => false,
        };
        matches.then(|| (root.into(), mount.into()))
    })
}

/// The directory of group `path` where `mount` shows the hierarchy from `root` on.
pub(crate) fn join(mount: &Path, root: &Path, path: &str) -> PathBuf {
    let path = Path::new(path);
    let below = path.strip_prefix(root).unwrap_or_else(|_| path.strip_prefix("/").unwrap_or(path));
    if below.as_os_str().is_empty() { mount.to_path_buf() } else { mount.join(below) }
}

fn cpuset(dir: &Path) -> (String, String) {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default().trim().to_owned();
    (read("cpuset.cpus"), read("cpuset.mems"))
}

fn writable(dir: &Path) -> bool {
    nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_user_namespace_maps_all_ids() {
        assert_eq!(mapped("         0          0 4294967295\n"), 4294967295);
        assert_eq!(mapped("0 1000 1\n1 100000 65536\n"), 65537);
    }

    #[test]
    fn what_this_process_may_do_is_read() {
        assert_eq!(permitted("Name:\tx\nCapPrm:\t000001fffeffffff\nCapEff:\t0\n"), 0x1ff_feff_ffff);
        assert_eq!(permitted(""), u64::MAX);
    }

    #[test]
    fn a_group_is_found_below_the_mount_that_shows_it() {
        let mountinfo = "30 25 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                         31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                         32 25 0:28 /docker/abc /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n";
        let at = |c: &str| mount_of(mountinfo, c).map(|(_, m)| m);
        assert_eq!(at("memory"), Some("/sys/fs/cgroup/memory".into()));
        assert_eq!(at("cpu,cpuacct"), Some("/sys/fs/cgroup/cpu,cpuacct".into()));
        assert_eq!(at("pids"), None);
        assert_eq!(mount_of(mountinfo, ""), Some(("/docker/abc".into(), "/sys/fs/cgroup/unified".into())));
        assert_eq!(join(Path::new("/m"), Path::new("/docker/abc"), "/docker/abc/x"), PathBuf::from("/m/x"));
        assert_eq!(join(Path::new("/m"), Path::new("/"), "/"), PathBuf::from("/m"));
    }
}
