//! What a shim that was killed leaves behind: control groups, and at times processes in them.
//!
//! The kernel kills a container's first process when its shim dies (`PR_SET_PDEATHSIG`, prctl(2)), but that takes a
//! moment, and a group can't be taken away before its last process has left it. So the processes are ended and
//! awaited (pidfd_open(2)), and only then the directory goes.

use crate::kernel::traced::because;
use crate::kernel::{Call, Errno, Fd, Kernel};
use crate::runtime::facts::{Cgroups, Facts};
use crate::trace::Actor;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the processes of one group may take to end after SIGKILL: longer only where one hangs in the kernel.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait where a group is busy and the kernel names nobody in it: a process on its last steps, or one
/// of a pid namespace that this process can't see.
const MOMENT: Duration = Duration::from_millis(2);
/// So many processes are awaited at once: a descriptor each.
const AT_ONCE: usize = 256;

/// One group in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `rdock-<tag>-<id>`
    pub name: String,
    dir: PathBuf,
}

/// A group that can't be taken away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rmdir {dir}: {}", errno.desc().to_lowercase())]
pub struct LeftoverError {
    pub dir: PathBuf,
    pub errno: Errno,
}

/// Cleans up after shims.
#[derive(Clone)]
pub struct Leftovers {
    kernel: Arc<dyn Kernel>,
    patience: Duration,
}

impl Leftovers {
    pub fn new(kernel: Arc<dyn Kernel>) -> Leftovers {
        Leftovers { kernel, patience: PATIENCE }
    }

    /// What changes the groups of containers that run.
    pub fn control(&self) -> super::groups::Control {
        super::groups::Control::new(self.kernel.clone())
    }

    /// All groups whose name begins with `prefix`, in every hierarchy and wherever in it: a daemon of another
    /// session may have made them.
    pub fn find(&self, prefix: &str) -> Vec<Group> {
        let own = match Facts::read().cgroups {
            Cgroups::None(_) => vec![],
            Cgroups::V1(hierarchies) => hierarchies.into_iter().map(|h| h.own).collect(),
            Cgroups::V2 { own, .. } => vec![own],
        };
        let tops: BTreeSet<_> = own.iter().map(|dir| top(dir).to_owned()).collect();
        tops.iter().flat_map(|top| below(top, prefix)).collect()
    }

    /// Ends what is left in the groups of this name and takes them away. None there is fine.
    ///
    /// # Errors
    /// The first group that stays; the others are gone.
    pub fn clear(&self, name: &str) -> Result<(), LeftoverError> {
        let groups = self.find(name).into_iter().filter(|group| group.name == name);
        groups.map(|group| self.remove(&group)).fold(Ok(()), Result::and)
    }

    /// Ends what is left in one group and takes it away, with the groups that the container made below it.
    ///
    /// # Errors
    /// What rmdir(2) answers, `EBUSY` when a process does not end in time.
    pub fn remove(&self, group: &Group) -> Result<(), LeftoverError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let dirs = tree(&group.dir);
            let awaited = self.end_processes(&dirs);
            let seen = !awaited.is_empty();
            wait(awaited, deadline);
            match dirs.iter().try_for_each(|dir| self.rmdir(dir)) {
                Ok(()) => return Ok(()),
                Err(error) if error.errno != Errno::EBUSY || Instant::now() >= deadline => return Err(error),
                // Somebody was born meanwhile, and is found at the next look.
                Err(_) if seen => {}
                Err(_) => drop(poll(&mut [], Some(&timespec(MOMENT)))),
            }
        }
    }

    /// Sends SIGKILL to the processes in these groups; gives back descriptors that tell of their ends.
    fn end_processes(&self, dirs: &[PathBuf]) -> Vec<OwnedFd> {
        let held: Vec<_> = processes(dirs)
            .into_iter()
            .take(AT_ONCE)
            .filter_map(|pid| Some((pid, pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?)))
            .collect();
        // Who is still in the group now is who the descriptor was opened for, and no later process with its number.
        let still = processes(dirs);
        let why = "its shim is gone, so nobody would ever tell how it ends";
        let mut awaited = vec![];
        for (pid, pidfd) in held.into_iter().filter(|(pid, _)| still.contains(pid)) {
            let kill = Call::Kill { pid, sig: libc::SIGKILL };
            let _ = because(Actor::Daemon, why, || self.kernel.call(&kill));
            awaited.push(pidfd);
        }
        awaited
    }

    fn rmdir(&self, dir: &Path) -> Result<(), LeftoverError> {
        let call = Call::Unlinkat { dirfd: Fd::Cwd, pathname: dir.to_owned(), remove_dir: true };
        let why = "nobody looks after this group any more, and it is empty";
        match because(Actor::Daemon, why, || self.kernel.call(&call)) {
            Ok(_) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(LeftoverError { dir: dir.to_owned(), errno }),
        }
    }
}

/// The highest directory of the hierarchy that shows here.
fn top(own: &Path) -> &Path {
    own.ancestors().take_while(|dir| dir.join("cgroup.procs").exists()).last().unwrap_or(own)
}

