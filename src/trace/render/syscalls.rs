//! `--explain=syscalls`: the steps, with their reasons, and every call of the kernel that was made for them.

use super::call::strace;
use super::layout::{Kind, Line};
use super::{Drawing, Format, Style};
use crate::trace::event::TraceEvent;

/// As [`super::flow`], but nothing is folded except the many file calls that unpack a layer; calls stand as strace
/// writes them, under the reason for which they were made.
pub fn syscalls(events: &[TraceEvent], style: &Style) -> String {
    Drawing::new(Format::Syscalls, *style).finish(events)
}

/// Calls that follow each other, of one process and for one reason, are one line with the calls below.
pub(super) fn blocks<'a>(calls: &[(usize, &'a TraceEvent)], depth: impl Fn(&TraceEvent) -> usize) -> Vec<Line<'a>> {
    let mut lines: Vec<(usize, Line<'a>)> = Vec::new();
    for &(place, call) in calls {
        let same =
            |line: &Line<'_>| (line.event.pid, line.event.actor, &line.event.why) == (call.pid, call.actor, &call.why);
        match lines.last_mut() {
            Some((last, line)) if *last + 1 == place && same(line) => {
                line.below.push(strace(call));
                *last = place;
            }
            _ => lines.push((
                place,
                Line {
                    event: call,
                    at: call.ts,
                    actor: call.actor,
                    depth: depth(call),
                    kind: Kind::Calls,
                    text: call.why.as_deref().map(|why| format!("# {why}")).unwrap_or_default(),
                    right: String::new(),
                    failed: false,
                    below: vec![strace(call)],
                },
            )),
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}
