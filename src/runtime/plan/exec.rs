//! The plan of one more process in a container that runs: `exec`.
//!
//! The container is somebody else's house by now, so the order is again what keeps the host safe:
//!
//! 1. out of sight first: while the process still holds what is the engine's, nobody in the container may look into it
//!    (`PR_SET_DUMPABLE`; CVE-2016-9962), and soon it holds nothing of it any more (CVE-2024-21626);
//! 2. the container's groups, while the host's files can still be named;
//! 3. its namespaces, all with one setns(2) of a pidfd. From here on each path means a file of the container, so the
//!    working directory and the command are looked for inside;
//! 4. terminal or streams; privileges are given up; the command.

use super::{PlanError, cgroups, namespace_flag, plain_streams, privileges, terminal};
use crate::kernel::call::Prctl;
use crate::kernel::{Call, Fd};
use crate::runtime::facts::{Cgroups, Facts};
use crate::runtime::program::{Act, Program, Step, slot};
use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};

/// What is to be started.
#[derive(Debug, Clone, Copy)]
pub struct ExecRequest<'a> {
    /// The spec that the container was made from.
    pub spec: &'a Spec,
    /// The new process (process.json of `runc exec --process`).
    pub process: &'a Process,
    /// The name of the container's groups.
    pub cgroup: &'a str,
}

/// The plan, in parts by the process that carries them out.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ExecPlan {
    /// In the shim.
    pub before: Program,
    /// In the shim: the new process.
    pub clone: Step,
    /// In the new process; ends with [`Act::Exec`].
    pub init: Program,
}

/// Plans a process in a container that runs. Pure.
///
/// # Errors
/// [`PlanError`] where the process asks for what can't be planned.
pub fn plan_exec(request: &ExecRequest<'_>, facts: &Facts) -> Result<ExecPlan, PlanError> {
    let process = request.process;
    let argv = process.args().clone().unwrap_or_default();
    if argv.is_empty() {
        return Err(PlanError::Missing("process.args"));
    }
    let group = cgroups::join_running(request.cgroup, facts);
    let mut before = group.before;
    before.extend(pid_namespace(request.spec));
    let mut init = out_of_sight();
    init.extend(group.join);
    init.push(Step::call(
        "joins the container: from here on it sees the container's files, names and network, and nothing of the host's",
        Call::Setns { fd: Fd::Slot(slot::TARGET), nstype: namespaces(request.spec, facts) },
    ));
    match process.terminal().unwrap_or(false) {
        true => init.push(terminal(process, false)),
        false => init.extend(plain_streams()),
    }
    let privileges = privileges::plan(request.spec, process, facts)?;
    init.extend(privileges.program);
    init.push(Step::call(
        "what is still open for the engine is closed when the command begins",
        Call::CloseRange { first: 3 },
    ));
    init.extend(privileges.last);
    init.push(Step::new(
        "the command takes the place of this process",
        Act::Exec { argv, envp: process.env().clone().unwrap_or_default() },
    ));
    Ok(ExecPlan { before, clone: new_process(facts), init })
}

/// A pid namespace is joined by children only (pid_namespaces(7)), so the shim joins for those that it makes.
fn pid_namespace(spec: &Spec) -> Option<Step> {
    kinds(spec).contains(&LinuxNamespaceType::Pid).then(|| {
        Step::call(
            "the next process is to be one of the container's: it gets a number there, and is seen there",
            Call::Setns { fd: Fd::Slot(slot::TARGET), nstype: CloneFlags::CLONE_NEWPID },
        )
    })
}

fn out_of_sight() -> Program {
    vec![
        Step::call(
            "nobody in the container may look into this process while it still holds what is the engine's",
            Call::Prctl(Prctl::SetDumpable { on: false }),
        ),
        Step::new(
            "what the engine has open is closed before the container is joined: no way leads back to the host",
            Act::CloseOthers {
                keep: vec![slot::STDIN, slot::STDOUT, slot::STDERR, slot::TARGET, slot::UP, slot::TRACE],
            },
        ),
    ]
}

fn new_process(facts: &Facts) -> Step {
    let cgroup = matches!(facts.cgroups, Cgroups::V2 { .. }).then_some(Fd::Slot(slot::CGROUP));
    Step::call(
        "a new process, a copy of the shim, which will join the container",
        Call::Clone3 { flags: CloneFlags::empty(), exit_signal: "SIGCHLD", cgroup },
    )
}

/// The container's namespaces that are not the host's. The pid namespace is joined by the clone, and is not among
/// them.
fn namespaces(spec: &Spec, facts: &Facts) -> CloneFlags {
    let flags = kinds(spec).into_iter().map(|kind| namespace_flag(kind, facts));
    flags.fold(CloneFlags::CLONE_NEWNS, |all, flag| all | flag) - CloneFlags::CLONE_NEWPID
}

fn kinds(spec: &Spec) -> Vec<LinuxNamespaceType> {
    let list = spec.linux().as_ref().and_then(|l| l.namespaces().clone()).unwrap_or_default();
    list.iter().map(oci_spec::runtime::LinuxNamespace::typ).collect()
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
