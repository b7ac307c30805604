//! What the tests share: a hermetic environment ([`Lab`]), the leak check ([`leaks`]), visible skips ([`need`]),
//! a real dockerd to compare with ([`beside`]).

pub mod api;
pub mod beside;
pub mod docker_registry;
pub mod hub;
pub mod lab;
pub mod leaks;
pub mod need;
pub mod terminal;
pub mod upstream;

pub use beside::Beside;
pub use lab::{Answer, Lab};
pub use need::need;

use std::time::{Duration, Instant};

/// Longest time that anything here is waited for, where nothing else is said.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until `condition` holds. For what the kernel or another process does later and tells nobody
/// of. Returns whether it came to hold in time.
#[must_use]
pub fn eventually(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(3));
    }
}

/// As [`eventually`], within [`PATIENCE`], for a value.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    let came = eventually(PATIENCE, || {
        found = look();
        found.is_some()
    });
    assert!(came, "waited {PATIENCE:?} in vain for {what}");
    found.unwrap()
}
