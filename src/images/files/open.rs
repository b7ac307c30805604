//! Opens the root of a container.

use super::{Files, FilesError};
use crate::images::unpack::Dir;
use crate::kernel::traced::because;
use crate::kernel::{Call, Errno};
use crate::trace::Actor;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// The layers of a container that does not run.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Directory that the paths in `lower` start from.
    pub base: PathBuf,
    /// Read-only layers, topmost first.
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    /// An empty directory to mount on.
    pub merged: PathBuf,
    /// Whether something is to be written.
    pub writable: bool,
}

/// The root directory of a container.
pub struct Root<'k> {
    pub(super) dir: Dir<'k>,
    pub(super) files: &'k Files,
}

/// A process, whichever number it has by now.
pub struct Process(OwnedFd);

impl Process {
    /// The process that has this number now. Whether that is the right one is to be asked of who started it, afterwards.
    ///
    /// # Errors
    /// [`FilesError::Gone`]
    pub fn open(pid: i32) -> Result<Process, FilesError> {
        let pid = Pid::from_raw(pid).ok_or(FilesError::Gone)?;
        pidfd_open(pid, PidfdFlags::empty()).map(Process).map_err(|_| FilesError::Gone)
    }

    /// A pidfd can be read when its process has ended (pidfd_open(2)).
    fn is_alive(&self) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO) == Ok(0)
    }
}

impl Files {
    /// The root that the process `pid` sees, mounts and all. `process` was opened while the shim said that the
    /// container's process has this number: as long as it lives the number is nobody else's.
    ///
    /// # Errors
    /// [`FilesError::Gone`], what openat2(2) answers.
    pub fn running(&self, pid: i32, process: &Process) -> Result<Root<'_>, FilesError> {
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        let why = "the root that the container's process sees; the link of proc leads into its mount namespace";
        let dir = because(Actor::Layer, why, || Dir::open(&*self.kernel, &path));
        if !process.is_alive() {
            return Err(FilesError::Gone);
        }
        Ok(Root { dir: dir.map_err(FilesError::call("openat2", path))?, files: self })
    }

    /// The root that the process of a stopped container would see (without volumes).
    ///
    /// # Errors
    /// What mount(2) and its like answer.
    pub fn stopped(&self, layers: &Joined) -> Result<Root<'_>, FilesError> {
        let span = tracing::Span::current();
        // unshare(2) changes the thread that calls it, so it gets one of its own, which ends with this.
        let dir = std::thread::scope(|scope| {
            let joining = scope.spawn(|| span.in_scope(|| self.join(layers)));
            joining.join().unwrap_or(Err(FilesError::Gone))
        })?;
        Ok(Root { dir, files: self })
    }

    fn join(&self, layers: &Joined) -> Result<Dir<'_>, FilesError> {
        let make = |why, path: &Path, call: Call| {
            let op = call.op().trim_start_matches("kernel.");
            because(Actor::Layer, why, || self.kernel.call(&call)).map(drop).map_err(FilesError::call(op, path))
        };
        make(
            "nobody runs here, so nothing is mounted: a mount namespace for one thread, gone when it ends",
            Path::new(""),
            Call::Unshare { flags: CloneFlags::CLONE_NEWNS },
        )?;
        make(
            "what is mounted from here on stays in this namespace",
            Path::new("/"),
            Call::Mount {
                source: None,
                target: "/".into(),
                filesystemtype: None,
                mountflags: MsFlags::MS_REC | MsFlags::MS_PRIVATE,
                data: None,
            },
        )?;
        let base = layers.base.clone();
        make("the layers are named from here: short names", &layers.base, Call::Chdir { path: base })?;
        let (why, mountflags) = match layers.writable {
            true => (
                "joins the layers as the container would see them; what is written goes to its own, what is changed is copied up",
                MsFlags::empty(),
            ),
            false => ("joins the layers as the container would see them, all of them read-only", MsFlags::MS_RDONLY),
        };
        make(
            why,
            &layers.merged,
            Call::Mount {
                source: Some("overlay".into()),
                target: layers.merged.clone(),
                filesystemtype: Some("overlay"),
                mountflags,
                data: Some(self.data(layers)),
            },
        )?;
        let why = "the joined tree; it stays mounted as long as this descriptor is open, and no longer";
        because(Actor::Layer, why, || Dir::open(&*self.kernel, &layers.merged))
            .map_err(FilesError::call("openat2", &layers.merged))
    }

    /// Options of overlayfs. To be read only, the container's own layer is one more that is not written to: then no
    /// work directory is needed, and several may look at once.
    fn data(&self, layers: &Joined) -> String {
        let names = |paths: &mut dyn Iterator<Item = &PathBuf>| paths.map(|p| escape(p)).collect::<Vec<_>>().join(":");
        let mut data = match layers.writable {
            true => format!(
                "lowerdir={},upperdir={},workdir={}",
                names(&mut layers.lower.iter()),
                escape(&layers.upper),
                escape(&layers.work)
            ),
            false => format!("lowerdir={}", names(&mut std::iter::once(&layers.upper).chain(&layers.lower))),
        };
        if self.options.userxattr {
            data.push_str(",userxattr");
        }
        data
    }
}

impl Root<'_> {
    /// Whether `dir` lies on the mount of the root itself, and not on a volume.
    pub(super) fn is_on_root(&self, dir: &Dir<'_>) -> bool {
        let mount = |dir: &Dir<'_>| mount_of(dir);
        matches!((mount(&self.dir), mount(dir)), (Ok(a), Ok(b)) if a == b)
    }
}

/// The mount that a directory lies on: from `/proc/self/fdinfo`, which names it (proc_pid_fdinfo(5)).
fn mount_of(dir: &Dir<'_>) -> Result<String, Errno> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", dir.fd().raw())).map_err(|_| Errno::EIO)?;
    text.lines().find(|l| l.starts_with("mnt_id:")).map(str::to_owned).ok_or(Errno::EIO)
}

/// overlayfs splits its options at commas and colons; a backslash keeps one that is part of a name.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}
