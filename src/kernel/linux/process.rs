//! Processes, namespaces, terminals.

use super::*;

/// `struct clone_args` (clone3(2), linux/sched.h), version 2.
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

pub(super) fn call(call: &Call) -> Option<Result<Ret, Errno>> {
    Some(match call {
        Call::Clone3 { flags, cgroup, .. } => clone3(*flags, *cgroup),
        // SAFETY: unshare(2) takes an integer and touches no memory of ours.
        Call::Unshare { flags } => done(unsafe { libc::unshare(flags.bits()) }.into()),
        // SAFETY: setns(2) takes two integers.
        Call::Setns { fd, nstype } => done(unsafe { libc::setns(fd.raw(), nstype.bits()) }.into()),
        Call::Execve { pathname, argv, envp } => execve(pathname, argv, envp),
        // SAFETY: kill(2) takes two integers.
        Call::Kill { pid, sig } => done(unsafe { libc::kill(*pid, *sig) }.into()),
        // SAFETY: setsid(2) takes nothing.
        Call::Setsid {} => done(unsafe { libc::setsid() }.into()),
        // SAFETY: setpgid(2) takes two integers.
        Call::Setpgid { pid, pgid } => done(unsafe { libc::setpgid(*pid, *pgid) }.into()),
        Call::Umask { mask } => {
            // SAFETY: umask(2) takes an integer and can't fail.
            unsafe { libc::umask(*mask) };
            Ok(Ret::DONE)
        }
        Call::IoctlTiocsptlck { fd, lock } => {
            // SAFETY: TIOCSPTLCK reads one integer, which lives until the call returns.
            done(unsafe { libc::ioctl(fd.raw(), libc::TIOCSPTLCK, lock as *const i32) }.into())
        }
        Call::IoctlTiocspgrp { fd, pgrp } => {
            // SAFETY: TIOCSPGRP reads one process group number, which lives until the call returns.
            done(unsafe { libc::ioctl(fd.raw(), libc::TIOCSPGRP, pgrp as *const i32) }.into())
        }
        // SAFETY: TIOCSCTTY takes an integer argument, 0: do not steal the terminal.
        Call::IoctlTiocsctty { fd } => done(unsafe { libc::ioctl(fd.raw(), libc::TIOCSCTTY, 0) }.into()),
        Call::IoctlTiocswinsz { fd, ws_row, ws_col } => {
            let size = libc::winsize { ws_row: *ws_row, ws_col: *ws_col, ws_xpixel: 0, ws_ypixel: 0 };
            // SAFETY: TIOCSWINSZ reads one winsize, which lives until the call returns.
            done(unsafe { libc::ioctl(fd.raw(), libc::TIOCSWINSZ, &size) }.into())
        }
        // SAFETY: sethostname(2) reads `len` bytes at the pointer.
        Call::Sethostname { name } => done(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()),
        // SAFETY: setdomainname(2) reads `len` bytes at the pointer.
        Call::Setdomainname { name } => done(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into()),
        // SAFETY: dup3(2) takes integers.
        Call::Dup3 { oldfd, newfd } => done(unsafe { libc::dup3(oldfd.raw(), *newfd, 0) }.into()),
        Call::CloseRange { first } => {
            // SAFETY: close_range(2) with CLOEXEC only sets a flag on descriptors.
            done(unsafe { libc::syscall(libc::SYS_close_range, *first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
        }
        Call::CloseRangeNow { first, last } => {
            // SAFETY: close_range(2) takes integers; who plans it keeps what is still needed out of the range.
            done(unsafe { libc::syscall(libc::SYS_close_range, *first, *last, 0) })
        }
        _ => return None,
    })
}

/// clone3(2) without `CLONE_VM`: the child gets a copy of the caller's memory and goes on from here, as after
/// fork(2). Only a single-threaded caller may do it: in the child no other thread exists that could hold a lock.
fn clone3(flags: nix::sched::CloneFlags, cgroup: Option<Fd>) -> Result<Ret, Errno> {
    if fds::thread_count() != 1 {
        return Err(Errno::EINVAL);
    }
    let mut pidfd: i32 = -1;
    // CLONE_PIDFD and CLONE_INTO_CGROUP are bits of clone3 that are wider than nix's type knows.
    let mut bits = u64::from(flags.bits() as u32) | libc::CLONE_PIDFD as u64;
    if cgroup.is_some() {
        bits |= 0x2_0000_0000;
    }
    let args = CloneArgs {
        flags: bits,
        pidfd: &raw mut pidfd as u64,
        // A child of the caller's parent tells that parent as the caller itself would (clone3(2), CLONE_PARENT).
        exit_signal: if flags.contains(nix::sched::CloneFlags::CLONE_PARENT) { 0 } else { libc::SIGCHLD as u64 },
        cgroup: cgroup.map_or(0, |fd| fd.raw() as u64),
        ..CloneArgs::default()
    };
    // SAFETY: `args` and `pidfd` live until the call returns; no CLONE_VM, so the child has its own copy of the
    // stack and of all memory; the caller is single-threaded (checked above).
    match answer(unsafe { libc::syscall(libc::SYS_clone3, &args, size_of::<CloneArgs>()) })? {
        0 => Ok(Ret::CHILD),
        pid => Ok(Ret::Pid { pid: pid as i32, pidfd }),
    }
}

fn execve(pathname: &Path, argv: &[String], envp: &[String]) -> Result<Ret, Errno> {
    let path = cpath(pathname)?;
    let strings = |list: &[String]| list.iter().map(|s| cstr(s.as_bytes())).collect::<Result<Vec<_>, _>>();
    let pointers = |list: &[CString]| list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (argv, envp) = (strings(argv)?, strings(envp)?);
    let (argv, envp) = (pointers(&argv), pointers(&envp));
    // SAFETY: the path and both null-terminated arrays of C strings live until the call returns (on success it
    // does not return and the whole address space is replaced).
    done(unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) }.into())
}
