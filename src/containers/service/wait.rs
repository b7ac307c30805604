//! Waiting for a container: in two steps, since clients want to know that the wait is on before they start.

use super::*;

/// What is waited for (`POST /containers/{id}/wait?condition=`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// It does not run (at once if it does not now).
    #[default]
    NotRunning,
    /// It ends the next time, counted from now.
    NextExit,
    /// It is removed.
    Removed,
}

impl WaitCondition {
    /// `not-running` (or nothing), `next-exit`, `removed`
    pub fn parse(text: &str) -> Option<WaitCondition> {
        match text {
            "" | "not-running" => Some(WaitCondition::NotRunning),
            "next-exit" => Some(WaitCondition::NextExit),
            "removed" => Some(WaitCondition::Removed),
            _ => None,
        }
    }
}

/// `{"StatusCode": 0, "Error": null}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitAnswer {
    pub status_code: i64,
    pub error: Option<String>,
}

/// A wait that is on: no end that comes from now on is missed.
pub struct Waiting {
    life: watch::Receiver<Life>,
    ends: u64,
    condition: WaitCondition,
}

impl Waiting {
    /// Waits. Safe to cancel.
    pub async fn answer(mut self) -> WaitAnswer {
        let (ends, condition) = (self.ends, self.condition);
        let is_met = |life: &Life| match condition {
            WaitCondition::NotRunning => !life.up || life.ends > ends || life.removed,
            WaitCondition::NextExit => life.ends > ends || life.removed,
            WaitCondition::Removed => life.removed,
        };
        match self.life.wait_for(is_met).await {
            Ok(life) => WaitAnswer { status_code: life.exit_code, error: None },
            Err(_) => WaitAnswer { status_code: -1, error: Some("the daemon is stopping".into()) },
        }
    }
}

impl Containers {
    /// Begins to wait; answer the client that the wait is on, then await [`Waiting::answer`].
    ///
    /// # Errors
    /// No such container.
    pub fn watch(&self, id_or_name: &str, condition: WaitCondition) -> Result<Waiting, ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let life = entry.life.subscribe();
        let ends = life.borrow().ends;
        Ok(Waiting { life, ends, condition })
    }

    /// Both steps at once.
    ///
    /// # Errors
    /// No such container.
    pub async fn wait(&self, id_or_name: &str, condition: WaitCondition) -> Result<WaitAnswer, ContainerError> {
        Ok(self.watch(id_or_name, condition)?.answer().await)
    }
}
