//! How the processes of a container tell what they do: a socket of each goes to whoever explains.

use crate::shim::protocol::TraceContext;
use crate::trace::TraceId;
use crate::trace::layer::current_context;
use crate::trace::transport::Hub;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Gives a new process a way to tell what it does, when somebody listens to the trace that the caller is in.
pub trait Producers: Send + Sync {
    /// The trace, and the socket that goes to the shim. Called where a tokio runtime is.
    fn attach(&self) -> Option<(TraceContext, OwnedFd)>;
}

impl Producers for Arc<Hub> {
    fn attach(&self) -> Option<(TraceContext, OwnedFd)> {
        let (trace_id, parent) = current_context()?;
        let trace: TraceId = trace_id.parse().ok()?;
        let (mine, theirs) = UnixStream::pair().ok()?;
        self.attach_producer(trace, mine).ok()?;
        Some((TraceContext { trace_id, parent }, theirs.into()))
    }
}
