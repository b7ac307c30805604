//! What of the kernel's system calls a container may make (seccomp(2)): a profile, and the program that the kernel runs
//! at each call to hold it.
//!
//! A profile is a list of rules; of the rules that name a call the first that fits decides, and the default does where
//! none fits. [`compile::compile`] makes a classic BPF program of it.

pub mod builtin;
pub mod compile;
mod numbers;
mod oci;

pub use oci::{ProfileError, from_oci};

use nix::errno::Errno;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bit 30 of a call's number marks x32 on x86_64 (`__X32_SYSCALL_BIT`).
const X32_BIT: u32 = 0x4000_0000;

/// An architecture as a filter knows it: one `AUDIT_ARCH_…` (x86_64 has two, told apart by a bit of the number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
}

impl Arch {
    /// What programs this machine runs; none where no table of numbers is known.
    pub fn of_host() -> Vec<Arch> {
        match std::env::consts::ARCH {
            "x86_64" => vec![Arch::X86_64, Arch::X86, Arch::X32],
            "x86" => vec![Arch::X86],
            "aarch64" => vec![Arch::Aarch64],
            _ => vec![],
        }
    }

    /// `AUDIT_ARCH_…` (linux/audit.h): the ELF machine, and bits for 64-bit and little-endian.
    pub fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
        }
    }

    /// All calls of this architecture: number and name.
    fn calls(self) -> impl Iterator<Item = (u32, &'static str)> {
        numbers::SYSCALLS.iter().filter_map(move |(name, x86_64, x86, aarch64)| {
            let number = match self {
                Arch::X86_64 => *x86_64,
                Arch::X86 => *x86,
                Arch::Aarch64 => *aarch64,
                Arch::X32 => numbers::X32.iter().find(|(n, _)| n == name).map_or(*x86_64, |(_, number)| *number),
            };
            let bit = if self == Arch::X32 { X32_BIT } else { 0 };
            u32::try_from(number).ok().map(|n| (n | bit, *name))
        })
    }
}

/// What happens at a call (seccomp(2), `SECCOMP_RET_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Allow,
    /// The call is not made and answers this.
    Errno(u16),
    KillProcess,
    KillThread,
    /// `SIGSYS`
    Trap,
    /// A tracer decides; it is told this number.
    Trace(u16),
    /// Allowed, and noted in the kernel's log.
    Log,
}

impl Action {
    /// The value that a filter returns.
    pub fn value(self) -> u32 {
        match self {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Trace(message) => 0x7ff0_0000 | u32::from(message),
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        }
    }
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `argument & value == value_two`
    MaskedEqual,
}

/// A condition on one argument (0 to 5), as an unsigned 64-bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    pub index: u8,
    pub op: Op,
    pub value: u64,
    pub value_two: u64,
}

impl Condition {
    /// Whether it holds.
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        let Some(argument) = args.get(usize::from(self.index)).copied() else { return false };
        match self.op {
            Op::Equal => argument == self.value,
            Op::NotEqual => argument != self.value,
            Op::Less => argument < self.value,
            Op::LessOrEqual => argument <= self.value,
            Op::Greater => argument > self.value,
            Op::GreaterOrEqual => argument >= self.value,
            Op::MaskedEqual => argument & self.value == self.value_two,
        }
    }
}

/// For calls of these names, when all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub names: Vec<String>,
    pub action: Action,
    pub conditions: Vec<Condition>,
}

/// What a container may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub default: Action,
    /// Calls of other architectures end the process.
    pub arches: Vec<Arch>,
    pub rules: Vec<Rule>,
}

impl Profile {
    /// What is answered to calls that are younger than our table of numbers: "not there" where others are refused,
    /// since a C library that meets `EPERM` gives up, and one that meets `ENOSYS` takes the older call.
    fn unknown(&self) -> Action {
        match self.default {
            Action::Errno(_) => Action::Errno(Errno::ENOSYS as u16),
            other => other,
        }
    }

    /// What this profile says to a call: the meaning that a compiled program is held to.
    pub fn verdict(&self, audit_arch: u32, number: u32, args: &[u64; 6]) -> Action {
        let is_x32 = |arch: Arch| arch == Arch::X32;
        let x32 = audit_arch == Arch::X32.audit() && number >= X32_BIT;
        let arch = self.arches.iter().find(|a| a.audit() == audit_arch && is_x32(**a) == x32);
        let Some(arch) = arch else { return Action::KillProcess };
        if arch.calls().all(|(n, _)| n < number) {
            return self.unknown();
        }
        let names: Vec<&str> = arch.calls().filter(|(n, _)| *n == number).map(|(_, name)| name).collect();
        let named = |rule: &&Rule| rule.names.iter().any(|name| names.contains(&name.as_str()));
        let fits = |rule: &&Rule| rule.conditions.iter().all(|c| c.holds(args));
        self.rules.iter().filter(named).find(fits).map_or(self.default, |rule| rule.action)
    }
}

/// A program for the kernel: instructions of 8 bytes (`struct sock_filter`).
pub type Program = Vec<[u8; 8]>;

/// The built-in filter for a bounding set. Compiled once in a process: a shim does it before it is asked for anything.
pub fn builtin(caps: u64) -> Arc<Program> {
    static COMPILED: Mutex<BTreeMap<u64, Arc<Program>>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    compiled.entry(caps).or_insert_with(|| Arc::new(compile::compile(&builtin::profile(caps)))).clone()
}

/// The bounding set that nearly all containers have.
const USUAL: u64 = 0xa804_25fb;

/// Compiles what most containers will want.
pub fn warm_up() {
    builtin(USUAL);
}

#[cfg(test)]
mod tests;
