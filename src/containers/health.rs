//! Health checks, pure: what a probe says about a container, and when the next one is due. The rules are moby's
//! (`daemon/health.go`): its own defaults, its own exceptions while a container begins.

use super::clock::nanos_between;
use bollard_stubs::models::{ContainerCreateBody, HealthConfig};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// Probes that are kept.
const KEPT: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Starting,
    Healthy,
    Unhealthy,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Starting => "starting",
            Status::Healthy => "healthy",
            Status::Unhealthy => "unhealthy",
        }
    }
}

/// One run of the check, as `docker inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Probe {
    /// RFC 3339.
    pub start: String,
    pub end: String,
    /// 0 is healthy; -1: it could not be run, or took too long.
    pub exit_code: i64,
    pub output: String,
}

/// What is known of a container's health: `State.Health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    pub status: Status,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last probes, the youngest last.
    pub log: VecDeque<Probe>,
}

/// A health check with all that was left out filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The program and its arguments; the text of `CMD-SHELL` is one for `/bin/sh -c`.
    pub argv: Vec<String>,
    pub interval: Duration,
    pub timeout: Duration,
    /// So long failures do not count, as long as there was no success.
    pub start_period: Duration,
    /// The interval in that time.
    pub start_interval: Duration,
    pub retries: u32,
}

impl Check {
    /// The container's check; none: it has none, or `NONE` takes away that of its image.
    pub fn of(config: &ContainerCreateBody) -> Option<Check> {
        let health = config.healthcheck.as_ref()?;
        let (kind, rest) = health.test.as_ref()?.split_first()?;
        let argv = match (kind.as_str(), rest) {
            ("CMD", [_, ..]) => rest.to_vec(),
            ("CMD-SHELL", [text, ..]) => {
                let shell = config.shell.clone().filter(|shell| !shell.is_empty());
                let mut argv = shell.unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
                argv.push(text.clone());
                argv
            }
            _ => return None,
        };
        Some(Check::with(argv, health))
    }

    fn with(argv: Vec<String>, health: &HealthConfig) -> Check {
        let time = |nanos: Option<i64>, default: Duration| match nanos {
            Some(nanos @ 1..) => Duration::from_nanos(nanos as u64),
            _ => default,
        };
        Check {
            argv,
            interval: time(health.interval, Duration::from_secs(30)),
            timeout: time(health.timeout, Duration::from_secs(30)),
            start_period: time(health.start_period, Duration::ZERO),
            start_interval: time(health.start_interval, Duration::from_secs(5)),
            retries: health.retries.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(3),
        }
    }

    /// How long until the next probe of a container that has run for so long.
    pub fn next(&self, health: &Health, ran: Duration) -> Duration {
        match health.status == Status::Starting && ran < self.start_period {
            true => self.start_interval,
            false => self.interval,
        }
    }
}

impl Health {
    /// A container begins. What earlier runs have logged stays.
    pub fn begin(before: Option<Health>) -> Health {
        let log = before.map(|health| health.log).unwrap_or_default();
        Health { status: Status::Starting, failing_streak: 0, log }
    }

    /// The container has ended: nobody looks any more, which counts as unhealthy.
    pub fn ended(&mut self) {
        self.status = Status::Unhealthy;
    }

    /// Takes a probe down. True: the status is another one now.
    pub fn take(&mut self, probe: Probe, check: &Check, started_at: &str) -> bool {
        let before = self.status;
        let lasted = Duration::from_nanos(nanos_between(started_at, &probe.start));
        if probe.exit_code == 0 {
            (self.failing_streak, self.status) = (0, Status::Healthy);
        } else if before != Status::Starting || lasted >= check.start_period {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries {
                self.status = Status::Unhealthy;
            }
        }
        self.log.push_back(probe);
        self.log.drain(..self.log.len().saturating_sub(KEPT));
        self.status != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: &str = "2026-01-01T00:00:00Z";

    fn check(health: HealthConfig) -> Option<Check> {
        Check::of(&ContainerCreateBody { healthcheck: Some(health), ..Default::default() })
    }

    fn test(words: &[&str]) -> HealthConfig {
        HealthConfig { test: Some(words.iter().map(|w| (*w).to_owned()).collect()), ..Default::default() }
    }

    fn probe(second: u32, exit_code: i64) -> Probe {
        let at = format!("2026-01-01T00:00:{second:02}Z");
        Probe { start: at.clone(), end: at, exit_code, output: String::new() }
    }

    #[test]
    fn what_is_left_out_has_mobys_defaults() {
        let check = check(test(&["CMD-SHELL", "true && true"])).unwrap();
        assert_eq!(check.argv, ["/bin/sh", "-c", "true && true"]);
        let seconds = [check.interval, check.timeout, check.start_period, check.start_interval].map(|d| d.as_secs());
        assert_eq!((seconds, check.retries), ([30, 30, 0, 5], 3));
    }

    #[test]
    fn there_may_be_no_check() {
        for words in [&["NONE"][..], &[], &["CMD"], &["CMD-SHELL"], &["what"]] {
            assert_eq!(check(test(words)), None, "{words:?}");
        }
        assert_eq!(check(test(&["CMD", "a", "b"])).unwrap().argv, ["a", "b"]);
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        let check = check(HealthConfig { retries: Some(2), ..test(&["CMD", "x"]) }).unwrap();
        let mut health = Health::begin(None);
        assert!(!health.take(probe(1, 1), &check, START) && health.status == Status::Starting);
        assert!(health.take(probe(2, -1), &check, START) && health.status == Status::Unhealthy);
        assert!(!health.take(probe(3, 1), &check, START) && health.failing_streak == 3);
        assert!(health.take(probe(4, 0), &check, START) && health.status == Status::Healthy);
        assert_eq!(health.failing_streak, 0);
    }

    #[test]
    fn failures_while_it_begins_do_not_count_until_it_was_healthy_once() {
        let start_period = Some(10_000_000_000);
        let check = check(HealthConfig { retries: Some(1), start_period, ..test(&["CMD", "x"]) }).unwrap();
        let mut health = Health::begin(None);
        assert!(!health.take(probe(9, 1), &check, START));
        assert_eq!(check.next(&health, Duration::from_secs(9)), Duration::from_secs(5));
        assert_eq!(check.next(&health, Duration::from_secs(10)), Duration::from_secs(30));
        assert!(health.take(probe(10, 1), &check, START) && health.status == Status::Unhealthy);
        let mut quick = Health::begin(Some(health));
        assert_eq!((quick.status, quick.log.len()), (Status::Starting, 2));
        assert!(quick.take(probe(1, 0), &check, START) && quick.take(probe(2, 1), &check, START));
    }

    proptest! {
        #[test]
        fn the_log_is_short_and_the_streak_counts_failures(codes in prop::collection::vec(-1i64..3, 0..30)) {
            let check = check(test(&["CMD", "x"])).unwrap();
            let mut health = Health::begin(None);
            for (at, code) in codes.iter().enumerate() {
                health.take(probe(at as u32, *code), &check, START);
                let kept: Vec<i64> = health.log.iter().map(|p| p.exit_code).collect();
                prop_assert_eq!(&kept[..], &codes[(at + 1).saturating_sub(KEPT)..=at]);
            }
            let streak = codes.iter().rev().take_while(|code| **code != 0).count();
            prop_assert_eq!(health.failing_streak as usize, streak);
        }
    }
}
