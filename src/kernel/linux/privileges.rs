//! Who a process is and what it may do: ids, capabilities, seccomp, limits.

use super::*;
use crate::kernel::call::{CapSets, Prctl};

/// `struct __user_cap_header_struct`, version 3 (capset(2)): the sets are two 32-bit halves.
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

pub(super) fn call(call: &Call) -> Option<Result<Ret, Errno>> {
    Some(match call {
        // SAFETY: setgroups(2) reads `len` group ids. The raw call acts on this thread; there is only one.
        Call::Setgroups { list } => done(unsafe { libc::syscall(libc::SYS_setgroups, list.len(), list.as_ptr()) }),
        Call::Setresgid { rgid, egid, sgid } => {
            // SAFETY: integers only.
            done(unsafe { libc::syscall(libc::SYS_setresgid, *rgid, *egid, *sgid) })
        }
        Call::Setresuid { ruid, euid, suid } => {
            // SAFETY: integers only.
            done(unsafe { libc::syscall(libc::SYS_setresuid, *ruid, *euid, *suid) })
        }
        Call::Capset { data } => capset(*data),
        Call::Prctl(p) => prctl(*p),
        Call::Seccomp { flags, filter } => seccomp(*flags, filter),
        Call::Prlimit { resource, rlim_cur, rlim_max } => prlimit(resource, *rlim_cur, *rlim_max),
        _ => return None,
    })
}

fn capset(sets: CapSets) -> Result<Ret, Errno> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let half = |shift: u32| CapData {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: a version 3 header and the two data structs that it asks for.
    done(unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) })
}

fn prctl(p: Prctl) -> Result<Ret, Errno> {
    let (option, a, b) = match p {
        Prctl::CapbsetDrop { cap } => (libc::PR_CAPBSET_DROP, cap.into(), 0),
        Prctl::SetKeepcaps { on } => (libc::PR_SET_KEEPCAPS, on.into(), 0),
        Prctl::SetNoNewPrivs => (libc::PR_SET_NO_NEW_PRIVS, 1, 0),
        Prctl::SetChildSubreaper => (libc::PR_SET_CHILD_SUBREAPER, 1, 0),
        Prctl::SetDumpable { on } => (libc::PR_SET_DUMPABLE, on.into(), 0),
        Prctl::SetPdeathsig { sig } => (libc::PR_SET_PDEATHSIG, sig as libc::c_ulong, 0),
        Prctl::CapAmbientClearAll => (libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0),
        Prctl::CapAmbientRaise { cap } => {
            (libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, libc::c_ulong::from(cap))
        }
    };
    // SAFETY: none of these options takes a pointer.
    done(unsafe { libc::prctl(option, a, b, 0 as libc::c_ulong, 0 as libc::c_ulong) }.into())
}

fn seccomp(flags: u32, filter: &[[u8; 8]]) -> Result<Ret, Errno> {
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const [u8; 8],
    }
    let program = Program { len: u16::try_from(filter.len()).map_err(|_| Errno::EINVAL)?, filter: filter.as_ptr() };
    // SAFETY: `struct sock_fprog` with a pointer to `len` instructions of 8 bytes; the kernel copies them.
    done(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &program) })
}

/// Resource names of getrlimit(2).
pub(crate) fn rlimit_number(name: &str) -> Option<u32> {
    Some(match name {
        "RLIMIT_CPU" => libc::RLIMIT_CPU,
        "RLIMIT_FSIZE" => libc::RLIMIT_FSIZE,
        "RLIMIT_DATA" => libc::RLIMIT_DATA,
        "RLIMIT_STACK" => libc::RLIMIT_STACK,
        "RLIMIT_CORE" => libc::RLIMIT_CORE,
        "RLIMIT_RSS" => libc::RLIMIT_RSS,
        "RLIMIT_NPROC" => libc::RLIMIT_NPROC,
        "RLIMIT_NOFILE" => libc::RLIMIT_NOFILE,
        "RLIMIT_MEMLOCK" => libc::RLIMIT_MEMLOCK,
        "RLIMIT_AS" => libc::RLIMIT_AS,
        "RLIMIT_LOCKS" => libc::RLIMIT_LOCKS,
        "RLIMIT_SIGPENDING" => libc::RLIMIT_SIGPENDING,
        "RLIMIT_MSGQUEUE" => libc::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => libc::RLIMIT_NICE,
        "RLIMIT_RTPRIO" => libc::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => libc::RLIMIT_RTTIME,
        _ => return None,
    })
}

fn prlimit(resource: &str, cur: u64, max: u64) -> Result<Ret, Errno> {
    let resource = rlimit_number(resource).ok_or(Errno::EINVAL)?;
    let limit = libc::rlimit64 { rlim_cur: cur, rlim_max: max };
    // SAFETY: one rlimit64 is read; no old value is asked for.
    done(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &limit, std::ptr::null::<libc::rlimit64>()) })
}
