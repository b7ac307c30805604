//! One small process per container: it holds the terminal and the log, and outlives the daemon.
//! Synchronous, single-threaded, no tokio.

pub mod protocol;
