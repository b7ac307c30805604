//! For the tests of all modules: what do these lines explain?

use super::layer::process_layer;
use super::{Collector, TraceEvent, TraceId};
use std::sync::Arc;
use tracing_subscriber::layer::SubscriberExt;

/// Collects the events of the calling thread (of a current-thread runtime: of all its tasks) while it lives.
pub struct Capture {
    sink: Arc<Collector>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Capture {
    pub fn start() -> Capture {
        let sink = Arc::new(Collector::default());
        let layer = process_layer(TraceId::random(), None, sink.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        Capture { sink, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The events so far, in the order in which they ended.
    pub fn take(&self) -> Vec<TraceEvent> {
        self.sink.take()
    }
}

/// What `f` explains.
pub fn capture(f: impl FnOnce()) -> Vec<TraceEvent> {
    let capture = Capture::start();
    f();
    capture.take()
}
