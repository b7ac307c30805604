//! What a shim that was killed leaves behind.

use crate::kernel::traced::because;
use crate::kernel::{Call, Kernel};
use crate::runtime::facts::Facts;
use crate::runtime::interpret::{Interpreter, NoParent};
use crate::runtime::plan;
use crate::trace::Actor;
use std::sync::Arc;

/// Cleans up after shims.
#[derive(Clone)]
pub struct Leftovers {
    kernel: Arc<dyn Kernel>,
}

impl Leftovers {
    pub fn new(kernel: Arc<dyn Kernel>) -> Leftovers {
        Leftovers { kernel }
    }

    /// Ends the container's process, if it is there still, and takes its control groups away.
    pub fn clear(&self, cgroup: &str, pid: i32, id: &str) {
        if is_of_container(pid, id) {
            let why = "its shim is gone, so nobody would ever tell how it ends";
            let call = Call::Kill { pid, sig: libc::SIGKILL };
            let _ = because(Actor::Daemon, why, || self.kernel.call(&call));
        }
        Interpreter::new(&self.kernel, NoParent).run_all(&plan::leftovers(cgroup, &Facts::read()));
    }
}

/// Whether the process with this number is the container's, and not a later one that was given the same number.
fn is_of_container(pid: i32, id: &str) -> bool {
    pid > 1 && std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(id))
}
