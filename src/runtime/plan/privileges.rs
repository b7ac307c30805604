//! What the command may do: ids, capabilities, limits. The last steps before it begins.

use super::PlanError;
use crate::kernel::Call;
use crate::kernel::call::{CapSets, Prctl};
use crate::runtime::facts::Facts;
use crate::runtime::program::{Program, Step};
use crate::runtime::seccomp::{self, Arch, ProfileError};
use oci_spec::runtime::{Capabilities, Process, Spec};

/// capabilities(7), in the order of their numbers.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A capability set of the spec as a mask.
pub(super) fn mask(set: Option<&Capabilities>) -> u64 {
    let numbers = set.into_iter().flatten().filter_map(|cap| {
        let name = cap.to_string();
        NAMES.iter().position(|n| *n == name.trim_start_matches("CAP_"))
    });
    numbers.fold(0, |mask, n| mask | 1 << n)
}

/// The last steps in two parts: all but the filter of a process that may gain no privileges, and that filter, which is to
/// be the very last before the command.
pub(super) struct Privileges {
    pub program: Program,
    pub last: Option<Step>,
}

pub(super) fn plan(spec: &Spec, process: &Process, facts: &Facts) -> Result<Privileges, PlanError> {
    let mut program = oom_score(process);
    program.extend(limits(process)?);
    let caps = process.capabilities().as_ref();
    // What this engine has not got itself it can't give: asking for it would fail the whole.
    let mask = |set: Option<&Capabilities>| mask(set) & facts.held;
    let bounding = mask(caps.and_then(|c| c.bounding().as_ref()));
    let filter = filter(spec)?;
    let quiet = process.no_new_privileges().unwrap_or(false);
    program.push(Step::call(
        "capabilities are to survive the change of user, until they are set for good below",
        Call::Prctl(Prctl::SetKeepcaps { on: true }),
    ));
    for cap in (0..=facts.last_cap).filter(|cap| bounding & (1 << cap) == 0) {
        program.push(Step::call(
            "a privilege of root that this container, and whatever it starts, can never get back",
            Call::Prctl(Prctl::CapbsetDrop { cap }),
        ));
    }
    let (early, last) = if quiet { (None, filter) } else { (filter, None) };
    program.extend(early);
    program.extend(ids(process, facts));
    if quiet {
        program.push(Step::call("set-user-ID programs give no new privileges", Call::Prctl(Prctl::SetNoNewPrivs)));
    }
    let set =
        |f: fn(&oci_spec::runtime::LinuxCapabilities) -> &Option<Capabilities>| mask(caps.and_then(|c| f(c).as_ref()));
    program.push(Step::call(
        "the privileges that are left for the command, and no more",
        Call::Capset {
            data: CapSets {
                effective: set(|c| c.effective()),
                permitted: set(|c| c.permitted()),
                inheritable: set(|c| c.inheritable()),
            },
        },
    ));
    let ambient = mask(caps.and_then(|c| c.ambient().as_ref()));
    for cap in (0..=facts.last_cap).filter(|cap| ambient & (1 << cap) != 0) {
        let why = "kept by programs that an ordinary user starts";
        program.push(Step::call(why, Call::Prctl(Prctl::CapAmbientRaise { cap })));
    }
    program.push(Step::call(
        "if the shim dies, so does this process; the kernel forgets it when the user changes, so it is asked for behind that",
        Call::Prctl(Prctl::SetPdeathsig { sig: libc::SIGKILL }),
    ));
    program.push(Step::call("the working directory of the command", Call::Chdir { path: process.cwd().clone() }));
    Ok(Privileges { program, last })
}

/// The annotation that asks for the engine's own filter: a profile of 400 names would have to be read at each start.
pub const BUILTIN_SECCOMP: (&str, &str) = ("org.rdock.seccomp", "builtin");

/// The filter of system calls: the spec's own, or the built-in one where an annotation asks for it.
///
/// Loading it needs `CAP_SYS_ADMIN`, or a process that may gain no privileges (seccomp(2)): so it comes before
/// privileges are given up, or after all else.
fn filter(spec: &Spec) -> Result<Option<Step>, PlanError> {
    let step = |filter: Vec<[u8; 8]>| {
        let why = "a filter that the kernel asks at each system call: what a container has no business with is refused";
        Step::call(why, Call::Seccomp { flags: 0, filter })
    };
    if let Some(own) = spec.linux().as_ref().and_then(|l| l.seccomp().as_ref()) {
        let program = seccomp::compile::compile(&seccomp::from_oci(own)?);
        // BPF_MAXINSNS
        return if program.len() > 4096 {
            Err(ProfileError::TooLong(program.len()).into())
        } else {
            Ok(Some(step(program)))
        };
    }
    let wanted = spec.annotations().as_ref().and_then(|a| a.get(BUILTIN_SECCOMP.0));
    let builtin = wanted.is_some_and(|value| value == BUILTIN_SECCOMP.1);
    // The container's own set, also for one more process that is given all privileges.
    let caps = spec.process().as_ref().and_then(|p| p.capabilities().as_ref());
    let bounding = caps.and_then(|c| c.bounding().as_ref());
    Ok((builtin && !Arch::of_host().is_empty()).then(|| step(seccomp::builtin(mask(bounding)).to_vec())))
}

/// Whom the kernel ends first when memory is short. Less than before needs `CAP_SYS_RESOURCE`, which an engine that is
/// itself confined may not have.
fn oom_score(process: &Process) -> Program {
    let step = |adjust: i32| {
        let call = Call::Write { path: "/proc/self/oom_score_adj".into(), data: adjust.to_string().into_bytes() };
        Step::call("whom the kernel ends first when memory is short", call).tolerate(&["EACCES"])
    };
    process.oom_score_adj().map(step).into_iter().collect()
}

/// Groups first: afterwards this process may not change them any more.
fn ids(process: &Process, facts: &Facts) -> Program {
    let user = process.user();
    let mut program = Program::new();
    if !facts.setgroups_denied {
        let list = user.additional_gids().clone().unwrap_or_default();
        program.push(Step::call("the groups of the user, none of the engine's", Call::Setgroups { list }));
    }
    let (uid, gid) = (user.uid(), user.gid());
    program.push(Step::call("the group that the command runs as", Call::Setresgid { rgid: gid, egid: gid, sgid: gid }));
    program.push(Step::call("the user that the command runs as", Call::Setresuid { ruid: uid, euid: uid, suid: uid }));
    program
}

fn limits(process: &Process) -> Result<Program, PlanError> {
    let list = process.rlimits().clone().unwrap_or_default();
    let step = |l: oci_spec::runtime::PosixRlimit| {
        let name = l.typ().to_string();
        let resource = RLIMITS.iter().find(|r| **r == name).ok_or(PlanError::Limit(name))?;
        // Raising a limit needs CAP_SYS_RESOURCE, which an engine that is itself confined may not have.
        let call = Call::Prlimit { resource, rlim_cur: l.soft(), rlim_max: l.hard() };
        Ok(Step::call("a limit on what one process may use", call).tolerate(&["EPERM"]))
    };
    list.into_iter().map(step).collect()
}

/// getrlimit(2)
const RLIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];
