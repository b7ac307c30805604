//! Who fills the hub's store, and who sweeps it, in whatever process: content that is put in has no name for a moment,
//! and what has no name is what a sweep removes. Fillers hold the lock together; a sweep holds it alone.

use std::fs::File;
use std::io;
use std::path::Path;

/// Held while content is put in and named. Dropped, or when the process ends, it is released.
#[derive(Debug)]
pub struct Filling(#[allow(dead_code)] File);

/// Held while what has no name is removed.
#[derive(Debug)]
pub struct Sweeping(#[allow(dead_code)] File);

/// Waits for a sweep to end. `root` is the store's directory.
pub fn fill(root: &Path) -> io::Result<Filling> {
    let file = open(root)?;
    file.lock_shared()?;
    Ok(Filling(file))
}

/// None when somebody fills the store: there will be another sweep.
pub fn try_sweep(root: &Path) -> io::Result<Option<Sweeping>> {
    let file = open(root)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Sweeping(file))),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(e)) => Err(e),
    }
}

fn open(root: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(root.join("hub.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_alone_and_fillers_are_many() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (fill(dir.path()).unwrap(), fill(dir.path()).unwrap());
        assert!(try_sweep(dir.path()).unwrap().is_none());
        drop((one, two));
        assert!(try_sweep(dir.path()).unwrap().is_some());
    }
}
