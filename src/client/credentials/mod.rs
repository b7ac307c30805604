//! What a person has for registries: `config.json`, as the Docker command keeps it, and the programs
//! (`docker-credential-…`) that it names.
//!
//! | key of `config.json`                         | what it says                                     |
//! | -------------------------------------------- | ------------------------------------------------ |
//! | `auths.<server>.auth`                        | user name and password, encoded but not secret   |
//! | `auths.<server>.identitytoken`               | a token to be used instead of the password       |
//! | `credHelpers.<server>`                       | the program that keeps what is for this server   |
//! | `credsStore`                                 | the program that keeps everything else           |
//!
//! All other keys are the Docker command's own, and stay as they are.

mod file;
mod program;

use crate::api::auth::AuthConfig;
use file::ConfigFile;
use std::io;
use std::path::{Path, PathBuf};

/// How Docker's own registry is called here, for reasons of age.
pub const DOCKER_SERVER: &str = "https://index.docker.io/v1/";

/// Why credentials can't be had or kept. Says nothing of what they are.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot understand {}: {source}", .path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot run the credential helper {program}: {source}")]
    Run { program: String, source: io::Error },
    /// In the helper's own words.
    #[error("{program} failed: {words}")]
    Helper { program: String, words: String },
    #[error("{program} is no name of a credential helper")]
    Name { program: String },
    #[error("{program} gave an answer that cannot be understood")]
    Answer { program: String },
}

/// Where credentials went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In the file, where everybody who may read it can decode them.
    File(PathBuf),
    /// They were there already.
    Unchanged,
    /// With a program.
    Program(String),
}

/// The credentials of one person.
pub struct Keyring {
    file: ConfigFile,
}

impl Keyring {
    /// Reads `config.json` in `directory`; that there is none is no error.
    pub fn open(directory: &Path) -> Result<Keyring, CredentialsError> {
        Ok(Keyring { file: ConfigFile::read(directory.join("config.json"))? })
    }

    /// What is kept for the server, if there is something.
    pub fn of(&self, server: &str) -> Result<Option<AuthConfig>, CredentialsError> {
        match self.file.program_for(server) {
            Some(program) => program::get(&program, server),
            None => Ok(self.file.auth_of(server)),
        }
    }

    /// Keeps it for `auth.serveraddress`.
    pub fn keep(&mut self, auth: &AuthConfig) -> Result<Kept, CredentialsError> {
        if let Some(program) = self.file.program_for(&auth.serveraddress) {
            program::store(&program, auth)?;
            // The server's name stays in the file, without what is secret.
            self.file.note(&auth.serveraddress)?;
            return Ok(Kept::Program(program));
        }
        match self.file.auth_of(&auth.serveraddress).as_ref() == Some(auth) {
            true => Ok(Kept::Unchanged),
            false => self.file.keep(auth).map(|()| Kept::File(self.file.path().to_owned())),
        }
    }

    /// Forgets what is kept for the server.
    pub fn forget(&mut self, server: &str) -> Result<(), CredentialsError> {
        let program = self.file.program_for(server);
        self.file.forget(server)?;
        match program {
            Some(program) => program::erase(&program, server),
            None => Ok(()),
        }
    }
}

/// The server that a domain of references stands for: `docker.io` has an old name.
pub fn server_of(domain: &str) -> &str {
    match domain {
        "" | "docker.io" | "index.docker.io" => DOCKER_SERVER,
        other => other,
    }
}

/// The host of a server's address.
pub fn host_of(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests;
