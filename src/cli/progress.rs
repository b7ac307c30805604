//! The messages of a pull, for people: one line a layer that changes on a terminal, one line a message elsewhere.

use super::error::Failure;
use super::units;
use crate::api::wire::{Progress, ProgressDetail};
use crate::client::{ClientError, ProgressStream};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

/// Where the messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Stdout,
    Stderr,
    Nowhere,
}

/// Shows every message until the stream ends. An error within the stream ends it.
pub async fn show(mut stream: ProgressStream, place: Where) -> Result<(), Failure> {
    let mut screen = Screen::of(place);
    while let Some(message) = stream.next().await? {
        if let Some(error) = error_of(&message) {
            return Err(Failure::new(error));
        }
        screen.message(&message).map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(141),
            _ => Failure::from(ClientError::Connect { socket: "-".into(), source: e }),
        })?;
    }
    Ok(())
}

/// The error that a message carries.
fn error_of(message: &Progress) -> Option<&str> {
    let detail = message.error_detail.as_ref().map(|d| d.message.as_str());
    detail.or(Some(message.error.as_str())).filter(|e| !e.is_empty())
}

struct Screen {
    out: Option<Box<dyn Write>>,
    /// None: no terminal.
    columns: Option<usize>,
    /// The line of each id, from the top.
    lines: HashMap<String, usize>,
}

impl Screen {
    fn of(place: Where) -> Screen {
        let columns = || crate::client::terminal::size().map_or(80, |s| usize::from(s.columns));
        let (out, terminal): (Option<Box<dyn Write>>, bool) = match place {
            Where::Stdout => (Some(Box::new(io::stdout())), io::stdout().is_terminal()),
            Where::Stderr => (Some(Box::new(io::stderr())), io::stderr().is_terminal()),
            Where::Nowhere => (None, false),
        };
        Screen { out, columns: terminal.then(columns), lines: HashMap::new() }
    }

    fn message(&mut self, message: &Progress) -> io::Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        let bar = message.detail.as_ref().and_then(|d| bar(d, self.columns.unwrap_or(80)));
        let text = match (message.id.as_str(), &bar) {
            ("", _) => format!("{}\n", message.status),
            (id, None) => format!("{id}: {}\n", message.status),
            (id, Some(bar)) => format!("{id}: {} {bar}\n", message.status),
        };
        // Without a terminal a bar cannot move: only the messages without one are shown.
        if self.columns.is_none() && bar.is_some() {
            return Ok(());
        }
        let mut all = String::new();
        match (self.columns, message.id.as_str()) {
            (Some(_), id) if !id.is_empty() => {
                let below = self.lines.len();
                let line = *self.lines.entry(id.to_owned()).or_insert(below);
                let up = below - line;
                if up > 0 {
                    let _ = write!(all, "\x1b[{up}A");
                }
                let _ = write!(all, "\r\x1b[2K{text}");
                if up > 1 {
                    let _ = write!(all, "\x1b[{}B", up - 1);
                }
            }
            _ => {
                self.lines.clear();
                all = text;
            }
        }
        out.write_all(all.as_bytes())?;
        out.flush()
    }
}

/// `[=====>     ]  3.678kB/313.8kB`, as wide as Docker's; none when there is nothing to measure.
pub fn bar(detail: &ProgressDetail, columns: usize) -> Option<String> {
    let current = detail.current.unwrap_or(0);
    let total = detail.total.unwrap_or(0);
    if current == 0 && total == 0 {
        return None;
    }
    let done = units::size(current, 4);
    if total == 0 || current > total {
        return Some(format!("{done:>8}"));
    }
    let numbers = format!("{done:>8}/{}", units::size(total, 4));
    if columns <= 110 {
        return Some(numbers);
    }
    let full = (current * 50 / total) as usize;
    let rest = 50usize.saturating_sub(full);
    Some(format!("[{}>{}] {numbers}", "=".repeat(full), " ".repeat(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(current: u64, total: u64) -> ProgressDetail {
        ProgressDetail { current: Some(current), total: Some(total) }
    }

    #[test]
    fn bar_is_as_docker_draws_it() {
        let blank = " ".repeat(50);
        assert_eq!(bar(&detail(3678, 313_835), 120), Some(format!("[>{blank}]  3.678kB/313.8kB")));
        assert_eq!(bar(&detail(3678, 313_835), 80), Some(" 3.678kB/313.8kB".into()));
        let full = "=".repeat(50);
        assert_eq!(bar(&detail(2000, 2000), 120), Some(format!("[{full}>]      2kB/2kB")));
        assert_eq!(bar(&ProgressDetail::default(), 80), None);
    }
}
