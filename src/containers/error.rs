//! Why a command on a container failed, in the words that clients of the Engine API know.

use super::accounts::AccountError;
use super::changes::ChangesError;
use super::execs::ExecError;
use super::image_source::SourceError;
use super::names::{LookupError, NameError};
use super::shim_client::ShimError;
use super::spec::SpecError;
use super::state::IllegalTransition;
use super::store::StoreError;
use crate::images::WritableLayerError;
use crate::images::files::FilesError;
use crate::oci::ErrorKind;
use crate::shim::protocol::Failure;

/// Any failure of [`super::Containers`].
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Image(#[from] SourceError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("invalid filter '{0}'")]
    Filter(String),
    /// The container of a filter; here Docker's words are others.
    #[error("no such container {0}")]
    NoneBeside(String),
    #[error("{0}")]
    Start(StartFailure),
    #[error("Neither old nor new names may be empty")]
    NoNewName,
    #[error("Renaming a container with the same name as its current name")]
    SameName,
    #[error("Error when allocating new name: {0}")]
    NewName(NameError),
    #[error("strconv.Atoi: parsing {0:?}: invalid syntax")]
    NoNumber(String),
    #[error("unrecognized filter value for health: {0}")]
    NoHealth(String),
    #[error("container {0} is already running")]
    AlreadyStarted(String),
    #[error("container {0} is already stopped")]
    AlreadyStopped(String),
    #[error("cannot start a paused container, try unpause instead")]
    Paused,
    #[error("container is marked for removal and cannot be started")]
    MarkedForRemoval,
    #[error("Cannot kill container: {asked}: Container {id} is not running")]
    CantKill { asked: String, id: String },
    #[error("Cannot kill container: {asked}: {cause}")]
    NotKilled { asked: String, cause: Box<ContainerError> },
    #[error("Container {0} is not running")]
    NotRunning(String),
    #[error("You cannot remove a {status} container {id}. {advice} before attempting removal or force remove")]
    StillUp { id: String, status: &'static str, advice: &'static str },
    #[error("Container {0} is already paused")]
    AlreadyPaused(String),
    #[error("Container {0} is not paused")]
    NotPaused(String),
    #[error("Cannot pause container {id}: {reason}")]
    CantPause { id: String, reason: String },
    #[error("Cannot update container {id}: {reason}")]
    CantUpdate { id: String, reason: String, conflict: bool },
    #[error("{0}")]
    PsOptions(String),
    #[error("Container {0} is restarting, wait until the container is running")]
    Restarting(String),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error("removal of container {0} is already in progress")]
    RemovalInProgress(String),
    #[error("{0}")]
    LogOption(String),
    #[error("configured logging driver does not support reading")]
    LogNotRead,
    #[error("can not get logs from container which is dead or marked for removal")]
    LogOfDead,
    #[error("container {0} does not end, though SIGKILL was sent to it")]
    DoesNotEnd(String),
    /// What the configuration names outside of the container can't be; Docker's words.
    #[error("{0}")]
    BadHost(String),
    #[error("{0}")]
    Device(String),
    #[error("container {id} has {max} attached streams already")]
    TooManyAttached { id: String, max: usize },
    #[error("Could not find the file {path} in container {container}")]
    NoSuchPath { path: String, container: String },
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Changes(#[from] ChangesError),
    #[error("{step}: {source}")]
    Io { step: &'static str, source: std::io::Error },
    #[error(transparent)]
    Shim(#[from] ShimError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Layer(#[from] WritableLayerError),
    #[error(transparent)]
    State(#[from] IllegalTransition),
    #[error("no random number for an id: {0}")]
    Random(String),
    #[error("the engine gave up on this command: {0}")]
    GivenUp(String),
}

/// A container that did not start. Clients find the exit status (125, 126, 127) in the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFailure {
    pub exit_code: i64,
    /// Symbolic, or a word of ours.
    pub errno: String,
    pub message: String,
}

impl std::fmt::Display for StartFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed to create shim task: OCI runtime create failed: rdock create failed: ")?;
        if self.is_commands_fault() {
            f.write_str("unable to start container process: ")?;
        }
        write!(f, "{}: unknown", self.message)
    }
}

