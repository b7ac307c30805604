//! Signals and window sizes for a container that runs.

use super::super::shim_client::ShimError;
use super::super::spec::signal;
use super::*;
use crate::shim::protocol::Request;
use std::time::Duration;

/// How long `docker stop` waits between SIGTERM and SIGKILL.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

impl Containers {
    /// Sends a signal (`KILL`, `SIGTERM`, `15`; empty: KILL) to the container's first process.
    ///
    /// # Errors
    /// [`ContainerError::CantKill`] when it does not run; a signal that is none.
    pub async fn kill(&self, id_or_name: &str, signal: &str) -> Result<(), ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let signal = signal::parse(if signal.is_empty() { "KILL" } else { signal })?;
        match self.inner.send(&entry, signal).await {
            Err(ShimError::Gone) => {
                Err(ContainerError::CantKill { asked: id_or_name.to_owned(), id: entry.id.clone() })
            }
            other => Ok(other?),
        }
    }

    /// Asks the container to end (its stop signal, SIGTERM by default), and kills it when it does not in time.
    /// `patience`: none: the container's own, else 10 s.
    ///
    /// # Errors
    /// [`ContainerError::AlreadyStopped`] (nothing to do).
    pub async fn stop(&self, id_or_name: &str, patience: Option<Duration>) -> Result<(), ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let inner = self.inner.clone();
        to_the_end(async move { inner.stop(&entry, patience).await }).await
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
        match shim.ask(&Request::Kill { signal }, vec![]).await {
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

    async fn stop(&self, entry: &Entry, patience: Option<Duration>) -> Result<(), ContainerError> {
        let mut life = entry.life.subscribe();
        if !life.borrow().up {
            return Err(ContainerError::AlreadyStopped(entry.id.clone()));
        }
        let config = entry.record().config.clone();
        let own = config.stop_timeout.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs);
        let patience = patience.or(own).unwrap_or(STOP_PATIENCE);
        let asked = config.stop_signal.as_deref().filter(|s| !s.is_empty()).unwrap_or("SIGTERM");
        for (signal, patience) in [(signal::parse(asked)?, patience), (libc::SIGKILL, STOP_PATIENCE)] {
            match self.send(entry, signal).await {
                Ok(()) | Err(ShimError::Gone | ShimError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if tokio::time::timeout(patience, life.wait_for(|life| !life.up)).await.is_ok() {
                self.tell(&entry.record(), "stop", []);
                return Ok(());
            }
        }
        Err(ContainerError::DoesNotEnd(entry.id.clone()))
    }
}
