//! The leak check: what one home had on the system before and after.
//!
//! Tests run side by side, so only what belongs to the home counts: by its path (which no other home shares) or by
//! its tag (`Home::tag`, in the names of control groups and links).

use super::{PATIENCE, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One home, watched.
pub struct Watch {
    home: PathBuf,
    tag: String,
    before: BTreeSet<String>,
}

impl Watch {
    /// Remembers what is there now.
    pub fn new(home: &Path) -> Watch {
        let home = home.to_path_buf();
        let tag =
            rdock::app::Home { data: home.join("data"), run: home.join("run"), config: home.join("config") }.tag();
        let mut watch = Watch { home, tag, before: BTreeSet::new() };
        watch.before = watch.present();
        watch
    }

    /// What is there now and was not before.
    pub fn leaks(&self) -> Vec<String> {
        self.present().difference(&self.before).cloned().collect()
    }

    /// As [`Watch::leaks`], but the kernel is given time to take down what it takes down by itself (namespaces go
    /// after their last process, a group's directory after its last process was reaped).
    pub fn leaks_after_settling(&self) -> Vec<String> {
        let _ = eventually(PATIENCE, || self.leaks().is_empty());
        self.leaks()
    }

    fn present(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        all.extend(self.mounts());
        all.extend(self.groups().iter().map(|g| format!("control group {}", g.display())));
        all.extend(self.links());
        all.extend(self.runtime_files());
        for process in self.processes() {
            let net = std::fs::read_link(format!("/proc/{process}/ns/net")).unwrap_or_default();
            let own = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
            let command = std::fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
            all.insert(format!("process {process}: {}", command.replace('\0', " ")));
            if net != own && !net.as_os_str().is_empty() {
                all.insert(format!("network namespace {}", net.display()));
            }
        }
        all
    }

    /// Mounts of this mount namespace at, below or of the home (a bound namespace file too).
    fn mounts(&self) -> Vec<String> {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let home = self.home.to_string_lossy().into_owned();
        table.lines().filter(|l| l.contains(&home)).map(|l| format!("mount {l}")).collect()
    }

    /// Directories of control groups whose name holds the tag, in every hierarchy.
    fn groups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                    continue;
                }
                if entry.file_name().to_string_lossy().contains(&self.tag) {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
        found
    }

    /// Links of the host's network namespace named after the home.
    fn links(&self) -> Vec<String> {
        let names = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
        names
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|n| n.contains(&self.tag))
            .map(|n| format!("link {n}"))
            .collect()
    }

    /// What is in `run/` besides the log and the lock (a lock that is held has to have a file; it stays).
    fn runtime_files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.home.join("run")];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = entry.path();
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    // An empty `containers/` is a place, not a leftover; one of a container is.
                    if dir != self.home.join("run") {
                        found.push(format!("directory {}", path.display()));
                    }
                    open.push(path);
                } else if !(name.ends_with(".log") || name.ends_with(".lock")) {
                    found.push(format!("file {}", path.display()));
                }
            }
        }
        found
    }

    /// Processes of this home: they were started with it, work in it, see its overlay or sit in its groups.
    pub fn processes(&self) -> Vec<i32> {
        let own = std::process::id() as i32;
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|e| e.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != own && self.belongs(*pid))
            .collect()
    }

    fn belongs(&self, pid: i32) -> bool {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let text = |name: &str| String::from_utf8_lossy(&read(name)).into_owned();
        let home = self.home.to_string_lossy().into_owned();
        if read("stat").is_empty() || is_zombie(&text("stat")) {
            return false;
        }
        let variable = format!("RDOCK_HOME={home}");
        let environ = read("environ");
        if environ.split(|b| *b == 0).any(|v| v == variable.as_bytes()) || text("cgroup").contains(&self.tag) {
            return true;
        }
        if text("cmdline").contains(&home) && !self.is_ancestor(pid) {
            return true;
        }
        let link = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}")).unwrap_or_default();
        if link("cwd").starts_with(&self.home) || link("root").starts_with(&self.home) {
            return true;
        }
        let mounts = link("ns/mnt");
        let other = mounts != std::fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
        other && !mounts.as_os_str().is_empty() && text("mountinfo").contains(&home)
    }

    /// A shell that runs the test with the home on its command line is not the engine's.
    fn is_ancestor(&self, pid: i32) -> bool {
        let mut at = std::process::id() as i32;
        while at > 1 {
            if at == pid {
                return true;
            }
            let stat = std::fs::read_to_string(format!("/proc/{at}/stat")).unwrap_or_default();
            let after = stat.rsplit(')').next().unwrap_or("");
            at = after.split_whitespace().nth(1).and_then(|p| p.parse().ok()).unwrap_or(0);
        }
        false
    }

    /// Last resort, when `daemon stop` did not do it: the process in `daemon.pid`, if it is this home's.
    pub fn kill_what_is_left_of_the_daemon(&self) {
        let text = std::fs::read_to_string(self.home.join("run/daemon.pid")).unwrap_or_default();
        let Ok(pid) = text.trim().parse::<i32>() else {
            return;
        };
        if eventually(PATIENCE / 4, || !self.belongs(pid)) {
            return;
        }
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        let _ = eventually(PATIENCE, || !self.belongs(pid));
    }

    /// After a failed test: nothing of it may disturb the others.
    pub fn end_all_processes(&self) {
        let _ = eventually(PATIENCE, || {
            let left = self.processes();
            for pid in &left {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            left.is_empty()
        });
    }

    /// After a failed test: the empty groups, deepest first.
    pub fn remove_groups(&self) {
        let mut groups = self.groups();
        let inner: Vec<_> = groups
            .iter()
            .flat_map(|g| std::fs::read_dir(g).into_iter().flatten().flatten())
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
            .map(|e| e.path())
            .collect();
        groups.extend(inner);
        groups.sort_by_key(|g| std::cmp::Reverse(g.components().count()));
        for group in groups {
            let _ = std::fs::remove_dir(group);
        }
    }
}

