//! Starting shims, and finding again those of a daemon that was here before.

use super::lock;
use crate::shim::leftovers::Leftovers;
use crate::shim::packet::Connection;
use crate::shim::protocol::Request;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket, socketpair};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

/// How long a shim that has said its last word may take to end.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// Starts shims; the tests have one that makes no process.
pub trait Launch: Send + Sync {
    /// A shim that waits for its [`Request::Start`]. Called where a tokio runtime is.
    ///
    /// # Errors
    /// What the system answers.
    fn launch(&self) -> io::Result<Launched>;

    /// Makes the next launch faster, when nothing else is to be done.
    fn prepare_next(&self) {}

    /// Hands over what was prepared, to be ended: nothing more is prepared from here on.
    fn give_up(&self) -> Vec<Launched> {
        vec![]
    }
}

/// A shim without a container.
pub struct Launched {
    pub connection: OwnedFd,
    pub process: ShimProcess,
    /// It was started before it was asked for, and made control groups of this name.
    pub spare: Option<String>,
}

/// The shim's process, as far as it is this daemon's child.
pub struct ShimProcess(Option<tokio::process::Child>);

impl ShimProcess {
    /// Not our child: a shim of the daemon before, or of a test.
    pub fn foreign() -> Self {
        ShimProcess(None)
    }

    /// The pid, as this process numbers it; 0 when it is not ours.
    pub fn pid(&self) -> u32 {
        self.0.as_ref().and_then(tokio::process::Child::id).unwrap_or(0)
    }

    fn is_alive(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Waits for its end, so that no zombie stays; one that does not end in time is killed. Whether it ended by itself.
    pub async fn reap(mut self) -> bool {
        let Some(child) = &mut self.0 else { return true };
        let by_itself = tokio::time::timeout(LAST_MOMENT, child.wait()).await.is_ok();
        if !by_itself {
            self.kill().await;
        }
        by_itself
    }

    /// Ends it, whatever it does. One that hangs in the kernel is left to the runtime, which reaps it some day.
    pub async fn kill(mut self) {
        if let Some(child) = &mut self.0 {
            let _ = tokio::time::timeout(LAST_MOMENT, child.kill()).await;
        }
    }
}

/// Runs this program again as `rdock shim`.
pub struct Shims {
    /// Directory of `shim.log`, where what shims have to complain about goes.
    run: PathBuf,
    /// Name of the control groups that a spare shim makes in advance: this and a number. None: no spare shims.
    spare_group: Option<String>,
    leftovers: Leftovers,
    /// This program, on a mount that nobody can write through ([`crate::app`] makes it); none where that can't be had.
    program: Option<OwnedFd>,
    spare: Mutex<Spares>,
}

/// Shims that are kept ready, the oldest first.
#[derive(Default)]
struct Spares {
    /// How many were made so far: the next one's number.
    made: u64,
    ready: VecDeque<Launched>,
    /// The daemon ends.
    over: bool,
}

/// So many are kept ready: making one takes longer than running a short container, so that a second one is needed
/// when commands follow each other without a pause.
const READY: usize = 2;

impl Shims {
    /// `spare_group`: `rdock-<tag>-spare`, to keep one shim ready; none to start each when it is asked for.
    /// `program`: what is started, by default this process's own.
    pub fn new(run: PathBuf, spare_group: Option<String>, leftovers: Leftovers, program: Option<OwnedFd>) -> Shims {
        Shims { run, spare_group, leftovers, program, spare: Mutex::default() }
    }

    /// Standard input is the connection; no environment, so nothing of the daemon's gets into a container; no code
    /// runs between fork and exec, so that posix_spawn(3) is used and this process is not copied.
    fn spawn(&self) -> io::Result<Launched> {
        let (mine, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let log = OpenOptions::new().create(true).append(true).open(self.run.join("shim.log"))?;
        let program = match &self.program {
            Some(fd) => format!("/proc/self/fd/{}", fd.as_raw_fd()),
            None => "/proc/self/exe".to_owned(),
        };
        let child = tokio::process::Command::new(program)
            .arg0("rdock")
            .arg("shim")
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()?;
        Ok(Launched { connection: mine, process: ShimProcess(Some(child)), spare: None })
    }
}

impl Launch for Shims {
    fn launch(&self) -> io::Result<Launched> {
        loop {
            // In a statement of its own: the lock is not held any longer.
            let spare = lock(&self.spare).ready.pop_front();
            let Some(mut spare) = spare else { break };
            if spare.process.is_alive() {
                return Ok(spare);
            }
            // Somebody killed it, and its groups are still there.
            let leftovers = self.leftovers.clone();
            tokio::task::spawn_blocking(move || {
                if let Some(Err(error)) = spare.spare.map(|group| leftovers.clear(&group)) {
                    tracing::warn!(%error, "a control group stays");
                }
            });
        }
        self.spawn()
    }

    fn prepare_next(&self) {
        let Some(group) = &self.spare_group else { return };
        let mut spare = lock(&self.spare);
        while !spare.over && spare.ready.len() < READY {
            // A spare that can't be had is no error: the next launch starts its own.
            let Ok(launched) = self.spawn() else { return };
            spare.made += 1;
            let cgroup = format!("{group}-{}-{}", std::process::id(), spare.made);
            let connection = launched.connection.try_clone();
            let request = Request::Prepare { cgroup: cgroup.clone() };
            let asked = connection.and_then(|c| Connection::new(c).send(&request, &[]));
            if asked.is_err() {
                return;
            }
            spare.ready.push_back(Launched { spare: Some(cgroup), ..launched });
        }
    }

    fn give_up(&self) -> Vec<Launched> {
        let mut spare = lock(&self.spare);
        spare.over = true;
        spare.ready.drain(..).collect()
    }
}

/// Connects to the shim that listens in this run directory.
///
/// # Errors
/// `NotFound` where none was, `ConnectionRefused` where one was killed.
pub fn reconnect(run_dir: &Path) -> io::Result<OwnedFd> {
    let connection = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    // Paths of unix sockets are short (108 bytes): the directory is named by its descriptor.
    let directory = File::open(run_dir)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join("shim.sock");
    connect(connection.as_raw_fd(), &UnixAddr::new(&short)?)?;
    Ok(connection)
}
