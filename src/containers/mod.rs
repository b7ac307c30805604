//! A container's life: from what a client asks for to a process, and to its end.
//!
//! - [`Containers`] (`service`): the commands, safe against each other and against crashes.
//! - [`spec`], [`accounts`], [`state`], [`names`], [`list`], [`inspect`], `execs`, `ending`, `restart`, `health`: pure;
//!   values in, values out.
//! - `logs`: reads what a container has written. [`layers`]: reads a file of an image without mounting it.
//! - [`store`]: what is on disk. [`shim_client`]: the connection to the process that holds a container.

pub mod accounts;
pub mod changes;
mod clock;
mod ending;
mod error;
mod execs;
mod health;
mod image_source;
pub mod inspect;
pub mod layers;
pub mod list;
mod logs;
pub mod names;
mod processes;
mod restart;
pub mod service;
pub mod shim_client;
pub mod size;
pub mod spec;
pub mod state;
pub mod store;
mod usage;

/// What a container is started with besides, made by who knows the traces.
pub use crate::shim::protocol::TraceContext;
pub use error::{ContainerError, StartFailure};
pub use execs::ExecError;
pub use image_source::{ImageSource, SourceError, SourceImage};
pub use list::ListOptions;
pub use logs::LogOptions;
pub use service::{
    Archive, AttachOptions, Commit, Containers, CreateAnswer, LogStream, OpenError, Parts, Pieces, Place, Producers,
    RemoveOptions, WaitAnswer, WaitCondition, Waiting,
};
pub use spec::{SpecError, read as read_body, read_update};
