//! Carries out a program on any kernel.
//!
//! Reads decide, calls do: the interpreter may look at what is there (a missing mount point, a file to mask) but
//! every effect is a [`Call`], explained with the step's reason.

use super::program::{Act, OnError, Place, Step, slot};
use crate::kernel::call::{Dev, NodeKind};
use crate::kernel::traced::because;
use crate::kernel::{Call, Errno, Fd, Kernel, Ret, errno_name, linux};
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

/// A step that failed, in a learner's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// The call: `kernel.mount`.
    pub op: String,
    pub errno: Errno,
    pub message: String,
    /// 127 command not found, 126 it can't be invoked, 125 everything else.
    pub exit_code: i32,
}

impl StepError {
    fn of(call: &Call, errno: Errno) -> StepError {
        StepError {
            op: call.op().to_owned(),
            errno,
            message: format!("{call}: {} ({})", errno.desc().to_lowercase(), errno_name(errno)),
            exit_code: 125,
        }
    }

    fn exec(name: &str, errno: Errno, exit_code: i32, what: &str) -> StepError {
        StepError { op: "kernel.execve".to_owned(), errno, message: format!("exec: \"{name}\": {what}"), exit_code }
    }
}

/// What the new process needs of the process that made it.
pub trait Parent {
    /// Hands over the master of the container's terminal.
    ///
    /// # Errors
    /// The errno of sendmsg(2).
    fn send_terminal(&mut self, master: i32) -> Result<(), Errno>;

    /// Tells that only the command's execve is left: an end from here on is the command's own.
    fn becomes(&mut self) {}
}

/// For programs that open no terminal.
pub struct NoParent;

impl Parent for NoParent {
    fn send_terminal(&mut self, _master: i32) -> Result<(), Errno> {
        Err(Errno::ENOTCONN)
    }
}

/// One process's run of its program.
pub struct Interpreter<'a, K: Kernel, P: Parent> {
    kernel: &'a K,
    parent: P,
    slots: [i32; slot::COUNT],
    current: &'static str,
    actor: crate::trace::Actor,
}

impl<'a, K: Kernel, P: Parent> Interpreter<'a, K, P> {
    pub fn new(kernel: &'a K, parent: P) -> Self {
        let slots = [-1; slot::COUNT];
        Interpreter { kernel, parent, slots, current: "", actor: crate::trace::Actor::Runtime }
    }

