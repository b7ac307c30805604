//! The daemon's hub: events come from its own steps and from shims, and go to whoever listens to their trace.
//!
//! Life of an explained command: the client opens its trace ([`Hub::open`]) and sends requests that name it; the
//! daemon's steps come from the layer, whose sink the hub is; each shim is given one end of a socket, and the
//! other is attached as a producer ([`Hub::attach_producer`]); when the client says that it has seen enough,
//! [`Hub::finish`] reads what the producers have already written and ends the stream.
//!
//! Nothing here waits: a listener that does not keep up loses events, and is told how many.

use super::decoder::{Decoder, encode, renumber};
use crate::trace::event::TraceEvent;
use crate::trace::ids::TraceId;
use crate::trace::sink::{Line, Listening, Sink};
use futures_util::Stream;
use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::sync::{Notify, mpsc};

/// Events that wait for one listener; more are dropped and counted.
pub const CAPACITY: usize = 1 << 16;

/// Bytes read from a producer at once, and how many such pieces before other tasks get their turn.
const PIECE: usize = 64 << 10;
const TURN: usize = 16;
/// Bytes that most events fit into.
const USUAL_LINE: usize = 512;
/// An end for a drain whose producer writes as fast as it is read.
const DRAIN_TURNS: usize = 64;

/// Joins producers and listeners by trace id. Cheap to share; all methods take `&self`.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    listeners: HashMap<u64, Listener>,
    /// Which listeners want a trace; `all` are in `watchers`.
    by_trace: HashMap<TraceId, Vec<u64>>,
    watchers: Vec<u64>,
    producers: HashMap<TraceId, Vec<Arc<Producer>>>,
}

#[derive(Debug)]
struct Listener {
    trace: Option<TraceId>,
    sender: mpsc::Sender<Told>,
    lost: Arc<Lost>,
    finished: Arc<Notify>,
    _listening: Listening,
}

/// An event on its way: a line that is passed on unread, or what the hub itself has to say.
#[derive(Debug, Clone)]
enum Told {
    Event(Box<TraceEvent>),
    Line(Arc<[u8]>),
}

impl Told {
    fn event(self) -> Option<TraceEvent> {
        match self {
            Told::Event(event) => Some(*event),
            Told::Line(line) => serde_json::from_slice(&line).ok(),
        }
    }
}

/// What a listener did not get.
#[derive(Debug, Default)]
struct Lost {
    count: AtomicU64,
    last: Mutex<Option<Told>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub fn new() -> Arc<Hub> {
        Hub::with_capacity(CAPACITY)
    }

    /// A hub whose listeners may be `capacity` events behind.
    pub fn with_capacity(capacity: usize) -> Arc<Hub> {
        Arc::new(Hub { state: Mutex::default(), capacity: capacity.max(1) })
    }

    /// Listens to one trace. Until the subscription is dropped or the trace is finished, its steps are recorded.
    pub fn open(self: &Arc<Self>, trace: TraceId) -> Subscription {
        self.subscribe(Some(trace))
    }

    /// Listens to one trace, or (none) to all.
    pub fn subscribe(self: &Arc<Self>, trace: Option<TraceId>) -> Subscription {
        let (sender, receiver) = mpsc::channel(self.capacity);
        let (lost, finished) = (Arc::new(Lost::default()), Arc::new(Notify::new()));
        let mut state = lock(&self.state);
        let id = state.next;
        state.next += 1;
        match trace {
            Some(trace) => state.by_trace.entry(trace).or_default().push(id),
            None => state.watchers.push(id),
        }
        let _listening = Listening::start();
        let listener = Listener { trace, sender, lost: lost.clone(), finished: finished.clone(), _listening };
        state.listeners.insert(id, listener);
        Subscription { id, receiver, lost, finished, hub: Arc::downgrade(self), delivered: 0 }
    }

    /// Hands an event to everybody who listens to its trace.
    #[cfg(test)]
    pub fn publish(&self, event: TraceEvent) {
        let trace = event.trace.parse::<TraceId>().ok();
        self.tell(trace, Told::Event(Box::new(event)));
    }

