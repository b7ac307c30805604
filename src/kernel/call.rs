//! The calls: one variant per system call (or netlink request, or write to a file of the kernel), named and
//! parametered as the man page has it.
//!
//! A [`Call`] is what a plan holds, what a [`super::Kernel`] does and what the explanation prints. Flags are kept
//! as typed bits and printed as symbolic names.

use nix::fcntl::{AtFlags, OFlag, ResolveFlag};
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// A file descriptor as a call's argument. Printed as the number, `AT_FDCWD`, or `$slotN` while still a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fd {
    /// `AT_FDCWD`: relative to the working directory.
    Cwd,
    /// An open descriptor.
    Raw(i32),
    /// What the step that saved under this name opened; the interpreter puts the number in.
    Slot(u16),
}

impl Serialize for Fd {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Fd::Cwd => s.serialize_str("AT_FDCWD"),
            Fd::Raw(n) => s.serialize_i32(*n),
            Fd::Slot(name) => s.collect_str(&format_args!("$slot{name}")),
        }
    }
}

impl Fd {
    /// The number for the kernel. A slot that was not filled is -1 (`EBADF`).
    pub fn raw(self) -> i32 {
        match self {
            Fd::Cwd => libc::AT_FDCWD,
            Fd::Raw(n) => n,
            Fd::Slot(_) => -1,
        }
    }
}

/// Prints typed flags as a list of symbolic names: `["MS_NOSUID", "MS_NODEV"]`.
fn names<F: bitflags_names::Names, S: Serializer>(flags: &F, s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(flags.names())
}

/// As [`names`], with the flag that every clone3 of ours has and nix's type does not know.
fn clone_names<S: Serializer>(flags: &CloneFlags, s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(bitflags_names::Names::names(flags).into_iter().chain(["CLONE_PIDFD"]))
}

mod bitflags_names {
    //! The flag types of `nix` that calls use, as lists of names.
    use super::*;
    pub trait Names {
        fn names(&self) -> Vec<&'static str>;
    }
    macro_rules! names {
        ($($t:ty),*) => { $(impl Names for $t {
            fn names(&self) -> Vec<&'static str> {
                self.iter_names().map(|(name, _)| name).collect()
            }
        })* };
    }
    names!(MsFlags, MntFlags, OFlag, ResolveFlag, AtFlags);
    impl Names for CloneFlags {
        fn names(&self) -> Vec<&'static str> {
            self.iter_names().map(|(name, _)| name).collect()
        }
    }
}

/// Which device a node is: `major:minor` (makedev(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Dev {
    pub major: u64,
    pub minor: u64,
}

/// Kind of file for mknodat(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum NodeKind {
    #[serde(rename = "S_IFCHR")]
    Char,
    #[serde(rename = "S_IFBLK")]
    Block,
    #[serde(rename = "S_IFIFO")]
    Fifo,
    #[serde(rename = "S_IFREG")]
    Regular,
}

/// Capability sets as 64-bit masks (capabilities(7)); capset(2) takes them in two 32-bit halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct CapSets {
    #[serde(serialize_with = "hex")]
    pub effective: u64,
    #[serde(serialize_with = "hex")]
    pub permitted: u64,
    #[serde(serialize_with = "hex")]
    pub inheritable: u64,
}

fn hex<S: Serializer>(n: &u64, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&format_args!("{n:#x}"))
}

fn octal<S: Serializer>(n: &u32, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&format_args!("{n:#o}"))
}

fn lossy<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&String::from_utf8_lossy(bytes))
}

