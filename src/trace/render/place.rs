//! Where lines stand when time alone would tell it badly: processes work side by side, and which of two that do not wait
//! for each other is first differs from run to run.

use super::fold::removes_group;
use super::layout::Line;
use super::steps::Tree;
use crate::trace::event::{Actor, TraceEvent};
use serde_json::Value;
use std::collections::HashSet;

/// - layers that come side by side stand together, the lowest first
/// - a container runs when its command has begun, and its control group goes when it has ended
/// - an answer stands with its request
pub(super) fn settle(lines: &mut [Line<'_>], tree: &Tree<'_>) {
    layers(lines, tree);
    container(lines);
    answers(lines, tree);
}

fn layers(lines: &mut [Line<'_>], tree: &Tree<'_>) {
    let stored = tree.sorted.iter().find_map(|e| e.args.get("layers").filter(|_| e.op == "image.store"));
    let order: Vec<&str> = stored.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let rank = |line: &Line<'_>| {
        let digest = line.event.text("digest").filter(|_| line.event.op == "layer.unpack" && !line.failed)?;
        order.iter().position(|d| *d == digest)
    };
    let Some(end) = lines.iter().filter(|line| rank(line).is_some()).map(|line| line.at).max() else { return };
    for line in lines {
        if let Some(rank) = rank(line) {
            line.at = end.saturating_sub((order.len() - rank) as u64);
        }
    }
}

fn container(lines: &mut [Line<'_>]) {
    let last = |lines: &[Line<'_>], op: &str| {
        lines.iter().filter(|line| line.event.op == op && !line.event.failed()).map(|line| line.at).max()
    };
    let (begun, ended) = (last(lines, "kernel.execve"), last(lines, "container.exit"));
    for line in lines {
        if let Some(begun) = begun.filter(|_| line.event.op == "container.start" && !line.failed) {
            line.at = begun + 1;
        }
        if let Some(ended) = ended.filter(|_| removes_group(line.event)) {
            line.at = line.at.max(ended + 1);
        }
    }
}

/// Beside the last thing that the daemon did before it answered, or beside the request itself: an answer may also come
/// while the daemon goes on.
fn answers(lines: &mut [Line<'_>], tree: &Tree<'_>) {
    let mut answered: HashSet<&str> = HashSet::new();
    for index in 0..lines.len() {
        let event = lines[index].event;
        if event.op != "api.answer" {
            continue;
        }
        // The request's path has the version before it.
        let same = |e: &TraceEvent| route(event).is_none_or(|own| route(e).is_some_and(|path| path.ends_with(own)));
        let asks = |e: &&&TraceEvent| {
            e.op == "api.request" && e.ts <= event.ts && same(e) && !answered.contains(e.span.as_str())
        };
        let Some(request) = tree.sorted.iter().rev().find(asks).copied() else { continue };
        answered.insert(&request.span);
        let done = lines.iter().filter(|line| {
            let step = line.event;
            step.actor == Actor::Daemon && step.end() <= event.ts && within(step, request, tree)
        });
        let place = done.map(|line| line.at).max();
        lines[index].at = place.unwrap_or(request.ts);
    }
}

fn route(event: &TraceEvent) -> Option<&str> {
    event.text("path")?.split('?').next()
}

fn within(step: &TraceEvent, request: &TraceEvent, tree: &Tree<'_>) -> bool {
    const DEEPEST: usize = 16;
    let mut around = tree.parent(step);
    for _ in 0..DEEPEST {
        match around {
            Some(step) if step.span == request.span => return true,
            Some(step) => around = tree.parent(step),
            None => return false,
        }
    }
    false
}
