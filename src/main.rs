//! Entry point: decides which process this is. Shim and init come before anything heavy.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
