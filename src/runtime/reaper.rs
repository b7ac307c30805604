//! Process 1 of a container that was asked to have one of the engine's own (`--init`): small, and with no program of its
//! own, since none could be relied on in an image.
//!
//! The kernel protects process 1 from signals that it has no handler for, and gives it every process whose parent has
//! ended (pid_namespaces(7)); a command that knows of neither can't be stopped and leaves zombies.

use crate::kernel::{Call, Kernel, linux};

/// Hands signals to `child` and waits for whoever ends, until the child has; its status, as a shell counts it.
///
/// Signals are blocked before, so none is lost. What is done here is the container's own life, and is not explained.
pub(super) fn reap_until<K: Kernel>(kernel: &K, child: i32) -> i32 {
    loop {
        let mut ended = None;
        while let Some((pid, code, _)) = linux::reap() {
            if pid == child {
                ended = Some(code);
            }
        }
        if let Some(code) = ended {
            return code;
        }
        match linux::next_signal() {
            libc::SIGCHLD => {}
            signal => {
                // The child may have ended a moment ago: then there is nobody to tell.
                let _ = kernel.call(&Call::Kill { pid: child, sig: signal });
            }
        }
    }
}
