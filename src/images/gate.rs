//! What must not be collected although no name leads to it yet: leases.
//!
//! A pull (a load, a commit) holds what it found and what it brings until a name leads to it; a push holds what it
//! sends; a container that is being made holds its layers until its record is written. A collection looks at names,
//! containers and leases, and takes away what none of them needs, in one step that nobody can come between: whoever
//! takes a lease and then looks sees what the collection left, and what it sees stays.
//!
//! Only that one step excludes others, and it is a rename or an unlink for each thing. A slow push or load never
//! holds up a removal, and a removal never holds up them: files are deleted after the step.

use crate::oci::Digest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts leases by digest: of a blob, or a layer's chain id.
#[derive(Default)]
pub struct Gate {
    held: Mutex<HashMap<Digest, usize>>,
}

/// Things that stay for as long as this lives.
#[derive(Default)]
pub struct Lease {
    gate: Arc<Gate>,
    digests: Vec<Digest>,
}

/// The one step of a collection. No lease begins or ends while it lives.
pub(super) struct Collecting<'g>(MutexGuard<'g, HashMap<Digest, usize>>);

impl Gate {
    /// Holds these things, whether they are there or not.
    pub fn hold(self: &Arc<Self>, digests: impl IntoIterator<Item = Digest>) -> Lease {
        let mut lease = Lease { gate: self.clone(), digests: Vec::new() };
        lease.add(digests);
        lease
    }

    /// Looks something up and holds what it is made of, so that nothing goes in between.
    pub fn hold_found<T, E>(
        self: &Arc<Self>,
        look: impl FnOnce() -> Result<(T, Vec<Digest>), E>,
    ) -> Result<(T, Lease), E> {
        let mut held = self.lock();
        let (found, digests) = look()?;
        for digest in &digests {
            *held.entry(digest.clone()).or_default() += 1;
        }
        drop(held);
        Ok((found, Lease { gate: self.clone(), digests }))
    }

    pub(super) fn collect(&self) -> Collecting<'_> {
        Collecting(self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        // A count is whole at any time: a thread that panicked has left nothing half-done.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// What it holds.
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Holds these too.
    pub fn add(&mut self, digests: impl IntoIterator<Item = Digest>) {
        let mut held = self.gate.lock();
        for digest in digests {
            *held.entry(digest.clone()).or_default() += 1;
            self.digests.push(digest);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.gate.lock();
        for digest in &self.digests {
            match held.get_mut(digest) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(held.remove(digest)),
            }
        }
    }
}

impl Collecting<'_> {
    pub fn is_held(&self, digest: &Digest) -> bool {
        self.0.contains_key(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_held_until_the_last_lease_ends() {
        let gate = Arc::new(Gate::default());
        let thing = Digest::of(b"x");
        let mut one = gate.hold([thing.clone()]);
        let two = gate.hold([thing.clone()]);
        one.add([thing.clone(), Digest::of(b"y")]);
        drop(one);
        assert!(gate.collect().is_held(&thing));
        assert!(!gate.collect().is_held(&Digest::of(b"y")));
        drop(two);
        assert!(!gate.collect().is_held(&thing));
    }

    #[test]
    fn a_lookup_that_fails_holds_nothing() {
        let gate = Arc::new(Gate::default());
        assert_eq!(gate.hold_found(|| Err::<((), Vec<Digest>), _>("no")).err(), Some("no"));
        assert!(gate.lock().is_empty());
    }
}
