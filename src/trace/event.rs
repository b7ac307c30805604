//! The one event type. Field order and meaning: `trace.md` of the design; JSON is one object a line.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The lane that a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    Client,
    Daemon,
    Registry,
    Layer,
    Network,
    Shim,
    Runtime,
    Container,
}

impl Actor {
    /// The name on the wire: `client`, `daemon`, …
    pub fn name(self) -> &'static str {
        match self {
            Actor::Client => "client",
            Actor::Daemon => "daemon",
            Actor::Registry => "registry",
            Actor::Layer => "layer",
            Actor::Network => "network",
            Actor::Shim => "shim",
            Actor::Runtime => "runtime",
            Actor::Container => "container",
        }
    }
}

/// How a step ended: `{"ok": value}` or `{"errno": "EPERM", "message": "…"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    Ok { ok: Value },
    Err { errno: String, message: String },
}

/// One step, as delivered on every transport. See `trace.md` for the meaning of each field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// Schema version, 1.
    pub v: u32,
    /// Position in the stream as delivered, from 1, without gaps; 0 until the last writer numbers it.
    #[serde(default)]
    pub seq: u64,
    /// W3C trace id, 32 hex characters.
    pub trace: String,
    /// W3C span id, 16 hex characters.
    pub span: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Nanoseconds of CLOCK_MONOTONIC when the step began.
    pub ts: u64,
    /// Nanoseconds it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dur: Option<u64>,
    pub actor: Actor,
    /// Stable dotted name.
    pub op: String,
    /// The process that did it, as the host numbers it.
    pub pid: u32,
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lesson: Option<String>,
}

impl TraceEvent {
    /// What a stream says in place of events that it could not keep: `trace.dropped`, once, with their number.
    /// `like` is one of them (or the last one before): the trace and the lane are taken from it.
    pub fn dropped(like: &TraceEvent, count: u64) -> TraceEvent {
        TraceEvent {
            v: 1,
            seq: 0,
            trace: like.trace.clone(),
            span: super::ids::SpanId::next().to_string(),
            parent: None,
            ts: now(),
            dur: None,
            actor: like.actor,
            op: "trace.dropped".to_owned(),
            pid: super::ids::host_pid(),
            summary: format!("{count} events are missing here: they came faster than they could be read"),
            why: None,
            args: Map::from_iter([("count".to_owned(), Value::from(count))]),
            result: None,
            branch: None,
            lesson: None,
        }
    }

    /// Whether the step failed.
    pub fn failed(&self) -> bool {
        matches!(self.result, Some(Outcome::Err { .. }))
    }

    /// Whether it is a call of the kernel: `kernel.mount`, …
    pub fn is_call(&self) -> bool {
        self.op.starts_with("kernel.")
    }

    /// Nanoseconds of CLOCK_MONOTONIC when the step ended.
    pub fn end(&self) -> u64 {
        self.ts.saturating_add(self.dur.unwrap_or(0))
    }

    /// An argument that is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.args.get(key)?.as_str()
    }

    /// A field of `result.ok`.
    pub fn ok_field(&self, key: &str) -> Option<&Value> {
        match &self.result {
            Some(Outcome::Ok { ok }) => ok.get(key),
            _ => None,
        }
    }
}

/// Nanoseconds of CLOCK_MONOTONIC: one clock for all processes of a host (clock_gettime(2)).
pub fn now() -> u64 {
    let t = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map(|t| (t.tv_sec() as u64, t.tv_nsec() as u64))
        .unwrap_or((0, 0));
    t.0 * 1_000_000_000 + t.1
}