    /// Puts a descriptor where steps find it.
    pub fn fill(&mut self, slot: u16, fd: i32) {
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            *place = fd;
        }
    }

    /// Takes a descriptor out of its place: the caller closes it.
    pub fn take(&mut self, slot: u16) -> Option<i32> {
        let place = self.slots.get_mut(usize::from(slot))?;
        Some(std::mem::replace(place, -1)).filter(|fd| *fd >= 0)
    }

    /// Runs the steps in order, up to the first that fails and must not.
    ///
    /// # Errors
    /// The step that failed.
    pub fn run(&mut self, program: &[Step]) -> Result<(), StepError> {
        program.iter().try_for_each(|step| self.step(step).map(drop))
    }

    /// Runs all steps, whatever fails: for undoing.
    pub fn run_all(&mut self, program: &[Step]) {
        for step in program {
            let _ = self.step(step);
        }
    }

    /// One step.
    ///
    /// # Errors
    /// What its calls answered, unless the step tolerates it.
    pub fn step(&mut self, step: &Step) -> Result<Ret, StepError> {
        self.current = step.why;
        self.actor = step.actor;
        let result = match &step.act {
            Act::Call(call) => self.call(call.clone()),
            Act::MountPoint { path, kind } => self.mount_point(path, *kind),
            Act::Mask { path } => self.mask(path),
            Act::ReadOnly { path } => self.read_only(path),
            Act::Terminal { rows, columns, owner, console } => self.terminal((*rows, *columns), *owner, *console),
            Act::CloseOthers { keep } => self.close_others(keep),
            Act::Device { path, kind, mode, dev, owner } => self.device(path, *kind, *mode, *dev, *owner),
            Act::Genuine { path, magic } => self.genuine(path, *magic),
            Act::Init { program } => return self.stay_as_init(program),
            Act::Exec { argv, envp } => return self.exec(argv, envp),
        };
        match result {
            Ok(ret) => {
                if let (Some(slot), Some(fd)) = (step.save, ret.fd()) {
                    self.fill(slot, fd);
                }
                Ok(ret)
            }
            Err((_, errno)) if step.on_error != OnError::Fail && step.on_error.tolerates(errno) => Ok(Ret::DONE),
            Err((call, errno)) => Err(StepError::of(&call, errno)),
        }
    }

    /// Makes one call, with the slots filled in. The call comes back with an error, to tell what failed.
    fn call(&self, mut call: Call) -> Result<Ret, (Box<Call>, Errno)> {
        for fd in call.fds_mut() {
            if let Fd::Slot(n) = *fd {
                *fd = Fd::Raw(self.slots.get(usize::from(n)).copied().unwrap_or(-1));
            }
        }
        because(self.actor, self.current, || self.kernel.call(&call)).map_err(|errno| (Box::new(call), errno))
    }

    /// Opens a place inside the new root, to see that it is there and that nothing leads astray.
    fn probe(&self, path: &Path, resolve: ResolveFlag) -> Result<(), (Box<Call>, Errno)> {
        let flags = OFlag::O_PATH;
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
        // Looking changes nothing: no call of the plan, closed at once.
        openat2(AT_FDCWD, path, how).map(drop).map_err(|errno| {
            let call = Call::Openat2 { dirfd: Fd::Cwd, pathname: path.into(), flags, mode: 0, resolve };
            (Box::new(call), errno)
        })
    }

    fn mount_point(&self, path: &Path, kind: Place) -> Result<Ret, (Box<Call>, Errno)> {
        let own = matches!(kind, Place::OwnDirectory | Place::OwnFile);
        let resolve = if own { ResolveFlag::RESOLVE_NO_SYMLINKS } else { ResolveFlag::empty() };
        let directory = match kind {
            Place::OwnDirectory | Place::Directory => true,
            Place::OwnFile => false,
            Place::Like(slot) => self.is_directory(slot),
        };
        if path.symlink_metadata().is_ok() {
            return self.probe(path, resolve).map(|()| Ret::DONE);
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        self.make_directories(parent)?;
        self.probe(parent, resolve)?;
        if directory {
            return self.call(Call::Mkdirat { dirfd: Fd::Cwd, pathname: path.into(), mode: 0o755 });
        }
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW;
        let made = self.call(Call::Openat2 { dirfd: Fd::Cwd, pathname: path.into(), flags, mode: 0o644, resolve })?;
        match made {
            Ret::Fd(fd) => self.call(Call::Close { fd: Fd::Raw(fd) }),
            other => Ok(other),
        }
    }

    fn device(
        &self,
        path: &Path,
        kind: NodeKind,
        mode: u32,
        dev: Dev,
        (owner, group): (u32, u32),
    ) -> Result<Ret, (Box<Call>, Errno)> {
        self.make_directories(path.parent().unwrap_or(Path::new("/")))?;
        let made = self.call(Call::Mknodat { dirfd: Fd::Cwd, pathname: path.into(), kind, mode, dev })?;
        if (owner, group) == (0, 0) {
            return Ok(made);
        }
        self.call(Call::Fchownat { dirfd: Fd::Cwd, pathname: path.into(), owner, group })
    }

    /// Looking changes nothing: no call of the plan.
    fn genuine(&self, path: &Path, magic: i64) -> Result<Ret, (Box<Call>, Errno)> {
        self.probe(path, ResolveFlag::RESOLVE_NO_SYMLINKS)?;
        if crate::kernel::linux::is_file_system(path, magic) {
            return Ok(Ret::DONE);
        }
        let flags = OFlag::O_PATH;
        let resolve = ResolveFlag::RESOLVE_NO_SYMLINKS;
        let call = Call::Openat2 { dirfd: Fd::Cwd, pathname: path.into(), flags, mode: 0, resolve };
        Err((Box::new(call), Errno::EXDEV))
    }

    /// [`Act::Init`]: comes back in the child only.
    fn stay_as_init(&mut self, program: &[Step]) -> Result<Ret, StepError> {
        crate::trace::flush();
        linux::block_signals();
        let clone = Call::Clone3 { flags: CloneFlags::empty(), exit_signal: "SIGCHLD", cgroup: None };
        let failed = |(call, errno): (Box<Call>, Errno)| StepError::of(&call, errno);
        match self.call(clone).map_err(failed)? {
            Ret::Pid { pid, .. } => {
                let done = self.run(program);
                crate::trace::flush();
                // The end of the socket to the shim is one of them: the child alone tells whether the command began.
                linux::close_from(3);
                match done {
                    Ok(()) => linux::exit_now(super::reaper::reap_until(self.kernel, pid)),
                    Err(_) => linux::exit_now(125),
                }
            }
            _ => {
                if let Some(host) = self.number_on_the_host() {
                    crate::trace::set_host_pid(host);
                }
                self.current = "the command gets the terminal's keys, as a shell would give them to it";
                // In the background as long as its group is not in the foreground: SIGTTOU stays blocked until then.
                self.call(Call::Setpgid { pid: 0, pgid: 0 }).map_err(failed)?;
                if let Some(pgrp) = linux::own_group_if_terminal() {
                    self.call(Call::IoctlTiocspgrp { fd: Fd::Raw(0), pgrp }).map_err(failed)?;
                }
                linux::clear_signals();
                Ok(Ret::CHILD)
            }
        }
    }

    /// This process's number as the host counts: the host's /proc, kept from before the root was switched, names it.
    fn number_on_the_host(&self) -> Option<u32> {
        let fd = *self.slots.get(usize::from(slot::HOST_PROC))?;
        let own = nix::fcntl::readlinkat(linux::borrow(fd)?, "self").ok()?;
        own.to_str()?.parse().ok()
    }

    fn is_directory(&self, slot: u16) -> bool {
        let fd = self.slots.get(usize::from(slot)).copied().unwrap_or(-1);
        std::path::PathBuf::from(format!("/proc/self/fd/{fd}")).is_dir() || self.slot_stat_is_dir(fd)
    }

    /// /proc may not be mounted yet in the new root: asks the descriptor itself.
    fn slot_stat_is_dir(&self, fd: i32) -> bool {
        use nix::sys::stat::SFlag;
        crate::kernel::linux::stat_mode(fd)
            .is_ok_and(|mode| SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
    }

    fn make_directories(&self, path: &Path) -> Result<(), (Box<Call>, Errno)> {
        let mut so_far = PathBuf::new();
        for part in path.components() {
            so_far.push(part);
            if matches!(part, Component::Normal(_)) && !so_far.exists() {
                self.call(Call::Mkdirat { dirfd: Fd::Cwd, pathname: so_far.clone(), mode: 0o755 })?;
            }
        }
        Ok(())
    }

    fn mask(&self, path: &Path) -> Result<Ret, (Box<Call>, Errno)> {
        let Ok(meta) = path.metadata() else {
            return Ok(Ret::DONE);
        };
        if meta.is_dir() {
            return self.call(Call::Mount {
                source: Some("tmpfs".into()),
                target: path.into(),
                filesystemtype: Some("tmpfs"),
                mountflags: MsFlags::MS_RDONLY,
                data: None,
            });
        }
        self.call(bind("/dev/null".into(), path))
    }

    fn read_only(&self, path: &Path) -> Result<Ret, (Box<Call>, Errno)> {
        if !path.exists() {
            return Ok(Ret::DONE);
        }
        self.call(Call::Mount {
            source: Some(path.into()),
            target: path.into(),
            filesystemtype: None,
            mountflags: MsFlags::MS_BIND | MsFlags::MS_REC,
            data: None,
        })?;
        self.call(Call::Mount {
            source: None,
            target: path.into(),
            filesystemtype: None,
            mountflags: MsFlags::MS_RDONLY
                | MsFlags::MS_NOSUID
                | MsFlags::MS_NODEV
                | MsFlags::MS_NOEXEC
                | MsFlags::MS_REMOUNT
                | MsFlags::MS_BIND,
            data: None,
        })
    }

    fn terminal(&mut self, (rows, columns): (u16, u16), owner: u32, console: bool) -> Result<Ret, (Box<Call>, Errno)> {
        let open = |pathname: PathBuf| Call::Openat2 {
            dirfd: Fd::Cwd,
            pathname,
            flags: OFlag::O_RDWR | OFlag::O_NOCTTY,
            mode: 0,
            resolve: ResolveFlag::empty(),
        };
        let ptmx = open("/dev/pts/ptmx".into());
        let Ret::Fd(master) = self.call(ptmx.clone())? else {
            return Ok(Ret::DONE);
        };
        let failed = |errno| (Box::new(ptmx.clone()), errno);
        self.call(Call::IoctlTiocsptlck { fd: Fd::Raw(master), lock: 0 })?;
        let number = linux::terminal_number(master).map_err(failed)?;
        if (rows, columns) != (0, 0) {
            self.call(Call::IoctlTiocswinsz { fd: Fd::Raw(master), ws_row: rows, ws_col: columns })?;
        }
        self.parent.send_terminal(master).map_err(failed)?;
        self.call(Call::Close { fd: Fd::Raw(master) })?;
        let slave = PathBuf::from(format!("/dev/pts/{number}"));
        if owner != 0 {
            let call = Call::Fchownat { dirfd: Fd::Cwd, pathname: slave.clone(), owner, group: u32::MAX };
            self.call(call)?;
        }
        let Ret::Fd(fd) = self.call(open(slave.clone()))? else {
            return Ok(Ret::DONE);
        };
        if console {
            self.mount_point(Path::new("/dev/console"), Place::OwnFile)?;
            self.call(bind(slave, Path::new("/dev/console")))?;
        }
        self.call(Call::Setsid {})?;
        for newfd in 0..3 {
            self.call(Call::Dup3 { oldfd: Fd::Raw(fd), newfd })?;
        }
        self.call(Call::IoctlTiocsctty { fd: Fd::Raw(0) })
    }

    /// One call for each gap between what is kept.
    fn close_others(&self, keep: &[u16]) -> Result<Ret, (Box<Call>, Errno)> {
        let slots = keep.iter().filter_map(|slot| self.slots.get(usize::from(*slot)));
        let mut kept: Vec<u32> = slots.filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd > 2).collect();
        kept.sort_unstable();
        kept.dedup();
        let mut first = 3;
        for fd in kept {
            if fd > first {
                self.call(Call::CloseRangeNow { first, last: fd - 1 })?;
            }
            first = fd + 1;
        }
        self.call(Call::CloseRangeNow { first, last: u32::MAX })
    }

    /// Looks for the program as a shell does, then becomes it.
    fn exec(&mut self, argv: &[String], envp: &[String]) -> Result<Ret, StepError> {
        let name = argv.first().map_or("", String::as_str);
        // A descriptor of the host reached through /proc/self/fd must not be where the command starts
        // (CVE-2024-21626): outside of the root the kernel answers `(unreachable)` (getcwd(2)).
        if !std::env::current_dir().is_ok_and(|at| at.is_absolute()) {
            return Err(StepError::exec(name, Errno::EACCES, 126, "its working directory is not in the container"));
        }
        let umask = self.call(Call::Umask { mask: 0o022 });
        umask.map_err(|(call, errno)| StepError::of(&call, errno))?;
        let pathname = find(name, envp)?;
        self.parent.becomes();
        let call = Call::Execve { pathname, argv: argv.to_vec(), envp: envp.to_vec() };
        match self.call(call) {
            Ok(ret) => Ok(ret),
            Err((_, errno @ Errno::ENOENT)) => Err(StepError::exec(name, errno, 127, "no such file or directory")),
            Err((_, errno)) => Err(StepError::exec(name, errno, 126, &errno.desc().to_lowercase())),
        }
    }
}

