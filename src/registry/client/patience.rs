//! When to ask again: a registry that says "not now" is asked a few times more, later each time, and never sooner than
//! it wants (`Retry-After`, RFC 9110 section 10.2.3). Docker Hub's limits are explained in a sentence.

use std::time::Duration;

use http::{HeaderMap, Uri};
use serde_json::json;

use super::Config;
use super::error::RegistryError;
use crate::trace::{self, Actor};

/// The tries of one question.
pub(super) struct Patience<'c> {
    config: &'c Config,
    failures: u32,
}

impl<'c> Patience<'c> {
    pub(super) fn new(config: &'c Config) -> Patience<'c> {
        Patience { config, failures: 0 }
    }

    /// After this failure: waits and answers true, or false when there is no use in asking again.
    pub(super) async fn again(&mut self, error: &RegistryError) -> bool {
        let Some(delay) = wait(self.config, error, self.failures) else { return false };
        self.failures += 1;
        tell_and_wait(error, delay).await;
        true
    }
}

/// How long to wait after the failure number `failures`; none when there is no use in asking again.
pub(super) fn wait(config: &Config, error: &RegistryError, failures: u32) -> Option<Duration> {
    let after = match error {
        RegistryError::Busy { after, .. } => *after,
        // Without a time the limit is one for hours.
        RegistryError::RateLimited { after: None, exhausted: true, .. } => return None,
        RegistryError::RateLimited { after, .. } => *after,
        _ => return None,
    };
    let own = config.backoff * 2u32.saturating_pow(failures);
    (failures < config.retries && after.is_none_or(|a| a <= config.longest_wait))
        .then(|| own.max(after.unwrap_or_default()))
}

pub(super) async fn tell_and_wait(error: &RegistryError, delay: Duration) {
    let step = trace::step(Actor::Registry, "registry.wait")
        .why("a registry that says \"not now\" is asked again later, and later each time")
        .arg("milliseconds", delay.as_millis() as u64);
    tokio::time::sleep(delay).await;
    step.ok(json!(null), || format!("waited {}, because of: {error}", spoken(delay)));
}

/// Seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822).ok()?;
    let seconds = (date - time::OffsetDateTime::now_utc()).whole_seconds();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// A 429. Docker Hub says in headers what it allows: `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 0;w=21600`.
pub(super) fn rate_limited(words: Option<String>, headers: &HeaderMap, url: &str) -> RegistryError {
    let value = |name: &str| headers.get(name)?.to_str().ok();
    let (limit, left) = (value("ratelimit-limit").and_then(pair), value("ratelimit-remaining").and_then(pair));
    let after = retry_after(headers);
    let host = url.parse::<Uri>().ok().and_then(|u| u.authority().map(ToString::to_string));
    let host = host.unwrap_or_else(|| "the registry".to_owned());
    let mut told = match limit {
        Some((count, Some(window))) => {
            format!("{host} answers {count} pulls in {} from one address or account", spoken(window))
        }
        Some((count, None)) => format!("{host} answers {count} pulls from one address or account"),
        None => format!("{host} has been asked too often from here"),
    };
    if let Some((left, _)) = left {
        told.push_str(&format!(", {left} are left"));
    }
    if let Some(after) = after {
        told.push_str(&format!("; it can be asked again in {}", spoken(after)));
    }
    RegistryError::RateLimited {
        cause: words.unwrap_or_else(|| "429 Too Many Requests".to_owned()),
        told,
        after,
        exhausted: left.is_some_and(|(left, _)| left == 0),
    }
}

/// `100;w=21600` → 100 in 6 hours.
fn pair(text: &str) -> Option<(u64, Option<Duration>)> {
    let mut parts = text.split(';').map(str::trim);
    let count = parts.next()?.parse().ok()?;
    let window = parts.find_map(|p| p.strip_prefix("w=")?.parse().ok());
    Some((count, window.map(Duration::from_secs)))
}

/// `6 hours`, `90 seconds`, `250 ms`.
fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    let many = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        s if s >= 3600 && s % 3600 == 0 => many(s / 3600, "hour"),
        s if s >= 120 => many(s.div_ceil(60), "minute"),
        s => many(s, "second"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (http::HeaderName::from_static(k), v.parse().unwrap())).collect()
    }

    #[test]
    fn dockers_limit_is_explained() {
        let headers = headers(&[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")]);
        let words = Some("toomanyrequests: You have reached your pull rate limit.".to_owned());
        let error = rate_limited(words, &headers, "https://registry-1.docker.io/v2/library/a/manifests/latest");
        assert_eq!(
            error.to_string(),
            "toomanyrequests: You have reached your pull rate limit. (registry-1.docker.io answers 100 pulls in 6 hours \
             from one address or account, 0 are left)"
        );
        assert_eq!(wait(&Config::default(), &error, 0), None);
    }

    #[test]
    fn a_registry_is_asked_no_sooner_than_it_wants() {
        let config = Config::default();
        let limited = |seconds: &str| rate_limited(None, &headers(&[("retry-after", seconds)]), "https://r.io/");
        assert_eq!(wait(&config, &limited("7"), 0), Some(Duration::from_secs(7)));
        assert_eq!(wait(&config, &limited("7"), config.retries), None);
        assert_eq!(wait(&config, &limited("3600"), 0), None);
        assert!(limited("3600").to_string().ends_with("; it can be asked again in 1 hour)"));
        let busy = RegistryError::Busy { url: String::new(), cause: String::new(), after: None };
        assert_eq!(wait(&config, &busy, 0), Some(config.backoff));
        assert_eq!(wait(&config, &busy, 2), Some(config.backoff * 4));
        let refused = RegistryError::Unreachable { url: String::new(), cause: String::new() };
        assert_eq!(wait(&config, &refused, 0), None);
    }

    #[test]
    fn a_date_counts_from_now() {
        let soon = time::OffsetDateTime::now_utc() + time::Duration::seconds(90);
        let text = soon.format(&time::format_description::well_known::Rfc2822).unwrap().replace("+0000", "GMT");
        let after = retry_after(&headers(&[("retry-after", &text)])).unwrap();
        assert!((80..=90).contains(&after.as_secs()), "{after:?}");
        assert_eq!(retry_after(&headers(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")])), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")])), None);
    }
}
