//! Hands our standard streams, our terminal and our signals to a container.

use super::error::Failure;
use super::{Context, verb};
use crate::client::detach::DetachKeys;
use crate::client::stream::{Carry, Ended, carry};
use crate::client::terminal::{self, RawMode, Size};
use crate::client::{Client, Hijacked};
use std::future::poll_fn;
use std::io::{self, IsTerminal as _};
use std::task::Poll;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that are passed on to the container, by the name the API wants.
const PROXIED: &[(&str, i32)] = &[
    ("HUP", nix::libc::SIGHUP),
    ("INT", nix::libc::SIGINT),
    ("QUIT", nix::libc::SIGQUIT),
    ("TERM", nix::libc::SIGTERM),
    ("USR1", nix::libc::SIGUSR1),
    ("USR2", nix::libc::SIGUSR2),
    ("ALRM", nix::libc::SIGALRM),
    ("CONT", nix::libc::SIGCONT),
    ("TSTP", nix::libc::SIGTSTP),
];
/// The signals that end us while a container has the terminal: it must be given back first.
const ENDING: &[(&str, i32)] = &[("HUP", nix::libc::SIGHUP), ("INT", nix::libc::SIGINT), ("TERM", nix::libc::SIGTERM)];
/// So many interrupts in a row end the client although the container does not react.
const PATIENCE: u32 = 3;

/// Docker's refusal of `-t` when our input is no terminal.
pub fn check_tty(attach_stdin: bool, tty: bool) -> Result<(), Failure> {
    if attach_stdin && tty && !io::stdin().is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    Ok(())
}

/// `--detach-keys`, else those of the configuration file, else the usual ones.
pub fn detach_keys(given: Option<&str>) -> Result<DetachKeys, Failure> {
    match chosen_keys(given) {
        None => Ok(DetachKeys::default()),
        Some(text) => DetachKeys::parse(&text).map_err(Failure::new),
    }
}

/// The keys that somebody chose, as they are sent: the daemon looks for them too, and for the usual ones otherwise.
pub fn chosen_keys(given: Option<&str>) -> Option<String> {
    given.filter(|text| !text.is_empty()).map(str::to_owned).or_else(configured_keys)
}

/// `detachKeys` of Docker's configuration file (`$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`): keys belong
/// to a person, whichever engine they sit before.
fn configured_keys() -> Option<String> {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(std::path::PathBuf::from);
    let directory = var("DOCKER_CONFIG").or_else(|| var("HOME").map(|home| home.join(".docker")))?;
    let text = std::fs::read(directory.join("config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&text).ok()?;
    config["detachKeys"].as_str().filter(|keys| !keys.is_empty()).map(str::to_owned)
}

/// How a container is attached to us.
#[derive(Debug, Clone)]
pub struct Attached {
    pub stdin: bool,
    pub tty: bool,
    pub sig_proxy: bool,
    pub keys: DetachKeys,
    /// What runs has drawn on another terminal before, and should on ours.
    pub redraw: bool,
}

/// What our terminal and signals belong to.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// A container's own process.
    Container(&'a str),
    /// One more process in it.
    Exec(&'a str),
}

impl Target<'_> {
    async fn resize(self, client: &Client, size: Size) {
        // What ended in between has no window any more.
        let _ = match self {
            Target::Container(id) => client.container_resize(id, size).await,
            Target::Exec(id) => client.exec_resize(id, size).await,
        };
    }

    async fn signal(self, client: &Client, name: &str) {
        // A container that has just ended cannot get it any more; its end is on the way to us.
        if let Target::Container(id) = self {
            let _ = client.container_kill(id, Some(name)).await;
        }
    }
}

/// The signals that this process listens to from now on. They are kept until [`converse`] looks.
pub struct Signals {
    caught: Vec<(&'static str, i32, Signal)>,
    resized: Option<Signal>,
    proxy: bool,
    interrupts: u32,
}

impl Signals {
    /// To be called before the container starts, so that no signal is lost.
    pub fn catch(how: &Attached) -> Result<Signals, Failure> {
        let listen = |number: i32| {
            signal(SignalKind::from_raw(number)).map_err(|e| Failure::new(format!("cannot listen to signals: {e}")))
        };
        let proxy = how.sig_proxy && !how.tty;
        let wanted = match (how.tty, proxy) {
            (true, _) => ENDING,
            (false, true) => PROXIED,
            (false, false) => &[],
        };
        let caught: Result<Vec<_>, Failure> =
            wanted.iter().map(|(name, number)| Ok((*name, *number, listen(*number)?))).collect();
        let resized = how.tty.then(|| listen(nix::libc::SIGWINCH)).transpose()?;
        Ok(Signals { caught: caught?, resized, proxy, interrupts: 0 })
    }

    /// The next signal: its name and number; SIGWINCH has the name `WINCH`.
    async fn next(&mut self) -> (&'static str, i32) {
        poll_fn(|cx| {
            if let Some(resized) = &mut self.resized
                && resized.poll_recv(cx).is_ready()
            {
                return Poll::Ready(("WINCH", nix::libc::SIGWINCH));
            }
            for (name, number, signal) in &mut self.caught {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready((*name, *number));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Passes signals on; returns only when one of them ends us.
    async fn serve(&mut self, client: &Client, target: Target<'_>) -> Failure {
        loop {
            let (name, number) = self.next().await;
            if name == "WINCH" {
                resize(client, target).await;
                continue;
            }
            if !self.proxy {
                return Failure::silent(128 + number as u8);
            }
            if matches!(name, "INT" | "TERM") {
                self.interrupts += 1;
                if self.interrupts >= PATIENCE {
                    return Failure::new(format!("got {PATIENCE} SIGTERM/SIGINTs, forcefully exiting"));
                }
            }
            target.signal(client, name).await;
        }
    }
}

/// Carries streams, signals and window sizes until the container's streams end or the detach keys are typed.
pub async fn converse(
    cx: &Context,
    client: &Client,
    target: Target<'_>,
    hijacked: Hijacked,
    how: &Attached,
    mut signals: Signals,
) -> Result<Ended, Failure> {
    if how.tty {
        if how.redraw {
            provoke(client, target).await;
        }
        resize(client, target).await;
    }
    let raw = if how.tty && how.stdin {
        cx.hand_over().await?;
        RawMode::enter().map_err(|e| Failure::new(format!("cannot use the terminal: {e}")))?
    } else {
        None
    };
    let what = Carry { stdin: how.stdin, tty: how.tty, detach: raw.as_ref().map(|_| how.keys.clone()) };
    let ended = tokio::select! {
        ended = carry(hijacked, &what) => ended.map_err(Failure::from),
        failure = signals.serve(client, target) => Err(failure),
    };
    drop(raw);
    ended
}

/// Another size than the real one: what runs in the terminal draws itself anew when the real one comes.
async fn provoke(client: &Client, target: Target<'_>) {
    if let Some(Size { rows, columns }) = terminal::size() {
        let other = Size { rows: rows.saturating_add(1), columns: columns.saturating_add(1) };
        target.resize(client, other).await;
    }
}

async fn resize(client: &Client, target: Target<'_>) {
    if let Some(size) = terminal::size() {
        target.resize(client, size).await;
    }
}

/// Warnings of the daemon, as Docker shows them.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        verb::tell(format!("WARNING: {warning}"));
    }
}
