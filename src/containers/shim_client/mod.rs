//! The daemon's end of a shim: requests and their replies over a `SOCK_SEQPACKET` connection
//! ([`crate::shim::protocol`]), and the news of how the container ended.

mod launch;

pub use launch::{Launch, Launched, ShimProcess, Shims, reconnect};

use crate::shim::packet::Connection;
use crate::shim::protocol::{ExitRecord, Reply, Request};
use nix::sys::socket::{Shutdown, shutdown};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::sync::{oneshot, watch};

/// A lock that a panicking holder does not take from everybody else: the values behind it are always whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShimError {
    #[error("the shim is gone")]
    Gone,
    #[error("the shim gives no answer: to end it and its container, kill its process (rdock shim)")]
    Silent,
    #[error("the shim refused: {0}")]
    Refused(String),
    #[error("the shim can't be reached: {0}")]
    Io(String),
    #[error("the shim gave an answer that does not belong to the request: {0}")]
    Unexpected(String),
}

/// How long a shim may take to answer what it can answer at once.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The shim told how the container ended.
    Exited(ExitRecord),
    /// The connection broke before: the shim was killed.
    Broken,
}

/// Who waits for the next reply.
struct Waiting {
    /// [`Request::State`] may be answered by [`Reply::Exited`], which otherwise belongs to no request.
    state: bool,
    answer: oneshot::Sender<Reply>,
}

struct Shared {
    connection: Connection,
    /// The same socket, as the runtime watches it. It is no stream, but readiness is the same, and unlike `AsyncFd`
    /// this type takes a descriptor over without `unsafe`.
    readiness: tokio::net::UnixStream,
    /// Requests without a reply yet; none when no more replies will come.
    waiting: Mutex<Option<VecDeque<Waiting>>>,
    ended: watch::Sender<Option<Ended>>,
    /// Who waits for the end of which process that was started besides; none when no news will come any more.
    execs: Mutex<Option<HashMap<String, oneshot::Sender<i32>>>>,
}

/// A connection to one shim. Dropped, it closes; the container goes on.
pub struct Client {
    shared: Arc<Shared>,
    /// Replies come in the order of requests, so requests are queued and sent under one lock.
    sending: tokio::sync::Mutex<()>,
    reader: tokio::task::AbortHandle,
}

impl Drop for Client {
    fn drop(&mut self) {
        // The reader still holds the descriptor until the runtime gets to it; the shim need not wait for that.
        let _ = shutdown(self.shared.connection.as_raw_fd(), Shutdown::Both);
        self.reader.abort();
    }
}

impl Client {
    /// Takes over a connection. Needs a tokio runtime.
    ///
    /// # Errors
    /// What dup(2), fcntl(2) and epoll answer.
    pub fn new(connection: OwnedFd) -> io::Result<Client> {
        let watched = std::os::unix::net::UnixStream::from(connection.try_clone()?);
        watched.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            connection: Connection::new(connection),
            readiness: tokio::net::UnixStream::from_std(watched)?,
            waiting: Mutex::new(Some(VecDeque::new())),
            ended: watch::Sender::new(None),
            execs: Mutex::new(Some(HashMap::new())),
        });
        let reader = tokio::spawn(read(shared.clone())).abort_handle();
        Ok(Client { shared, sending: tokio::sync::Mutex::default(), reader })
    }

    /// Sends a request, descriptors beside it, and waits for its reply. The descriptors are closed here.
    ///
    /// # Errors
    /// [`ShimError::Gone`] when the shim ends before it replies; [`ShimError::Refused`] in its words.
    pub async fn request(&self, request: &Request, fds: Vec<OwnedFd>) -> Result<Reply, ShimError> {
        let (answer, reply) = oneshot::channel();
        {
            let _order = self.sending.lock().await;
            let state = matches!(request, Request::State);
            match &mut *lock(&self.shared.waiting) {
                Some(waiting) => waiting.push_back(Waiting { state, answer }),
                None => return Err(ShimError::Gone),
            }
            let sent = self.send(request, &fds).await;
            drop(fds);
            if let Err(error) = sent {
                lock(&self.shared.waiting).as_mut().and_then(VecDeque::pop_back);
                return Err(match error.raw_os_error() {
                    Some(libc::EPIPE | libc::ECONNRESET) => ShimError::Gone,
                    _ => ShimError::Io(error.to_string()),
                });
            }
        }
        match reply.await {
            Ok(Reply::Refused { message }) => Err(ShimError::Refused(message)),
            Ok(reply) => Ok(reply),
            Err(_) => Err(ShimError::Gone),
        }
    }

    /// As [`Client::request`], for requests whose only good reply is [`Reply::Done`].
    ///
    /// # Errors
    /// As there.
    pub async fn ask(&self, request: &Request, fds: Vec<OwnedFd>) -> Result<(), ShimError> {
        let reply = tokio::time::timeout(ANSWER_PATIENCE, self.request(request, fds)).await;
        match reply.map_err(|_| ShimError::Silent)?? {
            Reply::Done => Ok(()),
            other => Err(ShimError::Unexpected(format!("{other:?}"))),
        }
    }

    /// The exit status of a process that is about to be started with this id. To be asked for before it is started, so
    /// that its end is not missed; an error when the shim ends without telling.
    pub fn exec_ended(&self, id: &str) -> oneshot::Receiver<i32> {
        let (tell, told) = oneshot::channel();
        if let Some(execs) = lock(&self.shared.execs).as_mut() {
            execs.retain(|_, waiting| !waiting.is_closed());
            execs.insert(id.to_owned(), tell);
        }
        told
    }

    async fn send(&self, request: &Request, fds: &[OwnedFd]) -> io::Result<()> {
        let raw: Vec<_> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        let Shared { connection, readiness, .. } = &*self.shared;
        readiness.async_io(Interest::WRITABLE, || connection.send(request, &raw)).await
    }

    /// Waits until the container has ended or the connection has broken.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.shared.ended.subscribe();
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(how)) => how.clone(),
            _ => Ended::Broken,
        }
    }
}

/// Reads replies until the connection ends.
async fn read(shared: Arc<Shared>) {
    loop {
        let packet = shared.readiness.async_io(Interest::READABLE, || shared.connection.receive::<Reply>()).await;
        let Ok(Some((reply, _))) = packet else { break };
        if let Reply::Exited(record) = &reply {
            let how = Ended::Exited(record.clone());
            shared.ended.send_if_modified(|ended| ended.is_none() && ended.replace(how).is_none());
        }
        if let Reply::ExecEnded { id, code } = &reply {
            let told = lock(&shared.execs).as_mut().and_then(|execs| execs.remove(id));
            let _ = told.map(|told| told.send(*code));
            continue;
        }
        let mut waiting = lock(&shared.waiting);
        let Some(waiting) = waiting.as_mut() else { break };
        let for_nobody = matches!(reply, Reply::Exited(_)) && !waiting.front().is_some_and(|w| w.state);
        if !for_nobody && let Some(next) = waiting.pop_front() {
            let _ = next.answer.send(reply);
        }
    }
    shared.ended.send_if_modified(|ended| ended.is_none() && ended.replace(Ended::Broken).is_none());
    // Whoever still waits is told by the drop of its sender.
    lock(&shared.waiting).take();
    lock(&shared.execs).take();
}

#[cfg(test)]
mod tests;
