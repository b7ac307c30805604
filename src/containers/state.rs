//! A container's state machine, pure: which status may follow which, and what each change writes down.
//!
//! ```text
//!            start                    exit
//!  created ────────▶ running ─────────────────▶ exited ──┐
//!     │              │  ▲  ▲ │        start       │ ▲     │ remove
//!     │        pause ▼  │  └─┼─────────┬──────────┘ │     ▼
//!     │             paused   │ exit  dead ──────────┼▶ removing ──▶ (gone)
//!     │                      ▼                      │     ▲
//!     │         (start) ◀ restarting ───────────────┘     │
//!     │                              stop                 │
//!     └───────────────────────────────────────────────────┘
//! ```
//!
//! `restarting` is a container that has ended and that its restart policy starts again in a moment: it has no process
//! and counts as running.
//!
//! `dead` is a container whose end nobody saw (its shim was killed): its writable layer is whole, so it can be
//! started again or removed. Only what was observed is written down: a signal that was sent changes nothing.

use super::health::Health;
use serde::{Deserialize, Serialize};

/// Docker's "never" in `FinishedAt` and `StartedAt`.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// Exit status of a container whose end nobody saw: as if it had been killed.
pub const LOST_EXIT_CODE: i64 = 137;

/// The seven states of the Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

impl Status {
    pub const ALL: [Status; 7] = [
        Status::Created,
        Status::Running,
        Status::Paused,
        Status::Restarting,
        Status::Removing,
        Status::Exited,
        Status::Dead,
    ];

    /// The word of the Engine API: `running`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Removing => "removing",
            Status::Exited => "exited",
            Status::Dead => "dead",
        }
    }

    /// The container has a process.
    pub fn is_live(self) -> bool {
        matches!(self, Status::Running | Status::Paused)
    }

    /// The container counts as running for `docker ps`, `rm` and `start`.
    pub fn is_up(self) -> bool {
        self.is_live() || self == Status::Restarting
    }

    /// Whether `next` may follow.
    pub fn may_become(self, next: Status) -> bool {
        use Status::*;
        matches!(
            (self, next),
            (Created | Paused | Restarting | Exited | Dead, Running)
                | (Running, Paused)
                | (Running | Paused | Restarting, Exited | Dead)
                | (Running | Paused | Exited | Dead, Restarting)
                | (Created | Exited | Dead, Removing)
                | (Removing, Dead)
        )
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Status {
    type Err = UnknownStatus;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Status::ALL.into_iter().find(|status| status.name() == s).ok_or_else(|| UnknownStatus(s.to_owned()))
    }
}

/// A word that is no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a container status")]
pub struct UnknownStatus(pub String);

/// A change that the state machine does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a container that is {from} can't become {to}")]
pub struct IllegalTransition {
    pub from: Status,
    pub to: Status,
}

/// What is known of a container's process, as `docker inspect` shows it below `State`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub status: Status,
    /// The first process as the host numbers it; 0 when there is none.
    pub pid: i32,
    pub exit_code: i64,
    /// Why the last start failed, or empty.
    pub error: String,
    pub oom_killed: bool,
    /// RFC 3339 with nanoseconds, UTC; [`NEVER`] if it was not.
    pub started_at: String,
    pub finished_at: String,
    /// How often its restart policy has started it again since somebody started it.
    #[serde(default)]
    pub restart_count: u32,
    /// Somebody asked for its end: no policy but `always` after a restart of the daemon starts it again.
    #[serde(default)]
    pub stopped_by_hand: bool,
    /// What its health check has found; none: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

impl Default for State {
    fn default() -> Self {
        State {
            status: Status::Created,
            pid: 0,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            started_at: NEVER.into(),
            finished_at: NEVER.into(),
            restart_count: 0,
            stopped_by_hand: false,
            health: None,
        }
    }
}

