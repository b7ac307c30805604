//! Signals and window sizes for a container that runs.

use super::super::shim_client::ShimError;
use super::super::spec::{SpecError, signal};
use super::super::state::Status;
use super::*;
use crate::shim::protocol::Request;
use crate::trace::{self, Actor};
use serde_json::json;
use std::time::Duration;

/// How long `docker stop` waits between SIGTERM and SIGKILL.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

impl Containers {
    /// Sends a signal (`KILL`, `SIGTERM`, `15`; empty: KILL) to the container's first process.
    ///
    /// # Errors
    /// [`ContainerError::CantKill`] when it does not run; a signal that is none.
    pub async fn kill(&self, id_or_name: &str, signal: &str) -> Result<(), ContainerError> {
        let wrong = |cause| ContainerError::NotKilled { asked: id_or_name.to_owned(), cause: Box::new(cause) };
        let signal = match signal::parse(if signal.is_empty() { "KILL" } else { signal }) {
            Err(error @ SpecError::NoSuchSignal(_)) => Err(wrong(error.into())),
            other => Ok(other?),
        };
        let entry = self.inner.find(id_or_name).map_err(wrong)?;
        let signal = signal?;
        let own = entry.record().config.stop_signal.clone().filter(|s| !s.is_empty());
        // As moby has it: without a stop signal of its own every signal may be meant to end it.
        if signal == libc::SIGKILL || own.is_none_or(|own| signal::parse(&own).is_ok_and(|own| own == signal)) {
            self.inner.by_hand(&entry).await;
        }
        match self.inner.send(&entry, signal).await {
            Err(ShimError::Gone) => {
                Err(ContainerError::CantKill { asked: id_or_name.to_owned(), id: entry.id.clone() })
            }
            other => Ok(other?),
        }
    }

    /// Asks the container to end (its stop signal, SIGTERM by default), and kills it when it does not in time.
    /// `signal` and `patience`: none: the container's own, else SIGTERM and 10 s.
    ///
    /// # Errors
    /// [`ContainerError::AlreadyStopped`] (nothing to do); a signal that is none.
    pub async fn stop(
        &self,
        id_or_name: &str,
        signal: Option<&str>,
        patience: Option<Duration>,
    ) -> Result<(), ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let (inner, signal) = (self.inner.clone(), signal.map(str::to_owned));
        to_the_end(async move { inner.stop(&entry, signal.as_deref(), patience).await }).await
    }

    /// Gives the container's terminal the size of the client's window.
    ///
    /// # Errors
    /// [`ContainerError::NotRunning`]; the shim refuses when there is no terminal.
    pub async fn resize(&self, id_or_name: &str, width: u16, height: u16) -> Result<(), ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let shim = entry.shim().ok_or_else(|| ContainerError::NotRunning(entry.id.clone()))?;
        match shim.ask(&Request::Resize { width, height }, vec![]).await {
            Err(ShimError::Gone) => Err(ContainerError::NotRunning(entry.id.clone())),
            other => {
                let size = [("height", height.to_string()), ("width", width.to_string())];
                self.inner.tell(&entry.record(), "resize", size);
                Ok(other?)
            }
        }
    }
}

