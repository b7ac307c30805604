//! `/rdock/v1/trace/…`: the daemon's side of an explanation.

use super::hijack::{Input, Output};
use super::http::Call;
use super::query::Query;
use super::{Client, ClientError};
use std::io;

/// The events of one trace, as NDJSON in pieces of any size.
pub struct TraceStream(Output);

/// Says that enough has been seen.
pub struct TraceEnd(Input);

impl Client {
    /// `GET /rdock/v1/trace/{id}`: from now on the daemon keeps what it does for this trace, and sends it here, what
    /// comes within `batch` milliseconds together. None: the daemon does not explain (it is another engine).
    pub async fn trace_open(&self, id: &str, batch: u32) -> Result<Option<(TraceStream, TraceEnd)>, ClientError> {
        let call = Call::get(format!("/rdock/v1/trace/{id}")).query(Query::new().with("batch", &batch.to_string()));
        match self.hijack(call).await {
            Ok(hijacked) => Ok(Some((TraceStream(hijacked.output), TraceEnd(hijacked.input)))),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl TraceStream {
    /// Reads the next piece into `buf`, which is replaced; false when the trace is finished.
    pub async fn piece(&mut self, buf: &mut Vec<u8>) -> io::Result<bool> {
        self.0.read(buf).await
    }
}

impl TraceEnd {
    /// What has been written by now is sent, then the stream ends.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.0.finish().await
    }
}
