//! `rdock login`: show a registry who you are.

use super::args::Arity;
use super::error::Failure;
use super::verb::{Verb, print, tell};
use super::{Context, credentials};
use crate::client::auth::{AuthConfig, LoggedIn};
use crate::client::credentials::{DOCKER_SERVER, Kept, host_of, server_of};
use crate::client::terminal::{self, Quiet};
use std::io::{self, IsTerminal as _, Read as _};

/// Logs in to a registry.
#[derive(Debug, clap::Args)]
pub struct Login {
    /// Password or Personal Access Token (PAT)
    #[arg(short = 'p', long, value_name = "string")]
    password: Option<String>,
    /// Take the Password or Personal Access Token (PAT) from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Username
    #[arg(short = 'u', long, value_name = "string")]
    username: Option<String>,
    server: Option<String>,
}

/// As a shell counts a SIGINT.
const INTERRUPTED: u8 = 130;

/// Where what is shown to the registry comes from.
enum Entered {
    Stored(AuthConfig),
    New(AuthConfig),
}

impl Verb for Login {
    const NAME: &'static str = "login";
    const ABOUT: &'static str = "Authenticate to a registry";
    const MORE: &'static str = "Defaults to Docker Hub if no server is specified.";
    const USAGE: &'static str = "[OPTIONS] [SERVER]";
    const ARITY: Arity = Arity::AtMost(1);

    fn told(&self) -> String {
        format!("{}, {}", Self::NAME, self.server())
    }

    fn argv(&self, _: &[std::ffi::OsString]) -> Vec<String> {
        let mut argv = Vec::new();
        if let Some(name) = &self.username {
            argv.extend(["--username".to_owned(), name.clone()]);
        }
        argv.extend(self.password.iter().map(|_| "--password=…".to_owned()));
        argv.extend(self.password_stdin.then(|| "--password-stdin".to_owned()));
        argv.extend(self.server.clone());
        argv
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let given = self.given()?;
        cx.block_on(async {
            let client = cx.client().await?;
            let entered = match given {
                Some(auth) => Entered::New(auth),
                None => self.ask(cx).await?,
            };
            let (auth, stored) = match entered {
                Entered::New(auth) => (auth, false),
                Entered::Stored(auth) => (auth, true),
            };
            let answer = match client.registry_login(&auth).await {
                // What was kept does not count any more: ask.
                Err(error) if stored && error.is_unauthorized() => {
                    tell("Stored credentials invalid or expired");
                    let auth = self.prompt(&auth.username).await?;
                    let answer = client.registry_login(&auth).await?;
                    return self.keep(cx, auth, answer);
                }
                answer => answer?,
            };
            self.keep(cx, auth, answer)
        })
    }
}

impl Login {
    /// As `config.json` has it.
    fn server(&self) -> String {
        let said = self.server.as_deref().unwrap_or_default();
        match host_of(said) {
            "" | "docker.io" | "index.docker.io" => DOCKER_SERVER.to_owned(),
            host => server_of(host).to_owned(),
        }
    }

    fn auth(&self, username: &str, password: &str) -> AuthConfig {
        AuthConfig {
            username: username.trim().to_owned(),
            password: password.to_owned(),
            serveraddress: self.server(),
            ..AuthConfig::default()
        }
    }

    /// What the command line says; none when it says nothing.
    fn given(&self) -> Result<Option<AuthConfig>, Failure> {
        if self.password.is_some() {
            tell("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
        }
        let username = self.username.as_deref().unwrap_or_default();
        match (&self.password, self.password_stdin) {
            (Some(_), true) => {
                Err(Failure::new("conflicting options: cannot specify both --password and --password-stdin"))
            }
            (None, true) if username.is_empty() => {
                Err(Failure::new("the --password-stdin option requires --username to be set"))
            }
            (None, true) => {
                let mut text = String::new();
                io::stdin()
                    .read_to_string(&mut text)
                    .map_err(|e| Failure::new(format!("cannot read the password: {e}")))?;
                Ok(Some(self.auth(username, text.trim_end_matches('\n').trim_end_matches('\r'))))
            }
            (Some(password), false) if !username.is_empty() => Ok(Some(self.auth(username, password))),
            _ => Ok(None),
        }
    }

    /// What is kept for the server already, or what the person types.
    async fn ask(&self, cx: &Context) -> Result<Entered, Failure> {
        let server = self.server();
        let kept = credentials::keyring(cx)?.of(&server).map_err(Failure::new)?;
        let known = kept.as_ref().map(|k| k.username.clone()).unwrap_or_default();
        match kept {
            Some(auth) if self.username.is_none() && self.password.is_none() => {
                let name = if known.is_empty() { String::new() } else { format!(" [Username: {known}]") };
                tell(format!("Authenticating with existing credentials...{name}\n"));
                tell(" Info -> To login with a different account, run 'rdock logout' followed by 'rdock login'\n\n");
                Ok(Entered::Stored(auth))
            }
            _ => self.prompt(&known).await.map(Entered::New),
        }
    }

    /// Asks the person on the terminal; the password is not shown.
    async fn prompt(&self, known: &str) -> Result<AuthConfig, Failure> {
        if !io::stdin().is_terminal() {
            return Err(Failure::new("Error: Cannot perform an interactive login from a non TTY device")
                .hint("give -u and --password-stdin"));
        }
        let username = match (&self.username, known) {
            (Some(name), _) => name.clone(),
            (None, "") => asked("Username: ", false).await?,
            (None, known) => match asked(&format!("Username ({known}): "), false).await? {
                empty if empty.trim().is_empty() => known.to_owned(),
                name => name,
            },
        };
        if username.trim().is_empty() {
            return Err(Failure::new("username is required"));
        }
        let password = match &self.password {
            Some(password) => password.clone(),
            None => asked("Password: ", true).await?,
        };
        if password.is_empty() {
            return Err(Failure::new("password is required"));
        }
        Ok(self.auth(&username, &password))
    }

    /// Keeps what the registry has taken.
    fn keep(&self, cx: &Context, mut auth: AuthConfig, answer: LoggedIn) -> Result<u8, Failure> {
        if !answer.identity_token.is_empty() {
            auth.password.clear();
            auth.identitytoken = answer.identity_token;
        }
        if let Kept::File(path) =
            credentials::keyring(cx)?.keep(&auth).map_err(|e| Failure::new(format!("Error saving credentials: {e}")))?
            && !auth.password.is_empty()
        {
            tell(format!(
                "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove \
                 this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
                path.display()
            ));
        }
        print(&format!("{}\n", answer.status))?;
        Ok(0)
    }
}

/// A line from the person.
async fn asked(prompt: &str, hidden: bool) -> Result<String, Failure> {
    let unread = |e| Failure::new(format!("cannot read from the terminal: {e}"));
    let quiet = if hidden { Some(Quiet::enter().map_err(unread)?) } else { None };
    print(prompt)?;
    let typed = terminal::line().await;
    if quiet.is_some() {
        print("\n")?;
    }
    match typed.map_err(unread)? {
        Some(text) => Ok(text),
        None => Err(Failure::silent(INTERRUPTED)),
    }
}
