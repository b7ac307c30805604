//! `rdock exec`: one more process in a container that runs.

use super::Context;
use super::args::Arity;
use super::config::{env as parse_env, environment};
use super::error::Failure;
use super::stdio::{self, Attached, Signals, Target};
use super::verb::Verb;
use crate::client::Client;
use crate::client::stream::Ended;
use crate::client::terminal;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Starts a command in a running container.
#[derive(Debug, clap::Args)]
pub struct Exec {
    /// Detached mode: run command in the background
    #[arg(short = 'd', long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Set environment variables
    #[arg(short = 'e', long, value_name = "list", value_parser = parse_env)]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<PathBuf>,
    /// Keep STDIN open even if not attached
    #[arg(short = 'i', long)]
    interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short = 't', long)]
    tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short = 'u', long, value_name = "string", default_value = "", hide_default_value = true)]
    user: String,
    /// Working directory inside the container
    #[arg(short = 'w', long, value_name = "string", default_value = "", hide_default_value = true)]
    workdir: String,
    #[arg(required = true)]
    container: String,
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Verb for Exec {
    const NAME: &'static str = "exec";
    const ALIASES: &'static [&'static str] = &["container exec", "exec"];
    const ABOUT: &'static str = "Execute a command in a running container";
    const USAGE: &'static str = "[OPTIONS] CONTAINER COMMAND [ARG...]";
    const ARITY: Arity = Arity::AtLeast(2);
    const INTERSPERSED: bool = false;

    fn told(&self) -> String {
        format!("exec {} in container {}", self.command.join(" "), self.container)
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let env = environment(&self.env_file, &self.env)?;
        if !self.detach {
            stdio::check_tty(self.interactive, self.tty)?;
        }
        cx.block_on(async {
            let client = cx.client().await?;
            let id = client.exec_create(&self.container, self.body(&env)).await?;
            if self.detach {
                client.exec_start_detached(&id, self.tty).await?;
                return Ok(0);
            }
            self.attended(cx, &client, &id).await
        })
    }
}

impl Exec {
    /// Field by field as the Docker command sends it.
    fn body(&self, env: &[String]) -> Value {
        let attached = !self.detach;
        let mut body = json!({
            "User": self.user, "Privileged": self.privileged, "Tty": self.tty,
            "AttachStdin": attached && self.interactive, "AttachStderr": attached, "AttachStdout": attached,
            "Detach": self.detach, "DetachKeys": stdio::chosen_keys(self.detach_keys.as_deref()).unwrap_or_default(),
            "Env": if env.is_empty() { Value::Null } else { json!(env) },
            "WorkingDir": self.workdir, "Cmd": self.command,
        });
        if let (true, Some(size)) = (self.tty && attached, terminal::size()) {
            body["ConsoleSize"] = json!([size.rows, size.columns]);
        }
        body
    }

    async fn attended(&self, cx: &Context, client: &Client, id: &str) -> Result<u8, Failure> {
        let keys = stdio::detach_keys(self.detach_keys.as_deref())?;
        let how = Attached { stdin: self.interactive, tty: self.tty, sig_proxy: false, keys, redraw: false };
        let signals = Signals::catch(&how)?;
        let console = terminal::size().filter(|_| self.tty);
        let hijacked = client.exec_start(id, self.tty, console).await?;
        if stdio::converse(cx, client, Target::Exec(id), hijacked, &how, signals).await? == Ended::Detached {
            return Err(Failure::new("read escape sequence"));
        }
        Ok(client.exec_inspect(id).await?.exit_code.unwrap_or(0) as u8)
    }
}
