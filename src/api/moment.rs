//! Moments as people type them (`--since 10m`, `--until 2026-11-26T20:00`), and as events and logs show them.

use time::format_description::FormatItem;
use time::macros::format_description;
use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// The text is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse value as time or duration: {0:?}")]
pub struct NoMoment(String);

/// What the API wants for it: seconds since 1970, with nine digits behind the point where there is a fraction.
///
/// Docker's forms: a span before now (`1h30m`, `1.5s`), a date or a date with a time, in this machine's zone unless
/// one is given, seconds since 1970.
///
/// # Errors
/// In Docker's words.
pub fn parse(text: &str) -> Result<String, NoMoment> {
    parse_at(text, now())
}

/// The same in whole seconds since 1970, as filters of the API have it.
///
/// # Errors
/// In Docker's words.
pub fn seconds(text: &str) -> Result<i64, NoMoment> {
    let moment = parse(text)?;
    moment.split('.').next().and_then(|s| s.parse().ok()).ok_or_else(|| NoMoment(text.to_owned()))
}

fn parse_at(text: &str, now: OffsetDateTime) -> Result<String, NoMoment> {
    if text != "0"
        && let Some(span) = span(text)
    {
        return Ok((now - span).unix_timestamp().to_string());
    }
    let wrong = || NoMoment(text.to_owned());
    if text.contains('-') && !text.starts_with('-') {
        let at = date_time(text, now.offset()).ok_or_else(wrong)?;
        return Ok(format!("{}.{:09}", at.unix_timestamp(), at.nanosecond()));
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    match seconds.parse::<i64>() {
        Ok(_) if digits => Ok(text.to_owned()),
        _ => Err(wrong()),
    }
}

/// Go's durations: `300ms`, `-1.5h`, `2h45m`.
fn span(text: &str) -> Option<Duration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..end].parse().ok()?;
        let unit = rest[end..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |n| end + n);
        nanos += value
            * match &rest[end..unit] {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Some(Duration::nanoseconds(if negative { -nanos as i64 } else { nanos as i64 }))
}

/// `2006-01-02`, `2006-01-02T15`, `…:04`, `…:05`, `….999`, each perhaps with `Z` or `+02:00`.
fn date_time(text: &str, here: UtcOffset) -> Option<OffsetDateTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.splitn(3, '-');
    let mut number = || parts.next()?.parse::<i32>().ok();
    let (year, month, day) = (number()?, number()?, number()?);
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
    let zone_at = rest.find(['z', 'Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let offset = match zone {
        "" => here,
        "z" | "Z" => UtcOffset::UTC,
        zone => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            UtcOffset::from_hms(sign * hours.parse::<i8>().ok()?, sign * minutes.parse::<i8>().ok()?, 0).ok()?
        }
    };
    let time = match clock.strip_prefix('T') {
        None if clock.is_empty() => Time::MIDNIGHT,
        None => return None,
        Some(clock) => time_of_day(clock)?,
    };
    Some(PrimitiveDateTime::new(date, time).assume_offset(offset))
}

fn time_of_day(clock: &str) -> Option<Time> {
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':').map(|part| part.parse::<u8>().ok().filter(|_| part.len() == 2));
    let mut next = || parts.next().unwrap_or(Some(0));
    let (hour, minute, second) = (next()?, next()?, next()?);
    if parts.next().is_some() || fraction.len() > 9 {
        return None;
    }
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    Time::from_hms_nano(hour, minute, second, nanos).ok()
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_local().unwrap_or_else(|_| OffsetDateTime::now_utc())
}

const SHOWN: &[FormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]");

/// `2026-11-26T11:09:14.100578483Z`, in this machine's zone: nanoseconds since 1970 as `rdock events` shows them.
pub fn show(nanos: i64) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(nanos.into()) else { return String::new() };
    let offset = UtcOffset::local_offset_at(at).unwrap_or(UtcOffset::UTC);
    let at = at.to_offset(offset);
    let zone = match (offset.is_utc(), offset.is_negative()) {
        (true, _) => "Z".to_owned(),
        (false, negative) => {
            let sign = if negative { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", offset.whole_hours().abs(), offset.minutes_past_hour().abs())
        }
    };
    format!("{}{zone}", at.format(SHOWN).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn at(text: &str) -> Result<String, String> {
        parse_at(text, datetime!(2026-11-26 12:00:00 +2)).map_err(|e| e.to_string())
    }

    #[test]
    fn spans_are_before_now() {
        let now = datetime!(2026-11-26 10:00:00 UTC).unix_timestamp();
        for (text, seconds) in [("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("90s", 90), ("0s", 0), ("-1m", -60)] {
            assert_eq!(at(text), Ok((now - seconds).to_string()), "{text}");
        }
    }

    #[test]
    fn dates_are_of_this_zone_unless_they_name_one() {
        for (text, moment) in [
            ("2006-01-02", datetime!(2006-01-02 00:00 +2)),
            ("2006-01-02T15", datetime!(2006-01-02 15:00 +2)),
            ("2006-01-02T15:04", datetime!(2006-01-02 15:04 +2)),
            ("2006-01-02T15:04:05", datetime!(2006-01-02 15:04:05 +2)),
            ("2006-01-02T15:04:05Z", datetime!(2006-01-02 15:04:05 UTC)),
            ("2006-01-02T15:04:05-07:00", datetime!(2006-01-02 15:04:05 -7)),
            ("2006-01-02T15:04Z", datetime!(2006-01-02 15:04 UTC)),
            ("2006-01-02Z", datetime!(2006-01-02 00:00 UTC)),
        ] {
            assert_eq!(at(text), Ok(format!("{}.000000000", moment.unix_timestamp())), "{text}");
        }
        assert_eq!(at("2006-01-02T15:04:05.5Z"), Ok("1136214245.500000000".into()));
    }

    #[test]
    fn seconds_go_as_they_are_and_the_rest_is_refused() {
        assert_eq!(
            (at("1136073845"), at("1136073845.000000001")),
            (Ok("1136073845".into()), Ok("1136073845.000000001".into()))
        );
        assert_eq!(at("0"), Ok("0".into()));
        for text in ["soon", "", "1x", "2006-13-01", "2006-01-02X", "1.", "2006-01-02T1:2:3:4", "ä006-01-02"] {
            assert_eq!(at(text), Err(format!("failed to parse value as time or duration: {text:?}")), "{text}");
        }
    }

    #[test]
    fn nanoseconds_are_all_shown() {
        let shown = show(1_795_460_218_000_000_005);
        assert!(shown.contains(".000000005") && shown.len() >= 30, "{shown}");
    }
}