/// prctl(2) operations that setting up a container needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "option")]
pub enum Prctl {
    #[serde(rename = "PR_CAPBSET_DROP")]
    CapbsetDrop { cap: u8 },
    #[serde(rename = "PR_SET_KEEPCAPS")]
    SetKeepcaps { on: bool },
    #[serde(rename = "PR_SET_NO_NEW_PRIVS")]
    SetNoNewPrivs,
    #[serde(rename = "PR_SET_CHILD_SUBREAPER")]
    SetChildSubreaper,
    #[serde(rename = "PR_SET_DUMPABLE")]
    SetDumpable { on: bool },
    #[serde(rename = "PR_SET_PDEATHSIG")]
    SetPdeathsig { sig: i32 },
    #[serde(rename = "PR_CAP_AMBIENT_CLEAR_ALL")]
    CapAmbientClearAll,
    #[serde(rename = "PR_CAP_AMBIENT_RAISE")]
    CapAmbientRaise { cap: u8 },
}

/// A netlink request of the route family (rtnetlink(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type")]
pub enum Netlink {
    /// `RTM_NEWLINK` with `IFF_UP` on an existing link: brings it up.
    #[serde(rename = "RTM_NEWLINK")]
    LinkUp { index: i32, flags: &'static str },
}

/// Who owns a file after fchownat(2).
pub type Uid = u32;
/// Which group owns a file after fchownat(2).
pub type Gid = u32;

/// One effect on the system. Variant = system call; fields = its parameters by the man page's names.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Call {
    // --- processes and namespaces ---
    /// clone3(2): a copy of the (single-threaded) caller. `Ret::Child` in the new process, `Ret::Pid` in the caller.
    /// A pidfd is always asked for (`CLONE_PIDFD`).
    Clone3 {
        #[serde(serialize_with = "clone_names")]
        flags: CloneFlags,
        exit_signal: &'static str,
        /// `CLONE_INTO_CGROUP`: a descriptor of the cgroup v2 directory.
        #[serde(skip_serializing_if = "Option::is_none")]
        cgroup: Option<Fd>,
    },
    /// unshare(2)
    Unshare {
        #[serde(serialize_with = "names")]
        flags: CloneFlags,
    },
    /// setns(2)
    Setns {
        fd: Fd,
        #[serde(serialize_with = "names")]
        nstype: CloneFlags,
    },
    /// execve(2): returns only when it failed.
    Execve { pathname: PathBuf, argv: Vec<String>, envp: Vec<String> },
    /// kill(2)
    Kill { pid: i32, sig: i32 },
    /// setsid(2)
    Setsid {},
    /// setpgid(2)
    Setpgid { pid: i32, pgid: i32 },
    /// umask(2)
    Umask {
        #[serde(serialize_with = "octal")]
        mask: u32,
    },
    // --- mounts ---
    /// mount(2)
    Mount {
        source: Option<PathBuf>,
        target: PathBuf,
        filesystemtype: Option<&'static str>,
        #[serde(serialize_with = "names")]
        mountflags: MsFlags,
        data: Option<String>,
    },
    /// umount2(2)
    Umount2 {
        target: PathBuf,
        #[serde(serialize_with = "names")]
        flags: MntFlags,
    },
    /// open_tree(2): a detached copy of a mount, `Ret::Fd`. Always `OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC`.
    OpenTree { dfd: Fd, filename: PathBuf, recursive: bool },
    /// move_mount(2) of a detached mount (`MOVE_MOUNT_F_EMPTY_PATH`) to a path.
    MoveMount { from_dfd: Fd, to_dfd: Fd, to_pathname: PathBuf },
    /// mount_setattr(2) on what a descriptor of open_tree holds (`AT_EMPTY_PATH`): sets these `MOUNT_ATTR_…` flags
    /// before anybody can see the mount.
    MountSetattr { dfd: Fd, recursive: bool, attr_set: Vec<&'static str> },
    /// pivot_root(2)
    PivotRoot { new_root: PathBuf, put_old: PathBuf },
    /// chdir(2)
    Chdir { path: PathBuf },
    /// sethostname(2)
    Sethostname { name: String },
    /// setdomainname(2)
    Setdomainname { name: String },
    // --- files (relative to a directory descriptor where a layer or an image decides the name) ---
    /// openat2(2), `Ret::Fd`. `O_CLOEXEC` is always added.
    Openat2 {
        dirfd: Fd,
        pathname: PathBuf,
        #[serde(serialize_with = "names")]
        flags: OFlag,
        #[serde(serialize_with = "octal")]
        mode: u32,
        #[serde(serialize_with = "names")]
        resolve: ResolveFlag,
    },
    /// close(2)
    Close { fd: Fd },
    /// mkdirat(2)
    Mkdirat {
        dirfd: Fd,
        pathname: PathBuf,
        #[serde(serialize_with = "octal")]
        mode: u32,
    },
    /// mknodat(2)
    Mknodat {
        dirfd: Fd,
        pathname: PathBuf,
        kind: NodeKind,
        #[serde(serialize_with = "octal")]
        mode: u32,
        dev: Dev,
    },
    /// symlinkat(2)
    Symlinkat { target: PathBuf, newdirfd: Fd, linkpath: PathBuf },
    /// linkat(2)
    Linkat { olddirfd: Fd, oldpath: PathBuf, newdirfd: Fd, newpath: PathBuf },
    /// renameat(2)
    Renameat { olddirfd: Fd, oldpath: PathBuf, newdirfd: Fd, newpath: PathBuf },
    /// unlinkat(2); `AT_REMOVEDIR` for directories.
    Unlinkat { dirfd: Fd, pathname: PathBuf, remove_dir: bool },
    /// fchownat(2), never following a symlink (`AT_SYMLINK_NOFOLLOW`).
    Fchownat { dirfd: Fd, pathname: PathBuf, owner: Uid, group: Gid },
    /// fchmodat(2); the last component must not be a symlink (the caller has just made it).
    Fchmodat {
        dirfd: Fd,
        pathname: PathBuf,
        #[serde(serialize_with = "octal")]
        mode: u32,
    },
    /// utimensat(2), never following a symlink. Seconds and nanoseconds since the epoch.
    Utimensat { dirfd: Fd, pathname: PathBuf, mtime_sec: i64, mtime_nsec: i64 },
    /// lsetxattr(2) on `/proc/self/fd/DIRFD/PATHNAME` (there is no *at form before Linux 6.13).
    Setxattr {
        dirfd: Fd,
        pathname: PathBuf,
        name: String,
        #[serde(serialize_with = "lossy")]
        value: Vec<u8>,
    },
    /// Opens a file of the kernel (cgroup, /proc, /sys) for writing and writes `data` with one write(2).
    Write {
        path: PathBuf,
        #[serde(serialize_with = "lossy")]
        data: Vec<u8>,
    },
    // --- identity and privileges ---
    /// setgroups(2)
    Setgroups { list: Vec<Gid> },
    /// setresgid(2)
    Setresgid { rgid: Gid, egid: Gid, sgid: Gid },
    /// setresuid(2)
    Setresuid { ruid: Uid, euid: Uid, suid: Uid },
    /// capset(2) on the calling thread.
    Capset { data: CapSets },
    /// prctl(2)
    Prctl(Prctl),
    /// seccomp(2) `SECCOMP_SET_MODE_FILTER`: a BPF program (its instructions, 8 bytes each, are not printed).
    Seccomp {
        flags: u32,
        #[serde(serialize_with = "filter_len", rename = "instructions")]
        filter: Vec<[u8; 8]>,
    },
    /// prlimit64(2) on the calling process.
    Prlimit { resource: &'static str, rlim_cur: u64, rlim_max: u64 },
    // --- descriptors and terminal ---
    /// dup3(2)
    Dup3 { oldfd: Fd, newfd: i32 },
    /// close_range(2) with `CLOSE_RANGE_CLOEXEC`: what is open from `first` on closes at execve.
    CloseRange { first: u32 },
    /// close_range(2) without flags: closes at once what is open from `first` to `last`, both included.
    CloseRangeNow { first: u32, last: u32 },
    /// ioctl(2) `TIOCSCTTY`: the terminal becomes the controlling one of the caller's session.
    IoctlTiocsctty { fd: Fd },
    /// ioctl(2) `TIOCSPTLCK`: unlocks the slave of a pseudo-terminal (0) or locks it.
    IoctlTiocsptlck { fd: Fd, lock: i32 },
    /// ioctl(2) `TIOCSPGRP`: the process group in the foreground of the terminal.
    IoctlTiocspgrp { fd: Fd, pgrp: i32 },
    /// ioctl(2) `TIOCSWINSZ`
    IoctlTiocswinsz { fd: Fd, ws_row: u16, ws_col: u16 },
    // --- network ---
    /// One request over a `NETLINK_ROUTE` socket, answered by an acknowledgement.
    Netlink(Netlink),
}

fn filter_len<S: Serializer>(filter: &[[u8; 8]], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(filter.len() as u64)
}

impl Call {
    /// The descriptors among the arguments, for the interpreter to fill slots in.
    pub fn fds_mut(&mut self) -> Vec<&mut Fd> {
        match self {
            Call::Clone3 { cgroup: Some(fd), .. }
            | Call::Setns { fd, .. }
            | Call::OpenTree { dfd: fd, .. }
            | Call::Openat2 { dirfd: fd, .. }
            | Call::Close { fd }
            | Call::Mkdirat { dirfd: fd, .. }
            | Call::Mknodat { dirfd: fd, .. }
            | Call::Symlinkat { newdirfd: fd, .. }
            | Call::Unlinkat { dirfd: fd, .. }
            | Call::Fchownat { dirfd: fd, .. }
            | Call::Fchmodat { dirfd: fd, .. }
            | Call::Utimensat { dirfd: fd, .. }
            | Call::Setxattr { dirfd: fd, .. }
            | Call::Dup3 { oldfd: fd, .. }
            | Call::MountSetattr { dfd: fd, .. }
            | Call::IoctlTiocsctty { fd }
            | Call::IoctlTiocsptlck { fd, .. }
            | Call::IoctlTiocspgrp { fd, .. }
            | Call::IoctlTiocswinsz { fd, .. } => vec![fd],
            Call::MoveMount { from_dfd: a, to_dfd: b, .. }
            | Call::Linkat { olddirfd: a, newdirfd: b, .. }
            | Call::Renameat { olddirfd: a, newdirfd: b, .. } => vec![a, b],
            _ => vec![],
        }
    }

    /// The stable name: `kernel.` and the system call.
    pub fn op(&self) -> &'static str {
        match self {
            Call::Clone3 { .. } => "kernel.clone3",
            Call::Unshare { .. } => "kernel.unshare",
            Call::Setns { .. } => "kernel.setns",
            Call::Execve { .. } => "kernel.execve",
            Call::Kill { .. } => "kernel.kill",
            Call::Setsid {} => "kernel.setsid",
            Call::Setpgid { .. } => "kernel.setpgid",
            Call::Umask { .. } => "kernel.umask",
            Call::Mount { .. } => "kernel.mount",
            Call::Umount2 { .. } => "kernel.umount2",
            Call::OpenTree { .. } => "kernel.open_tree",
            Call::MoveMount { .. } => "kernel.move_mount",
            Call::MountSetattr { .. } => "kernel.mount_setattr",
            Call::PivotRoot { .. } => "kernel.pivot_root",
            Call::Chdir { .. } => "kernel.chdir",
            Call::Sethostname { .. } => "kernel.sethostname",
            Call::Setdomainname { .. } => "kernel.setdomainname",
            Call::Openat2 { .. } => "kernel.openat2",
            Call::Close { .. } => "kernel.close",
            Call::Mkdirat { .. } => "kernel.mkdirat",
            Call::Mknodat { .. } => "kernel.mknodat",
            Call::Symlinkat { .. } => "kernel.symlinkat",
            Call::Linkat { .. } => "kernel.linkat",
            Call::Renameat { .. } => "kernel.renameat",
            Call::Unlinkat { .. } => "kernel.unlinkat",
            Call::Fchownat { .. } => "kernel.fchownat",
            Call::Fchmodat { .. } => "kernel.fchmodat",
            Call::Utimensat { .. } => "kernel.utimensat",
            Call::Setxattr { .. } => "kernel.lsetxattr",
            Call::Write { .. } => "kernel.write",
            Call::Setgroups { .. } => "kernel.setgroups",
            Call::Setresgid { .. } => "kernel.setresgid",
            Call::Setresuid { .. } => "kernel.setresuid",
            Call::Capset { .. } => "kernel.capset",
            Call::Prctl(_) => "kernel.prctl",
            Call::Seccomp { .. } => "kernel.seccomp",
            Call::Prlimit { .. } => "kernel.prlimit64",
            Call::Dup3 { .. } => "kernel.dup3",
            Call::CloseRange { .. } | Call::CloseRangeNow { .. } => "kernel.close_range",
            Call::IoctlTiocsctty { .. }
            | Call::IoctlTiocswinsz { .. }
            | Call::IoctlTiocsptlck { .. }
            | Call::IoctlTiocspgrp { .. } => "kernel.ioctl",
            Call::Netlink(_) => "kernel.netlink",
        }
    }
}

/// What a call gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Ret {
    /// 0: done.
    Done(u8),
    /// A new descriptor; the caller closes it.
    Fd(i32),
    /// The new process, as the caller's pid namespace numbers it, and a pidfd for it.
    Pid { pid: i32, pidfd: i32 },
    /// This is the new process.
    Child(u8),
}

