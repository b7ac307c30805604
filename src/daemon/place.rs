//! What a daemon holds while it runs: the lock of its home, its socket, its pid file.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Mode of the socket: its owner and group.
const SOCKET_MODE: u32 = 0o660;
/// Mode of the directory for run-time files: anybody may pass through, nobody else may look.
const RUN_MODE: u32 = 0o711;
/// Mode of the data directory.
const DATA_MODE: u32 = 0o711;

/// The daemon cannot have its place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("a daemon already serves {} (process {pid}); one home has one daemon", .run.display())]
    Taken { run: PathBuf, pid: String },
    #[error("cannot use {}: {source}", .path.display())]
    Path { path: PathBuf, source: io::Error },
    #[error("{} belongs to somebody else (user {owner}), or others may write there: choose another RDOCK_HOME", .path.display())]
    Foreign { path: PathBuf, owner: u32 },
    #[error("cannot listen on {}: {source}", .socket.display())]
    Listen { socket: PathBuf, source: io::Error },
    #[error("cannot listen on {}: the path is longer than a socket's may be (107 bytes); choose a shorter RDOCK_HOME", .0.display())]
    TooLong(PathBuf),
}

/// A home taken by this process. Dropping it removes the socket and the pid file; the lock goes with the process.
#[derive(Debug)]
pub struct Place {
    socket: PathBuf,
    pid_file: PathBuf,
    _lock: File,
}

impl Place {
    /// Makes the directories, takes the lock, listens. What a killed daemon left is replaced.
    pub fn take(data: &Path, run: &Path, socket: &Path) -> Result<(Place, UnixListener), PlaceError> {
        make_dir(data, DATA_MODE)?;
        make_dir(run, RUN_MODE)?;
        own(run)?;
        let pid_file = run.join("daemon.pid");
        let lock = lock(&run.join("daemon.lock"))?.ok_or_else(|| PlaceError::Taken {
            run: run.to_owned(),
            pid: std::fs::read_to_string(&pid_file).unwrap_or_default().trim().to_owned(),
        })?;
        let listener = listen(socket)?;
        write_pid(&pid_file)?;
        Ok((Place { socket: socket.to_owned(), pid_file, _lock: lock }, listener))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        let _ = std::fs::remove_file(&self.pid_file);
    }
}

/// The lock of a home; none when a daemon holds it (flock(2): it ends with the process, however that ends).
pub fn lock(path: &Path) -> Result<Option<File>, PlaceError> {
    let wrong = |source| PlaceError::Path { path: path.to_owned(), source };
    let file = File::options().create(true).append(true).open(path).map_err(wrong)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(source)) => Err(wrong(source)),
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), PlaceError> {
    let wrong = |source| PlaceError::Path { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(wrong)
}

/// In a directory that everybody may write to (/tmp) somebody else may have made ours before us, to listen or to look there.
fn own(path: &Path) -> Result<(), PlaceError> {
    let wrong = |source| PlaceError::Path { path: path.to_owned(), source };
    let meta = std::fs::symlink_metadata(path).map_err(wrong)?;
    let (owner, mode) = (meta.uid(), meta.mode());
    if owner == nix::unistd::geteuid().as_raw() && mode & 0o022 == 0 && meta.is_dir() {
        return Ok(());
    }
    Err(PlaceError::Foreign { path: path.to_owned(), owner })
}

/// Listens on `socket`. Nobody else can: the lock is ours, so a file there is what a killed daemon left.
fn listen(socket: &Path) -> Result<UnixListener, PlaceError> {
    let wrong = |source: io::Error| match source.kind() {
        io::ErrorKind::InvalidInput => PlaceError::TooLong(socket.to_owned()),
        _ => PlaceError::Listen { socket: socket.to_owned(), source },
    };
    if std::os::unix::net::UnixStream::connect(socket).is_ok() {
        let source = io::Error::new(io::ErrorKind::AddrInUse, "another program listens there");
        return Err(PlaceError::Listen { socket: socket.to_owned(), source });
    }
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(wrong(e)),
        _ => {}
    }
    // Nobody may connect in the moment between the making and the change of mode.
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(socket);
    nix::sys::stat::umask(before);
    let listener = bound.map_err(wrong)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(SOCKET_MODE)).map_err(wrong)?;
    listener.set_nonblocking(true).map_err(wrong)?;
    Ok(listener)
}

/// Written whole or not at all: who reads it must not see half a number.
fn write_pid(path: &Path) -> Result<(), PlaceError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let written = tempfile::NamedTempFile::new_in(dir).and_then(|mut file| {
        writeln!(file, "{}", std::process::id())?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.persist(path).map_err(|e| e.error)
    });
    written.map(drop).map_err(|source| PlaceError::Path { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(root: &Path) -> Result<(Place, UnixListener), PlaceError> {
        Place::take(&root.join("data"), &root.join("run"), &root.join("run/rdock.sock"))
    }

    #[test]
    fn one_home_has_one_daemon() {
        let root = tempfile::tempdir().unwrap();
        let (place, _listener) = take(root.path()).unwrap();
        let said = take(root.path()).unwrap_err().to_string();
        assert!(said.contains(&format!("(process {})", std::process::id())), "{said}");
        drop(place);
        assert!(!root.path().join("run/rdock.sock").exists());
        assert!(!root.path().join("run/daemon.pid").exists());
    }

    #[test]
    fn a_directory_that_others_may_write_to_or_a_link_is_no_place() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("run");
        std::fs::create_dir(&run).unwrap();
        std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(take(root.path()), Err(PlaceError::Foreign { .. })));
        std::fs::remove_dir(&run).unwrap();
        std::fs::create_dir(root.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &run).unwrap();
        assert!(matches!(take(root.path()), Err(PlaceError::Foreign { .. })));
        if nix::unistd::geteuid().is_root() {
            std::fs::remove_file(&run).unwrap();
            std::fs::create_dir(&run).unwrap();
            std::os::unix::fs::chown(&run, Some(65432), None).unwrap();
            let said = take(root.path()).unwrap_err().to_string();
            assert!(said.contains("belongs to somebody else (user 65432)"), "{said}");
        }
    }

    #[test]
    fn what_a_killed_daemon_left_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("run")).unwrap();
        let socket = root.path().join("run/rdock.sock");
        drop(UnixListener::bind(&socket).unwrap());
        std::fs::write(root.path().join("run/daemon.pid"), "1\n").unwrap();
        let (_place, _listener) = take(root.path()).unwrap();
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, SOCKET_MODE);
        let pid = std::fs::read_to_string(root.path().join("run/daemon.pid")).unwrap();
        assert_eq!(pid.trim(), std::process::id().to_string());
    }

    #[test]
    fn a_path_that_is_too_long_is_named() {
        let root = tempfile::tempdir().unwrap();
        let long = root.path().join("x".repeat(120));
        let said = Place::take(&long, &long, &long.join("rdock.sock")).unwrap_err().to_string();
        assert!(said.contains("choose a shorter RDOCK_HOME"), "{said}");
    }
}
