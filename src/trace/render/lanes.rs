//! Where the time went.

use super::order::beginning;
use super::words::Words;
use crate::trace::event::{Actor, TraceEvent};

/// Lanes that have a share of their own, the innermost first: when two work at the same time (a layer is unpacked
/// while it comes from the registry; init works while the shim waits), the time counts for the first.
const INNERMOST: [Actor; 5] = [Actor::Container, Actor::Runtime, Actor::Network, Actor::Layer, Actor::Registry];

/// `took 182 ms: registry 31, layers 88, runtime 14, the rest 49`. None without events.
pub(super) fn shares(events: &[TraceEvent], words: &Words) -> Option<String> {
    // What was made ready before the command was given took nothing of its time.
    let begin = beginning(events);
    let events: Vec<&TraceEvent> = events.iter().filter(|e| e.ts >= begin).collect();
    let end = events.iter().map(|e| e.end()).max()?;
    let total = end - begin;
    let (unit, name) = if total >= 10_000_000 { (1_000_000, "ms") } else { (1_000, "µs") };
    let round = |ns: u64| (ns + unit / 2) / unit;
    let mut line = format!("{} {} {name}", words.took, round(total));
    let mut left = round(total);
    let mut parts = Vec::new();
    // In the order in which a run goes through them.
    for actor in [Actor::Registry, Actor::Layer, Actor::Network, Actor::Runtime, Actor::Container] {
        if events.iter().any(|e| e.actor == actor) {
            let share = round(time_of(&events, actor)).min(left);
            left -= share;
            parts.push(format!("{} {share}", words.lane(actor)));
        }
    }
    if !parts.is_empty() {
        parts.push(format!("{} {left}", words.rest));
        line += &format!(": {}", parts.join(", "));
    }
    Some(line)
}

/// Nanoseconds in which this lane worked and no lane further in did.
fn time_of(events: &[&TraceEvent], actor: Actor) -> u64 {
    let rank = |a: Actor| INNERMOST.iter().position(|i| *i == a);
    let Some(own) = rank(actor) else { return 0 };
    // Changes of how many steps of this lane, and of lanes further in, are under way.
    let mut changes: Vec<(u64, i32, i32)> = Vec::new();
    for event in events {
        let (mine, inner) = match rank(event.actor) {
            Some(r) if r == own => (1, 0),
            Some(r) if r < own => (0, 1),
            _ => continue,
        };
        changes.push((event.ts, mine, inner));
        changes.push((event.end(), -mine, -inner));
    }
    changes.sort_unstable();
    let (mut since, mut mine, mut inner, mut sum) = (0, 0, 0, 0);
    for (ts, m, i) in changes {
        if mine > 0 && inner == 0 {
            sum += ts - since;
        }
        since = ts;
        mine += m;
        inner += i;
    }
    sum
}

/// A duration for people: `120 µs`, `21 ms`, `3.4 s`.
pub(super) fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..10_000_000 => format!("{} µs", ns / 1_000),
        10_000_000..10_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::render::tests::at;
    use crate::trace::render::words::Lang;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn work(actor: Actor, from: u64, to: u64) -> TraceEvent {
        TraceEvent { actor, ..at(1, from, to - from) }
    }

    fn line(events: &[TraceEvent]) -> String {
        shares(events, Lang::En.words()).unwrap()
    }

    #[test]
    fn time_that_two_lanes_share_counts_once() {
        let events = [
            work(Actor::Client, 0, 100 * MS),
            work(Actor::Registry, 10 * MS, 50 * MS),
            work(Actor::Layer, 30 * MS, 60 * MS),
            work(Actor::Layer, 40 * MS, 55 * MS),
        ];
        assert_eq!(line(&events), "took 100 ms: registry 20, layers 30, the rest 50");
    }

    #[test]
    fn what_was_made_ready_before_took_no_time() {
        let early = TraceEvent { op: "kernel.write".into(), ..work(Actor::Runtime, 0, 20 * MS) };
        let events = [early, work(Actor::Client, 500 * MS, 520 * MS)];
        assert_eq!(line(&events), "took 20 ms");
    }

    #[test]
    fn a_lane_without_steps_is_not_named() {
        assert_eq!(line(&[work(Actor::Daemon, 0, 5_000)]), "took 5 µs");
        assert_eq!(shares(&[], Lang::En.words()), None);
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        let read: Vec<_> = [999, 1_000, 120_400, 21_000_000, 12_340_000_000].map(time).into();
        assert_eq!(read, ["999 ns", "1 µs", "120 µs", "21 ms", "12.3 s"]);
    }

    proptest! {
        #[test]
        fn shares_add_up(steps in prop::collection::vec((0usize..5, 0u64..1000, 0u64..1000), 1..20)) {
            let events: Vec<_> =
                steps.iter().map(|(lane, ts, dur)| work(INNERMOST[*lane], ts * MS, (ts + dur) * MS)).collect();
            let line = line(&events);
            let (total, parts) = line.split_once(':').unwrap();
            let number = |text: &str| text.split(' ').find_map(|w| w.parse::<u64>().ok()).unwrap();
            prop_assert_eq!(number(total), parts.split(',').map(number).sum::<u64>());
        }
    }
}
