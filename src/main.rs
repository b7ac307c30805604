//! Entry point: decides which process this is. Shim and init come before anything heavy.

fn main() -> std::process::ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("shim") => rdock::shim::main(),
        _ => std::process::ExitCode::SUCCESS,
    }
}
