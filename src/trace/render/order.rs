//! The two orders of events: by time, for people; as delivered but by time within each process, for machines.

use crate::trace::event::TraceEvent;
use std::collections::HashMap;

/// By start. Of two that start together the longer comes first: it is the one around the other. What a shim that is
/// kept ready did before it was made use of stands where the command made use of it.
pub(super) fn by_time(events: &[TraceEvent]) -> Vec<&TraceEvent> {
    let used = place_of_use(events);
    let place = |e: &TraceEvent| used(e).map_or((e.ts, 1, 0), |used| (used, 0, e.ts));
    let mut sorted: Vec<&TraceEvent> = events.iter().collect();
    sorted.sort_by(|a, b| place(a).cmp(&place(b)).then(b.end().cmp(&a.end())));
    sorted
}

/// Where an event stands that began before the step that it belongs to: made in advance, it became part of the
/// command when the runtime planned the container (or else, when that step began). None for all others.
pub(super) fn place_of_use(events: &[TraceEvent]) -> impl Fn(&TraceEvent) -> Option<u64> {
    let starts: HashMap<String, u64> = events.iter().map(|e| (e.span.clone(), e.ts)).collect();
    let planned = events.iter().find(|e| e.op == "runtime.plan").map_or(0, TraceEvent::end);
    move |event| {
        let around = *starts.get(event.parent.as_deref()?)?;
        (event.ts < around).then_some(around.max(planned))
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
    fn a_step_stands_before_those_inside_it() {
        let events = [at(7, 20, 1), at(7, 10, 30), at(7, 10, 40)];
        let order: Vec<_> = by_time(&events).iter().map(|e| (e.ts, e.dur)).collect();
        assert_eq!(order, [(10, Some(40)), (10, Some(30)), (20, Some(1))]);
    }

    #[test]
    fn what_was_made_in_advance_stands_where_it_is_used() {
        let mut events = [at(1, 5, 1), at(2, 10, 1), at(1, 20, 50), at(1, 30, 4), at(1, 40, 1)];
        for (n, event) in events.iter_mut().enumerate() {
            event.span = format!("{n}");
        }
        // The first, made before anything else, and the last belong to the third; the fourth is the plan.
        for n in [0, 3, 4] {
            events[n].parent = Some("2".into());
        }
        events[3].op = "runtime.plan".into();
        let order: Vec<_> = by_time(&events).iter().map(|e| e.ts).collect();
        assert_eq!(order, [10, 20, 30, 5, 40]);
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
