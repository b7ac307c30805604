//! What can go wrong between client and daemon. The words are Docker's where Docker has words.

use http::StatusCode;
use std::io;
use std::path::PathBuf;

/// A call of the API failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon answered with an error.
    #[error("Error response from daemon: {message}")]
    Api { status: StatusCode, message: String },
    /// Nobody listens on the socket.
    #[error("Cannot connect to the {} daemon at unix://{}. Is the {} daemon running?", .name, .socket.display(), .name)]
    NotRunning { name: &'static str, socket: PathBuf },
    /// The socket may not be opened by this user.
    #[error("permission denied while trying to connect to the {name} daemon socket at unix://{}", .socket.display())]
    Denied { name: &'static str, socket: PathBuf },
    /// Somebody else listens where our own daemon should.
    #[error("a program of another user ({user}) listens on unix://{}: nothing is sent to it", .socket.display())]
    Foreign { socket: PathBuf, user: u32 },
    /// It listened when it was called and had ended before it answered (ECONNRESET, unix(7)).
    #[error("the daemon at unix://{} ended before it took the call", .socket.display())]
    Ended { socket: PathBuf },
    /// Any other reason why the connection could not be made.
    #[error("cannot connect to unix://{}: {source}", .socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    /// The other side speaks no version that we speak.
    #[error("the daemon speaks version {0} of the API, at least {min} is needed", min = crate::api::version::MIN)]
    TooOld(String),
    /// The connection broke in the middle of a call.
    #[error("the connection to the daemon was lost during {call}: {source}")]
    Lost { call: String, source: hyper::Error },
    /// The answer is not what the API promises.
    #[error("the daemon's answer to {call} cannot be read: {source}")]
    Answer { call: String, source: serde_json::Error },
    /// The daemon did not give up the connection for streaming.
    #[error("the daemon answered {call} with {status} instead of a stream")]
    NotHijacked { call: String, status: StatusCode },
    /// A name or query that cannot be part of a request.
    #[error("cannot ask for {path:?}: {source}")]
    Request { path: String, source: http::Error },
}

impl ClientError {
    /// Whether the daemon says that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, ClientError::Api { status: StatusCode::NOT_FOUND, .. })
    }

    /// Whether a registry does not believe who asks.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, ClientError::Api { status: StatusCode::UNAUTHORIZED, .. })
    }

    /// The daemon's own sentence, without the words around it.
    pub fn message(&self) -> String {
        match self {
            ClientError::Api { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}
