//! `linux.seccomp` of an OCI spec as a profile (runtime spec, config-linux, Seccomp).

use super::{Action, Arch, Condition, Op, Profile, Rule};
use nix::errno::Errno;
use oci_spec::runtime::{Arch as Name, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompOperator, LinuxSyscall};
use std::collections::BTreeSet;

/// What a filter of ours can't do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    #[error("seccomp: action {0} is not supported")]
    Action(String),
    #[error("seccomp: no system call has an argument {0}")]
    Argument(usize),
    #[error("seccomp: no table of system calls is known for {0}")]
    Machine(&'static str),
    #[error("seccomp: a program of {0} instructions is longer than the kernel takes")]
    TooLong(usize),
}

/// Reads the filter of a spec. Calls that no architecture has are passed over: profiles name those of all.
///
/// # Errors
/// [`ProfileError`] for what can't be filtered.
pub fn from_oci(seccomp: &LinuxSeccomp) -> Result<Profile, ProfileError> {
    let default = action(seccomp.default_action(), seccomp.default_errno_ret())?;
    let mut rules = vec![];
    for call in seccomp.syscalls().iter().flatten() {
        rules.extend(rule(call, default)?);
    }
    // As libseccomp has it: what holds whatever the arguments are comes before what looks at them.
    rules.sort_by_key(|rule| !rule.conditions.is_empty());
    Ok(Profile { default, arches: arches(seccomp)?, rules })
}

/// The machine's own, and what was asked for of what it runs.
fn arches(seccomp: &LinuxSeccomp) -> Result<Vec<Arch>, ProfileError> {
    let host = Arch::of_host();
    let own = host.first().copied().ok_or(ProfileError::Machine(std::env::consts::ARCH))?;
    let asked: BTreeSet<Arch> = seccomp
        .architectures()
        .iter()
        .flatten()
        .filter_map(|name| match name {
            Name::ScmpArchX86_64 => Some(Arch::X86_64),
            Name::ScmpArchX86 => Some(Arch::X86),
            Name::ScmpArchX32 => Some(Arch::X32),
            Name::ScmpArchAarch64 => Some(Arch::Aarch64),
            _ => None,
        })
        .collect();
    Ok(host.into_iter().filter(|arch| *arch == own || asked.contains(arch)).collect())
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Action, ProfileError> {
    let errno = errno.and_then(|e| u16::try_from(e).ok());
    Ok(match action {
        LinuxSeccompAction::ScmpActAllow => Action::Allow,
        LinuxSeccompAction::ScmpActErrno => Action::Errno(errno.unwrap_or(Errno::EPERM as u16)),
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Action::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => Action::KillProcess,
        LinuxSeccompAction::ScmpActTrap => Action::Trap,
        LinuxSeccompAction::ScmpActTrace => Action::Trace(errno.unwrap_or(Errno::EPERM as u16)),
        LinuxSeccompAction::ScmpActLog => Action::Log,
        other => return Err(ProfileError::Action(format!("{other:?}"))),
    })
}

/// Conditions on one argument twice are alternatives, as runc has it; otherwise all must hold.
fn rule(call: &LinuxSyscall, default: Action) -> Result<Vec<Rule>, ProfileError> {
    let action = action(call.action(), call.errno_ret())?;
    if action == default {
        return Ok(vec![]);
    }
    let names = call.names().clone();
    let mut conditions = vec![];
    for arg in call.args().iter().flatten() {
        let index = u8::try_from(arg.index()).ok().filter(|i| *i < 6).ok_or(ProfileError::Argument(arg.index()))?;
        let (op, value, value_two) = match arg.op() {
            LinuxSeccompOperator::ScmpCmpEq => (Op::Equal, arg.value(), 0),
            LinuxSeccompOperator::ScmpCmpNe => (Op::NotEqual, arg.value(), 0),
            LinuxSeccompOperator::ScmpCmpLt => (Op::Less, arg.value(), 0),
            LinuxSeccompOperator::ScmpCmpLe => (Op::LessOrEqual, arg.value(), 0),
            LinuxSeccompOperator::ScmpCmpGt => (Op::Greater, arg.value(), 0),
            LinuxSeccompOperator::ScmpCmpGe => (Op::GreaterOrEqual, arg.value(), 0),
            LinuxSeccompOperator::ScmpCmpMaskedEq => (Op::MaskedEqual, arg.value(), arg.value_two().unwrap_or(0)),
        };
        conditions.push(Condition { index, op, value, value_two });
    }
    let twice = conditions.iter().enumerate().any(|(at, c)| conditions[..at].iter().any(|d| d.index == c.index));
    if twice {
        let alone = |c: &Condition| Rule { names: names.clone(), action, conditions: vec![*c] };
        return Ok(conditions.iter().map(alone).collect());
    }
    Ok(vec![Rule { names, action, conditions }])
}
