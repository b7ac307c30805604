//! The mount family.

use super::*;

pub(super) fn call(call: &Call) -> Option<Result<Ret, Errno>> {
    Some(match call {
        Call::Mount { source, target, filesystemtype, mountflags, data } => {
            mount(source.as_deref(), target, *filesystemtype, *mountflags, data.as_deref())
        }
        Call::Umount2 { target, flags } => cpath(target).and_then(|target| {
            // SAFETY: umount2(2) reads one C string.
            done(unsafe { libc::umount2(target.as_ptr(), flags.bits()) }.into())
        }),
        Call::OpenTree { dfd, filename, recursive } => cpath(filename).and_then(|name| {
            let mut flags = libc::OPEN_TREE_CLONE as i32 | libc::OPEN_TREE_CLOEXEC as i32;
            if *recursive {
                flags |= libc::AT_RECURSIVE;
            }
            // SAFETY: open_tree(2) reads one C string.
            answer(unsafe { libc::syscall(libc::SYS_open_tree, dfd.raw(), name.as_ptr(), flags) })
                .map(|fd| Ret::Fd(fd as i32))
        }),
        Call::MoveMount { from_dfd, to_dfd, to_pathname } => cpath(to_pathname).and_then(|to| {
            // SAFETY: move_mount(2) reads two C strings.
            done(unsafe {
                libc::syscall(
                    libc::SYS_move_mount,
                    from_dfd.raw(),
                    c"".as_ptr(),
                    to_dfd.raw(),
                    to.as_ptr(),
                    libc::MOVE_MOUNT_F_EMPTY_PATH,
                )
            })
        }),
        Call::MountSetattr { dfd, recursive, attr_set } => mount_setattr(*dfd, *recursive, attr_set),
        Call::PivotRoot { new_root, put_old } => cpath(new_root).and_then(|new| {
            let old = cpath(put_old)?;
            // SAFETY: pivot_root(2) reads two C strings.
            done(unsafe { libc::syscall(libc::SYS_pivot_root, new.as_ptr(), old.as_ptr()) })
        }),
        Call::Chdir { path } => cpath(path).and_then(|path| {
            // SAFETY: chdir(2) reads one C string.
            done(unsafe { libc::chdir(path.as_ptr()) }.into())
        }),
        _ => return None,
    })
}

/// `struct mount_attr` (mount_setattr(2)).
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn mount_setattr(dfd: Fd, recursive: bool, names: &[&'static str]) -> Result<Ret, Errno> {
    let mut attr = MountAttr::default();
    for name in names {
        attr.attr_set |= match *name {
            "MOUNT_ATTR_RDONLY" => libc::MOUNT_ATTR_RDONLY,
            "MOUNT_ATTR_NOSUID" => libc::MOUNT_ATTR_NOSUID,
            "MOUNT_ATTR_NODEV" => libc::MOUNT_ATTR_NODEV,
            "MOUNT_ATTR_NOEXEC" => libc::MOUNT_ATTR_NOEXEC,
            _ => return Err(Errno::EINVAL),
        };
    }
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: mount_setattr(2) reads one C string and one mount_attr of the size that is passed.
    done(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dfd.raw(),
            c"".as_ptr(),
            flags as libc::c_uint,
            &attr,
            size_of::<MountAttr>(),
        )
    })
}

fn mount(
    source: Option<&Path>,
    target: &Path,
    filesystemtype: Option<&str>,
    flags: nix::mount::MsFlags,
    data: Option<&str>,
) -> Result<Ret, Errno> {
    let source = source.map(cpath).transpose()?;
    let target = cpath(target)?;
    let fstype = filesystemtype.map(|t| cstr(t.as_bytes())).transpose()?;
    let data = data.map(|d| cstr(d.as_bytes())).transpose()?;
    let pointer = |s: &Option<CString>| s.as_ref().map_or(std::ptr::null(), |s| s.as_ptr());
    // SAFETY: mount(2) reads up to four C strings, each NULL or alive until the call returns.
    let value = unsafe {
        libc::mount(pointer(&source), target.as_ptr(), pointer(&fstype), flags.bits(), pointer(&data).cast())
    };
    done(value.into())
}
