//! What processes around the seam need of the system without changing it: descriptors that arrived as numbers,
//! exit statuses, signal dispositions.

use super::*;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// Takes over a descriptor that came out of a [`Call`] or of a `SCM_RIGHTS` message. The caller must not use the
/// number any more; a number that is not open gives an object whose uses fail with `EBADF`.
pub fn adopt(fd: i32) -> OwnedFd {
    // SAFETY: by contract the number was handed over exactly once, by the kernel, to this process.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A descriptor that somebody else holds and goes on holding; none for a number that is none.
pub fn borrow(fd: i32) -> Option<std::os::fd::BorrowedFd<'static>> {
    // SAFETY: by contract the number stays open while it is used: it lies in a slot of the interpreter until execve.
    (fd >= 0).then(|| unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) })
}

/// Writes everything, going on after interruptions.
pub(super) fn write_all(fd: i32, mut data: &[u8]) -> Result<(), Errno> {
    while !data.is_empty() {
        // SAFETY: a buffer with its length.
        match answer(unsafe { libc::write(fd, data.as_ptr().cast(), data.len()) } as libc::c_long) {
            Ok(n) => data = &data[n as usize..],
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// All signals back to their default action and none blocked (signal(7)): what a program expects at its start.
/// The Rust runtime ignores SIGPIPE; without this every program in the container would inherit that.
pub fn clear_signals() {
    for signal in 1..=64 {
        // SAFETY: sets dispositions to SIG_DFL; SIGKILL, SIGSTOP and libc's own two are refused, which is right.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let empty = nix::sys::signal::SigSet::empty();
    let _ = nix::sys::signal::sigprocmask(nix::sys::signal::SigmaskHow::SIG_SETMASK, Some(&empty), None);
}

/// Blocks all signals that can be blocked (sigprocmask(2)).
pub fn block_signals() {
    let all = nix::sys::signal::SigSet::all();
    let _ = nix::sys::signal::sigprocmask(nix::sys::signal::SigmaskHow::SIG_SETMASK, Some(&all), None);
}

/// Waits for a signal that is blocked (sigwaitinfo(2)); its number.
pub fn next_signal() -> i32 {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    loop {
        // SAFETY: sigfillset(3) fills the set; sigwaitinfo(2) reads it and may be given no place for details.
        let signal = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::sigwaitinfo(all.as_ptr(), std::ptr::null_mut())
        };
        if signal > 0 {
            return signal;
        }
    }
}

/// This process's group, where standard input is a terminal (isatty(3)).
pub fn own_group_if_terminal() -> Option<i32> {
    // SAFETY: isatty(3) and getpgrp(2) take no pointer.
    (unsafe { libc::isatty(0) } == 1).then(|| unsafe { libc::getpgrp() })
}

/// Closes all descriptors from this one on (close_range(2)).
pub fn close_from(first: u32) {
    // SAFETY: integers only; the caller uses none of them any more.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// One ended child, if there is one: (pid, exit code, signal). Never waits (waitpid(2) with WNOHANG).
pub fn reap() -> Option<(i32, i32, Option<i32>)> {
    let mut status = 0;
    // SAFETY: waitpid(2) writes one integer.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    if pid <= 0 {
        return None;
    }
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        return Some((pid, 128 + signal, Some(signal)));
    }
    Some((pid, libc::WEXITSTATUS(status), None))
}

/// Sets `O_NONBLOCK` (fcntl(2)).
pub fn set_nonblocking(fd: &OwnedFd) -> Result<(), Errno> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// The number of a pseudo-terminal in its devpts (ioctl_tty(2): TIOCGPTN).
pub fn terminal_number(master: i32) -> Result<u32, Errno> {
    let mut number: libc::c_uint = 0;
    // SAFETY: writes one integer.
    answer(unsafe { libc::ioctl(master, libc::TIOCGPTN, &raw mut number) }.into())?;
    Ok(number)
}

/// Ends this process at once, running no destructors (_exit(2)): for a process that is a copy of another.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

/// An anonymous file in memory (memfd_create(2)).
pub fn memfd_cloexec(name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    // SAFETY: one C string.
    answer(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) }.into()).map(|fd| adopt(fd as i32))
}

/// Whether a path leads to a file system of this kind (statfs(2), `f_type`), without following a link at its end.
pub fn is_file_system(path: &std::path::Path, magic: i64) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|fs| fs.filesystem_type().0 == magic)
}

/// How many threads this process has: clone3 without CLONE_VM is only safe with one (proc_pid_task(5)).
pub fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// The mode of an open file (fstat(2)): works where the path can't be named any more.
pub fn stat_mode(fd: i32) -> Result<u32, Errno> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat(2) fills the whole struct when it succeeds.
    answer(unsafe { libc::fstat(fd, stat.as_mut_ptr()) }.into())?;
    // SAFETY: filled, since the call succeeded.
    Ok(unsafe { stat.assume_init() }.st_mode)
}
