//! Composition root: where everything of one rdock lives, and which kernel it uses.

use crate::cli::error::Failure;
use crate::cli::{self, Processes};
use std::path::PathBuf;
use std::process::ExitCode;

/// Where one rdock keeps its things (`interface.md`): two homes never disturb each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// What stays: `content/`, `snapshots/`, `containers/`, `hub/`.
    pub data: PathBuf,
    /// What lives as long as the machine runs: `rdock.sock`, `daemon.pid`, `containers/<id>/shim.sock`.
    pub run: PathBuf,
}

impl Home {
    /// `RDOCK_HOME` if set (`data/`, `run/` below it), else `/var/lib/rdock` and `/run/rdock` for root,
    /// else `$XDG_DATA_HOME/rdock` (or `~/.local/share/rdock`) and `$XDG_RUNTIME_DIR/rdock` (or `/tmp/rdock-UID`).
    pub fn from_env() -> Home {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(home) = var("RDOCK_HOME") {
            let home = std::path::absolute(&home).unwrap_or(home);
            return Home { data: home.join("data"), run: home.join("run") };
        }
        let uid = nix::unistd::geteuid();
        if uid.is_root() {
            return Home { data: "/var/lib/rdock".into(), run: "/run/rdock".into() };
        }
        let data = var("XDG_DATA_HOME")
            .or_else(|| var("HOME").map(|h| h.join(".local/share")))
            .unwrap_or_else(|| PathBuf::from(format!("/tmp/rdock-data-{uid}")));
        let run = var("XDG_RUNTIME_DIR").unwrap_or_else(|| PathBuf::from(format!("/tmp/rdock-{uid}")));
        Home { data: data.join("rdock"), run: run.join("rdock") }
    }

    /// The Engine API's unix socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("rdock.sock")
    }

    /// A short, stable name of this home, for things that are named system-wide (cgroups, bridges): 8 hex
    /// characters of a digest of the data directory.
    pub fn tag(&self) -> String {
        use sha2::Digest as _;
        let sum = sha2::Sha256::digest(self.data.as_os_str().as_encoded_bytes());
        sum.iter().take(4).map(|b| format!("{b:02x}")).collect()
    }
}

/// The command line of the client; the daemon is one of its commands.
pub fn cli() -> ExitCode {
    let home = Home::from_env();
    let processes = Processes {
        socket: home.socket(),
        run: home.run,
        program: std::env::current_exe().unwrap_or_else(|_| "rdock".into()),
        daemon,
        hub,
    };
    cli::main(std::env::args_os().skip(1).collect(), processes)
}

/// `rdock daemon [run|stop]`.
fn daemon(_args: &cli::daemon::Daemon) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `rdock hub serve`.
fn hub(_args: &cli::hub::HubServe) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}
