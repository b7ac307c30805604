//! Points at which a test ends the process: one before each effect on the disk. In the program itself there are none.
//!
//! A process that is killed runs no destructor and removes no temporary file; an error in its place would do both. So the
//! crash tests (`images/tests/crash.rs`) start a process for each point, which kills itself there.

/// Here something is about to change on the disk.
#[cfg(not(test))]
#[inline]
pub fn point() {}

#[cfg(test)]
pub use counted::{arm, point};

#[cfg(test)]
mod counted {
    use nix::sys::signal::{Signal, kill};
    use std::sync::atomic::{AtomicUsize, Ordering};

    static LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);

    /// From now on the process passes so many points, and dies at the next one.
    pub fn arm(passes: usize) {
        LEFT.store(passes, Ordering::SeqCst);
    }

    pub fn point() {
        let left = LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
            usize::MAX => None,
            left => left.checked_sub(1),
        });
        if left == Err(0) {
            let _ = kill(nix::unistd::Pid::this(), Signal::SIGKILL);
            // The signal comes to all threads, and perhaps to another one first.
            loop {
                std::thread::park();
            }
        }
    }
}