fn directories(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn below(top: &Path, prefix: &str) -> Vec<Group> {
    let mut found = vec![];
    let mut open = vec![top.to_owned()];
    while let Some(next) = open.pop() {
        for dir in directories(&next) {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(prefix) {
                found.push(Group { name, dir });
            } else {
                open.push(dir);
            }
        }
    }
    found
}

/// The group and all below it, the deepest first.
fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_owned()];
    let mut at = 0;
    while at < all.len() {
        let children: Vec<_> = directories(&all[at]).collect();
        all.extend(children);
        at += 1;
    }
    all.reverse();
    all
}

/// Who is in these groups, as this process numbers them (cgroups(7), `cgroup.procs`).
fn processes(dirs: &[PathBuf]) -> BTreeSet<i32> {
    let own = std::process::id();
    let lists = dirs.iter().filter_map(|dir| std::fs::read_to_string(dir.join("cgroup.procs")).ok());
    let mut all: BTreeSet<i32> =
        lists.flat_map(|list| list.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
    // 0 stands for a process of a pid namespace that is not below ours.
    all.retain(|pid| *pid > 1 && u32::try_from(*pid) != Ok(own));
    all
}

/// Waits until all of them have ended, at most until the deadline.
fn wait(mut awaited: Vec<OwnedFd>, deadline: Instant) {
    while !awaited.is_empty() {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
        let mut fds: Vec<_> = awaited.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&timespec(left))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let mut ended = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
        awaited.retain(|_| !ended.next().unwrap_or(true));
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Ret;
    use crate::kernel::faulty::Faulty;
    use crate::kernel::linux::LinuxKernel;
    use std::fs;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};

    fn group(dir: &Path) -> Group {
        Group { name: "rdock-0badcafe-aa".into(), dir: dir.to_owned() }
    }

    #[test]
    fn groups_are_found_by_name_wherever_they_are_in_the_hierarchy() {
        let home = tempfile::tempdir().unwrap();
        let own = home.path().join("user/session");
        for name in ["user/session/rdock-1-aa/below", "user/rdock-1-bb", "rdock-2-cc", "rdock-1-dd"] {
            fs::create_dir_all(home.path().join(name)).unwrap();
        }
        for dir in [home.path(), &home.path().join("user"), &own] {
            fs::write(dir.join("cgroup.procs"), "").unwrap();
        }
        assert_eq!(top(&own), home.path());
        let mut names: Vec<_> = below(top(&own), "rdock-1-").into_iter().map(|g| g.name).collect();
        names.sort();
        assert_eq!(names, ["rdock-1-aa", "rdock-1-bb", "rdock-1-dd"]);
    }

    #[test]
    fn a_busy_group_is_tried_again_and_what_is_below_goes_first() {
        for at in 0..3 {
            let home = tempfile::tempdir().unwrap();
            let dir = home.path().join("rdock-0badcafe-aa");
            fs::create_dir_all(dir.join("a/b")).unwrap();
            let leftovers = Leftovers::new(Arc::new(Faulty::new(LinuxKernel, at, Errno::EBUSY)));
            assert_eq!(leftovers.remove(&group(&dir)), Ok(()));
            assert!(!dir.exists());
            assert_eq!(leftovers.remove(&group(&dir)), Ok(()), "what is gone already is no error");
        }
    }

    /// Answers this to everything.
    struct Refusing(Errno);
    impl Kernel for Refusing {
        fn call(&self, _: &Call) -> Result<Ret, Errno> {
            Err(self.0)
        }
        fn write_all(&self, _: i32, _: &[u8]) -> Result<(), Errno> {
            Err(self.0)
        }
    }

    #[test]
    fn a_group_that_stays_is_told_in_time() {
        let home = tempfile::tempdir().unwrap();
        for errno in [Errno::EBUSY, Errno::EPERM] {
            let leftovers = Leftovers { kernel: Arc::new(Refusing(errno)), patience: Duration::from_millis(20) };
            let error = leftovers.remove(&group(home.path())).unwrap_err();
            assert_eq!((error.dir.as_path(), error.errno), (home.path(), errno));
        }
    }

    #[test]
    fn processes_are_ended_awaited_and_their_groups_go() {
        let name = format!("rdock-test-{}", std::process::id());
        let own = match Facts::read().cgroups {
            Cgroups::None(_) => return,
            Cgroups::V1(hierarchies) => {
                hierarchies.into_iter().map(|h| h.own).find(|o| !o.join("cpuset.cpus").exists())
            }
            Cgroups::V2 { own, .. } => Some(own),
        };
        let Some(dir) = own.map(|own| own.join(&name)) else { return };
        if fs::create_dir_all(dir.join("below")).is_err() {
            return;
        }
        let waits = || Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut children = [waits(), waits()];
        for (child, dir) in children.iter().zip([&dir, &dir.join("below")]) {
            let _ = fs::write(dir.join("cgroup.procs"), child.id().to_string());
        }
        let inside = processes(&tree(&dir)).len();
        let cleared = Leftovers::new(Arc::new(LinuxKernel)).clear(&name);
        // Whoever could not be put into the group (a rule of version 2) is ended here.
        children.iter_mut().for_each(|child| drop(child.kill()));
        let killed = children.iter_mut().map(|child| child.wait().unwrap().signal()).collect::<Vec<_>>();
        assert_eq!(cleared, Ok(()));
        assert!(!dir.exists());
        assert!(inside == 0 || killed == [Some(libc::SIGKILL); 2], "{killed:?}");
    }
}