impl Inner {
    /// A container that has ended in the meantime is as good as gone.
    pub(super) async fn send(&self, entry: &Entry, signal: i32) -> Result<(), ShimError> {
        let shim = entry.shim().ok_or(ShimError::Gone)?;
        let step = trace::step(Actor::Daemon, "container.signal")
            .why("only who is the process's parent can be sure to reach it and no other: the container's shim")
            .arg("id", &entry.id)
            .arg("signal", signal);
        let told = self.producers.as_ref().and_then(|p| step.span().in_scope(|| p.attach()));
        let (context, socket) = told.unzip();
        let request = Request::Kill { signal, trace: context };
        let asked = shim.ask(&request, socket.into_iter().collect()).instrument(step.span()).await;
        let (name, short) = (signal::name(signal), entry.record().short_id().to_owned());
        match &asked {
            Ok(()) => {
                step.ok(json!(null), || format!("{name} has reached the first process of container {short}"));
            }
            Err(error) => step.fail("ESRCH", error, || format!("{name} reaches nobody in container {short}: {error}")),
        }
        match asked {
            Err(ShimError::Refused(_)) if !entry.life.borrow().up => Err(ShimError::Gone),
            Ok(()) => {
                self.tell(&entry.record(), "kill", [("signal", signal.to_string())]);
                // Who stands still can't react.
                if let Err(error) = self.let_go_on(entry).await {
                    tracing::warn!(id = entry.id, %error, "a paused container got a signal and does not go on");
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Somebody wants its end: its restart policy must know before it comes.
    pub(super) async fn by_hand(&self, entry: &Entry) {
        let marked = self.note(entry, |record| {
            record.state.stopped_by_hand = true;
            Ok(())
        });
        let _ = marked.await;
    }

    async fn stop(
        &self,
        entry: &Entry,
        signal: Option<&str>,
        patience: Option<Duration>,
    ) -> Result<(), ContainerError> {
        if !entry.life.borrow().up {
            return Err(ContainerError::AlreadyStopped(entry.id.clone()));
        }
        self.by_hand(entry).await;
        if entry.record().state.status == Status::Restarting {
            // Who starts it again holds the lock: afterwards it runs, or nobody starts it any more.
            let _command = entry.command.lock().await;
            return self.stop_locked(entry, signal, patience).await;
        }
        self.stop_running(entry, signal, patience).await
    }

    /// The caller holds the `command` lock.
    pub(super) async fn stop_locked(
        &self,
        entry: &Entry,
        signal: Option<&str>,
        patience: Option<Duration>,
    ) -> Result<(), ContainerError> {
        self.by_hand(entry).await;
        if entry.record().state.status == Status::Restarting {
            self.not_restarted(entry).await;
            self.tell(&entry.record(), "stop", []);
            return Ok(());
        }
        self.stop_running(entry, signal, patience).await
    }

    async fn stop_running(
        &self,
        entry: &Entry,
        signal: Option<&str>,
        patience: Option<Duration>,
    ) -> Result<(), ContainerError> {
        let mut life = entry.life.subscribe();
        let config = entry.record().config.clone();
        let own = config.stop_timeout.map(seconds_of_patience);
        let patience = patience.or(own).unwrap_or(STOP_PATIENCE);
        let asked = signal.or(config.stop_signal.as_deref()).filter(|s| !s.is_empty()).unwrap_or("SIGTERM");
        for (signal, patience) in [(signal::parse(asked)?, patience), (libc::SIGKILL, STOP_PATIENCE)] {
            match self.send(entry, signal).await {
                Ok(()) | Err(ShimError::Gone | ShimError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if ends_in_time(&mut life, signal, patience).await {
                self.tell(&entry.record(), "stop", []);
                return Ok(());
            }
        }
        Err(ContainerError::DoesNotEnd(entry.id.clone()))
    }
}

/// Whether the container ends before the patience does.
async fn ends_in_time(life: &mut watch::Receiver<Life>, signal: i32, patience: Duration) -> bool {
    let step = trace::step(Actor::Daemon, "container.stop.wait")
        .why("a program that knows the signal ends in order: it saves its work and says goodbye to its clients")
        .arg("seconds", patience.as_secs());
    let ended = tokio::time::timeout(patience, life.wait_for(|life| !life.up)).await.is_ok();
    let name = signal::name(signal);
    step.ok(json!({"ended": ended}), || match (ended, patience.as_secs()) {
        (true, _) => format!("waits for the end: after {name} it has ended"),
        (false, s) => format!("has waited {s} s: it goes on in spite of {name}"),
    });
    ended
}

/// Less than none is for ever.
pub(super) fn seconds_of_patience(seconds: i64) -> Duration {
    u64::try_from(seconds).map_or(Duration::MAX, Duration::from_secs)
}
