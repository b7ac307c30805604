//! All tests that use the whole program: one binary, one module an area. What they share is in `suite/support`.
//!
//! Everything runs in parallel and in a home of its own; each test ends with the leak check. What a test needs and a
//! machine has not got is said as `SKIPPED: …` (`.ci/run` makes that a failure for what it can install).

// Tests start processes, print, and look at the system: what the engine may not do past the Kernel seam, its judge may.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)]

mod suite {
    mod archives;
    mod beside;
    mod docker_cli;
    mod document;
    mod endurance;
    mod events;
    mod exec;
    mod explain;
    mod failures;
    mod files;
    mod flags;
    mod hardening;
    mod homes;
    mod hub;
    mod images;
    mod life;
    mod logs;
    mod look;
    mod options;
    mod registries;
    mod run;
    mod support;
    mod tidy;
    mod truth;
    mod tty;
    mod upstream;
}
