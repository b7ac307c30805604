//! How it went: which way through the flow chart, and the end.

use super::order::by_time;
use crate::trace::event::{self, TraceEvent};
use serde_json::Value;

/// What the events say about the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Some image was looked for on this host; whether it was there.
    pub local: Option<bool>,
    /// A registry was asked; whether it has it.
    pub remote: Option<bool>,
    /// All that the image needs has been stored here.
    pub stored: bool,
    /// The command was started.
    pub started: bool,
    /// The exit status.
    pub exit: Option<i64>,
    /// The error that ended it all.
    pub error: Option<String>,
}

impl Outcome {
    pub(super) fn of(events: &[TraceEvent]) -> Outcome {
        let sorted = by_time(events);
        let branches: Vec<&str> = sorted.iter().filter_map(|e| e.branch.as_deref()).collect();
        let taken = |yes: &str, no: &str| branches.iter().find(|b| **b == yes || **b == no).map(|b| *b == yes);
        let ended_well = |op: &str| sorted.iter().any(|e| e.op == op && !e.failed());
        // A mirror may not have what the registry behind it has.
        let remote = match branches.contains(&"remote-found") {
            true => Some(true),
            false => taken("remote-found", "remote-missing"),
        };
        let exit = sorted.iter().rev().find(|e| e.op == "container.exit");
        let mut outcome = Outcome {
            local: taken("local-hit", "local-miss"),
            remote,
            stored: ended_well("image.store"),
            started: ended_well("container.start") || exit.is_some(),
            exit: exit.and_then(|e| exit_code(e)),
            error: None,
        };
        if !outcome.started {
            outcome.error = deciding_error(&sorted);
        }
        outcome
    }
}

/// The status in `container.exit`: `code` in the result or in the arguments.
fn exit_code(event: &TraceEvent) -> Option<i64> {
    const NAMES: [&str; 5] = ["code", "exit_code", "exitCode", "status", "StatusCode"];
    let field = |name: &&str| event.ok_field(name).or_else(|| event.args.get(*name)).and_then(Value::as_i64);
    NAMES.iter().find_map(field).or_else(|| match &event.result {
        Some(event::Outcome::Ok { ok }) => ok.as_i64(),
        _ => None,
    })
}

/// The message of the failure that came last, if nothing of the same kind has worked after it: a mirror that lacks an
/// image, or an image that is not there yet, ends nothing.
fn deciding_error(sorted: &[&TraceEvent]) -> Option<String> {
    let failed = sorted.iter().filter(|e| e.failed() && !e.is_call() && e.branch.as_deref() != Some("local-miss"));
    let last = failed.filter(|e| !cancelled(e)).max_by_key(|e| e.end())?;
    let mended = sorted.iter().any(|e| !e.failed() && e.op == last.op && e.end() > last.end());
    match &last.result {
        Some(event::Outcome::Err { message, .. }) if !mended => Some(message.clone()),
        _ => None,
    }
}

/// A step that was given up because another one failed.
pub(super) fn cancelled(event: &TraceEvent) -> bool {
    matches!(&event.result, Some(event::Outcome::Err { errno, .. }) if errno == "ECANCELED")
}
