//! Wakes those who follow a log when its directory changes: one inotify(7) instance for the whole daemon, since a user
//! may have few of them.

use rustix::fs::inotify;
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::watch;

/// See the module.
#[derive(Default)]
pub struct Watcher(Mutex<Option<Arc<Instance>>>);

struct Instance {
    inotify: OwnedFd,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    numbers: HashMap<PathBuf, i32>,
    wake: HashMap<i32, watch::Sender<()>>,
}

impl Watcher {
    /// What changes each time that something in `directory` is written, made or renamed, from now on.
    ///
    /// # Errors
    /// What inotify_init1(2) and inotify_add_watch(2) answer.
    pub fn watch(&self, directory: &Path) -> io::Result<watch::Receiver<()>> {
        let instance = self.instance()?;
        let mut watched = instance.watched();
        watched.forget_the_unheard(&instance.inotify);
        let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        let number = inotify::add_watch(&instance.inotify, directory, flags | inotify::WatchFlags::ONLYDIR)?;
        watched.numbers.insert(directory.to_owned(), number);
        Ok(watched.wake.entry(number).or_insert_with(|| watch::Sender::new(())).subscribe())
    }

    fn instance(&self) -> io::Result<Arc<Instance>> {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instance) = &*own {
            return Ok(instance.clone());
        }
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        // It is no stream, but readiness is the same, and this type takes a descriptor over without `unsafe`.
        let readable = UnixStream::from_std(std::os::unix::net::UnixStream::from(inotify.try_clone()?))?;
        let instance = Arc::new(Instance { inotify, watched: Mutex::default() });
        tokio::spawn(instance.clone().read(readable));
        *own = Some(instance.clone());
        Ok(instance)
    }
}

impl Watched {
    /// Directories that nobody follows any more.
    fn forget_the_unheard(&mut self, inotify: &OwnedFd) {
        let wake = &mut self.wake;
        self.numbers.retain(|_, number| {
            let heard = wake.get(number).is_some_and(|sender| sender.receiver_count() > 0);
            if !heard {
                wake.remove(number);
                // A directory that is gone has taken its watch along.
                let _ = inotify::remove_watch(inotify, *number);
            }
            heard
        });
    }
}

impl Instance {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(self: Arc<Instance>, readable: UnixStream) {
        let drain = || {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) => self.wake(event.wd(), event.events()),
                    Err(rustix::io::Errno::INTR) => {}
                    // All read: the wait begins anew.
                    Err(error) => return Err::<(), _>(io::Error::from(error)),
                }
            }
        };
        if let Err(error) = readable.async_io(Interest::READABLE, drain).await {
            tracing::warn!(%error, "logs can't be followed any more");
        }
    }

    fn wake(&self, number: i32, what: inotify::ReadFlags) {
        let watched = self.watched();
        if what.contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
            // Nobody knows whose events were lost.
            for sender in watched.wake.values() {
                let _ = sender.send(());
            }
        } else if let Some(sender) = watched.wake.get(&number) {
            let _ = sender.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_follower_is_woken_and_a_directory_may_go_and_come_back() {
        let (watcher, dir) = (Watcher::default(), tempfile::tempdir().unwrap());
        let path = dir.path().join("c");
        std::fs::create_dir(&path).unwrap();
        for _ in 0..2 {
            let (mut one, mut other) = (watcher.watch(&path).unwrap(), watcher.watch(&path).unwrap());
            std::fs::write(path.join("log"), "x").unwrap();
            one.changed().await.unwrap();
            other.changed().await.unwrap();
            drop((one, other));
            std::fs::remove_dir_all(&path).unwrap();
            std::fs::create_dir(&path).unwrap();
        }
        assert!(watcher.watch(&path.join("nosuch")).is_err());
    }
}
