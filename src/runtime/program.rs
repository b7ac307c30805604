//! What a plan is made of.

use crate::kernel::call::{Dev, NodeKind};
use crate::kernel::{Call, Errno};
use crate::trace::Actor;
use serde::Serialize;
use std::path::PathBuf;

/// Names for what one step opens and a later one uses ([`crate::kernel::Fd::Slot`]).
pub mod slot {
    /// The container's standard streams, opened by the shim.
    pub const STDIN: u16 = 0;
    pub const STDOUT: u16 = 1;
    pub const STDERR: u16 = 2;
    /// The container's cgroup v2 directory.
    pub const CGROUP: u16 = 3;
    /// The terminal's two ends.
    pub const PTY_MASTER: u16 = 4;
    pub const PTY_SLAVE: u16 = 5;
    /// A pidfd of the container's first process, whose namespaces another process joins.
    pub const TARGET: u16 = 6;
    /// The new process's end of the socket to its maker.
    pub const UP: u16 = 7;
    /// Where the new process tells what it does, when somebody listens.
    pub const TRACE: u16 = 8;
    /// A namespace that is about to be joined.
    pub const JOIN: u16 = 9;
    /// The mount namespace to come back to.
    pub const OWN_MOUNTS: u16 = 10;
    /// The host's /proc, for the child of a process 1 of the engine's own to learn its number there.
    pub const HOST_PROC: u16 = 11;
    /// Detached copies of bind mounts' sources, one after another.
    pub const BINDS: u16 = 16;
    /// One more than the highest.
    pub const COUNT: usize = 256;
}

/// A list of steps, carried out in order by one process.
pub type Program = Vec<Step>;

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    pub actor: Actor,
    pub act: Act,
    /// One sentence: why this step exists.
    pub why: &'static str,
    #[serde(skip_serializing_if = "OnError::is_fail")]
    pub on_error: OnError,
    /// Where to keep what the step opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save: Option<u16>,
}

/// What a step does. All but [`Act::Call`] look first at what is there (reads have no effect), then make the
/// calls that are needed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Act {
    /// One call, as it stands.
    Call(Call),
    /// Makes a place to mount on, with the directories above it, where the image has none.
    MountPoint { path: PathBuf, kind: Place },
    /// Hides a path: `/dev/null` over a file, an empty read-only tmpfs over a directory, nothing where it is absent.
    Mask { path: PathBuf },
    /// Makes what is there read-only: bound over itself, then remounted with these locked flags kept.
    ReadOnly { path: PathBuf },
    /// Opens a new terminal in the container's devpts and gives its master to the shim.
    /// The container's first process gets it as /dev/console too.
    Terminal { rows: u16, columns: u16, owner: u32, console: bool },
    /// Closes all descriptors but the standard streams and what these slots hold.
    CloseOthers { keep: Vec<u16> },
    /// Makes a device node, with the directories above it, and gives it to its owner.
    Device { path: PathBuf, kind: NodeKind, mode: u32, dev: Dev, owner: (u32, u32) },
    /// Refuses to go on where this place is not of the file system that it should be (its `f_type`, statfs(2)): what
    /// follows writes there.
    Genuine { path: PathBuf, magic: i64 },
    /// This process stays as process 1: it makes a child, which goes on with the plan, gives up its privileges by a
    /// program of its own, hands the child the signals that it gets itself, waits for whoever is left without a parent,
    /// and ends as the child does.
    Init { program: Program },
    /// Looks for the program in the container's PATH and becomes it. Nothing comes after.
    Exec { argv: Vec<String>, envp: Vec<String> },
}

/// What a mount point is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Place {
    /// A directory for the engine's own mounts. A symlink is refused: an image must not lead /proc or /dev
    /// somewhere else (CVE-2019-16884 and kin).
    OwnDirectory,
    /// A file for the engine's own mounts; symlinks are refused.
    OwnFile,
    /// A directory; symlinks of the image are followed, inside its root.
    Directory,
    /// A file or a directory, as is what this slot holds; symlinks of the image are followed, inside its root.
    Like(u16),
}

/// What to do when a step fails.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum OnError {
    /// The container can't be made; what was made so far is undone.
    Fail,
    /// The container can do without it; these errors are expected on some hosts.
    Tolerate(&'static [&'static str]),
}

impl OnError {
    fn is_fail(&self) -> bool {
        *self == OnError::Fail
    }

    /// Whether the program goes on after `errno`.
    pub fn tolerates(&self, errno: Errno) -> bool {
        match self {
            OnError::Fail => false,
            OnError::Tolerate(names) => names.contains(&crate::kernel::errno_name(errno).as_str()),
        }
    }
}

impl Step {
    /// A step of the runtime that must work.
    pub fn new(why: &'static str, act: Act) -> Step {
        Step { actor: Actor::Runtime, act, why, on_error: OnError::Fail, save: None }
    }

    /// A single call that must work.
    pub fn call(why: &'static str, call: Call) -> Step {
        Step::new(why, Act::Call(call))
    }

    /// The container can do without this step where the kernel answers one of these.
    #[must_use]
    pub fn tolerate(mut self, errnos: &'static [&'static str]) -> Step {
        self.on_error = OnError::Tolerate(errnos);
        self
    }

    /// Keeps the descriptor that the step opens.
    #[must_use]
    pub fn save(mut self, slot: u16) -> Step {
        self.save = Some(slot);
        self
    }
}
