//! `/rdock/v1/trace/…`: the daemon's side of an explanation.

use super::http::{Answer, Call};
use super::{Client, ClientError};

/// The events of one trace, as NDJSON in pieces of any size.
pub struct TraceStream(Answer);

impl Client {
    /// `GET /rdock/v1/trace/{id}`: from now on the daemon keeps what it does for this trace, and sends it here.
    /// None: the daemon does not explain (it is another engine).
    pub async fn trace_open(&self, id: &str) -> Result<Option<TraceStream>, ClientError> {
        match self.stream(Call::get(format!("/rdock/v1/trace/{id}"))).await {
            Ok(answer) => Ok(Some(TraceStream(answer))),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// `POST /rdock/v1/trace/{id}/finish`: what is written is sent, then the stream ends.
    pub async fn trace_finish(&self, id: &str) -> Result<(), ClientError> {
        self.call(Call::post(format!("/rdock/v1/trace/{id}/finish"))).await.map(drop)
    }
}

impl TraceStream {
    /// The next piece; none when the trace is finished.
    pub async fn piece(&mut self) -> Result<Option<bytes::Bytes>, ClientError> {
        self.0.piece().await
    }
}
