//! The real kernel: each [`Call`] becomes its system call. All `unsafe` of the project is below this module.
//!
//! What is not here on purpose: reads (stat, readdir, open for reading), file contents, polling and memory.
//! They have no effect on the system that a container is made of.

// This is the one place where system calls are made.
#![allow(clippy::disallowed_methods)]

mod fds;
mod files;
mod mounts;
mod netlink;
mod privileges;
mod process;

use super::*;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

pub use fds::{
    adopt, block_signals, borrow, clear_signals, close_from, exit_now, is_file_system, memfd_cloexec, next_signal,
    own_group_if_terminal, reap, set_nonblocking, stat_mode, terminal_number, thread_count,
};

/// The kernel that this process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinuxKernel;

/// A path or string for the kernel. An inner NUL byte is `EINVAL`, as the kernel could never see it.
fn cstr(bytes: &[u8]) -> Result<CString, Errno> {
    CString::new(bytes).map_err(|_| Errno::EINVAL)
}

fn cpath(path: &Path) -> Result<CString, Errno> {
    cstr(path.as_os_str().as_bytes())
}

/// The kernel's answer: -1 is errno, everything else is the value.
fn answer(value: libc::c_long) -> Result<i64, Errno> {
    if value == -1 { Err(Errno::last()) } else { Ok(value) }
}

fn done(value: libc::c_long) -> Result<Ret, Errno> {
    answer(value).map(|_| Ret::DONE)
}

impl Kernel for LinuxKernel {
    fn call(&self, call: &Call) -> Result<Ret, Errno> {
        process::call(call)
            .or_else(|| mounts::call(call))
            .or_else(|| files::call(call))
            .or_else(|| privileges::call(call))
            .unwrap_or_else(|| match call {
                Call::Netlink(request) => netlink::request(request).map(|()| Ret::DONE),
                _ => Err(Errno::ENOSYS),
            })
    }

    fn write_all(&self, fd: i32, data: &[u8]) -> Result<(), Errno> {
        fds::write_all(fd, data)
    }
}
