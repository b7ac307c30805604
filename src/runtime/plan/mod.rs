//! The plan of a container: a pure function of its OCI spec, its layers and the facts of the host.
//!
//! The order of the steps in the new process is what keeps the host safe:
//!
//! 1. while the host's files can still be named: join the cgroups, keep detached copies of what will be bound in;
//! 2. mount the layers and make them the root (`pivot_root`). From here on no path, whatever symlinks the image
//!    holds, can lead to a file of the host: everything else is mounted *inside*;
//! 3. let go of the old root; name the host; loopback; terminal;
//! 4. give up privileges, last of all, since every step before needs some;
//! 5. become the command.

pub(crate) mod cgroups;
pub mod exec;
mod mounts;
mod privileges;

use privileges::Privileges;
pub use privileges::{BUILTIN_SECCOMP, NAMES as CAPABILITY_NAMES};

use super::facts::{Cgroups, Facts};
use super::program::{Act, Program, Step, slot};
use super::seccomp::ProfileError;
use crate::kernel::call::{Netlink, Prctl};
use crate::kernel::{Call, Fd};
use nix::fcntl::{OFlag, ResolveFlag};
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};
use std::path::{Path, PathBuf};

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The OCI runtime spec (config.json).
    pub spec: &'a Spec,
    /// Where `root.path` and relative bind sources start from.
    pub bundle: &'a Path,
    /// The layers to join into the root; none: `root.path` is a directory that is there already.
    pub overlay: Option<Overlay>,
    /// The group's name below each of this process's own groups.
    pub cgroup: &'a str,
    /// The name of groups that were made in advance ([`prepare`]), whose mother process carries out [`Plan::clone`].
    pub prepared: Option<&'a str>,
}

/// What is done before it is known what container will be asked for.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Preparation {
    /// In the shim.
    pub before: Program,
    /// In the process that will be the container's mother.
    pub join: Program,
    /// In the shim, when no container was asked for.
    pub after: Program,
}

/// Plans the groups of a container to come; none where making them in advance gains nothing.
pub fn prepare(name: &str, facts: &Facts) -> Option<Preparation> {
    cgroups::prepare(name, facts)
}

/// An overlay mount (overlayfs, Documentation/filesystems/overlayfs.rst).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// Directory that the relative lower paths start from: short paths keep the options below one page, the most
    /// that mount(2) takes, even with 128 layers.
    pub base: PathBuf,
    /// Read-only layers, topmost first.
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    pub merged: PathBuf,
    /// Need not survive a crash of the machine.
    pub volatile: bool,
}

/// The plan, in parts by the process that carries them out.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Plan {
    /// In the shim, before there is a new process.
    pub before: Program,
    /// In who makes the new process, just before: a pid namespace is joined by children only (pid_namespaces(7)).
    pub enter: Program,
    /// In the shim: the new process.
    pub clone: Step,
    /// In the new process; ends with [`Act::Exec`].
    pub init: Program,
    /// In the shim, when the container has ended or could not be made. Mounts, links and processes need no step:
    /// the kernel takes them away with the last process of their namespaces.
    pub after: Program,
}

impl Plan {
    /// The container's processes are in a pid namespace of their own, and end with the first of them.
    pub fn has_own_processes(&self) -> bool {
        matches!(&self.clone.act, Act::Call(Call::Clone3 { flags, .. }) if flags.contains(CloneFlags::CLONE_NEWPID))
    }
}

