//! The messages of a pull or push, for people.

use super::error::Failure;
use crate::client::wire::Progress;
use crate::client::{ProgressStream, terminal};
use crate::ui::progress::ProgressDetail;
use crate::ui::{PullMessage, PullView};
use serde_json::Value;
use std::io::{self, IsTerminal as _, Write};

/// Where the messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Stdout,
    Stderr,
    Nowhere,
}

/// Shows every message until the stream ends, and gives what was told for programs. An error within the stream ends it.
pub async fn show(mut stream: ProgressStream, place: Where) -> Result<Vec<Value>, Failure> {
    let columns = || terminal::size().map_or(80, |s| usize::from(s.columns));
    let (out, on_terminal): (Box<dyn Write>, bool) = match place {
        Where::Stdout => (Box::new(io::stdout()), io::stdout().is_terminal()),
        Where::Stderr => (Box::new(io::stderr()), io::stderr().is_terminal()),
        Where::Nowhere => (Box::new(io::sink()), false),
    };
    let mut view = PullView::new(out, on_terminal.then(columns));
    let mut told = Vec::new();
    while let Some(mut message) = stream.next().await? {
        if let Some(aux) = message.aux.take() {
            told.push(aux);
            continue;
        }
        if let Some(error) = error_of(&message) {
            return Err(Failure::new(error));
        }
        view.message(&drawable(message)).map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(141),
            _ => Failure::new(format!("cannot write the output: {e}")),
        })?;
    }
    Ok(told)
}

/// The error that a message carries.
fn error_of(message: &Progress) -> Option<&str> {
    let detail = message.error_detail.as_ref().map(|d| d.message.as_str());
    detail.or(Some(message.error.as_str())).filter(|e| !e.is_empty())
}

fn drawable(message: Progress) -> PullMessage {
    PullMessage {
        stream: message.stream,
        status: message.status,
        id: Some(message.id).filter(|id| !id.is_empty()),
        progress_detail: message
            .detail
            .map(|d| ProgressDetail { current: d.current.unwrap_or(0), total: d.total.unwrap_or(0) }),
        error: None,
    }
}
