//! `config.json` itself.

use super::{CredentialsError, host_of};
use crate::api::auth::{AuthConfig, packed, unpacked};
use serde::Serialize as _;
use serde_json::{Map, Value, json};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The file as it was read; written whole when something changes.
pub(super) struct ConfigFile {
    path: PathBuf,
    content: Map<String, Value>,
}

impl ConfigFile {
    pub fn read(path: PathBuf) -> Result<ConfigFile, CredentialsError> {
        let text = match std::fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => b"{}".to_vec(),
            read => read.map_err(|source| CredentialsError::Read { path: path.clone(), source })?,
        };
        // The file of other programs may be empty.
        let text = if text.trim_ascii().is_empty() { b"{}".to_vec() } else { text };
        let content =
            serde_json::from_slice(&text).map_err(|source| CredentialsError::Damaged { path: path.clone(), source })?;
        Ok(ConfigFile { path, content })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The program that keeps what is for the server: `pass` for `docker-credential-pass`.
    pub fn program_for(&self, server: &str) -> Option<String> {
        let helpers = self.content.get("credHelpers");
        let own = helpers.and_then(|h| h.get(server)).and_then(Value::as_str);
        let name = own.or_else(|| self.content.get("credsStore").and_then(Value::as_str));
        name.filter(|n| !n.is_empty()).map(str::to_owned)
    }

    /// What the file itself has for the server: under its name, or under one with the same host.
    pub fn auth_of(&self, server: &str) -> Option<AuthConfig> {
        let auths = self.content.get("auths")?.as_object()?;
        let same_host = || auths.iter().find(|(name, _)| host_of(name) == host_of(server)).map(|(_, entry)| entry);
        let entry = auths.get(server).or_else(same_host)?;
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (username, password) = unpacked(&text("auth")).unwrap_or_default();
        let auth = AuthConfig {
            username,
            password,
            serveraddress: server.to_owned(),
            identitytoken: text("identitytoken"),
            registrytoken: text("registrytoken"),
            ..AuthConfig::default()
        };
        let empty = AuthConfig { serveraddress: server.to_owned(), ..AuthConfig::default() };
        Some(auth).filter(|auth| *auth != empty)
    }

    pub fn keep(&mut self, auth: &AuthConfig) -> Result<(), CredentialsError> {
        let mut entry = json!({ "auth": packed(&auth.username, &auth.password) });
        if !auth.identitytoken.is_empty() {
            entry["identitytoken"] = auth.identitytoken.clone().into();
        }
        self.set(&auth.serveraddress, entry);
        self.write()
    }

    /// Writes down that there is something for the server, elsewhere.
    pub fn note(&mut self, server: &str) -> Result<(), CredentialsError> {
        self.set(server, json!({}));
        self.write()
    }

    pub fn forget(&mut self, server: &str) -> Result<(), CredentialsError> {
        let auths = self.content.get_mut("auths").and_then(Value::as_object_mut);
        match auths.and_then(|auths| auths.shift_remove(server)) {
            Some(_) => self.write(),
            None => Ok(()),
        }
    }

    fn set(&mut self, server: &str, entry: Value) {
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        auths[server] = entry;
    }

    /// Replaces the file whole, readable by its owner alone; a link stays a link.
    fn write(&self) -> Result<(), CredentialsError> {
        let target = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let fail = |source| CredentialsError::Write { path: self.path.clone(), source };
        let directory = target.parent().unwrap_or(Path::new("."));
        make_private(directory).map_err(fail)?;
        let mut text = Vec::new();
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        self.content
            .serialize(&mut serde_json::Serializer::with_formatter(&mut text, tabs))
            .map_err(|e| fail(io::Error::other(e)))?;
        let mut file = tempfile::Builder::new().prefix("config.json").tempfile_in(directory).map_err(fail)?;
        file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
        file.persist(&target).map_err(|e| fail(e.error))?;
        Ok(())
    }
}

/// Makes the directory, for its owner alone, if it is not there.
fn make_private(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
}
