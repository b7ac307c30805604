//! Restart policies, pure: whether a container that has ended is started again, and after how long.

use super::state::{NEVER, State};
use bollard_stubs::models::{ContainerCreateBody, RestartPolicyNameEnum};
use std::time::Duration;

/// The first wait; each further one is twice as long. (Those of moby's restart manager.)
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// A container that ran for so long begins with the first wait again.
const LONG_ENOUGH: Duration = Duration::from_secs(10);

/// `--restart`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    #[default]
    No,
    Always,
    UnlessStopped,
    /// At most so many times; none: without end.
    OnFailure(Option<u32>),
}

/// How a container ended.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub exit_code: i64,
    pub lasted: Duration,
}

impl Policy {
    /// What the container was created with, or was given later (`docker update`); it was checked then.
    pub fn of(config: &ContainerCreateBody) -> Policy {
        let policy = config.host_config.as_ref().and_then(|h| h.restart_policy.as_ref());
        let most = policy.and_then(|p| p.maximum_retry_count).unwrap_or(0);
        match policy.and_then(|p| p.name) {
            Some(RestartPolicyNameEnum::ALWAYS) => Policy::Always,
            Some(RestartPolicyNameEnum::UNLESS_STOPPED) => Policy::UnlessStopped,
            Some(RestartPolicyNameEnum::ON_FAILURE) => Policy::OnFailure(u32::try_from(most).ok().filter(|n| *n > 0)),
            _ => Policy::No,
        }
    }

    /// The container has ended: how long until it is started again; none: it is not. `before` is the wait before its
    /// last run.
    pub fn after(self, state: &State, run: Run, before: Option<Duration>) -> Option<Duration> {
        let again = match self {
            Policy::No => false,
            Policy::Always | Policy::UnlessStopped => !state.stopped_by_hand,
            Policy::OnFailure(most) => {
                !state.stopped_by_hand && run.exit_code != 0 && most.is_none_or(|most| state.restart_count < most)
            }
        };
        let next = match before.filter(|_| run.lasted < LONG_ENOUGH) {
            None => FIRST,
            Some(before) => (before * 2).min(LONGEST),
        };
        again.then_some(next)
    }

    /// A daemon begins and finds the container ended: whether it starts it. `always` means what it says, even if
    /// somebody stopped it (Docker's documentation says so).
    pub fn at_daemon_start(self, state: &State) -> bool {
        let ran = state.started_at != NEVER;
        ran && match self {
            Policy::No => false,
            Policy::Always => true,
            Policy::UnlessStopped => !state.stopped_by_hand,
            Policy::OnFailure(most) => {
                !state.stopped_by_hand && state.exit_code != 0 && most.is_none_or(|most| state.restart_count < most)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard_stubs::models::{HostConfig, RestartPolicy};
    use proptest::prelude::*;

    fn quick(exit_code: i64) -> Run {
        Run { exit_code, lasted: Duration::from_millis(5) }
    }

    #[test]
    fn a_policy_is_read_as_it_was_sent() {
        let of = |name, count| {
            let restart_policy = Some(RestartPolicy { name: Some(name), maximum_retry_count: Some(count) });
            let host = HostConfig { restart_policy, ..Default::default() };
            Policy::of(&ContainerCreateBody { host_config: Some(host), ..Default::default() })
        };
        assert_eq!(of(RestartPolicyNameEnum::ON_FAILURE, 3), Policy::OnFailure(Some(3)));
        assert_eq!(of(RestartPolicyNameEnum::ON_FAILURE, 0), Policy::OnFailure(None));
        assert_eq!(of(RestartPolicyNameEnum::UNLESS_STOPPED, 0), Policy::UnlessStopped);
        assert_eq!((of(RestartPolicyNameEnum::NO, 0), Policy::of(&Default::default())), (Policy::No, Policy::No));
    }

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_a_long_run() {
        let (state, mut before, mut waits) = (State::default(), None, vec![]);
        for _ in 0..12 {
            before = Policy::Always.after(&state, quick(0), before);
            waits.push(before.unwrap().as_millis());
        }
        assert_eq!(waits[..4], [100, 200, 400, 800]);
        assert_eq!(waits[10..], [60_000, 60_000]);
        let long = Run { exit_code: 0, lasted: LONG_ENOUGH };
        assert_eq!(Policy::Always.after(&state, long, before), Some(FIRST));
    }

    #[test]
    fn on_failure_counts_and_wants_a_failure() {
        let policy = Policy::OnFailure(Some(2));
        let mut state = State::default();
        assert!(policy.after(&state, quick(0), None).is_none());
        assert!(policy.after(&state, quick(1), None).is_some());
        state.restart_count = 2;
        assert!(policy.after(&state, quick(1), None).is_none());
        assert!(Policy::OnFailure(None).after(&state, quick(1), None).is_some());
    }

    #[test]
    fn a_daemon_starts_what_ran_and_nobody_stopped() {
        let mut state = State::default();
        assert!(!Policy::Always.at_daemon_start(&state), "it was never started");
        state.started(1, "2026-01-01T00:00:00Z").unwrap();
        state.exited(1, false, "2026-01-01T00:00:01Z").unwrap();
        assert!(Policy::Always.at_daemon_start(&state) && Policy::UnlessStopped.at_daemon_start(&state));
        assert!(Policy::OnFailure(None).at_daemon_start(&state) && !Policy::No.at_daemon_start(&state));
        state.stopped_by_hand = true;
        assert!(Policy::Always.at_daemon_start(&state) && !Policy::UnlessStopped.at_daemon_start(&state));
        assert!(!Policy::OnFailure(None).at_daemon_start(&state));
    }

    proptest! {
        #[test]
        fn what_was_stopped_by_hand_stays_stopped(code in 0i64..256, most in proptest::option::of(1u32..5), ms in 0u64..20_000) {
            let state = State { stopped_by_hand: true, ..State::default() };
            let run = Run { exit_code: code, lasted: Duration::from_millis(ms) };
            for policy in [Policy::No, Policy::Always, Policy::UnlessStopped, Policy::OnFailure(most)] {
                prop_assert_eq!(policy.after(&state, run, None), None);
            }
        }
    }
}
