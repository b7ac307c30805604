//! Names and numbers of signals (signal(7)), as `--signal` and `--stop-signal` take them.

use super::SpecError;
use nix::sys::signal::Signal;

/// Highest signal number of Linux.
const MAX: i32 = 64;

/// First real-time signal that the C library leaves to programs.
const RTMIN: i32 = 34;

/// `SIGTERM`, `term`, `15`, `RTMIN+3` → the number.
///
/// # Errors
/// [`SpecError::Signal`], or [`SpecError::NoSuchSignal`] for a number that is none; Docker's words.
pub fn parse(text: &str) -> Result<i32, SpecError> {
    let wrong = || SpecError::Signal(text.to_owned());
    if let Ok(number) = text.parse::<i32>() {
        return match number {
            0 => Err(wrong()),
            1..=MAX => Ok(number),
            _ => Err(SpecError::NoSuchSignal(number)),
        };
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => Some(RTMIN),
        (_, Some("")) => Some(MAX),
        (Some(more), _) => more.parse::<i32>().ok().filter(|n| *n >= 0).map(|n| RTMIN + n),
        (_, Some(less)) => less.parse::<i32>().ok().filter(|n| *n <= 0).map(|n| MAX + n),
        _ => None,
    };
    real_time
        .filter(|n| (RTMIN..=MAX).contains(n))
        .or_else(|| format!("SIG{name}").parse::<Signal>().ok().map(|s| s as i32))
        .ok_or_else(wrong)
}

/// `15` → `SIGTERM`; a number without a name stays one.
pub fn name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| number.to_string(), |s| s.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read() {
        for (text, number) in
            [("SIGTERM", 15), ("term", 15), ("KILL", 9), ("9", 9), ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63)]
        {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        for text in ["", "0", "NOPE", "RTMIN+40", "RTMAX+1"] {
            assert_eq!(parse(text).unwrap_err().to_string(), format!("Invalid signal: {text}"));
        }
        for number in [65, -9] {
            assert_eq!(parse(&number.to_string()), Err(SpecError::NoSuchSignal(number)));
        }
        assert_eq!((name(9).as_str(), name(40).as_str()), ("SIGKILL", "40"));
    }
}
