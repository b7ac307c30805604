//! The two orders of events: by time, for people; as delivered but by time within each process, for machines.

use crate::trace::event::TraceEvent;
use std::collections::HashMap;

/// By start. Of two that start together the longer comes first: it is the one around the other. What a shim that is
/// kept ready did before the command was given stands where the command made use of it.
pub(super) fn by_time(events: &[TraceEvent]) -> Vec<&TraceEvent> {
    let clock = Clock::of(events);
    let place = |e: &TraceEvent| if e.ts < clock.begin { (clock.used, 0, e.ts) } else { (e.ts, 1, 0) };
    let mut sorted: Vec<&TraceEvent> = events.iter().collect();
    sorted.sort_by(|a, b| place(a).cmp(&place(b)).then(b.end().cmp(&a.end())));
    sorted
}

/// When the command began, and when what was made ready before it came into use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub begin: u64,
    used: u64,
}

impl Clock {
    pub(super) fn of(events: &[TraceEvent]) -> Clock {
        let begin = events.iter().filter(|e| !e.is_call()).map(|e| e.ts).min().unwrap_or(0);
        let used = events.iter().find(|e| e.op == "runtime.plan").map_or(begin, |e| e.ts);
        Clock { begin, used }
    }

    /// Where something of this time stands in the story of the command.
    pub(super) fn place(self, ts: u64) -> u64 {
        if ts < self.begin { self.used } else { ts }
    }
}

/// As delivered, except that the events of one process stand in the order of `ts`: a step is delivered when it ends,
/// so the steps inside it came before it. Each process keeps the places that it had in the stream.
pub(super) fn as_delivered(events: &[TraceEvent]) -> Vec<&TraceEvent> {
    let mut processes: HashMap<u32, Vec<&TraceEvent>> = HashMap::new();
    for event in events {
        processes.entry(event.pid).or_default().push(event);
    }
    let mut queues: HashMap<u32, _> = HashMap::new();
    for (pid, mut own) in processes {
        own.sort_by_key(|event| event.ts);
        queues.insert(pid, own.into_iter());
    }
    events.iter().filter_map(|event| queues.get_mut(&event.pid)?.next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::render::tests::at;
    use proptest::prelude::*;

    #[test]
    fn what_was_made_ready_before_the_command_stands_where_it_is_used() {
        let early = TraceEvent { op: "kernel.mkdirat".into(), ..at(9, 1, 1) };
        let plan = TraceEvent { op: "runtime.plan".into(), ..at(9, 50, 1) };
        let events = [early, at(7, 10, 1), plan];
        let order: Vec<u64> = by_time(&events).iter().map(|e| e.ts).collect();
        assert_eq!(order, [10, 1, 50]);
        let clock = Clock::of(&events);
        assert_eq!((clock.begin, clock.place(1), clock.place(10)), (10, 50, 10));
    }

    #[test]
    fn a_step_stands_before_those_inside_it() {
        let events = [at(7, 20, 1), at(7, 10, 30), at(7, 10, 40)];
        let order: Vec<_> = by_time(&events).iter().map(|e| (e.ts, e.dur)).collect();
        assert_eq!(order, [(10, Some(40)), (10, Some(30)), (20, Some(1))]);
    }

    proptest! {
        #[test]
        fn each_process_is_in_order_and_keeps_its_places(
            stream in prop::collection::vec((1u32..4, 0u64..50), 0..40),
        ) {
            let events: Vec<_> = stream.iter().map(|(pid, ts)| at(*pid, *ts, 0)).collect();
            let ordered = as_delivered(&events);
            let pids = |events: Vec<&TraceEvent>| events.iter().map(|e| e.pid).collect::<Vec<_>>();
            prop_assert_eq!(pids(ordered.clone()), pids(events.iter().collect()));
            for pid in 1..4 {
                let own: Vec<u64> = ordered.iter().filter(|e| e.pid == pid).map(|e| e.ts).collect();
                prop_assert!(own.is_sorted());
            }
        }
    }
}
