//! What a person is told when something fails: a message, perhaps a hint, and the exit status.

use crate::client::ClientError;
use crate::client::autostart::AutostartError;
use crate::client::stream::StreamError;
use std::fmt;
use std::io;

/// Exit status when the engine failed, not the container (`run`, `create`, bad flags).
pub const ENGINE_FAILED: u8 = 125;
/// Exit status when the command exists but cannot be invoked.
pub const CANNOT_INVOKE: u8 = 126;
/// Exit status when the command does not exist.
pub const NOT_FOUND: u8 = 127;

/// The end of a command that failed. Printed once, on stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One sentence; for wrong usage the usage follows.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    pub status: u8,
}

impl Failure {
    /// Fails with status 1.
    pub fn new(message: impl fmt::Display) -> Failure {
        Failure { message: without_number(message.to_string()), hint: None, status: 1 }
    }

    /// Nothing is left to say.
    pub fn silent(status: u8) -> Failure {
        Failure { message: String::new(), hint: None, status }
    }

    #[must_use]
    pub fn status(self, status: u8) -> Failure {
        Failure { status, ..self }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// The form that `run` and `create` give to every failure: the program's name before it, the way to the help
    /// after it, and a status that no container's process is likely to have.
    #[must_use]
    pub fn of_command(self, command: &str) -> Failure {
        if self.message.is_empty() {
            return self;
        }
        let status = container_status(&self.message);
        let message = format!("rdock: {}\n\nRun 'rdock {command} --help' for more information", self.message);
        Failure { message, status, ..self }
    }
}

/// Rust puts the number of a system error behind its words: ` (os error 13)`. It says nothing to a person.
fn without_number(mut message: String) -> String {
    const MARK: &str = " (os error ";
    while let Some(at) = message.find(MARK) {
        let Some(end) = message[at..].find(')') else { break };
        message.replace_range(at..=at + end, "");
    }
    message
}

/// 127 command not found, 126 it can't be invoked, 125 all else; told apart by the daemon's words, as Docker does.
fn container_status(message: &str) -> u8 {
    let says = |words: &[&str]| words.iter().any(|w| message.contains(w));
    if !says(&["exec: "]) {
        return ENGINE_FAILED; // A file of the engine's own may be missing too.
    }
    if says(&["executable file not found", "no such file or directory"]) {
        NOT_FOUND
    } else if says(&["permission denied", "is a directory", "exec format error"]) {
        CANNOT_INVOKE
    } else {
        ENGINE_FAILED
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let failure = Failure::new(&error);
        match error {
            ClientError::Denied { .. } => failure.hint(
                "the socket belongs to somebody else: use a home of your own (RDOCK_HOME=DIR), or ask its owner for access",
            ),
            ClientError::NotRunning { .. } => failure.hint("leave -H and RDOCK_HOST out and rdock starts its own daemon"),
            ClientError::Lost { .. } | ClientError::Ended { .. } => failure.hint("the daemon may have ended: the next command starts a new one"),
            _ => failure,
        }
    }
}

impl From<AutostartError> for Failure {
    fn from(error: AutostartError) -> Failure {
        let failure = Failure::new(&error).status(ENGINE_FAILED);
        match error {
            AutostartError::RunDir { source, .. } | AutostartError::File { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                failure.hint("set RDOCK_HOME to a directory that you may write to")
            }
            _ => failure,
        }
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Failure {
        match error {
            StreamError::Output(nix::errno::Errno::EPIPE) => Failure::silent(128 + nix::libc::SIGPIPE as u8),
            other => Failure::new(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_ends_as_dockers_does() {
        for (message, status) in [
            ("Conflict. The container name \"/a\" is already in use", 125),
            (
                "unable to start container process: exec: \"nosuchcommand\": executable file not found in $PATH: unknown",
                127,
            ),
            ("unable to start container process: exec: \"/etc\": permission denied: unknown", 126),
            ("mkdirat /sys/fs/cgroup/pids/x: no such file or directory (ENOENT): unknown", 125),
            ("unable to start container process: exec: \"/x\": stat /x: no such file or directory: unknown", 127),
        ] {
            let failure = Failure::new(format!("Error response from daemon: {message}")).of_command("run");
            assert_eq!(failure.status, status, "{message}");
            assert_eq!(
                failure.to_string(),
                format!("rdock: Error response from daemon: {message}\n\nRun 'rdock run --help' for more information")
            );
        }
    }

    #[test]
    fn numbers_of_system_errors_are_not_shown() {
        let error = io::Error::from_raw_os_error(13);
        assert_eq!(
            Failure::new(format!("cannot use /x: {error}; sorry")).message,
            "cannot use /x: Permission denied; sorry"
        );
    }

    #[test]
    fn a_hint_is_the_last_line() {
        assert_eq!(Failure::new("it is full").hint("make room").to_string(), "it is full\nhint: make room");
    }
}
