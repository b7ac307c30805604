//! The wire of the Docker Engine API: what client and daemon must agree on, byte for byte.
//!
//! - [`version`]: which versions are spoken, and the `/v1.xx` prefix of a path;
//! - [`error`]: kinds of errors ↔ HTTP status, `{"message": "…"}`, the only place where this is decided;
//! - [`moment`]: moments as people type them and as lists show them;
//! - [`auth`]: who asks a registry, `X-Registry-Auth`;
//! - [`detach`]: the keys that leave a container, watched for by both sides;
//! - [`stdcopy`]: stdout and stderr in one stream, told apart by an 8-byte header;
//! - [`wire`]: answers whose JSON no other crate describes exactly.
//!
//! Reference: the Engine API's OpenAPI description (docs.docker.com/reference/api/engine), and what the Docker
//! command sends and understands.

pub mod auth;
pub mod detach;
pub mod error;
pub mod keys;
pub mod moment;
pub mod paths;
pub mod stdcopy;
pub mod version;
pub mod wire;