impl State {
    fn become_(&mut self, to: Status) -> Result<(), IllegalTransition> {
        if !self.status.may_become(to) {
            return Err(IllegalTransition { from: self.status, to });
        }
        self.status = to;
        if !to.is_live() {
            self.pid = 0;
            self.health.iter_mut().for_each(Health::ended);
        }
        Ok(())
    }

    /// `none`, `starting`, `healthy`, `unhealthy`
    pub fn health_word(&self) -> &'static str {
        self.health.as_ref().map_or("none", |health| health.status.name())
    }

    /// Somebody starts it: whatever its policy has counted so far is over.
    pub fn begun_by_hand(&mut self) {
        self.restart_count = 0;
        self.stopped_by_hand = false;
    }

    /// The container's process has ended, and the policy starts it again.
    pub fn restarting(&mut self, code: i64, oom_killed: bool, at: &str) -> Result<(), IllegalTransition> {
        self.become_(Status::Restarting)?;
        self.exit_code = code;
        self.oom_killed = oom_killed;
        self.finished_at = at.into();
        self.restart_count = self.restart_count.saturating_add(1);
        Ok(())
    }

    /// It is not started again after all.
    pub fn not_restarted(&mut self) -> Result<(), IllegalTransition> {
        match self.status {
            Status::Restarting => self.become_(Status::Exited),
            from => Err(IllegalTransition { from, to: Status::Exited }),
        }
    }

    /// The container's process has become the command.
    pub fn started(&mut self, pid: i32, at: &str) -> Result<(), IllegalTransition> {
        self.become_(Status::Running)?;
        self.pid = pid;
        self.exit_code = 0;
        self.error.clear();
        self.oom_killed = false;
        self.started_at = at.into();
        Ok(())
    }

    /// All its processes stand still.
    pub fn paused(&mut self) -> Result<(), IllegalTransition> {
        self.become_(Status::Paused)
    }

    /// They go on. What has ended in the meantime does not.
    pub fn unpaused(&mut self) -> Result<(), IllegalTransition> {
        match self.status {
            Status::Paused => self.become_(Status::Running),
            from => Err(IllegalTransition { from, to: Status::Running }),
        }
    }

    /// A start did not come to a process: the status stays what it was, as Docker has it.
    pub fn start_failed(&mut self, exit_code: i64, error: &str) {
        self.exit_code = exit_code;
        self.error = error.into();
    }

    /// The container's process has ended, and somebody saw how.
    pub fn exited(&mut self, code: i64, oom_killed: bool, at: &str) -> Result<(), IllegalTransition> {
        self.become_(Status::Exited)?;
        self.exit_code = code;
        self.oom_killed = oom_killed;
        self.finished_at = at.into();
        Ok(())
    }

    /// The container was started while there was no daemon to see it; the shim's record of its end tells of it.
    pub fn started_unseen(&mut self, at: &str) -> Result<(), IllegalTransition> {
        match self.status.is_live() {
            true => Ok(()),
            // Its pid was never known; any number does until the end takes it away.
            false => self.started(1, at),
        }
    }

    /// The container's process has ended, and nobody saw how.
    pub fn lost(&mut self, error: &str, at: &str) -> Result<(), IllegalTransition> {
        self.become_(Status::Dead)?;
        self.exit_code = LOST_EXIT_CODE;
        self.error = error.into();
        self.finished_at = at.into();
        Ok(())
    }

    /// Its directories are about to be deleted.
    pub fn removing(&mut self) -> Result<(), IllegalTransition> {
        self.become_(Status::Removing)
    }

    /// Deleting its directories failed half way.
    pub fn removal_failed(&mut self, error: &str) -> Result<(), IllegalTransition> {
        self.become_(Status::Dead)?;
        self.error = error.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status() -> impl Strategy<Value = Status> {
        proptest::sample::select(Status::ALL.to_vec())
    }

    #[derive(Debug, Clone)]
    enum Event {
        Started(i32),
        StartFailed,
        Exited(i64),
        Lost,
        Restarting(i64),
        NotRestarted,
        ByHand,
        Removing,
        RemovalFailed,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (1..1_000_000i32).prop_map(Event::Started),
            Just(Event::StartFailed),
            (0..256i64).prop_map(Event::Exited),
            Just(Event::Lost),
            (0..256i64).prop_map(Event::Restarting),
            Just(Event::NotRestarted),
            Just(Event::ByHand),
            Just(Event::Removing),
            Just(Event::RemovalFailed),
        ]
    }

    fn apply(state: &mut State, event: &Event) -> Result<(), IllegalTransition> {
        match event {
            Event::Started(pid) => state.started(*pid, "t1"),
            Event::StartFailed => {
                state.start_failed(127, "no");
                Ok(())
            }
            Event::Exited(code) => state.exited(*code, false, "t2"),
            Event::Lost => state.lost("lost", "t3"),
            Event::Restarting(code) => state.restarting(*code, false, "t4"),
            Event::NotRestarted => state.not_restarted(),
            Event::ByHand => {
                state.begun_by_hand();
                Ok(())
            }
            Event::Removing => state.removing(),
            Event::RemovalFailed => state.removal_failed("disk"),
        }
    }

    proptest! {
        #[test]
        fn a_pid_is_known_exactly_while_there_is_a_process(events in prop::collection::vec(event(), 0..40)) {
            let mut state = State::default();
            for event in events {
                let _ = apply(&mut state, &event);
                prop_assert_eq!(state.pid != 0, state.status.is_live());
            }
        }

        #[test]
        fn a_refused_change_changes_nothing(events in prop::collection::vec(event(), 0..40)) {
            let mut state = State::default();
            for event in events {
                let before = state.clone();
                if apply(&mut state, &event).is_err() {
                    prop_assert_eq!(&before, &state);
                }
            }
        }

        #[test]
        fn state_survives_its_json(events in prop::collection::vec(event(), 0..10)) {
            let mut state = State::default();
            for event in &events {
                let _ = apply(&mut state, event);
            }
            let json = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
        }

        #[test]
        fn restarts_are_counted_until_somebody_starts_it(events in prop::collection::vec(event(), 0..40)) {
            let (mut state, mut count) = (State::default(), 0);
            for event in events {
                let done = apply(&mut state, &event).is_ok();
                match event {
                    Event::Restarting(_) if done => count += 1,
                    Event::ByHand => count = 0,
                    _ => {}
                }
                prop_assert_eq!(state.restart_count, count);
            }
        }

        #[test]
        fn what_restarts_is_up_and_has_no_process(events in prop::collection::vec(event(), 0..40)) {
            let mut state = State::default();
            for event in events {
                let _ = apply(&mut state, &event);
                if state.status == Status::Restarting {
                    prop_assert!(state.status.is_up() && !state.status.is_live() && state.pid == 0);
                    prop_assert_ne!(state.finished_at.as_str(), NEVER);
                }
            }
        }

        #[test]
        fn nothing_becomes_what_it_is(s in status()) {
            prop_assert!(!s.may_become(s));
        }

        #[test]
        fn what_has_a_process_is_never_removed(s in status()) {
            prop_assert!(!(s.is_live() && s.may_become(Status::Removing)));
        }
    }

    #[test]
    fn every_status_leads_to_removal() {
        for start in Status::ALL {
            let mut seen = vec![start];
            let mut at = 0;
            while let Some(&status) = seen.get(at) {
                for next in Status::ALL {
                    if status.may_become(next) && !seen.contains(&next) {
                        seen.push(next);
                    }
                }
                at += 1;
            }
            assert!(seen.contains(&Status::Removing), "{start}");
        }
    }

    #[test]
    fn removing_leads_only_to_dead() {
        let next: Vec<_> = Status::ALL.into_iter().filter(|s| Status::Removing.may_become(*s)).collect();
        assert_eq!(next, [Status::Dead]);
    }

    #[test]
    fn names_round_trip() {
        for status in Status::ALL {
            assert_eq!(status.name().parse(), Ok(status));
        }
        assert!("up".parse::<Status>().is_err());
    }
}
