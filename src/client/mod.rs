//! Speaks the Docker Engine API over a unix socket: to rdock's daemon, or to any other.
//!
//! - [`Client`]: one request, one answer; version negotiation; hijacked connections;
//! - [`endpoint`]: which socket, and [`autostart`]: a daemon of our own when nothing listens;
//! - [`stream`], [`terminal`], [`detach`]: what happens between a container and the terminal;
//! - [`credentials`]: what a person has for registries;
//! - `containers`, `images`, `system`: the calls, one file per group of the API.
//!
//! Everything runs on one thread (tokio's current-thread runtime): a client lives for milliseconds.

mod archives;
pub mod autostart;
mod containers;
pub mod copy;
pub mod credentials;
pub mod endpoint;
mod error;
mod events;
mod exec;
mod files;
mod hijack;
mod http;
mod images;
mod look;
mod query;
pub mod stream;
mod system;
pub mod terminal;
mod trace;
mod traces;

pub use crate::api::{auth, detach, moment, paths, version, wire};
/// What the answers look like, and which versions of the API there are: the commands know no other door to the API.
pub use archives::ImportRequest;
pub use containers::{Attach, Logs, Wait, WaitCondition};
pub use endpoint::Endpoint;
pub use error::ClientError;
pub use events::EventStream;
pub use files::{Archive, Commit};
pub use hijack::Hijacked;
pub use http::Client;
pub use images::ProgressStream;
pub use look::StatsStream;
pub use traces::{TraceEnd, TraceStream};