fn bind(source: PathBuf, target: &Path) -> Call {
    Call::Mount {
        source: Some(source),
        target: target.into(),
        filesystemtype: None,
        mountflags: MsFlags::MS_BIND,
        data: None,
    }
}

/// The executable that a name means: itself when it holds a slash, else the first in PATH (execvp(3)).
fn find(name: &str, envp: &[String]) -> Result<PathBuf, StepError> {
    if name.contains('/') {
        return match usable(Path::new(name)) {
            Ok(()) => Ok(name.into()),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                let what = format!("stat {name}: no such file or directory");
                Err(StepError::exec(name, Errno::ENOENT, 127, &what))
            }
            Err(errno) => Err(StepError::exec(name, errno, 126, "permission denied")),
        };
    }
    let path = envp.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or("");
    let candidates = path.split(':').map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(name));
    let found = if name.is_empty() { None } else { candidates.into_iter().find(|c| usable(c).is_ok()) };
    found.ok_or_else(|| StepError::exec(name, Errno::ENOENT, 127, "executable file not found in $PATH"))
}

/// Whether this user may execute it: a file (not a directory, not a device) with a permission to execute.
fn usable(path: &Path) -> Result<(), Errno> {
    let meta = path.metadata().map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    if meta.is_dir() || meta.file_type().is_char_device() || meta.file_type().is_block_device() {
        return Err(Errno::EACCES);
    }
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_slash_is_searched_in_path() {
        let env = vec!["PATH=/nonexistent:/bin:/usr/bin".to_owned()];
        assert!(find("sh", &env).unwrap().ends_with("sh"));
        let missing = find("nosuchcommand", &env).unwrap_err();
        assert_eq!((missing.exit_code, missing.errno), (127, Errno::ENOENT));
        assert_eq!(missing.message, "exec: \"nosuchcommand\": executable file not found in $PATH");
        assert_eq!(find("", &env).unwrap_err().exit_code, 127);
    }

    #[test]
    fn a_directory_can_not_be_invoked() {
        let error = find("/etc", &[]).unwrap_err();
        assert_eq!((error.exit_code, error.message.as_str()), (126, "exec: \"/etc\": permission denied"));
        assert_eq!(find("/nosuch", &[]).unwrap_err().exit_code, 127);
    }
}
