//! The Kernel seam: every effect on the system that is part of making, running or removing a container or a
//! layer is a [`Call`], and a [`Kernel`] carries it out.
//!
//! A call is a value that has the system call's name and the parameters of its man page, so a plan can hold it,
//! a decorator can look at it, and the explanation prints exactly what was asked:
//!
//! - [`linux::LinuxKernel`] does it (the only `unsafe` of the project is there);
//! - [`traced::Traced`] emits one event per call; [`faulty::Faulty`] makes call *n* fail (tests).

pub mod call;
pub mod faulty;
pub mod linux;
pub mod traced;

pub use call::{Call, Fd, Ret};
pub use nix::errno::Errno;

/// Carries out calls. Implementations are stateless or synchronise themselves: layers are unpacked from
/// several threads at once.
pub trait Kernel: Send + Sync {
    /// Does one call. The error is the kernel's own errno.
    fn call(&self, call: &Call) -> Result<Ret, Errno>;

    /// Writes a file's contents to an open descriptor, all of it. Contents are data, not set-up: they are counted
    /// by who writes them and are not explained call by call.
    fn write_all(&self, fd: i32, data: &[u8]) -> Result<(), Errno>;
}

impl<K: Kernel + ?Sized> Kernel for &K {
    fn call(&self, call: &Call) -> Result<Ret, Errno> {
        (**self).call(call)
    }
    fn write_all(&self, fd: i32, data: &[u8]) -> Result<(), Errno> {
        (**self).write_all(fd, data)
    }
}

impl<K: Kernel + ?Sized> Kernel for std::sync::Arc<K> {
    fn call(&self, call: &Call) -> Result<Ret, Errno> {
        (**self).call(call)
    }
    fn write_all(&self, fd: i32, data: &[u8]) -> Result<(), Errno> {
        (**self).write_all(fd, data)
    }
}

/// A name for errno, as the man pages write it: `EPERM`.
pub fn errno_name(errno: Errno) -> String {
    format!("{errno:?}")
}