impl StartFailure {
    pub(super) fn internal(message: impl Into<String>) -> StartFailure {
        StartFailure { exit_code: 125, errno: "EIO".into(), message: message.into() }
    }

    /// The command can't be found (127) or run (126); anything else is the engine's (125).
    pub fn is_commands_fault(&self) -> bool {
        matches!(self.exit_code, 126 | 127)
    }
}

impl From<Failure> for StartFailure {
    fn from(failure: Failure) -> StartFailure {
        let errno = Some(failure.errno).filter(|e| !e.is_empty()).unwrap_or_else(|| "EIO".into());
        StartFailure { exit_code: failure.exit_code.into(), errno, message: failure.message }
    }
}

impl ContainerError {
    pub fn kind(&self) -> ErrorKind {
        use ContainerError::*;
        match self {
            Lookup(LookupError::NoSuch(_)) | NoSuchPath { .. } => ErrorKind::NotFound,
            Files(FilesError::NoDirectory) => ErrorKind::BadParameter,
            Files(FilesError::ReadOnly) => ErrorKind::Forbidden,
            Lookup(LookupError::Ambiguous(_)) | Filter(_) | Name(NameError::Invalid(_)) => ErrorKind::BadParameter,
            Name(NameError::Taken { .. }) | NewName(NameError::Taken { .. }) => ErrorKind::Conflict,
            NewName(NameError::Invalid(_)) | NoNewName | SameName | NoNumber(_) | NoHealth(_) => {
                ErrorKind::BadParameter
            }
            Image(error) => error.kind,
            Spec(error) => error.kind(),
            NoneBeside(_) => ErrorKind::NotFound,
            NotKilled { cause, .. } => cause.kind(),
            LogOption(_) => ErrorKind::BadParameter,
            LogNotRead => ErrorKind::NotImplemented,
            LogOfDead => ErrorKind::Conflict,
            BadHost(_) => ErrorKind::BadParameter,
            Start(failure) if failure.is_commands_fault() => ErrorKind::BadParameter,
            AlreadyStarted(_) | AlreadyStopped(_) => ErrorKind::NotModified,
            Exec(ExecError::NoSuch(_)) => ErrorKind::NotFound,
            Exec(ExecError::NoCommand) => ErrorKind::BadParameter,
            Exec(ExecError::Running(_) | ExecError::HasRun(_) | ExecError::Paused(_)) => ErrorKind::Conflict,
            Exec(ExecError::Failed { .. }) | Account(_) => ErrorKind::BadParameter,
            Restarting(_) | AlreadyPaused(_) | NotPaused(_) => ErrorKind::Conflict,
            CantUpdate { conflict: true, .. } => ErrorKind::Conflict,
            PsOptions(_) => ErrorKind::BadParameter,
            Paused | MarkedForRemoval | CantKill { .. } | NotRunning(_) => ErrorKind::Conflict,
            StillUp { .. } | RemovalInProgress(_) | TooManyAttached { .. } => ErrorKind::Conflict,
            _ => ErrorKind::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_not_there_has_dockers_words() {
        let failure = Failure {
            exit_code: 127,
            op: "kernel.execve".into(),
            errno: "ENOENT".into(),
            message: "exec: \"nosuchcommand\": executable file not found in $PATH".into(),
        };
        let error = ContainerError::Start(failure.into());
        assert_eq!(
            error.to_string(),
            "failed to create shim task: OCI runtime create failed: rdock create failed: unable to start container process: exec: \"nosuchcommand\": executable file not found in $PATH: unknown"
        );
        assert_eq!(error.kind(), ErrorKind::BadParameter);
        let engine = ContainerError::Start(StartFailure::internal("mount: no such device"));
        assert_eq!(engine.kind(), ErrorKind::Internal);
    }

    #[test]
    fn a_running_container_has_dockers_words() {
        let error = ContainerError::StillUp { id: "6e6a".into(), status: "running", advice: "Stop the container" };
        assert_eq!(
            error.to_string(),
            "You cannot remove a running container 6e6a. Stop the container before attempting removal or force remove"
        );
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
}
