//! Emits one event per call. Being written.
use super::*;
/// Wraps a kernel: each call becomes one event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traced<K>(pub K);
impl<K: Kernel> Kernel for Traced<K> {
    fn call(&self, call: &Call) -> Result<Ret, Errno> {
        self.0.call(call)
    }
}
