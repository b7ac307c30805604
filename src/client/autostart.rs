//! Starts a daemon when nobody listens.
//!
//! The new process gets a pipe as its standard output and says there, in one line, when it listens or why it cannot:
//! so readiness is an event, nothing sleeps. A lock file makes sure that two clients that start at the same moment
//! end with one daemon: the second one waits for the first, then finds the socket.

use super::Endpoint;
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The line that a started daemon writes when it listens.
pub const READY: &str = "ready";
/// The flag that makes the daemon speak that way.
pub const FLAG: &str = "--autostarted";

/// No daemon could be started.
#[derive(Debug, thiserror::Error)]
pub enum AutostartError {
    #[error("cannot make {}: {source}", .path.display())]
    RunDir { path: PathBuf, source: io::Error },
    #[error("cannot open {}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot start the daemon: {0}")]
    Spawn(io::Error),
    #[error("the daemon did not start: {0}")]
    Refused(String),
    #[error("the daemon ended before it listened (its log: {})", .log.display())]
    Died { log: PathBuf },
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// A daemon with this process id, as this host numbers it.
    New { pid: u32 },
    /// Somebody else was quicker.
    Already,
}

/// Starts `program daemon` for the home whose run-time directory is `run`, and returns when it listens.
pub fn start(endpoint: &Endpoint, run: &Path, program: &Path) -> Result<Started, AutostartError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(run)
        .map_err(|source| AutostartError::RunDir { path: run.to_owned(), source })?;
    let lock = open(&run.join("autostart.lock"))?;
    lock.lock().map_err(|source| AutostartError::File { path: run.join("autostart.lock"), source })?;
    if UnixStream::connect(&endpoint.socket).is_ok() {
        return Ok(Started::Already);
    }
    let log_path = run.join("daemon.log");
    let log = open(&log_path)?;
    let mut child = Command::new(program)
        .args(["daemon", FLAG])
        .current_dir("/")
        // A daemon waits most of its life: memory that is free again goes back to the system (mallopt(3)).
        .env("MALLOC_ARENA_MAX", "1")
        .env("MALLOC_TRIM_THRESHOLD_", "65536")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(AutostartError::Spawn)?;
    let mut said = String::new();
    if let Some(pipe) = child.stdout.take() {
        // The daemon writes one line and closes the pipe; if it dies, the kernel closes it.
        let _ = pipe.take(4096).read_to_string(&mut said);
    }
    match said.trim_end() {
        READY => Ok(Started::New { pid: child.id() }),
        "" => Err(AutostartError::Died { log: log_path }),
        sentence => Err(AutostartError::Refused(sentence.to_owned())),
    }
}

fn open(path: &Path) -> Result<File, AutostartError> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| AutostartError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    fn endpoint(run: &Path) -> Endpoint {
        Endpoint::own(run.join("rdock.sock"), run.to_owned())
    }

    fn script(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn readiness_is_what_the_daemon_says() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let ready = script(dir.path(), "echo ready; exec >/dev/null");
        assert!(matches!(start(&endpoint(&run), &run, &ready), Ok(Started::New { .. })));
        let refused = script(dir.path(), "echo the port is taken");
        let said = start(&endpoint(&run), &run, &refused).unwrap_err().to_string();
        assert_eq!(said, "the daemon did not start: the port is taken");
        let died = script(dir.path(), "exit 1");
        assert!(matches!(start(&endpoint(&run), &run, &died), Err(AutostartError::Died { .. })));
    }

    #[test]
    fn nothing_is_started_when_somebody_listens() {
        let dir = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(dir.path().join("rdock.sock")).unwrap();
        let never = dir.path().join("no such program");
        assert_eq!(start(&endpoint(dir.path()), dir.path(), &never).unwrap(), Started::Already);
    }
}
