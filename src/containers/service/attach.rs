//! Attaching to a container's streams, before its start or while it runs.
//!
//! The daemon moves no bytes: it makes a pair of sockets, hands one end to the shim and the other to the client's
//! connection. Ends that were made before the start go to the shim with the start itself, so that nothing of a
//! short-lived container's output is lost.

use super::*;
use crate::shim::packet::MAX_FDS;
use crate::shim::protocol::Request;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd as _;
use tokio::net::UnixStream;

/// One descriptor of the start message is kept for the trace.
const MAX_PENDING: usize = MAX_FDS - 1;

/// Which streams, as the Engine API's query has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Follow the container's streams; without it the stream ends at once.
    pub stream: bool,
    /// Replay what was written before (not built yet: nothing is replayed).
    pub logs: bool,
}

impl Containers {
    /// A stream that carries the container's output as the Engine API frames it (raw with a terminal), and takes
    /// its input; the end of input is the shut-down of the writing half. Attached to a container that does not run
    /// it waits for the start.
    ///
    /// # Errors
    /// No such container; too many streams; the shim can't be reached.
    pub async fn attach(&self, id_or_name: &str, options: AttachOptions) -> Result<UnixStream, ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let asked = id_or_name.to_owned();
        let inner = self.inner.clone();
        to_the_end(async move {
            let stream = attach(&entry, &asked, options).await?;
            inner.tell(&entry.record(), "attach", []);
            Ok(stream)
        })
        .await
    }
}

async fn attach(entry: &Entry, asked: &str, options: AttachOptions) -> Result<UnixStream, ContainerError> {
    // A start under way either takes this stream along or is over.
    let _command = entry.command.lock().await;
    if entry.is_removed() {
        return Err(names::LookupError::NoSuch(asked.into()).into());
    }
    let io = |source| ContainerError::Io { step: "make a stream", source };
    let (mine, theirs) = std::os::unix::net::UnixStream::pair().map_err(io)?;
    mine.set_nonblocking(true).map_err(io)?;
    let mine = UnixStream::from_std(mine).map_err(io)?;
    let record = entry.record();
    let open_stdin = record.config.open_stdin.unwrap_or(false);
    let wants = Attach { stdin: options.stdin && open_stdin, stdout: options.stdout, stderr: options.stderr };
    if !options.stream {
        return Ok(mine);
    }
    match entry.shim() {
        Some(shim) => shim.ask(&Request::Attach(wants), vec![theirs.into()]).await?,
        None => {
            let mut pending = lock(&entry.pending);
            pending.retain(|(_, end)| !is_hung_up(end));
            if pending.len() >= MAX_PENDING {
                return Err(ContainerError::TooManyAttached { id: record.id.clone(), max: MAX_PENDING });
            }
            pending.push((wants, theirs.into()));
        }
    }
    Ok(mine)
}

/// The client has gone. One that has only ended its input (`echo | docker run -i`) has not.
fn is_hung_up(end: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(end.as_fd(), PollFlags::empty())];
    let _ = poll(&mut fds, PollTimeout::ZERO);
    fds[0].revents().is_some_and(|flags| flags.contains(PollFlags::POLLHUP))
}
