//! The real kernel. Being written.
use super::*;
/// The kernel that this process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinuxKernel;
impl Kernel for LinuxKernel {
    fn call(&self, _call: &Call) -> Result<Ret, Errno> {
        Err(Errno::ENOSYS)
    }
}
