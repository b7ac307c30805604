//! The explanation, as data: one event type ([`TraceEvent`]), emitted through `tracing` with the target
//! `rdock::explain`, turned into events by a `Layer`, carried as NDJSON, drawn by pure renderers.
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

pub mod event;
pub mod layer;
pub mod render;
pub mod transport;

pub use event::{Actor, Outcome, TraceEvent};
pub use layer::{CallEvent, Step, current_context, emit_call, enabled, flush, install_process, set_pid, step};
