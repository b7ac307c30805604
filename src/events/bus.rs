//! The ring of the last events, and who reads along.

use super::{Attributes, Event, Kind};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// So many events are kept for `--since`, and for a listener that is slow: what it has not read by then it has lost.
/// (moby keeps 256.)
pub const KEPT: usize = 1024;

/// Cheap to clone; clones are the same bus.
#[derive(Clone)]
pub struct Bus(Arc<Shared>);

struct Shared {
    ring: Mutex<Ring>,
    /// How many events there have ever been.
    told: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    /// Number of the first one in `events`.
    first: u64,
    last_time: i64,
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

impl Default for Bus {
    fn default() -> Self {
        Bus(Arc::new(Shared { ring: Mutex::default(), told: watch::Sender::new(0) }))
    }
}

impl Bus {
    pub fn new() -> Bus {
        Bus::default()
    }

    /// Tells that `action` has been done to the `kind` with this `id`. Never waits.
    pub fn publish(&self, kind: Kind, action: impl Into<String>, id: impl Into<String>, attributes: Attributes) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64);
        let mut ring = self.ring();
        // A clock that was set back must not make an event older than what came before it.
        ring.last_time = ring.last_time.max(now);
        let event = Event::new(kind, action.into(), id.into(), attributes, ring.last_time);
        ring.events.push_back(Arc::new(event));
        if ring.events.len() > KEPT {
            ring.events.pop_front();
            ring.first += 1;
        }
        self.0.told.send_replace(ring.end());
    }

    /// All that comes from now on; with `since` (nanoseconds since 1970) what is still kept from then on comes first.
    pub fn listen(&self, since: Option<i64>) -> Listener {
        let ring = self.ring();
        let next = match since {
            Some(since) => ring.first + ring.events.partition_point(|event| event.time_nano < since) as u64,
            None => ring.end(),
        };
        Listener { bus: self.clone(), next, told: self.0.told.subscribe() }
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.0.told.receiver_count()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads along; dropped, it does not.
pub struct Listener {
    bus: Bus,
    /// Number of the event that comes next.
    next: u64,
    told: watch::Receiver<u64>,
}

impl Listener {
    /// The next event that is there already; none: all have been read.
    pub fn ready(&mut self) -> Option<Arc<Event>> {
        let ring = self.bus.ring();
        let at = self.next.max(ring.first);
        let event = ring.events.get(usize::try_from(at - ring.first).ok()?).cloned();
        self.next = at + u64::from(event.is_some());
        event
    }

    /// Waits for the next event. Safe to cancel.
    pub async fn next(&mut self) -> Arc<Event> {
        loop {
            if let Some(event) = self.ready() {
                return event;
            }
            let next = self.next;
            // The sender lives in the bus that this listener holds: there is no end to wait for.
            let _ = self.told.wait_for(|told| *told > next).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(bus: &Bus, action: &str) {
        bus.publish(Kind::Image, action, "centos", Attributes::new());
    }

    #[tokio::test]
    async fn who_listens_hears_what_comes_and_nothing_of_before() {
        let bus = Bus::new();
        publish(&bus, "before");
        let mut listener = bus.listen(None);
        assert_eq!(bus.listeners(), 1);
        let (heard, ()) = tokio::join!(listener.next(), async { publish(&bus, "pull") });
        assert_eq!(heard.action, "pull");
        assert!(listener.ready().is_none());
        drop(listener);
        assert_eq!(bus.listeners(), 0);
    }

    #[test]
    fn since_replays_what_is_kept_from_then_on() {
        let bus = Bus::new();
        publish(&bus, "one");
        publish(&bus, "two");
        let mut all = bus.listen(Some(0));
        let first = all.ready().unwrap();
        assert_eq!((first.action.as_str(), all.ready().unwrap().action.as_str()), ("one", "two"));
        assert!(all.ready().is_none());
        assert_eq!(bus.listen(Some(first.time_nano)).ready().unwrap().action, "one");
        assert!(bus.listen(Some(i64::MAX)).ready().is_none());
    }

    #[test]
    fn the_ring_is_bounded_and_a_slow_listener_goes_on_with_what_is_left() {
        let bus = Bus::new();
        let mut slow = bus.listen(None);
        for n in 0..KEPT + 10 {
            publish(&bus, &n.to_string());
        }
        let heard: Vec<_> = std::iter::from_fn(|| slow.ready()).collect();
        assert_eq!((heard.len(), heard[0].action.as_str()), (KEPT, "10"));
        assert!(heard.is_sorted_by_key(|event| event.time_nano));
    }
}