    fn tell(&self, trace: Option<TraceId>, event: Told) {
        let state = lock(&self.state);
        let of_trace = trace.and_then(|t| state.by_trace.get(&t)).map_or(&[][..], Vec::as_slice);
        let mut listeners = of_trace.iter().chain(&state.watchers).peekable();
        let mut event = Some(event);
        while let Some(id) = listeners.next() {
            let copy = if listeners.peek().is_some() { event.clone() } else { event.take() };
            if let (Some(listener), Some(copy)) = (state.listeners.get(id), copy) {
                listener.offer(copy);
            }
        }
    }

    /// Whether anybody listens to this trace.
    pub fn is_open(&self, trace: TraceId) -> bool {
        let state = lock(&self.state);
        !state.watchers.is_empty() || state.by_trace.contains_key(&trace)
    }

    /// Publishes what a shim writes to the other end of `stream`, until it closes it. Needs a tokio runtime.
    pub fn attach_producer(self: &Arc<Self>, trace: TraceId, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let ready = tokio::net::UnixStream::from_std(stream.try_clone()?)?;
        let reading = Mutex::new(Reading { decoder: Decoder::new(), ended: false });
        let producer = Arc::new(Producer { trace, stream, reading });
        lock(&self.state).producers.entry(trace).or_default().push(producer.clone());
        let hub = Arc::downgrade(self);
        tokio::spawn(async move {
            follow(&producer, &ready, &hub).await;
            if let Some(hub) = hub.upgrade() {
                hub.forget(trace, &producer);
            }
        });
        Ok(())
    }

    /// Publishes what the trace's producers have written up to now. Does not wait for more.
    pub fn drain(&self, trace: TraceId) {
        let producers = lock(&self.state).producers.get(&trace).cloned().unwrap_or_default();
        for producer in producers {
            for _ in 0..DRAIN_TURNS {
                if producer.read(self) != Progress::More {
                    break;
                }
            }
        }
    }

    /// Drains the trace, then ends the stream of everybody who has opened it (watchers of all traces go on).
    pub fn finish(&self, trace: TraceId) {
        self.drain(trace);
        let mut state = lock(&self.state);
        for id in state.by_trace.remove(&trace).unwrap_or_default() {
            if let Some(listener) = state.listeners.remove(&id) {
                listener.finished.notify_one();
            }
        }
    }

    fn forget(&self, trace: TraceId, producer: &Arc<Producer>) {
        let mut state = lock(&self.state);
        if let Some(producers) = state.producers.get_mut(&trace) {
            producers.retain(|p| !Arc::ptr_eq(p, producer));
            if producers.is_empty() {
                state.producers.remove(&trace);
            }
        }
    }

    fn unsubscribe(&self, id: u64) {
        let mut state = lock(&self.state);
        let Some(listener) = state.listeners.remove(&id) else {
            return;
        };
        match listener.trace {
            None => state.watchers.retain(|w| *w != id),
            Some(trace) => {
                if let Some(ids) = state.by_trace.get_mut(&trace) {
                    ids.retain(|i| *i != id);
                    if ids.is_empty() {
                        state.by_trace.remove(&trace);
                    }
                }
            }
        }
    }
}

impl Sink for Hub {
    fn accepts(&self, trace: TraceId) -> bool {
        self.is_open(trace)
    }
    fn emit(&self, trace: TraceId, line: Line<'_>) {
        let mut bytes = Vec::with_capacity(USUAL_LINE);
        line(&mut bytes);
        bytes.pop();
        self.tell(Some(trace), Told::Line(bytes.into()));
    }
}

