//! Entry point: decides which process this is. The shim comes before anything heavy.

use std::ffi::OsStr;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    match words.next().as_deref().and_then(OsStr::to_str) {
        Some("shim") => rdock::shim::main(),
        _ => rdock::app::cli(),
    }
}
