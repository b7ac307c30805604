//! Short forms of ids, moments and long texts, as Docker's tables have them.

use crate::ui::units;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long ago a moment (seconds since the epoch) was: `2 minutes ago`.
pub fn ago(moment: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let elapsed = now.saturating_sub(u64::try_from(moment).unwrap_or(0));
    format!("{} ago", units::duration(Duration::from_secs(elapsed)))
}

/// A moment as Go's `time.Time` prints itself: `2026-11-26 11:04:47 +0000 UTC`. Docker's client uses the local zone
/// here, which only libc knows: this one stays with UTC, and says so.
pub fn moment(seconds: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] +0000 UTC");
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    at.and_then(|at| at.format(format).ok()).unwrap_or_default()
}

/// RFC 3339: `2026-11-26T11:04:47Z`.
pub fn rfc3339(seconds: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    at.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_as_docker_cuts_it() {
        assert_eq!(ellipsis("sh -c 'i=0; while true; do'", 20), "sh -c 'i=0; while t…");
        assert_eq!(ellipsis("sleep 100", 20), "sleep 100");
        assert_eq!(short_id("sha256:065519618900bac5f8547f"), "065519618900");
        assert_eq!(short_id("065519618900bac5f8547f"), "065519618900");
    }
}
