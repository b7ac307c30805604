//! How events travel between processes: NDJSON, one object a line.
//!
//! - [`NdjsonWriter`]: the sink of a shim and of the init that it clones. Synchronous, buffered, no threads.
//! - [`Decoder`]: bytes to events, tolerant of fields it does not know.
//! - [`Hub`]: in the daemon, from producers (its own steps, shims) to whoever listens. The only part with tokio.

mod decoder;
mod hub;
mod writer;

pub use decoder::{Decoder, encode, renumber};
pub use hub::{Hub, Subscription};
pub use writer::NdjsonWriter;
