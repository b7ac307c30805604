//! The engine as an ordinary user: it enters a user namespace in which it is root (user_namespaces(7)).
//!
//! With `newuidmap` and a range in /etc/subuid, the container's other users exist too; without, only the user's own
//! id is mapped, to 0: enough for most of what one learns with. All else of the engine is the same as for root.

use crate::kernel::traced::because;
use crate::kernel::{Call, Errno, Kernel, Ret};
use crate::trace::Actor;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getegid, geteuid};
use std::io::{PipeReader, Read as _, Write as _, pipe};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How this process came to be root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// It was root already.
    Real,
    /// In a user namespace with the ranges of /etc/subuid and /etc/subgid.
    Mapped,
    /// In a user namespace with only the user's own id; and why there are no others.
    Single { reason: String },
}

/// Why an ordinary user can't run containers here, with the way out.
#[derive(Debug, thiserror::Error)]
pub enum RootlessError {
    #[error("this kernel does not let ordinary users make user namespaces ({0}); {way}", way = way_out(*.0))]
    Forbidden(Errno),
    #[error("could not map the user's ids into the user namespace: {path}: {errno}", path = .0.display(), errno = .1)]
    Map(PathBuf, Errno),
    #[error("could not make a mount namespace of the engine's own: {0}")]
    Mounts(Errno),
    #[error("could not start the helper that maps ids: {0}")]
    Helper(std::io::Error),
}

/// What an administrator can change, by what the kernel answered.
fn way_out(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOSPC | Errno::EUSERS => "as root: sysctl -w user.max_user_namespaces=15000, or run rdock as root",
        _ => {
            "as root: sysctl -w kernel.unprivileged_userns_clone=1 (Debian), \
             sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), or run rdock as root"
        }
    }
}

/// Makes this single-threaded process root, if it is not. Called first thing in the daemon, before any thread.
///
/// # Errors
/// [`RootlessError`]; nothing has changed then, or the process must end.
pub fn enter<K: Kernel>(kernel: &K) -> Result<Root, RootlessError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if uid == 0 {
        return Ok(Root::Real);
    }
    let because = |why, call: Call| because(Actor::Daemon, why, || kernel.call(&call));
    let mapper = Mapper::start(kernel, uid, gid)?;
    because(
        "an ordinary user may be root in a user namespace, over what belongs to that namespace and nothing else",
        Call::Unshare { flags: CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS },
    )
    .map_err(RootlessError::Forbidden)?;
    let root = match mapper.map() {
        Ok(()) => Root::Mapped,
        Err(reason) => {
            single(&because, uid, gid)?;
            Root::Single { reason }
        }
    };
    because(
        "mounts of the engine stay in its own mount namespace",
        Call::Mount {
            source: None,
            target: "/".into(),
            filesystemtype: None,
            mountflags: MsFlags::MS_REC | MsFlags::MS_SLAVE,
            data: None,
        },
    )
    .map_err(RootlessError::Mounts)?;
    Ok(root)
}

