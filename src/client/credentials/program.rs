//! Programs that keep credentials: `docker-credential-NAME get|store|erase`, JSON on standard input and output
//! ([docker-credential-helpers]).
//!
//! [docker-credential-helpers]: https://github.com/docker/docker-credential-helpers#development

use super::CredentialsError;
use crate::api::auth::AuthConfig;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What helpers say when they have nothing.
const NOTHING: [&str; 2] = ["credentials not found in native keychain", "no credentials server URL"];

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

/// What the program has for the server.
pub(super) fn get(program: &str, server: &str) -> Result<Option<AuthConfig>, CredentialsError> {
    let answer = match run(program, "get", server.as_bytes()) {
        Err(CredentialsError::Helper { words, .. }) if NOTHING.iter().any(|n| words.contains(n)) => return Ok(None),
        answer => answer?,
    };
    let entry: Entry =
        serde_json::from_slice(&answer).map_err(|_| CredentialsError::Answer { program: program.to_owned() })?;
    let auth = AuthConfig { serveraddress: server.to_owned(), ..AuthConfig::default() };
    Ok(Some(match entry.username.as_str() {
        TOKEN_USER => AuthConfig { identitytoken: entry.secret, ..auth },
        _ => AuthConfig { username: entry.username, password: entry.secret, ..auth },
    }))
}

/// Gives the program what it is to keep.
pub(super) fn store(program: &str, auth: &AuthConfig) -> Result<(), CredentialsError> {
    let (username, secret) = match auth.identitytoken.as_str() {
        "" => (auth.username.clone(), auth.password.clone()),
        token => (TOKEN_USER.to_owned(), token.to_owned()),
    };
    let entry = Entry { server_url: auth.serveraddress.clone(), username, secret };
    run(program, "store", &serde_json::to_vec(&entry).unwrap_or_default()).map(drop)
}

/// Lets it forget.
pub(super) fn erase(program: &str, server: &str) -> Result<(), CredentialsError> {
    match run(program, "erase", server.as_bytes()) {
        Err(CredentialsError::Helper { words, .. }) if NOTHING.iter().any(|n| words.contains(n)) => Ok(()),
        ended => ended.map(drop),
    }
}

fn run(name: &str, verb: &str, input: &[u8]) -> Result<Vec<u8>, CredentialsError> {
    // A name, never a path: the file may come from elsewhere.
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(CredentialsError::Name { program: name.to_owned() });
    }
    let program = format!("docker-credential-{name}");
    let failed = |source| CredentialsError::Run { program: program.clone(), source };
    let mut command = Command::new(&program);
    command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input says itself why.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stdout).trim().chars().filter(|c| !c.is_control()).take(200).collect();
    Err(CredentialsError::Helper { program, words })
}
