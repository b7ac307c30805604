//! A question before something goes for good.

use super::error::Failure;
use super::verb::print;
use std::io::BufRead as _;

/// Asks; only `y` and `yes` agree, and nobody to ask does not.
pub fn confirm(warning: &str) -> Result<bool, Failure> {
    print(&format!("{warning}\nAre you sure you want to continue? [y/N] "))?;
    let mut answer = String::new();
    // What cannot be read is no consent.
    let _ = std::io::stdin().lock().read_line(&mut answer);
    Ok(agrees(&answer))
}

fn agrees(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_agrees() {
        assert!(agrees("y\n") && agrees(" YES \n"));
        assert!(!agrees("\n") && !agrees("") && !agrees("no\n") && !agrees("yesterday\n"));
    }
}
