//! The control groups of a container that runs: where they are, what they tell, and what they are told.
//!
//! They are looked for where the container's first process is (`/proc/PID/cgroup`, cgroups(7)), and not where this
//! process would make them: a daemon of another session may have started the container.

use crate::kernel::{Errno, Kernel};
use crate::runtime::facts::{join, mount_of};
use crate::runtime::interpret::{Interpreter, NoParent, StepError};
use crate::runtime::plan::cgroups;
use crate::runtime::program::Program;
use oci_spec::runtime::LinuxResources;
use rustix::event::{Timespec, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the kernel may take to stop all processes of a group.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait where the kernel tells nobody: version 1's freezer has no event.
const MOMENT: Duration = Duration::from_millis(2);

/// Where the groups are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Groups {
    /// Version 1: a directory for each controller (`memory`, `cpu`, `name=systemd`).
    V1(BTreeMap<String, PathBuf>),
    /// Version 2: one directory.
    V2(PathBuf),
    /// An ordinary user's container may have none.
    None,
}

impl Groups {
    /// The groups called `name` of the container whose first process is `pid`.
    pub fn of(pid: i32, name: &str) -> Groups {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Groups::find(&text("/proc/self/mountinfo"), &text(&format!("/proc/{pid}/cgroup")), name)
    }

    /// Pure: from the mounts (proc_pid_mountinfo(5)) and the groups of the container's first process.
    fn find(mountinfo: &str, own: &str, name: &str) -> Groups {
        let mut controllers = BTreeMap::new();
        let mut unified = None;
        for line in own.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(kinds), Some(path)) = (parts.next(), parts.next()) else { continue };
            // A container that may make groups of its own can be in one of those.
            let Some(path) = up_to(Path::new(path), name) else { continue };
            let Some((root, mount)) = mount_of(mountinfo, kinds) else { continue };
            let dir = join(&mount, &root, &path.to_string_lossy());
            if kinds.is_empty() {
                unified = Some(dir);
            } else {
                controllers.extend(kinds.split(',').map(|kind| (kind.to_owned(), dir.clone())));
            }
        }
        match (controllers.is_empty(), unified) {
            (false, _) => Groups::V1(controllers),
            (true, Some(dir)) => Groups::V2(dir),
            (true, None) => Groups::None,
        }
    }

    /// The directory in which a controller's files are.
    pub fn dir(&self, controller: &str) -> Option<&Path> {
        match self {
            Groups::V1(controllers) => controllers.get(controller).map(PathBuf::as_path),
            Groups::V2(dir) => Some(dir),
            Groups::None => None,
        }
    }

    /// What a file of a controller says; none where there is none.
    pub fn read(&self, controller: &str, file: &str) -> Option<String> {
        std::fs::read_to_string(self.dir(controller)?.join(file)).ok()
    }

    /// All processes, as this process numbers them.
    pub fn processes(&self) -> BTreeSet<i32> {
        let top = match self {
            Groups::V1(controllers) => controllers.get("pids").or_else(|| controllers.values().next()),
            Groups::V2(dir) => Some(dir),
            Groups::None => None,
        };
        let mut open: Vec<PathBuf> = top.into_iter().cloned().collect();
        let mut all = BTreeSet::new();
        while let Some(dir) = open.pop() {
            let list = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            all.extend(list.lines().filter_map(|pid| pid.parse::<i32>().ok()).filter(|pid| *pid > 0));
            let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
            open.extend(entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
        }
        all
    }

    /// Whether all processes stand still.
    pub fn is_frozen(&self) -> bool {
        match self {
            Groups::V1(_) => self.read("freezer", "freezer.state").is_some_and(|s| s.trim() == "FROZEN"),
            Groups::V2(_) => {
                self.read("", "cgroup.events").is_some_and(|s| s.lines().any(|line| line.trim() == "frozen 1"))
            }
            Groups::None => false,
        }
    }
}

/// `/docker/rdock-1-ab/init` → `/docker/rdock-1-ab`
fn up_to(path: &Path, name: &str) -> Option<PathBuf> {
    path.ancestors().find(|p| p.file_name().is_some_and(|n| n == name)).map(Path::to_path_buf)
}

