//! Files, always relative to a directory descriptor, never following a symlink in the last component.

use super::*;
use std::path::PathBuf;

/// `struct open_how` (openat2(2)).
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

pub(super) fn call(call: &Call) -> Option<Result<Ret, Errno>> {
    Some(match call {
        Call::Openat2 { dirfd, pathname, flags, mode, resolve } => openat2(*dirfd, pathname, *flags, *mode, *resolve),
        // SAFETY: close(2) takes an integer; the caller owns the descriptor (it came out of a call).
        Call::Close { fd } => done(unsafe { libc::close(fd.raw()) }.into()),
        Call::Mkdirat { dirfd, pathname, mode } => with_path(pathname, |path| {
            // SAFETY: one C string.
            unsafe { libc::mkdirat(dirfd.raw(), path, *mode) }
        }),
        Call::Mknodat { dirfd, pathname, kind, mode, dev } => with_path(pathname, |path| {
            let kind = match kind {
                call::NodeKind::Char => libc::S_IFCHR,
                call::NodeKind::Block => libc::S_IFBLK,
                call::NodeKind::Fifo => libc::S_IFIFO,
                call::NodeKind::Regular => libc::S_IFREG,
            };
            let dev = libc::makedev(dev.major as u32, dev.minor as u32);
            // SAFETY: one C string.
            unsafe { libc::mknodat(dirfd.raw(), path, kind | mode, dev) }
        }),
        Call::Symlinkat { target, newdirfd, linkpath } => two_paths(target, linkpath, |target, link| {
            // SAFETY: two C strings.
            unsafe { libc::symlinkat(target, newdirfd.raw(), link) }
        }),
        Call::Linkat { olddirfd, oldpath, newdirfd, newpath } => two_paths(oldpath, newpath, |old, new| {
            // SAFETY: two C strings; flags 0: a symlink is linked itself, not what it points to.
            unsafe { libc::linkat(olddirfd.raw(), old, newdirfd.raw(), new, 0) }
        }),
        Call::Renameat { olddirfd, oldpath, newdirfd, newpath } => two_paths(oldpath, newpath, |old, new| {
            // SAFETY: two C strings.
            unsafe { libc::renameat(olddirfd.raw(), old, newdirfd.raw(), new) }
        }),
        Call::Unlinkat { dirfd, pathname, remove_dir } => with_path(pathname, |path| {
            // SAFETY: one C string.
            unsafe { libc::unlinkat(dirfd.raw(), path, if *remove_dir { libc::AT_REMOVEDIR } else { 0 }) }
        }),
        Call::Fchownat { dirfd, pathname, owner, group } => with_path(pathname, |path| {
            // SAFETY: one C string.
            unsafe { libc::fchownat(dirfd.raw(), path, *owner, *group, libc::AT_SYMLINK_NOFOLLOW) }
        }),
        Call::Fchmodat { dirfd, pathname, mode } => with_path(pathname, |path| {
            // SAFETY: one C string.
            unsafe { libc::fchmodat(dirfd.raw(), path, *mode, 0) }
        }),
        Call::Utimensat { dirfd, pathname, mtime_sec, mtime_nsec } => with_path(pathname, |path| {
            let time = libc::timespec { tv_sec: *mtime_sec, tv_nsec: *mtime_nsec };
            let times = [time, time];
            // SAFETY: one C string and two timespecs.
            unsafe { libc::utimensat(dirfd.raw(), path, times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW) }
        }),
        Call::Setxattr { dirfd, pathname, name, value } => setxattr(*dirfd, pathname, name, value),
        Call::Write { path, data } => write_kernel_file(path, data),
        _ => return None,
    })
}

fn with_path(path: &Path, f: impl FnOnce(*const libc::c_char) -> i32) -> Result<Ret, Errno> {
    let path = cpath(path)?;
    done(f(path.as_ptr()).into())
}

fn two_paths(
    one: &Path,
    two: &Path,
    f: impl FnOnce(*const libc::c_char, *const libc::c_char) -> i32,
) -> Result<Ret, Errno> {
    let (one, two) = (cpath(one)?, cpath(two)?);
    done(f(one.as_ptr(), two.as_ptr()).into())
}

fn openat2(
    dirfd: Fd,
    pathname: &Path,
    flags: nix::fcntl::OFlag,
    mode: u32,
    resolve: nix::fcntl::ResolveFlag,
) -> Result<Ret, Errno> {
    let path = cpath(pathname)?;
    let how = OpenHow {
        flags: (flags | nix::fcntl::OFlag::O_CLOEXEC).bits() as u32 as u64,
        mode: mode.into(),
        resolve: resolve.bits(),
    };
    // SAFETY: one C string and one open_how of the size that is passed.
    answer(unsafe { libc::syscall(libc::SYS_openat2, dirfd.raw(), path.as_ptr(), &how, size_of::<OpenHow>()) })
        .map(|fd| Ret::Fd(fd as i32))
}

/// lsetxattr(2) has no *at form (before Linux 6.13): the directory is named through /proc/self/fd, whose magic
/// link leads to the open directory itself, and the last component is not followed.
fn setxattr(dirfd: Fd, pathname: &Path, name: &str, value: &[u8]) -> Result<Ret, Errno> {
    let path = match dirfd {
        Fd::Cwd => pathname.to_path_buf(),
        fd => PathBuf::from(format!("/proc/self/fd/{}", fd.raw())).join(pathname),
    };
    let (path, name) = (cpath(&path)?, cstr(name.as_bytes())?);
    // SAFETY: two C strings and a buffer with its length.
    done(unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) }.into())
}

/// One open, one write(2), one close: files of the kernel take a value in a single write.
fn write_kernel_file(path: &Path, data: &[u8]) -> Result<Ret, Errno> {
    let path = cpath(path)?;
    // SAFETY: one C string.
    let fd = answer(unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) }.into())? as i32;
    // SAFETY: a buffer with its length; the descriptor was opened above.
    let written = answer(unsafe { libc::write(fd, data.as_ptr().cast(), data.len()) } as libc::c_long);
    // SAFETY: opened above, closed once.
    unsafe { libc::close(fd) };
    match written {
        Ok(n) if n as usize == data.len() => Ok(Ret::DONE),
        Ok(_) => Err(Errno::EIO),
        Err(errno) => Err(errno),
    }
}
