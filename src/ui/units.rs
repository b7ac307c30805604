//! Sizes and durations in the words and digits that Docker's command line uses (those of its go-units library).

use std::time::Duration;

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// Decimal, three digits, as in the SIZE column: `1.98MB`, `13.3kB`, `0B`.
pub fn size(bytes: u64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 3)
}

/// Decimal, four digits, as in progress bars: `3.146MB`.
pub fn size_exact(bytes: u64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 4)
}

/// Binary, four digits, as in `docker stats`: `1.952KiB`.
pub fn size_binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &BINARY, 4)
}

fn scaled(bytes: u64, base: f64, names: &[&str], digits: usize) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < names.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), names[unit])
}

/// `%.<digits>g` of C and Go: so many significant digits without trailing zeros; with an exponent when the number
/// has more digits before the point than that (999,999 bytes are `1e+03kB`: so does Docker).
fn significant(value: f64, digits: usize) -> String {
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trim(&format!("{value:.decimals$}"))
}

/// A size as a person writes it, powers of ten: `20GB`, `500M`, `1.5 TB`, `4096`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("invalid size: {text:?}");
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| wrong())?;
    let unit = text[end..].trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|u| *u == unit).ok_or_else(wrong)?;
    Ok((number * 1000f64.powi(power as i32)) as u64)
}

/// How long, in words: `Less than a second`, `3 minutes`, `About an hour`. `ago` is for the caller to add.
pub fn duration(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let minutes = seconds / 60;
    let hours = (elapsed.as_secs_f64() / 3600.0 + 0.5) as u64;
    let (day, week, month, year) = (24, 24 * 7, 24 * 30, 24 * 365);
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".into(),
        (1, ..) => "1 second".into(),
        (s, 0, _) => format!("{s} seconds"),
        (_, 1, _) => "About a minute".into(),
        (_, m, _) if m < 60 => format!("{m} minutes"),
        (.., 1) => "About an hour".into(),
        (.., h) if h < 2 * day => format!("{h} hours"),
        (.., h) if h < 2 * week => format!("{} days", h / day),
        (.., h) if h < 2 * month => format!("{} weeks", h / week),
        (.., h) if h < 2 * year => format!("{} months", h / month),
        (.., h) => format!("{} years", h / year),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_have_the_digits_of_the_size_column() {
        for (bytes, text) in [
            (0, "0B"),
            (5, "5B"),
            (999, "999B"),
            (1000, "1kB"),
            (13_300, "13.3kB"),
            (13_256, "13.3kB"),
            (1_980_000, "1.98MB"),
            (77_800_000, "77.8MB"),
            (231_000_000, "231MB"),
            (455_600_000, "456MB"),
            (999_999, "1e+03kB"),
            (1_236_000_000, "1.24GB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn sizes_in_bars_have_four_digits() {
        for (bytes, text) in [(3_145_728, "3.146MB"), (512, "512B"), (49_152, "49.15kB")] {
            assert_eq!(size_exact(bytes), text);
        }
        assert_eq!(size_binary(1999), "1.952KiB");
        assert_eq!(size_binary(1024 * 1024), "1MiB");
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("20GB", 20_000_000_000), ("500M", 500_000_000), ("1.5 kb", 1500)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "-1", "1XB", "1.2.3k"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_in_dockers_words() {
        const HOUR: u64 = 3600;
        const DAY: u64 = 24 * HOUR;
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (3 * 60, "3 minutes"),
            (59 * 60 + 59, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 29 * 60, "About an hour"),
            (HOUR + 31 * 60, "2 hours"),
            (9 * HOUR, "9 hours"),
            (47 * HOUR, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (365 * DAY, "12 months"),
            (2 * 365 * DAY, "2 years"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), words, "{seconds} s");
        }
        assert_eq!(duration(Duration::from_millis(999)), "Less than a second");
    }

    proptest! {
        #[test]
        fn a_size_is_never_longer_than_nine_characters(bytes: u64) {
            prop_assert!(size(bytes).len() <= 7);
            prop_assert!(size_exact(bytes).len() <= 9);
        }
    }
}