/// Changes the groups of containers that run, each change a call of the kernel.
#[derive(Clone)]
pub struct Control {
    kernel: Arc<dyn Kernel>,
}

impl Control {
    pub fn new(kernel: Arc<dyn Kernel>) -> Control {
        Control { kernel }
    }

    /// Stops all processes of the container; returns when they stand still.
    ///
    /// # Errors
    /// No freezer; the call that failed; `ETIMEDOUT` (then they go on).
    pub fn freeze(&self, groups: &Groups) -> Result<(), StepError> {
        self.carry_out(&cgroups::freeze(groups.dir("freezer"), is_v2(groups), true)?)?;
        let deadline = Instant::now() + PATIENCE;
        while !groups.is_frozen() {
            if Instant::now() >= deadline {
                self.thaw(groups)?;
                return Err(crate::runtime::lifecycle::failed("freeze the container", Errno::ETIMEDOUT));
            }
            let _ = poll(&mut [], Some(&Timespec::try_from(MOMENT).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 })));
        }
        Ok(())
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// No freezer; the call that failed.
    pub fn thaw(&self, groups: &Groups) -> Result<(), StepError> {
        self.carry_out(&cgroups::freeze(groups.dir("freezer"), is_v2(groups), false)?)
    }

    /// Gives the container other limits: all that are said, or none.
    ///
    /// # Errors
    /// Where the groups lack a controller; the write that failed, and then those before it are undone.
    pub fn limit(&self, groups: &Groups, limits: &LinuxResources) -> Result<(), StepError> {
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        let program = match groups {
            Groups::V1(dirs) => cgroups::change_v1(dirs, limits, &read)?,
            Groups::V2(dir) => cgroups::change_v2(dir, limits, &read),
            Groups::None => return Err(cgroups::no_controller("cgroup")),
        };
        let undo = cgroups::undo(&program, &read);
        self.carry_out(&program).inspect_err(|_| Interpreter::new(&self.kernel, NoParent).run_all(&undo))
    }

    /// Carries out a program that changes groups.
    ///
    /// # Errors
    /// The step that failed.
    pub fn carry_out(&self, program: &Program) -> Result<(), StepError> {
        Interpreter::new(&self.kernel, NoParent).run(program)
    }
}

fn is_v2(groups: &Groups) -> bool {
    matches!(groups, Groups::V2(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n";

    #[test]
    fn groups_are_found_by_controller_on_a_hybrid_host() {
        let own = "5:memory:/session/rdock-x-1\n4:cpu,cpuacct:/rdock-x-1/made/inside\n0::/\n";
        let groups = Groups::find(V1, own, "rdock-x-1");
        assert_eq!(groups.dir("memory"), Some(Path::new("/sys/fs/cgroup/memory/session/rdock-x-1")));
        assert_eq!(groups.dir("cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct/rdock-x-1")));
        assert_eq!(groups.dir("pids"), None);
        assert_eq!(Groups::find(V1, "5:memory:/other\n0::/\n", "rdock-x-1"), Groups::None);
    }

    #[test]
    fn a_unified_group_is_one_directory_with_all_in_it() {
        let home = tempfile::tempdir().unwrap();
        let mountinfo = format!("32 25 0:28 / {} rw - cgroup2 cgroup rw\n", home.path().display());
        let dir = home.path().join("user.slice/rdock-x-1");
        std::fs::create_dir_all(dir.join("below")).unwrap();
        std::fs::write(dir.join("cgroup.procs"), "12\n34\n").unwrap();
        std::fs::write(dir.join("below/cgroup.procs"), "56\n0\n").unwrap();
        std::fs::write(dir.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        let groups = Groups::find(&mountinfo, "0::/user.slice/rdock-x-1/below\n", "rdock-x-1");
        assert_eq!(groups, Groups::V2(dir.clone()));
        assert_eq!(groups.processes().into_iter().collect::<Vec<_>>(), [12, 34, 56]);
        assert!(!groups.is_frozen());
        std::fs::write(dir.join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        assert!(groups.is_frozen());
    }
}
