//! Which daemon a client speaks to.

use std::path::PathBuf;

/// A unix socket, and whether a daemon of our own may be started on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub socket: PathBuf,
    /// The directory for run-time files of the daemon to start; none: the user named the socket.
    pub autostart: Option<PathBuf>,
}

/// The text of `--host` names no socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("unable to parse host {0:?}: it must look like unix:///path/to/socket")]
    Malformed(String),
    #[error("cannot speak to {0:?}: only unix:// sockets are spoken to")]
    Scheme(String),
}

impl Endpoint {
    /// `unix:///path` as given with `-H` or `RDOCK_HOST`. Nothing is started there.
    pub fn parse(host: &str) -> Result<Endpoint, HostError> {
        let Some((scheme, path)) = host.split_once("://") else {
            return Err(HostError::Malformed(host.to_owned()));
        };
        if scheme != "unix" {
            return Err(HostError::Scheme(host.to_owned()));
        }
        if path.is_empty() {
            return Err(HostError::Malformed(host.to_owned()));
        }
        Ok(Endpoint { socket: path.into(), autostart: None })
    }

    /// The socket of our own home.
    pub fn own(socket: PathBuf, run: PathBuf) -> Endpoint {
        Endpoint { socket, autostart: Some(run) }
    }

    /// The name of the daemon in messages: a socket that the user named may be a Docker's.
    pub fn daemon_name(&self) -> &'static str {
        let docker = self.socket.file_name().is_some_and(|f| f == "docker.sock");
        if docker && self.autostart.is_none() { "Docker" } else { "rdock" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_unix_sockets() {
        let e = Endpoint::parse("unix:///var/run/docker.sock").unwrap();
        assert_eq!((e.socket, e.autostart), ("/var/run/docker.sock".into(), None));
        assert!(matches!(Endpoint::parse("tcp://1.2.3.4:2375"), Err(HostError::Scheme(_))));
        assert!(matches!(Endpoint::parse("nonsense"), Err(HostError::Malformed(_))));
        assert!(matches!(Endpoint::parse("unix://"), Err(HostError::Malformed(_))));
    }
}
