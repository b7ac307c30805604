//! rdock: a container engine that explains itself.
//!
//! The modules, from the bottom up. A module may import only from those that its row names
//! (`tests/tidy.rs` enforces it):
//!
//! | module       | what it is                                                         | may import |
//! | ------------ | ------------------------------------------------------------------ | ---------- |
//! | `trace`      | one event type, the `tracing` layer, transports, renderers         | nothing (anyone may use it) |
//! | `oci`        | references, digests, chain ids, media types                        | nothing (anyone may use it) |
//! | `events`     | what has happened to containers, images, …, for who listens        | nothing (anyone may use it) |
//! | `ui`         | colours, tables, progress                                          | nothing (`cli`, `lab`) |
//! | `kernel`     | every effect on the system, as a value; Linux and decorators       | `trace` |
//! | `runtime`    | OCI spec → program of kernel calls; the interpreter; init          | `kernel` |
//! | `shim`       | one process per container: terminal, log, exit status              | `runtime` (and `kernel` through it) |
//! | `content`    | blobs by digest, an OCI image layout on disk                       | `oci` |
//! | `registry`   | distribution client, the lab hub (server), the lab's images        | `content` |
//! | `images`     | pull, unpack, snapshots, references                                | `content`, `registry`, `kernel` |
//! | `containers` | a container's life: config → spec, state, shim                     | `images`, `shim` |
//! | `api`        | wire types of the Engine API                                       | nothing |
//! | `daemon`     | the Engine API on a unix socket                                    | `api`, `containers`, `images`, `registry` |
//! | `client`     | speaks the Engine API                                              | `api` |
//! | `cli`        | one file per command                                               | `client`, `ui` |
//! | `app`        | composition root: picks the kernel, starts the processes           | everything |

pub mod api;
pub mod app;
pub mod cli;
pub mod client;
pub mod containers;
pub mod content;
pub mod daemon;
pub mod events;
pub mod images;
pub mod kernel;
pub mod oci;
pub mod registry;
pub mod runtime;
pub mod shim;
pub mod trace;
pub mod ui;
