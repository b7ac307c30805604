//! One small process per container: it holds the terminal and the log, and outlives the daemon.
//!
//! Synchronous and single-threaded, no tokio: it makes the container's first process by copying itself
//! (clone3(2)), which only a process with one thread may do.

mod attach;
pub mod groups;
pub mod leftovers;
mod log;
mod mother;
pub mod packet;
pub mod protocol;
mod server;
mod sessions;
mod streams;
pub mod words;

use crate::kernel::linux::LinuxKernel;
use crate::kernel::traced::Traced;
use nix::unistd::{dup2_stdin, setsid};
use packet::Connection;
use protocol::{Failure, Reply, Request};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitCode;

/// The process `rdock shim`: standard input is a connection to the daemon, whose first message is
/// [`Request::Start`]. Ends when the container has ended.
pub fn main() -> ExitCode {
    let connection = match daemon_connection() {
        Ok(connection) => connection,
        Err(error) => {
            eprintln!("rdock shim: standard input is no connection to a daemon: {error}");
            return ExitCode::from(125);
        }
    };
    // Away from the daemon's session: a signal to its terminal or group is not for the container.
    let _ = setsid();
    let mut first = connection.receive();
    let mut prepared = None;
    if let Ok(Some((Request::Prepare { cgroup }, _))) = first {
        prepared = mother::Prepared::make(cgroup, &connection);
        first = connection.receive();
    }
    match first {
        Ok(Some((Request::Start(start), fds))) => {
            let kernel = Traced(LinuxKernel);
            match server::Shim::start(&kernel, *start, fds, connection, prepared) {
                Ok(shim) => shim.serve(),
                Err((connection, failure)) => {
                    crate::trace::flush();
                    let _ = connection.send(&Reply::Failed(failure), &[]);
                    ExitCode::from(125)
                }
            }
        }
        Ok(Some(_)) => {
            let message = "the first request must be start".to_owned();
            let _ = connection.send(&Reply::Failed(Failure::internal(message)), &[]);
            ExitCode::from(125)
        }
        // The daemon went away without a word: there is nothing to do and nothing was made.
        Ok(None) | Err(_) => ExitCode::SUCCESS,
    }
}

/// Takes the connection from descriptor 0 and puts `/dev/null` there.
fn daemon_connection() -> std::io::Result<Connection> {
    let connection: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned()?;
    let null = std::fs::File::open("/dev/null")?;
    dup2_stdin(&null)?;
    Ok(Connection::new(connection))
}
