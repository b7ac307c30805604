//! Where a process puts its events, and whether anybody listens.

use super::event::TraceEvent;
use super::ids::TraceId;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

static LISTENERS: AtomicUsize = AtomicUsize::new(0);

/// Whether anybody listens in this process. One relaxed atomic load.
pub fn enabled() -> bool {
    LISTENERS.load(Ordering::Relaxed) != 0
}

/// Somebody listens as long as this lives.
#[derive(Debug)]
pub(super) struct Listening(());

impl Listening {
    pub(super) fn start() -> Listening {
        LISTENERS.fetch_add(1, Ordering::Relaxed);
        Listening(())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Appends one event as a line of JSON, with its line feed. A sink has it written where the line is to lie: an event
/// that is passed on is never built as a value of its own.
pub type Line<'a> = &'a dyn Fn(&mut Vec<u8>);

/// Takes the events of one process. Implementations never wait for a reader for long and never fail: what can't
/// be kept is counted and reported as one `trace.dropped` event.
pub trait Sink: Send + Sync + 'static {
    /// Whether somebody wants the events of this trace.
    fn accepts(&self, trace: TraceId) -> bool;
    /// Keeps or sends one event of this trace.
    fn emit(&self, trace: TraceId, line: Line<'_>);
    /// Writes out what is buffered.
    fn flush(&self) {}
}

/// Most events that a [`Collector`] keeps.
pub const COLLECTOR_CAPACITY: usize = 1 << 18;

/// Keeps the events in memory: the client's sink, and that of tests.
#[derive(Debug, Default)]
pub struct Collector {
    state: Mutex<Collected>,
}

#[derive(Debug, Default)]
struct Collected {
    events: Vec<TraceEvent>,
    dropped: u64,
    last: Option<TraceEvent>,
}

impl Collector {
    /// Takes all events collected so far, in the order in which they ended.
    pub fn take(&self) -> Vec<TraceEvent> {
        let Ok(mut state) = self.state.lock() else {
            return Vec::new();
        };
        let mut events = std::mem::take(&mut state.events);
        if let Some(last) = state.last.take() {
            events.push(TraceEvent::dropped(&last, state.dropped));
            state.dropped = 0;
        }
        events
    }
}

impl Sink for Collector {
    fn accepts(&self, _: TraceId) -> bool {
        true
    }
    fn emit(&self, _: TraceId, line: Line<'_>) {
        if let Some(event) = read(line) {
            self.keep(event);
        }
    }
}

/// The event that a line is.
pub(super) fn read(line: Line<'_>) -> Option<TraceEvent> {
    let mut bytes = Vec::new();
    line(&mut bytes);
    serde_json::from_slice(&bytes).ok()
}

impl Collector {
    /// Keeps an event that is a value already.
    pub fn keep(&self, event: TraceEvent) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        if state.events.len() < COLLECTOR_CAPACITY {
            state.events.push(event);
        } else {
            state.dropped += 1;
            state.last = Some(event);
        }
    }
}
