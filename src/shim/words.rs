//! What a spec says to the runtime beyond the OCI specification, and what of it can be told to be wrong beforehand: for
//! who writes specs.

pub use crate::runtime::plan::{BUILTIN_SECCOMP, CAPABILITY_NAMES, INIT};
use crate::runtime::seccomp;
use oci_spec::runtime::LinuxSeccomp;

/// Whether a filter of system calls can be made of this.
///
/// # Errors
/// A sentence.
pub fn check_filter(filter: &LinuxSeccomp) -> Result<(), String> {
    seccomp::from_oci(filter).map(drop).map_err(|error| error.to_string())
}
