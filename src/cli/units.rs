//! Sizes, times and short names in the forms that Docker prints.

use std::time::{SystemTime, UNIX_EPOCH};

/// `1.98MB`: powers of 1000, so many significant digits, no trailing zeros.
pub fn size(bytes: u64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), UNITS[unit])
}

/// `1.94GiB`: powers of 1024.
pub fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{}{}", significant(value, 4), UNITS[unit])
}

/// printf(3)'s `%.{digits}g` for numbers from 0 up to 10000.
fn significant(value: f64, digits: usize) -> String {
    let before = if value < 1.0 { 1 } else { value.log10().floor() as usize + 1 };
    let text = format!("{value:.*}", digits.saturating_sub(before));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `2 minutes`, `About an hour`, `Less than a second`.
pub fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds as f64 / 3600.0).round() as i64);
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// How long ago a moment (seconds since the epoch) was: `2 minutes ago`.
pub fn ago(moment: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    format!("{} ago", duration(now - moment))
}

/// The first 12 characters of an id, without `sha256:`.
pub fn short_id(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

/// At most `max` characters; what is left out is an ellipsis.
pub fn ellipsis(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// Rows in columns: three spaces between, at least ten characters each.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(|c| (width(c) + 3).max(10)).collect();
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths).take(row.len().saturating_sub(1)) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
        }
        text.extend(row.last().map(String::as_str));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_dockers() {
        for (bytes, digits, want) in [
            (0, 3, "0B"),
            (999, 3, "999B"),
            (1_984_416, 3, "1.98MB"),
            (1_984_416, 4, "1.984MB"),
            (683_000, 3, "683kB"),
            (3678, 4, "3.678kB"),
            (838_000_000, 3, "838MB"),
            (2_000, 3, "2kB"),
        ] {
            assert_eq!(size(bytes, digits), want);
        }
        assert_eq!(binary_size(25_275_000_000), "23.54GiB");
    }

    #[test]
    fn durations_are_dockers() {
        for (seconds, want) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (120, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (86400 * 3, "3 days"),
            (86400 * 15, "2 weeks"),
            (86400 * 90, "3 months"),
            (86400 * 365 * 3, "3 years"),
        ] {
            assert_eq!(duration(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn columns_are_dockers() {
        let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
        let text = table(&[row(["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"])]);
        assert_eq!(text, "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n");
        assert_eq!(ellipsis("sh -c 'i=0; while true; do'", 20), "sh -c 'i=0; while t…");
        assert_eq!(short_id("sha256:065519618900bac5f8547f"), "065519618900");
    }
}
