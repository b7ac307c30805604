//! A container's life: from what a client asks for to a process, and to its end.

pub mod accounts;
mod clock;
pub mod layers;
pub mod names;
pub mod spec;
pub mod state;
pub mod store;
pub mod tree;