/// The state after the name in brackets (proc_pid_stat(5)).
fn is_zombie(stat: &str) -> bool {
    let state = stat.rsplit(')').next().unwrap_or("").trim_start().chars().next();
    matches!(state, Some('Z' | 'X') | None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::support::need::{Need, need};
    use std::process::{Child, Command, Stdio};

    struct Killed(Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn home() -> (tempfile::TempDir, Watch) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("run/containers")).unwrap();
        let watch = Watch::new(dir.path());
        (dir, watch)
    }

    fn one(watch: &Watch, beginning: &str) {
        assert!(eventually(PATIENCE, || !watch.leaks().is_empty()), "the planted leak was not found");
        let leaks = watch.leaks();
        assert!(leaks.iter().any(|l| l.starts_with(beginning)), "{leaks:?}");
    }

    fn cat(change: impl FnOnce(&mut Command) -> &mut Command) -> Killed {
        let mut command = Command::new("cat");
        change(&mut command);
        // Waits for input that never comes, until it is killed.
        Killed(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    #[test]
    fn a_clean_home_has_no_leaks() {
        let (dir, watch) = home();
        assert_eq!(watch.leaks(), Vec::<String>::new());
        std::fs::write(dir.path().join("run/daemon.log"), "").unwrap();
        std::fs::write(dir.path().join("run/daemon.lock"), "").unwrap();
        assert_eq!(watch.leaks_after_settling(), Vec::<String>::new());
    }

    #[test]
    fn a_process_is_found_by_its_environment_directory_or_arguments() {
        let (dir, watch) = home();
        {
            let _child = cat(|c| c.env("RDOCK_HOME", dir.path()));
            one(&watch, "process");
        }
        assert_eq!(watch.leaks_after_settling(), Vec::<String>::new());
        {
            let _child = cat(|c| c.current_dir(dir.path()));
            one(&watch, "process");
        }
        {
            let _child = cat(|c| c.arg("-").arg(dir.path()));
            one(&watch, "process");
        }
        assert_eq!(watch.leaks_after_settling(), Vec::<String>::new());
    }

    #[test]
    fn another_homes_process_does_not_count() {
        let (_dir, watch) = home();
        let other = tempfile::tempdir().unwrap();
        let _child = cat(|c| c.env("RDOCK_HOME", other.path()));
        assert_eq!(watch.leaks(), Vec::<String>::new());
    }

    #[test]
    fn files_in_run_are_found() {
        let (dir, watch) = home();
        std::fs::write(dir.path().join("run/rdock.sock"), "").unwrap();
        one(&watch, "file");
        std::fs::remove_file(dir.path().join("run/rdock.sock")).unwrap();
        std::fs::create_dir(dir.path().join("run/containers/abc")).unwrap();
        one(&watch, "directory");
    }

    #[test]
    fn a_mount_is_found() {
        if !need(&[Need::Root]) {
            return;
        }
        let (dir, watch) = home();
        nix::mount::mount(Some("none"), dir.path(), Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>).unwrap();
        let found = watch.leaks();
        nix::mount::umount2(dir.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
        assert!(found.iter().any(|l| l.starts_with("mount")), "{found:?}");
        assert_eq!(watch.leaks_after_settling(), Vec::<String>::new());
    }

    #[test]
    fn a_network_namespace_is_found() {
        if !need(&[Need::Root, Need::UtilLinux]) {
            return;
        }
        let (dir, watch) = home();
        let mut command = Command::new("unshare");
        command.args(["--net", "cat"]).env("RDOCK_HOME", dir.path());
        let _child = Killed(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
        let found = eventually(PATIENCE, || watch.leaks().iter().any(|l| l.starts_with("network namespace")));
        assert!(found, "{:?}", watch.leaks());
    }

    #[test]
    fn a_control_group_is_found_in_any_hierarchy() {
        if !need(&[Need::Root]) {
            return;
        }
        let (_dir, watch) = home();
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|e| e.path());
        let places = [PathBuf::from("/sys/fs/cgroup")].into_iter().chain(hierarchies);
        let mut made = None;
        for place in places.filter(|p| p.join("cgroup.procs").exists()) {
            let dir = place.join(format!("rdock-{}", watch.tag));
            if std::fs::create_dir(&dir).is_ok() {
                made = Some(dir);
                break;
            }
        }
        let Some(made) = made else {
            crate::suite::support::need::skipped("no control group can be made here");
            return;
        };
        let found = watch.leaks();
        std::fs::remove_dir(&made).unwrap();
        assert!(found.iter().any(|l| l.starts_with("control group")), "{found:?}");
    }

    #[test]
    fn the_state_of_a_process_is_behind_its_name() {
        assert!(is_zombie("12 (a) b (c)) Z 1 2 3"));
        assert!(!is_zombie("12 (Z) S 1 2 3"));
    }
}
