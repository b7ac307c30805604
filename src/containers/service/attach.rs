//! Attaching to a container's streams, before its start or while it runs.
//!
//! The daemon moves no bytes: it makes a pair of sockets, hands one end to the shim and the other to the client's
//! connection. Ends that were made before the start go to the shim with the start itself, so that nothing of a
//! short-lived container's output is lost.

use super::super::logs::{Form, LogOptions};
use super::super::shim_client::ShimError;
use super::*;
use crate::shim::packet::MAX_FDS;
use crate::shim::protocol::{Reply, Request};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd as _;
use tokio::io::AsyncWriteExt as _;
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
    /// What was written before comes first.
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
            let stream = inner.attach(&entry, &asked, options).await?;
            inner.tell(&entry.record(), "attach", []);
            Ok(stream)
        })
        .await
    }

    /// Somebody has left the container's terminal by the keys for it; the container goes on.
    pub fn left(&self, id: &str) {
        if let Ok(entry) = self.inner.find(id) {
            self.inner.tell(&entry.record(), "detach", []);
        }
    }
}

impl Inner {
    async fn attach(&self, entry: &Entry, asked: &str, options: AttachOptions) -> Result<UnixStream, ContainerError> {
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
        let stdin = options.stdin && record.config.open_stdin.unwrap_or(false);
        let after_log = options.logs && keeps_log(&record);
        let wants = Attach { stdin, stdout: options.stdout, stderr: options.stderr, after_log };
        let shim = entry.shim().filter(|_| options.stream);
        match shim {
            Some(shim) if after_log => match shim.request(&Request::Attach(wants), vec![theirs.into()]).await? {
                Reply::Attached { inode, size } => self.with_log(&record, options, Some((inode, size)), mine),
                other => Err(ShimError::Unexpected(format!("{other:?}")).into()),
            },
            Some(shim) => {
                shim.ask(&Request::Attach(wants), vec![theirs.into()]).await?;
                Ok(mine)
            }
            None if !options.stream => match after_log {
                true => self.with_log(&record, options, None, mine),
                false => Ok(mine),
            },
            None => {
                let mut pending = lock(&entry.pending);
                pending.retain(|(_, end)| !is_hung_up(end));
                if pending.len() >= MAX_PENDING {
                    return Err(ContainerError::TooManyAttached { id: record.id.clone(), max: MAX_PENDING });
                }
                pending.push((wants, theirs.into()));
                drop(pending);
                if after_log { self.with_log(&record, options, None, mine) } else { Ok(mine) }
            }
        }
    }

    /// A stream that has the log before what `live` has; the log ends at a byte of one of its files, or where it ends
    /// now.
    fn with_log(
        &self,
        record: &Record,
        options: AttachOptions,
        end: Option<(u64, u64)>,
        live: UnixStream,
    ) -> Result<UnixStream, ContainerError> {
        let io = |source| ContainerError::Io { step: "make a stream", source };
        let (client, mut ours) = UnixStream::pair().map_err(io)?;
        let bundle = self.store.bundle(&record.id);
        let wanted = LogOptions { stdout: options.stdout, stderr: options.stderr, ..LogOptions::default() };
        let form = Form::new(wanted, !record.config.tty.unwrap_or(false));
        let (sender, mut pieces) = tokio::sync::mpsc::channel(4);
        let read = blocking(move || {
            let read = super::logs::before(&bundle, form, end, sender);
            read.map_err(|source| ContainerError::Io { step: "read the log", source })
        });
        let carry = async move {
            let written = async {
                while let Some(piece) = pieces.recv().await {
                    ours.write_all(&piece).await?;
                }
                Ok::<_, std::io::Error>(())
            };
            let (read, written) = tokio::join!(read, written);
            if read.is_ok() && written.is_ok() {
                let mut live = live;
                let _ = tokio::io::copy_bidirectional(&mut ours, &mut live).await;
            }
        };
        tokio::spawn(carry.in_current_span());
        Ok(client)
    }
}

fn keeps_log(record: &Record) -> bool {
    let log = record.config.host_config.as_ref().and_then(|h| h.log_config.as_ref());
    log.and_then(|l| l.typ.as_deref()) != Some("none")
}

/// The client has gone. One that has only ended its input (`echo | docker run -i`) has not.
fn is_hung_up(end: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(end.as_fd(), PollFlags::empty())];
    let _ = poll(&mut fds, PollTimeout::ZERO);
    fds[0].revents().is_some_and(|flags| flags.contains(PollFlags::POLLHUP))
}
