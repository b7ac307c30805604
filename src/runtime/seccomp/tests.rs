//! A program says what its profile says, for every call: held to an interpreter of classic BPF.

use super::compile::{AND, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_OR_EQUAL, LOAD, RETURN, compile};
use super::*;
use proptest::prelude::*;

const DEFAULT_CAPS: u64 = 0xa804_25fb;

/// What the kernel gives a program (`struct seccomp_data`), word by word.
fn word(data: (u32, u32, &[u64; 6]), offset: u32) -> u32 {
    let (arch, number, args) = data;
    match offset {
        0 => number,
        4 => arch,
        16.. => {
            let arg = args[(offset as usize - 16) / 8];
            if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
        }
        _ => panic!("nobody looks at offset {offset}"),
    }
}

/// Runs a program as the kernel does: its answer, and how many instructions that took.
fn execute(program: &[[u8; 8]], arch: u32, number: u32, args: &[u64; 6]) -> (u32, usize) {
    let (mut at, mut a, mut steps) = (0usize, 0u32, 0);
    loop {
        let [c, d, yes, no, k @ ..] = program[at];
        let (code, k) = (u16::from_ne_bytes([c, d]), u32::from_ne_bytes(k));
        steps += 1;
        at += 1;
        let go = |holds: bool| usize::from(if holds { yes } else { no });
        match code {
            LOAD => a = word((arch, number, args), k),
            AND => a &= k,
            JUMP => at += k as usize,
            JUMP_EQUAL => at += go(a == k),
            JUMP_GREATER => at += go(a > k),
            JUMP_GREATER_OR_EQUAL => at += go(a >= k),
            RETURN => return (k, steps),
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn name_to_number(name: &str) -> u32 {
    Arch::X86_64.calls().find(|(_, n)| *n == name).unwrap().0
}

fn says(profile: &Profile, name: &str, first: u64) -> Action {
    profile.verdict(Arch::X86_64.audit(), name_to_number(name), &[first, 0, 0, 0, 0, 0])
}

const EPERM: Action = Action::Errno(1);
const ENOSYS: Action = Action::Errno(38);

#[test]
#[cfg(target_arch = "x86_64")]
fn the_builtin_profile_is_dockers() {
    let profile = builtin::profile(DEFAULT_CAPS);
    for name in ["read", "execve", "chroot", "ptrace", "openat2", "capset", "setresuid", "close_range", "seccomp"] {
        assert_eq!(says(&profile, name, 0), Action::Allow, "{name}");
    }
    for name in [
        "mount",
        "umount2",
        "unshare",
        "setns",
        "keyctl",
        "add_key",
        "bpf",
        "io_uring_setup",
        "kexec_load",
        "reboot",
        "init_module",
        "settimeofday",
        "swapon",
        "pivot_root",
        "open_by_handle_at",
        "perf_event_open",
        "userfaultfd",
        "syslog",
        "open_tree",
        "move_mount",
        "iopl",
        "quotactl",
        "acct",
        "nfsservctl",
    ] {
        assert_eq!(says(&profile, name, 0), EPERM, "{name}");
    }
    const CLONE_NEWUSER: u64 = 0x1000_0000;
    assert_eq!(says(&profile, "clone", 0x0120_0011), Action::Allow);
    assert_eq!(says(&profile, "clone", CLONE_NEWUSER | 17), EPERM);
    assert_eq!(says(&profile, "clone3", 0), ENOSYS);
    let families =
        [(2, Action::Allow), (16, Action::Allow), (38, EPERM), (40, EPERM), (45, Action::Allow), (46, EPERM)];
    for (family, action) in families {
        assert_eq!(says(&profile, "socket", family), action, "family {family}");
    }
    assert_eq!(says(&profile, "personality", 8), Action::Allow);
    assert_eq!(says(&profile, "personality", 0x0040_0000), EPERM, "ADDR_NO_RANDOMIZE");
    assert_eq!(profile.verdict(Arch::X86_64.audit(), 999, &[0; 6]), ENOSYS);
    assert_eq!(profile.verdict(0x4000_0028, 3, &[0; 6]), Action::KillProcess, "ARM on x86");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn who_may_administer_may_mount() {
    let profile = builtin::profile(DEFAULT_CAPS | 1 << 21);
    for name in ["mount", "unshare", "clone3", "bpf", "setns"] {
        assert_eq!(says(&profile, name, 0), Action::Allow, "{name}");
    }
    assert_eq!(says(&profile, "reboot", 0), EPERM);
    assert_eq!(says(&profile, "clone", 0x1000_0000), Action::Allow);
}

#[test]
fn the_program_is_short_and_quick() {
    let program = builtin(DEFAULT_CAPS);
    assert!((200..800).contains(&program.len()), "{} instructions", program.len());
    assert!(Arc::ptr_eq(&program, &builtin(DEFAULT_CAPS)), "compiled once");
    if cfg!(target_arch = "x86_64") {
        for name in ["read", "write", "openat", "futex", "execve", "statx"] {
            let (answer, steps) = execute(&program, Arch::X86_64.audit(), name_to_number(name), &[0; 6]);
            assert_eq!(answer, Action::Allow.value(), "{name}");
            assert!(steps <= 14, "{name} takes {steps} steps");
        }
    }
}

#[test]
fn numbers_are_sorted_and_each_is_one_call() {
    assert!(numbers::SYSCALLS.is_sorted_by(|a, b| a.0 < b.0));
    for arch in [Arch::X86_64, Arch::X86, Arch::Aarch64] {
        let mut all: Vec<u32> = arch.calls().map(|(n, _)| n).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "{arch:?}");
    }
    #[cfg(target_arch = "x86_64")]
    for (name, number) in [("read", libc::SYS_read), ("clone3", libc::SYS_clone3), ("openat2", libc::SYS_openat2)] {
        assert_eq!(i64::from(name_to_number(name)), number);
    }
}

fn any_argument() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..50, any::<u64>(), any::<u32>().prop_map(u64::from), Just(0x7e02_0000), Just(1 << 32)]
}

fn any_call() -> impl Strategy<Value = (u32, u32, [u64; 6])> {
    let arch = prop::sample::select(vec![0xc000_003eu32, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0]);
    let number = prop_oneof![0u32..600, (0u32..600).prop_map(|n| n | X32_BIT), any::<u32>()];
    let watched =
        prop::sample::select(vec!["socket", "clone", "clone3", "personality", "ptrace"]).prop_map(name_to_number);
    (arch, prop_oneof![3 => number, 1 => watched], prop::array::uniform6(any_argument()))
}

fn any_action() -> impl Strategy<Value = Action> {
    let plain = vec![Action::Allow, Action::KillProcess, Action::KillThread, Action::Trap, Action::Log];
    prop_oneof![prop::sample::select(plain), (0u16..4096).prop_map(Action::Errno), any::<u16>().prop_map(Action::Trace)]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let op = prop::sample::select(vec![
        Op::Equal,
        Op::NotEqual,
        Op::Less,
        Op::LessOrEqual,
        Op::Greater,
        Op::GreaterOrEqual,
        Op::MaskedEqual,
    ]);
    (0u8..6, op, any_argument(), any_argument()).prop_map(|(index, op, value, value_two)| Condition {
        index,
        op,
        value,
        value_two,
    })
}

fn any_profile() -> impl Strategy<Value = Profile> {
    let names: Vec<String> = numbers::SYSCALLS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let rule = (
        prop::collection::vec(prop::sample::select(names), 0..60),
        any_action(),
        prop::collection::vec(any_condition(), 0..4),
    )
        .prop_map(|(names, action, conditions)| Rule { names, action, conditions });
    let arches = prop::sample::subsequence(vec![Arch::X86, Arch::X32, Arch::Aarch64], 0..=3).prop_map(|more| {
        let mut arches = vec![Arch::X86_64];
        arches.extend(more);
        arches
    });
    (any_action(), arches, prop::collection::vec(rule, 0..12)).prop_map(|(default, arches, rules)| Profile {
        default,
        arches,
        rules,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_program_says_what_its_profile_says(profile in any_profile(), calls in prop::collection::vec(any_call(), 40)) {
        let program = compile(&profile);
        for (arch, number, args) in calls {
            let meant = profile.verdict(arch, number, &args).value();
            prop_assert_eq!(execute(&program, arch, number, &args).0, meant, "{:#x} {} {:?}", arch, number, args);
        }
    }

    #[test]
    fn the_builtin_program_says_what_its_profile_says(caps in any::<u64>(), calls in prop::collection::vec(any_call(), 60)) {
        let (profile, program) = (builtin::profile(caps), builtin(caps));
        for (arch, number, args) in calls {
            let meant = profile.verdict(arch, number, &args).value();
            prop_assert_eq!(execute(&program, arch, number, &args).0, meant, "{:#x} {} {:?}", arch, number, args);
        }
    }
}