impl Ret {
    pub const DONE: Ret = Ret::Done(0);
    pub const CHILD: Ret = Ret::Child(0);

    /// The descriptor, where the call opens one.
    pub fn fd(self) -> Option<i32> {
        match self {
            Ret::Fd(fd) => Some(fd),
            Ret::Pid { pidfd, .. } => Some(pidfd),
            _ => None,
        }
    }
}

impl std::fmt::Display for Call {
    /// One line for a person: the call's name and the one or two arguments that matter.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.op().trim_start_matches("kernel.");
        match self {
            Call::Clone3 { flags, .. } => {
                write!(f, "{name} {}", bitflags_names::Names::names(flags).join("|"))
            }
            Call::Unshare { flags } => write!(f, "{name} {}", bitflags_names::Names::names(flags).join("|")),
            Call::Execve { pathname, .. } => write!(f, "{name} {}", pathname.display()),
            Call::Mount { filesystemtype: Some(t), target, .. } => write!(f, "{name} {t} on {}", target.display()),
            Call::Mount { source: Some(s), target, .. } => {
                write!(f, "{name} {} on {}", s.display(), target.display())
            }
            Call::Mount { target, .. } | Call::Umount2 { target, .. } => {
                write!(f, "{name} {}", target.display())
            }
            Call::OpenTree { filename, .. } => write!(f, "{name} {}", filename.display()),
            Call::MoveMount { to_pathname, .. } => write!(f, "{name} to {}", to_pathname.display()),
            Call::PivotRoot { new_root, .. } => write!(f, "{name} {}", new_root.display()),
            Call::Chdir { path } | Call::Write { path, .. } => {
                write!(f, "{name} {}", path.display())
            }
            Call::Sethostname { name: host } | Call::Setdomainname { name: host } => {
                write!(f, "{name} {host}")
            }
            Call::Openat2 { pathname, .. }
            | Call::Mkdirat { pathname, .. }
            | Call::Mknodat { pathname, .. }
            | Call::Unlinkat { pathname, .. }
            | Call::Fchownat { pathname, .. }
            | Call::Fchmodat { pathname, .. }
            | Call::Utimensat { pathname, .. }
            | Call::Setxattr { pathname, .. } => write!(f, "{name} {}", pathname.display()),
            Call::Symlinkat { linkpath, target, .. } => {
                write!(f, "{name} {} -> {}", linkpath.display(), target.display())
            }
            Call::Linkat { newpath, .. } | Call::Renameat { newpath, .. } => {
                write!(f, "{name} {}", newpath.display())
            }
            Call::Prlimit { resource, .. } => write!(f, "{name} {resource}"),
            _ => f.write_str(name),
        }
    }
}