/// The user's own id becomes 0. A process may do that much for itself (user_namespaces(7)); it has to give up
/// setgroups(2) first, or it could drop a group that keeps it from a file.
fn single(
    because: &impl Fn(&'static str, Call) -> Result<Ret, Errno>,
    uid: u32,
    gid: u32,
) -> Result<(), RootlessError> {
    let write = |why, path: &str, data: String| {
        because(why, Call::Write { path: path.into(), data: data.into_bytes() })
            .map_err(|errno| RootlessError::Map(path.into(), errno))
    };
    write("only then may a user map its own group", "/proc/self/setgroups", "deny".into())?;
    write("this user is root (0) in the namespace", "/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("and so is its group", "/proc/self/gid_map", format!("0 {gid} 1"))?;
    Ok(())
}

/// A copy of this process that stays outside of the namespace and runs `newuidmap` and `newgidmap` for it: these
/// are set-user-ID programs, and they want to be called from outside.
struct Mapper {
    pid: i32,
    go: std::io::PipeWriter,
    answer: PipeReader,
}

impl Mapper {
    fn start<K: Kernel>(kernel: &K, uid: u32, gid: u32) -> Result<Mapper, RootlessError> {
        let (wait, go) = pipe().map_err(RootlessError::Helper)?;
        let (answer, mut tell) = pipe().map_err(RootlessError::Helper)?;
        let parent = std::process::id();
        let call = Call::Clone3 { flags: CloneFlags::empty(), exit_signal: "SIGCHLD", cgroup: None };
        let why = "a helper that stays outside of the new namespace, to map more ids into it";
        match because(Actor::Daemon, why, || kernel.call(&call)) {
            Ok(Ret::Pid { pid, pidfd }) => {
                drop(crate::kernel::linux::adopt(pidfd));
                Ok(Mapper { pid, go, answer })
            }
            Ok(_) => {
                drop((go, answer));
                let code = match outside(wait, parent, uid, gid) {
                    Ok(()) => 0,
                    Err(reason) => {
                        let _ = tell.write_all(reason.as_bytes());
                        1
                    }
                };
                crate::kernel::linux::exit_now(code)
            }
            Err(errno) => Err(RootlessError::Helper(errno.into())),
        }
    }

    /// Lets the helper go, now that the namespace is there; why not, if it could not.
    fn map(mut self) -> Result<(), String> {
        let told = self.go.write_all(b"g");
        drop(self.go);
        let mut reason = String::new();
        let heard = self.answer.read_to_string(&mut reason);
        let ended = waitpid(Pid::from_raw(self.pid), None);
        match (told, heard, ended) {
            (Ok(()), Ok(_), Ok(WaitStatus::Exited(_, 0))) => Ok(()),
            _ if !reason.is_empty() => Err(reason),
            _ => Err("the helper that maps ids failed".to_owned()),
        }
    }
}

/// In the helper: waits until the namespace is there, then maps.
fn outside(mut wait: PipeReader, parent: u32, uid: u32, gid: u32) -> Result<(), String> {
    let mut byte = [0u8; 1];
    if wait.read(&mut byte).unwrap_or(0) == 0 {
        return Err("the engine went away".into());
    }
    let name = nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|u| u.name).unwrap_or_default();
    let uids = range("/etc/subuid", &name, uid)?;
    let gids = range("/etc/subgid", &name, uid)?;
    map("newuidmap", parent, uid, uids)?;
    map("newgidmap", parent, gid, gids)
}

fn map(program: &str, parent: u32, own: u32, (start, count): (u64, u64)) -> Result<(), String> {
    let arguments = [u64::from(parent), 0, own.into(), 1, 1, start, count].map(|n| n.to_string());
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(_) => Err(format!("{program} is not installed (Debian: package uidmap, Fedora: shadow-utils)")),
    }
}

/// First range of the user in subuid(5): `name:start:count`.
fn range(file: &str, name: &str, uid: u32) -> Result<(u64, u64), String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    parse_range(&text, name, uid).ok_or_else(|| format!("{file} has no range for this user"))
}

fn parse_range(text: &str, name: &str, uid: u32) -> Option<(u64, u64)> {
    text.lines().find_map(|line| {
        let mut parts = line.trim().split(':');
        let (who, start, count) = (parts.next()?, parts.next()?, parts.next()?);
        let mine = who == uid.to_string() || (!name.is_empty() && who == name);
        mine.then(|| Some((start.parse().ok()?, count.parse().ok()?))).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_by_name_or_number() {
        let text = "# comment\nalice:100000:65536\n1001:165536:65536\nbroken:x:1\n";
        assert_eq!(parse_range(text, "alice", 1000), Some((100_000, 65_536)));
        assert_eq!(parse_range(text, "bob", 1001), Some((165_536, 65_536)));
        assert_eq!(parse_range(text, "broken", 7), None);
        assert_eq!(parse_range(text, "", 7), None);
    }

    #[test]
    fn what_is_forbidden_names_the_way_out() {
        assert!(RootlessError::Forbidden(Errno::ENOSPC).to_string().contains("user.max_user_namespaces"));
        assert!(RootlessError::Forbidden(Errno::EPERM).to_string().contains("unprivileged_userns_clone"));
    }
}
