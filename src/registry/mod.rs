//! Where images come from: the client of the OCI distribution specification, and the lab hub, a small
//! server of the same specification for teaching without the internet ([distribution-spec]).
//!
//! [distribution-spec]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md

pub mod client;
pub(crate) mod hub_lock;
pub mod lab_images;
pub mod server;