/// A spec that can't be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("the OCI spec has no {0}")]
    Missing(&'static str),
    #[error("mount option '{option}' of {destination} is not known")]
    MountOption { destination: PathBuf, option: String },
    #[error("file system type '{fstype}' of {destination} is not one that a container may mount")]
    FileSystem { destination: PathBuf, fstype: String },
    #[error("{count} bind mounts are more than the {max} that one container can have")]
    TooManyBinds { count: usize, max: usize },
    #[error("limit '{0}' is not one that getrlimit(2) knows")]
    Limit(String),
    #[error(transparent)]
    Filter(#[from] ProfileError),
}

/// Plans a container. Pure: the same input gives the same plan.
///
/// # Errors
/// [`PlanError`] where the spec asks for what can't be planned.
pub fn plan(request: &Request<'_>, facts: &Facts) -> Result<Plan, PlanError> {
    let process = request.spec.process().as_ref().ok_or(PlanError::Missing("process"))?;
    let argv = process.args().clone().unwrap_or_default();
    if argv.is_empty() {
        return Err(PlanError::Missing("process.args"));
    }
    let group = cgroups::plan(request, facts);
    let flags = namespaces(request.spec, facts);
    let mut init = vec![Step::call(
        "no container is left behind without its shim: if that dies, the kernel ends the container",
        Call::Prctl(Prctl::SetPdeathsig { sig: libc::SIGKILL }),
    )];
    init.extend(group.join);
    let prepared = request.prepared.is_some();
    if flags.contains(CloneFlags::CLONE_NEWCGROUP) && !prepared && !matches!(facts.cgroups, Cgroups::V2 { .. }) {
        init.push(Step::call(
            "its own view of the cgroups, from the group that it has just joined downwards",
            Call::Unshare { flags: CloneFlags::CLONE_NEWCGROUP },
        ));
    }
    init.extend(join(request.spec, &[LinuxNamespaceType::Ipc, LinuxNamespaceType::Network, LinuxNamespaceType::Uts]));
    if wants_init(request.spec) {
        init.push(host_proc());
    }
    init.extend(root(request, facts));
    let mounts = mounts::plan(request, facts)?;
    init.extend(mounts.while_host_is_visible);
    init.extend(pivot(request));
    init.extend(mounts.inside);
    init.extend(mounts::settings(request.spec));
    init.extend(leave_host());
    // Before anything that the image or a shared directory could lead elsewhere.
    init.extend(mounts::hide(request.spec));
    init.extend(mounts.host_is_gone);
    init.extend(identity(request.spec, flags));
    if process.terminal().unwrap_or(false) {
        init.push(terminal(process, true));
    } else {
        init.extend(plain_streams());
    }
    let privileges = privileges::plan(request.spec, process, facts)?;
    if wants_init(request.spec) {
        init.push(process_one(&privileges));
    }
    init.extend(privileges.program);
    init.push(Step::call(
        "what the engine has open is closed when the command begins: none of it leaks into the container",
        Call::CloseRange { first: 3 },
    ));
    init.extend(privileges.last);
    init.push(Step::new(
        "the command takes the place of this process, so it is process 1 of the container",
        Act::Exec { argv, envp: process.env().clone().unwrap_or_default() },
    ));
    let clone = new_process(flags, facts, prepared);
    let enter = join(request.spec, &[LinuxNamespaceType::Pid]);
    Ok(Plan { before: group.before, enter, clone, init, after: group.after })
}

/// The annotation that asks for a process 1 of the engine's own (`--init`).
pub const INIT: (&str, &str) = ("org.rdock.init", "true");

/// Before privileges are given up, since the filter of system calls takes clone3 away; so each of the two gives them up
/// for itself.
fn process_one(privileges: &Privileges) -> Step {
    let mut program = vec![Step::call(
        "nobody in the container may look into process 1: it is a copy of the engine",
        Call::Prctl(Prctl::SetDumpable { on: false }),
    )];
    program.extend(privileges.program.iter().cloned());
    program.extend(privileges.last.clone());
    Step::new(
        "process 1 stays: it hands signals on and waits for who is left without a parent; the command is its child",
        Act::Init { program },
    )
}

fn host_proc() -> Step {
    let call = Call::Openat2 {
        dirfd: Fd::Cwd,
        pathname: "/proc".into(),
        flags: OFlag::O_PATH | OFlag::O_DIRECTORY,
        mode: 0,
        resolve: ResolveFlag::empty(),
    };
    Step::call("the command's process will learn here what number the host knows it by; closed when it begins", call)
        .save(slot::HOST_PROC)
}

fn wants_init(spec: &Spec) -> bool {
    spec.annotations().as_ref().and_then(|a| a.get(INIT.0)).is_some_and(|value| value == INIT.1)
}

/// Namespaces of these kinds that the spec names by a file: joined, not made.
fn join(spec: &Spec, kinds: &[LinuxNamespaceType]) -> Program {
    let list = spec.linux().as_ref().and_then(|l| l.namespaces().clone()).unwrap_or_default();
    let mut program = vec![];
    for namespace in list.iter().filter(|n| kinds.contains(&n.typ())) {
        let Some(path) = namespace.path() else { continue };
        let nstype = match namespace.typ() {
            LinuxNamespaceType::Pid => CloneFlags::CLONE_NEWPID,
            LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
            LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
            _ => CloneFlags::CLONE_NEWUTS,
        };
        let open = Call::Openat2 {
            dirfd: Fd::Cwd,
            pathname: path.clone(),
            flags: OFlag::O_RDONLY,
            mode: 0,
            resolve: ResolveFlag::empty(),
        };
        program.push(Step::call("a namespace of another container, named by its first process", open).save(slot::JOIN));
        program.push(Step::call(
            "joins it: what is in there is shared from now on",
            Call::Setns { fd: Fd::Slot(slot::JOIN), nstype },
        ));
        program.push(Step::call("no way is left open", Call::Close { fd: Fd::Slot(slot::JOIN) }));
    }
    program
}

fn new_process(flags: CloneFlags, facts: &Facts, prepared: bool) -> Step {
    // On version 1 the view of the cgroups must be cut after the group was joined, so init does it itself, unless
    // it is born in its group.
    let (flags, cgroup) = match facts.cgroups {
        _ if prepared => (flags | CloneFlags::CLONE_PARENT, None),
        Cgroups::V2 { .. } => (flags, Some(Fd::Slot(slot::CGROUP))),
        _ => (flags - CloneFlags::CLONE_NEWCGROUP, None),
    };
    Step::call(
        "a new process in namespaces of its own: it will see only its own processes, mounts, host name and network",
        Call::Clone3 { flags, exit_signal: if prepared { "0" } else { "SIGCHLD" }, cgroup },
    )
}

/// `linux.namespaces` without a path, as flags of clone3.
fn namespaces(spec: &Spec, facts: &Facts) -> CloneFlags {
    let list = spec.linux().as_ref().and_then(|l| l.namespaces().clone()).unwrap_or_default();
    let mut flags = CloneFlags::empty();
    for namespace in list.iter().filter(|n| n.path().is_none()) {
        flags |= namespace_flag(namespace.typ(), facts);
    }
    // Without a mount namespace of its own the root could not be changed.
    flags | CloneFlags::CLONE_NEWNS
}

/// A kind of namespace as clone3(2) and setns(2) name it.
fn namespace_flag(kind: LinuxNamespaceType, facts: &Facts) -> CloneFlags {
    match kind {
        LinuxNamespaceType::Mount => CloneFlags::CLONE_NEWNS,
        LinuxNamespaceType::Cgroup if matches!(facts.cgroups, Cgroups::None(_)) => CloneFlags::empty(),
        LinuxNamespaceType::Cgroup => CloneFlags::CLONE_NEWCGROUP,
        LinuxNamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
        LinuxNamespaceType::Pid => CloneFlags::CLONE_NEWPID,
        LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
        LinuxNamespaceType::User => CloneFlags::CLONE_NEWUSER,
        LinuxNamespaceType::Time => CloneFlags::empty(),
    }
}

/// The layers, joined into one tree.
fn root(request: &Request<'_>, facts: &Facts) -> Program {
    let private = Step::call(
        "mounts made from here on stay in this mount namespace and never show on the host",
        Call::Mount {
            source: None,
            target: "/".into(),
            filesystemtype: None,
            mountflags: MsFlags::MS_REC | MsFlags::MS_SLAVE,
            data: None,
        },
    );
    let Some(overlay) = &request.overlay else {
        let path = root_path(request);
        return vec![
            private,
            Step::call(
                "pivot_root wants the new root to be a mount: the directory is mounted on itself",
                Call::Mount {
                    source: Some(path.clone()),
                    target: path,
                    filesystemtype: None,
                    mountflags: MsFlags::MS_BIND | MsFlags::MS_REC,
                    data: None,
                },
            ),
        ];
    };
    let colon = |paths: &[PathBuf]| paths.iter().map(|p| escape(p)).collect::<Vec<_>>().join(":");
    let mut data = format!(
        "lowerdir={},upperdir={},workdir={}",
        colon(&overlay.lower),
        escape(&overlay.upper),
        escape(&overlay.work)
    );
    if facts.rootless {
        data.push_str(",userxattr");
    }
    if overlay.volatile {
        data.push_str(",volatile");
    }
    vec![
        private,
        Step::call("the layers are named from here: short names", Call::Chdir { path: overlay.base.clone() }),
        Step {
            actor: crate::trace::Actor::Layer,
            ..Step::call(
                "joins the image's read-only layers and the container's empty writable one into one tree",
                Call::Mount {
                    source: Some("overlay".into()),
                    target: overlay.merged.clone(),
                    filesystemtype: Some("overlay"),
                    mountflags: MsFlags::empty(),
                    data: Some(data),
                },
            )
        },
    ]
}

/// overlayfs splits its options at commas and colons; a backslash keeps one that is part of a name.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

fn root_path(request: &Request<'_>) -> PathBuf {
    match (&request.overlay, request.spec.root()) {
        (Some(overlay), _) => overlay.merged.clone(),
        (None, Some(root)) => request.bundle.join(root.path()),
        (None, None) => request.bundle.join("rootfs"),
    }
}

/// The tree becomes the root. `pivot_root(".", ".")` puts the old root on top of the new one, where the last step
/// of [`leave_host`] finds it (pivot_root(2), NOTES).
fn pivot(request: &Request<'_>) -> Program {
    vec![
        Step::call("goes to what will be the root", Call::Chdir { path: root_path(request) }),
        Step::call(
            "the joined tree becomes the root directory; no path of the image can lead to the host any more",
            Call::PivotRoot { new_root: ".".into(), put_old: ".".into() },
        ),
    ]
}

/// Only now, since a new /proc may be mounted in a user namespace only while a whole one can still be seen.
fn leave_host() -> Program {
    vec![
        Step::call(
            "lets go of the host's files: nothing of the old root can be reached any more",
            Call::Umount2 { target: ".".into(), flags: MntFlags::MNT_DETACH },
        ),
        Step::call("starts from the new root", Call::Chdir { path: "/".into() }),
    ]
}

/// Host name and network of the container.
fn identity(spec: &Spec, flags: CloneFlags) -> Program {
    let mut program = Program::new();
    if let (Some(name), true) = (spec.hostname(), flags.contains(CloneFlags::CLONE_NEWUTS)) {
        program.push(Step::call(
            "the host name of the container, its own thanks to the uts namespace",
            Call::Sethostname { name: name.clone() },
        ));
    }
    if let (Some(name), true) = (spec.domainname(), flags.contains(CloneFlags::CLONE_NEWUTS)) {
        program.push(Step::call("its NIS domain name", Call::Setdomainname { name: name.clone() }));
    }
    if flags.contains(CloneFlags::CLONE_NEWNET) {
        program.push(Step {
            actor: crate::trace::Actor::Network,
            ..Step::call(
                "a new network namespace has one link, loopback, and it is down: brings it up, so that 127.0.0.1 works",
                Call::Netlink(Netlink::LinkUp { index: 1, flags: "IFF_UP" }),
            )
        });
    }
    program
}

fn terminal(process: &Process, console: bool) -> Step {
    let size = process.console_size();
    let (rows, columns) = size.as_ref().map_or((0, 0), |s| (s.height(), s.width()));
    let owner = process.user().uid();
    let small = |n: u64| u16::try_from(n).unwrap_or(0);
    Step::new(
        "a terminal of the container's own: the shim holds the other end",
        Act::Terminal { rows: small(rows), columns: small(columns), owner, console },
    )
}

/// The three streams that the shim opened become 0, 1 and 2, in a session of their own.
fn plain_streams() -> Program {
    let dup = |from, to, why| Step::call(why, Call::Dup3 { oldfd: Fd::Slot(from), newfd: to });
    vec![
        Step::call("a session of its own, away from whoever started the engine", Call::Setsid {}),
        dup(slot::STDIN, 0, "standard input of the container"),
        dup(slot::STDOUT, 1, "standard output of the container, read by the shim"),
        dup(slot::STDERR, 2, "standard error of the container, kept apart from standard output"),
    ]
}

#[cfg(test)]
mod tests;
