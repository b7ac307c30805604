//! From `tracing` to [`TraceEvent`]: the step builder that code uses, and the `Layer` that collects.
//! (First cut: signatures; the bodies are being written.)

use super::event::Actor;
use serde::Serialize;
use serde_json::Value;

/// Whether anybody listens in this process. One relaxed atomic load.
pub fn enabled() -> bool {
    false
}

/// Starts a step: takes the time, keeps nothing when nobody listens. Dropped without [`Step::ok`] or
/// [`Step::fail`] it is reported as abandoned (`ECANCELED`).
#[must_use]
pub fn step(_actor: Actor, _op: &'static str) -> Step {
    Step {}
}

/// A step under way. The trace it belongs to is that of the current `tracing` span.
pub struct Step {}

impl Step {
    /// One sentence: why this step exists.
    #[must_use]
    pub fn why(self, _why: &'static str) -> Step {
        self
    }
    /// One real argument. Serialised only when somebody listens.
    #[must_use]
    pub fn arg(self, _key: &'static str, _value: impl Serialize) -> Step {
        self
    }
    /// All arguments at once (an object).
    #[must_use]
    pub fn args(self, _args: impl FnOnce() -> Value) -> Step {
        self
    }
    /// The branch of the flow chart that was taken: `local-hit`, `local-miss`, `remote-found`, …
    pub fn branch(&mut self, _branch: &'static str) {}
    /// The lesson that teaches it: `03-layers`.
    #[must_use]
    pub fn lesson(self, _lesson: &'static str) -> Step {
        self
    }
    /// The span to run nested work in (`future.instrument(step.span())`, `step.span().in_scope(|| …)`).
    pub fn span(&self) -> tracing::Span {
        tracing::Span::none()
    }
    /// It worked: the value for `result.ok`, and the line for a person (present tense, no full stop).
    pub fn ok(self, _value: impl Serialize, _summary: impl FnOnce() -> String) {}
    /// It failed: symbolic errno or error code, the message, and the line for a person.
    pub fn fail(
        self,
        _errno: &str,
        _message: impl std::fmt::Display,
        _summary: impl FnOnce() -> String,
    ) {
    }
}

/// One call of the kernel, told by the `Traced` decorator.
pub struct CallEvent {
    pub actor: Actor,
    pub op: &'static str,
    pub ts: u64,
    pub dur: Option<u64>,
    pub args: serde_json::Map<String, Value>,
    pub result: Option<super::event::Outcome>,
    pub why: Option<&'static str>,
    pub summary: String,
}

/// Emits a `kernel.*` event under the current span.
pub fn emit_call(_event: CallEvent) {}

/// Writes out what this process has buffered.
pub fn flush() {}

/// The number that events of this process carry: init is process 1 of its own namespace, the host has another.
pub fn set_pid(_pid: u32) {}

/// From now on the steps of this process belong to `trace_id` below `parent`, and go to `fd` as NDJSON.
pub fn install_process(_trace_id: &str, _parent: &str, _fd: std::os::fd::OwnedFd) {}

/// The trace and span of the current `tracing` span.
pub fn current_context() -> Option<(String, String)> {
    None
}
