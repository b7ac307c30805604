//! Times as the Engine API writes them: RFC 3339 in UTC, and "3 seconds ago".

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Now: `2026-11-23T20:09:44.217765531Z`.
pub fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_else(|_| super::state::NEVER.into())
}

/// Seconds since 1970; 0 for what is no time.
pub fn unix_seconds(at: &str) -> i64 {
    OffsetDateTime::parse(at, &Rfc3339).map_or(0, OffsetDateTime::unix_timestamp)
}

/// How long ago `at` was, in whole seconds, never negative.
pub fn seconds_since(at: &str) -> u64 {
    OffsetDateTime::parse(at, &Rfc3339)
        .map(|t| (OffsetDateTime::now_utc() - t).whole_seconds())
        .map_or(0, |s| u64::try_from(s).unwrap_or(0))
}

/// Whole seconds from one time to a later one; 0 for what is no time.
pub fn seconds_between(from: &str, to: &str) -> u64 {
    nanos_between(from, to) / 1_000_000_000
}

/// Nanoseconds from one time to a later one; 0 for what is no time.
pub fn nanos_between(from: &str, to: &str) -> u64 {
    let parse = |at| OffsetDateTime::parse(at, &Rfc3339).ok();
    let span = parse(from).zip(parse(to)).map_or(0, |(from, to)| (to - from).whole_nanoseconds());
    u64::try_from(span.max(0)).unwrap_or(u64::MAX)
}

/// A span of time in a few words, with the steps that Docker's clients and servers use.
pub fn in_words(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    // Hours are rounded, everything else is cut.
    let hours = (seconds + HOUR / 2) / HOUR;
    match seconds {
        0 => "Less than a second".into(),
        1 => "1 second".into(),
        s if s < MINUTE => format!("{s} seconds"),
        s if s < 2 * MINUTE => "About a minute".into(),
        s if s < HOUR => format!("{} minutes", s / MINUTE),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 14 * 24 => format!("{} days", hours / 24),
        _ if hours < 60 * 24 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 2 * 365 * 24 => format!("{} months", hours / 24 / 30),
        s => format!("{} years", s / (365 * DAY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_dockers() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (730 * 86400, "2 years"),
        ];
        for (seconds, words) in cases {
            assert_eq!(in_words(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn now_parses_back() {
        assert!(unix_seconds(&now()) > 1_700_000_000);
        assert!(seconds_since(&now()) < 60);
        assert_eq!(unix_seconds("no time"), 0);
        assert_eq!(seconds_between("2026-01-01T00:00:00.9Z", "2026-01-01T00:00:02.1Z"), 1);
        assert_eq!(seconds_between("2026-01-01T00:00:02Z", "2026-01-01T00:00:00Z"), 0);
    }
}
