//! The daemon: the Engine API on a unix socket.
//!
//! - [`place`]: the lock, the socket, the pid file of one home; [`stop`]: ends the daemon of a home;
//! - [`serve`]: connections; versions; which request belongs to which explanation;
//! - [`routes`]: one file per group of the API; [`answer`]: errors and streams as HTTP;
//! - [`engine`]: the services behind the routes; [`joints`]: what ties them to each other;
//!   [`sources`]: where images come from, the lab hub among it.

pub mod answer;
pub mod config;
pub mod engine;
pub mod joints;
pub mod place;
pub mod routes;
pub mod serve;
pub mod sources;
pub mod stop;

pub use engine::Engine;
