//! One `exec`: what was asked for, and how far it has come. Pure but for the watch that waiters look at.

use bollard_stubs::models::ExecConfig;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// So long an exec that has ended can be asked about (moby's execCommandGC).
const KEPT: Duration = Duration::from_secs(5 * 60);

/// Exit status of one whose end nobody told: its shim was killed.
pub const LOST_EXIT_CODE: i64 = 137;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Created,
    /// It is being started, or runs: its process as the host numbers it, 0 before there is one.
    Running {
        pid: i32,
    },
    Ended {
        code: i64,
        pid: i32,
        at: Instant,
    },
}

/// Why it can't be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    #[error("No such exec instance: {0}")]
    NoSuch(String),
    #[error("Error: Exec command {0} is already running")]
    Running(String),
    #[error("Error: Exec command {0} has already run")]
    HasRun(String),
    #[error("No exec command specified")]
    NoCommand,
    #[error("Container {0} is paused, unpause the container before exec")]
    Paused(String),
    #[error("OCI runtime exec failed: exec failed: {message}: unknown")]
    Failed { code: i64, message: String },
}

/// One process to be, or that is, or was.
#[derive(Debug)]
pub struct Exec {
    /// 64 hex characters.
    pub id: String,
    /// The container's id.
    pub container: String,
    pub config: ExecConfig,
    phase: watch::Sender<Phase>,
}

impl Exec {
    pub fn new(id: String, container: String, config: ExecConfig) -> Exec {
        Exec { id, container, config, phase: watch::Sender::new(Phase::Created) }
    }

    /// One that a shim has told a daemon of that was restarted.
    pub fn found(id: String, container: String, config: ExecConfig, pid: i32) -> Exec {
        Exec { phase: watch::Sender::new(Phase::Running { pid }), ..Exec::new(id, container, config) }
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Takes it for starting: only one caller gets it.
    ///
    /// # Errors
    /// It runs, or has run.
    pub fn begin(&self) -> Result<(), ExecError> {
        let mut was = Phase::Created;
        self.phase.send_if_modified(|phase| {
            was = *phase;
            let free = *phase == Phase::Created;
            if free {
                *phase = Phase::Running { pid: 0 };
            }
            free
        });
        match was {
            Phase::Created => Ok(()),
            Phase::Running { .. } => Err(ExecError::Running(self.id.clone())),
            Phase::Ended { .. } => Err(ExecError::HasRun(self.id.clone())),
        }
    }

    pub fn started(&self, pid: i32) {
        self.phase.send_if_modified(|phase| {
            let running = matches!(phase, Phase::Running { .. });
            if running {
                *phase = Phase::Running { pid };
            }
            running
        });
    }

    pub fn ended(&self, code: i64) {
        self.phase.send_modify(|phase| {
            let pid = match phase {
                Phase::Running { pid } => *pid,
                _ => 0,
            };
            *phase = Phase::Ended { code, pid, at: Instant::now() };
        });
    }

    /// Its exit status, once there is one.
    pub async fn end(&self) -> i64 {
        let mut phase = self.phase.subscribe();
        match phase.wait_for(|p| matches!(p, Phase::Ended { .. })).await.as_deref() {
            Ok(Phase::Ended { code, .. }) => *code,
            _ => LOST_EXIT_CODE,
        }
    }

    /// Nobody asks about it any more.
    pub fn is_over(&self) -> bool {
        matches!(self.phase(), Phase::Ended { at, .. } if at.elapsed() > KEPT)
    }

    /// The command as events name it: `sh -c ls`.
    pub fn command(&self) -> String {
        self.config.cmd.as_deref().unwrap_or_default().join(" ")
    }

    /// What a client gets for `GET /exec/{id}/json`.
    pub fn document(&self) -> Value {
        let config = &self.config;
        let (entrypoint, arguments) =
            config.cmd.as_deref().unwrap_or_default().split_first().map_or(("", &[][..]), |(e, a)| (e.as_str(), a));
        let (running, code, pid) = match self.phase() {
            Phase::Created => (false, None, 0),
            Phase::Running { pid } => (true, None, pid),
            Phase::Ended { code, pid, .. } => (false, Some(code), pid),
        };
        let mut process = json!({
            "tty": config.tty.unwrap_or(false), "entrypoint": entrypoint, "arguments": arguments,
            "privileged": config.privileged.unwrap_or(false),
        });
        if let Some(user) = config.user.as_deref().filter(|u| !u.is_empty()) {
            process["user"] = json!(user);
        }
        json!({
            "ID": self.id, "Running": running, "ExitCode": code, "ProcessConfig": process,
            "OpenStdin": config.attach_stdin.unwrap_or(false), "OpenStderr": config.attach_stderr.unwrap_or(false),
            "OpenStdout": config.attach_stdout.unwrap_or(false), "CanRemove": false, "ContainerID": self.container,
            "DetachKeys": config.detach_keys.as_deref().unwrap_or(""), "Pid": pid,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec() -> Exec {
        let cmd = Some(vec!["sh".into(), "-c".into(), "exit 3".into()]);
        Exec::new("ab".into(), "cd".into(), ExecConfig { cmd, attach_stdout: Some(true), ..ExecConfig::default() })
    }

    #[tokio::test]
    async fn it_runs_once() {
        let exec = exec();
        assert_eq!(exec.document()["ExitCode"], Value::Null);
        exec.begin().unwrap();
        assert_eq!(exec.begin().unwrap_err().to_string(), "Error: Exec command ab is already running");
        exec.started(42);
        assert_eq!((&exec.document()["Running"], &exec.document()["Pid"]), (&json!(true), &json!(42)));
        exec.ended(3);
        assert_eq!(exec.end().await, 3);
        assert_eq!(exec.begin().unwrap_err().to_string(), "Error: Exec command ab has already run");
        exec.started(43);
        assert_eq!(exec.document()["Running"], json!(false), "an answer that comes late does not bring it back");
    }

    #[test]
    fn the_document_is_dockers() {
        let text = serde_json::to_string(&exec().document()).unwrap();
        assert_eq!(
            text,
            r#"{"ID":"ab","Running":false,"ExitCode":null,"ProcessConfig":{"tty":false,"entrypoint":"sh","arguments":["-c","exit 3"],"privileged":false},"OpenStdin":false,"OpenStderr":false,"OpenStdout":true,"CanRemove":false,"ContainerID":"cd","DetachKeys":"","Pid":0}"#
        );
    }
}
