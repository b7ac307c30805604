//! The terminal of the person: raw while a container has it, and given back whatever happens.

use nix::sys::termios::{self, SetArg, Termios};
use std::io::{self, IsTerminal as _};
use std::sync::Mutex;

/// The settings to return to; shared with the panic hook.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Raw mode of standard input. Dropping it gives the terminal back; so does a panic.
#[must_use]
pub struct RawMode(());

impl RawMode {
    /// Makes the terminal raw (termios(3), `cfmakeraw`); none when standard input is no terminal.
    pub fn enter() -> io::Result<Option<RawMode>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let saved = termios::tcgetattr(io::stdin())?;
        let mut raw = saved.clone();
        termios::cfmakeraw(&mut raw);
        remember(Some(saved));
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
        termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        Ok(Some(RawMode(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn remember(saved: Option<Termios>) -> Option<Termios> {
    match SAVED.lock() {
        Ok(mut slot) => std::mem::replace(&mut slot, saved),
        Err(poisoned) => std::mem::replace(&mut poisoned.into_inner(), saved),
    }
}

fn restore() {
    if let Some(saved) = remember(None) {
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &saved);
    }
}

/// A line from the terminal at standard input, without its end; none when the person interrupts, so that the terminal
/// can be given back before the process ends.
pub async fn line() -> io::Result<Option<String>> {
    let reading = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        io::stdin().read_line(&mut text).map(|read| (read, text))
    });
    tokio::select! {
        caught = tokio::signal::ctrl_c() => caught.map(|()| None),
        read = reading => match read.map_err(io::Error::other)?? {
            (0, _) => Ok(None),
            (_, text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
        },
    }
}

/// A terminal that does not show what is typed (termios(3), `ECHO`), until this is dropped. To be entered before the
/// person is asked: whoever types fast would see the first letters.
#[must_use]
pub struct Quiet(Termios);

impl Quiet {
    pub fn enter() -> io::Result<Quiet> {
        let saved = termios::tcgetattr(io::stdin())?;
        let mut quiet = saved.clone();
        quiet.local_flags.remove(termios::LocalFlags::ECHO);
        termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &quiet)?;
        Ok(Quiet(saved))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

/// Rows and columns of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// The size of the window that standard output shows in; none when it is no terminal or has no size.
pub fn size() -> Option<Size> {
    let (terminal_size::Width(columns), terminal_size::Height(rows)) = terminal_size::terminal_size_of(io::stdout())?;
    Some(Size { rows, columns }).filter(|s| s.rows > 0 && s.columns > 0)
}
