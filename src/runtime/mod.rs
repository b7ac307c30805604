//! The runtime: turns an OCI bundle into a process.
//!
//! 1. [`plan`] is pure: spec and [`facts::Facts`] in, a list of [`program::Step`]s out. No system call happens.
//! 2. [`interpret`] carries a program out on any [`crate::kernel::Kernel`].
//! 3. [`lifecycle`] runs the plan's parts in the right processes: some in the shim, most in the new process, which
//!    is a plain clone3(2) copy of the single-threaded shim and interprets its part of the plan itself.

pub mod facts;
pub mod init;
pub mod interpret;
pub mod lifecycle;
pub mod plan;
pub mod program;
mod reaper;
pub mod rootless;
pub mod seccomp;
