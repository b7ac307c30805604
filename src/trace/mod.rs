//! The explanation, as data: one event type ([`TraceEvent`]), emitted through `tracing` with the target
//! `rdock::explain`, carried as NDJSON, drawn by pure renderers.
//!
//! How code tells what it does:
//!
//! ```ignore
//! let step = trace::step(Actor::Registry, "registry.manifest.get")
//!     .why("the manifest lists the config and the layers that make the image")
//!     .arg("url", &url);
//! let answer = fetch(&url).instrument(step.span()).await;   // nested steps become its children
//! step.ok(json!({"status": 200, "size": n}), || format!("200, manifest: config + {layers} layers"));
//! ```
//!
//! When nobody listens, `step` costs one relaxed atomic load and keeps nothing.
//!
//! A thread that works for a step must be given its span: `let span = Span::current();` before,
//! `span.in_scope(|| …)` in the thread (`spawn_blocking`, `std::thread::spawn`).
//!
//! - [`layer`]: steps, the `tracing` layer, installation
//! - [`telling`]: an event on its way out, as the line that is sent
//! - [`sink`]: where a process puts its events
//! - [`ids`]: trace and span ids, `traceparent`
//! - [`transport`]: NDJSON over descriptors, and the daemon's hub
//! - [`render`]: from events to what a person reads

pub mod event;
pub mod ids;
pub mod layer;
pub mod render;
pub mod sink;
pub mod telling;
#[cfg(test)]
pub mod testing;
pub mod transport;

pub use event::{Actor, Outcome, TraceEvent};
pub use ids::{SpanId, TraceId, TraceParent, set_host_pid};
pub use layer::{
    CallEvent, Step, Told, current_context, emit_call, explain_layer, flush, install, install_process, request_span,
    step, within,
};
pub use sink::{Collector, Line, Sink, enabled};
pub use telling::{Ended, Json};
