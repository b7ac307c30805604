//! Makes one chosen call fail: the tests' way to see that every failure is cleaned up after.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Wraps a kernel: call number `at` (from 0) answers `errno` and is not done; all others go through.
#[derive(Debug)]
pub struct Faulty<K> {
    inner: K,
    at: usize,
    errno: Errno,
    made: AtomicUsize,
}

impl<K: Kernel> Faulty<K> {
    pub fn new(inner: K, at: usize, errno: Errno) -> Self {
        Faulty { inner, at, errno, made: AtomicUsize::new(0) }
    }

    /// The kernel below.
    pub fn inner(&self) -> &K {
        &self.inner
    }

    /// What the chosen call answers.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// How many calls were asked for so far.
    pub fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }
}

impl<K: Kernel> Kernel for Faulty<K> {
    fn call(&self, call: &Call) -> Result<Ret, Errno> {
        if self.made.fetch_add(1, Ordering::SeqCst) == self.at {
            return Err(self.errno);
        }
        self.inner.call(call)
    }

    fn write_all(&self, fd: i32, data: &[u8]) -> Result<(), Errno> {
        self.inner.write_all(fd, data)
    }
}
