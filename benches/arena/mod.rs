//! What benchmarks share: a Docker daemon of their own to stand beside, and what a pull needs: a registry, an image, fresh
//! file systems.
// Each benchmark is a program of its own and uses its part of this.
#![allow(dead_code)]

pub mod fresh;
pub mod layers;
pub mod registry;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Whether a program is in the PATH.
pub fn installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// A Docker daemon of the benchmark's own: its own directories and socket, no bridge, no firewall rules.
pub struct Dockerd {
    child: Child,
    /// `unix://…`
    pub host: String,
    dir: PathBuf,
}

impl Dockerd {
    /// Starts it below `dir` and imports `root` as the image `noop`. None where it is not installed or does not start.
    pub fn start(dir: &Path, root: &Path) -> io::Result<Option<Dockerd>> {
        Ok(Dockerd::alone(dir)?.filter(|dockerd| dockerd.import(root)))
    }

    /// Starts it below `dir`, without an image.
    pub fn alone(dir: &Path) -> io::Result<Option<Dockerd>> {
        if !installed("dockerd") || !installed("docker") || !installed("containerd") {
            return Ok(None);
        }
        let dir = dir.join("docker");
        std::fs::create_dir_all(&dir)?;
        let host = format!("unix://{}", dir.join("docker.sock").display());
        let log = std::fs::File::create(dir.join("log"))?;
        let mut command = Command::new("dockerd");
        command
            .args(["--host", &host, "--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args(["--storage-driver", "overlay2"])
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let dockerd = Dockerd { child: command.spawn()?, host, dir };
        Ok(dockerd.answers().then_some(dockerd))
    }

    /// Waits until it does.
    fn answers(&self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        let answers =
            || Command::new("docker").args(["-H", &self.host, "version"]).output().is_ok_and(|o| o.status.success());
        while !answers() {
            let alive = std::path::Path::new(&format!("/proc/{}/exe", self.child.id())).exists();
            if Instant::now() > deadline || !alive {
                return false;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        true
    }

    fn import(&self, root: &Path) -> bool {
        let tar = self.dir.join("root.tar");
        let made = (|| -> io::Result<()> {
            let mut archive = tar::Builder::new(std::fs::File::create(&tar)?);
            archive.follow_symlinks(false);
            archive.append_dir_all(".", root)?;
            archive.finish()
        })();
        let import = Command::new("docker").args(["-H", &self.host, "import"]).arg(&tar).arg("noop").output();
        made.is_ok() && import.is_ok_and(|o| o.status.success())
    }
}

impl Dockerd {
    /// The daemon and the containerd that it started.
    pub fn processes(&self) -> Vec<u32> {
        let own = self.child.id();
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
        let child_of_own = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after = stat.rsplit(')').next().unwrap_or("");
            after.split_whitespace().nth(1).and_then(|p| p.parse().ok()) == Some(own)
        };
        std::iter::once(own).chain(pids.filter(child_of_own)).collect()
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // It ends its own containerd and unmounts what it has mounted.
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
