//! `rdock daemon stop`: asks the daemon of a home to end, and waits until it has.

use super::place::{self, PlaceError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::path::Path;

/// The daemon could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    #[error("no daemon serves {0}")]
    None(String),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("cannot end the daemon (process {pid}): {errno}")]
    Signal { pid: String, errno: rustix::io::Errno },
}

/// Sends SIGTERM to the daemon whose run-time directory is `run`, and returns when it has ended. Containers go on.
pub fn stop(run: &Path) -> Result<(), StopError> {
    let none = || StopError::None(run.display().to_string());
    if !run.is_dir() || place::lock(&run.join("daemon.lock"))?.is_some() {
        return Err(none());
    }
    let text = std::fs::read_to_string(run.join("daemon.pid")).map_err(|_| none())?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw).ok_or_else(none)?;
    let wrong = |errno| StopError::Signal { pid: text.trim().to_owned(), errno };
    // The descriptor names this process and no later one with the same number (pidfd_open(2)).
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(wrong)?;
    pidfd_send_signal(&process, Signal::TERM).map_err(wrong)?;
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    while let Err(rustix::io::Errno::INTR) = poll(&mut ended, None) {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_without_a_daemon_says_so() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(stop(dir.path()), Err(StopError::None(_))));
        assert!(matches!(stop(&dir.path().join("nothing")), Err(StopError::None(_))));
    }
}