impl Listener {
    fn offer(&self, event: Told) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.sender.try_send(event) {
            *lock(&self.lost.last) = Some(event);
            self.lost.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One shim's end of the socket. The task that follows it and a drain take turns.
#[derive(Debug)]
struct Producer {
    trace: TraceId,
    stream: UnixStream,
    reading: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    decoder: Decoder,
    ended: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// There is probably more.
    More,
    /// All that was written has been read.
    Empty,
    /// The producer has closed its end (or it can't be read).
    Ended,
}

impl Producer {
    /// Reads and publishes a few pieces.
    fn read(&self, hub: &Hub) -> Progress {
        let mut reading = lock(&self.reading);
        let mut piece = vec![0; PIECE];
        for _ in 0..TURN {
            if reading.ended {
                return Progress::Ended;
            }
            let mut stream = &self.stream;
            let lines = match stream.read(&mut piece) {
                Ok(0) => {
                    reading.ended = true;
                    Vec::from_iter(reading.decoder.finish_line())
                }
                Ok(n) => reading.decoder.push_lines(&piece[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Progress::Empty,
                Err(_) => {
                    reading.ended = true;
                    return Progress::Ended;
                }
            };
            for line in lines {
                hub.tell(Some(self.trace), Told::Line(line.into()));
            }
        }
        Progress::More
    }
}

/// Reads whenever there is something to read; `ready` is the same socket, as the runtime sees it.
async fn follow(producer: &Producer, ready: &tokio::net::UnixStream, hub: &Weak<Hub>) {
    while ready.readable().await.is_ok() {
        let Some(hub) = hub.upgrade() else { return };
        let progress = ready.try_io(Interest::READABLE, || match producer.read(&hub) {
            Progress::Empty => Err(io::ErrorKind::WouldBlock.into()),
            other => Ok(other),
        });
        if matches!(progress, Ok(Progress::Ended)) {
            return;
        }
        drop(hub);
        tokio::task::yield_now().await;
    }
}

/// A listener's end: events numbered from 1 without gaps. It ends when the trace is finished.
#[derive(Debug)]
pub struct Subscription {
    id: u64,
    receiver: mpsc::Receiver<Told>,
    lost: Arc<Lost>,
    /// Told once, when the trace is finished.
    finished: Arc<Notify>,
    hub: Weak<Hub>,
    delivered: u64,
}

impl Subscription {
    /// The next event; none when the trace is finished. Safe to cancel.
    pub async fn recv(&mut self) -> Option<TraceEvent> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next events, as NDJSON; none when the trace is finished. After the first it waits for `patience`, or for
    /// the end of the trace, so that what comes shortly after it goes out with it: to send each by itself would cost
    /// more than the steps do. Safe to cancel while it waits for the first.
    pub async fn lines(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let mut told = std::future::poll_fn(|cx| self.poll_told(cx)).await;
        // Closed: the trace is finished, and nothing comes any more.
        if told.is_some() && !patience.is_zero() && !self.receiver.is_closed() {
            let _ = tokio::time::timeout(patience, self.finished.notified()).await;
        }
        let mut bytes = Vec::new();
        while let Some(event) = told {
            self.write(event, &mut bytes);
            let more = bytes.len() < PIECE;
            told = if more { self.receiver.try_recv().ok() } else { None };
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    fn write(&mut self, event: Told, to: &mut Vec<u8>) {
        self.delivered += 1;
        if let Told::Line(line) = &event
            && renumber(line, self.delivered, to)
        {
            return;
        }
        match event.event() {
            Some(event) => encode(&TraceEvent { seq: self.delivered, ..event }, to),
            None => self.delivered -= 1,
        }
    }

    fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<Option<Told>> {
        // Lost events are told of when those that came before them have been delivered.
        if self.receiver.is_empty()
            && let Some(report) = self.lost.report()
        {
            return Poll::Ready(Some(Told::Event(Box::new(report))));
        }
        let told = ready!(self.receiver.poll_recv(cx));
        Poll::Ready(told.or_else(|| self.lost.report().map(|report| Told::Event(Box::new(report)))))
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<TraceEvent>> {
        loop {
            let Some(told) = ready!(self.poll_told(cx)) else { return Poll::Ready(None) };
            // A line that is no event is passed over.
            if let Some(event) = told.event() {
                self.delivered += 1;
                return Poll::Ready(Some(TraceEvent { seq: self.delivered, ..event }));
            }
        }
    }
}

impl Lost {
    fn report(&self) -> Option<TraceEvent> {
        let like = lock(&self.last).take()?.event()?;
        let count = self.count.swap(0, Ordering::Relaxed);
        (count > 0).then(|| TraceEvent::dropped(&like, count))
    }
}

impl Stream for Subscription {
    type Item = TraceEvent;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TraceEvent>> {
        self.poll_recv(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.unsubscribe(self.id);
        }
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
