//! `--explain`: collects the steps of this process and of the daemon, and has them drawn.
//!
//! The client's own steps go to a collector of this process. The daemon's (and through it those of the shim, the
//! runtime and the container) come over a connection of their own, opened beside the first request and ended after
//! the last one. Which events came before which is told by their time: one clock serves all processes of a host.

use super::error::Failure;
use super::globals::Explain;
use crate::client::{Client, Endpoint, TraceEnd, TraceStream};
use crate::trace::render::{Drawing, Format, Style};
use crate::trace::transport::{Decoder, encode, renumber};
use crate::trace::{self, Collector, TraceEvent, TraceId};
use crate::ui;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// The daemon answers at once; this only keeps a broken one from holding the client for ever.
const PATIENCE: Duration = Duration::from_secs(5);
/// Milliseconds that the daemon may keep lines back to send them together.
const BATCH: u32 = 25;
/// Columns where there is no terminal.
const WIDTH_OF_A_FILE: usize = 100;
/// How often the receiving task gets a turn before what it has is printed.
const TURNS: usize = 64;

/// The explanation of one invocation.
pub struct Explaining {
    trace: TraceId,
    own: Arc<Collector>,
    daemon: RefCell<Option<Listening>>,
    /// All events so far.
    told: RefCell<Vec<TraceEvent>>,
    /// Every form is JSON: lines of the daemon are passed on unread.
    lines_only: bool,
    pages: RefCell<Vec<Page>>,
}

/// One form of the explanation, in its place.
struct Page {
    how: Explain,
    /// What has been drawn so far.
    drawing: Drawing,
    /// None: standard error.
    file: Option<File>,
}

impl Page {
    fn open(how: Explain) -> Result<Page, Failure> {
        let file = how.file.as_deref().map(create).transpose()?;
        let style = match file.is_some() {
            true => Style { lang: how.lang, ..Style::plain(WIDTH_OF_A_FILE) },
            false => Style {
                colour: ui::colour_on_stderr(),
                width: ui::terminal_width().unwrap_or(WIDTH_OF_A_FILE),
                lang: how.lang,
            },
        };
        let drawing = Drawing::new(how.format, style);
        Ok(Page { how, drawing, file })
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = match self.file.as_mut() {
            None => io::stderr().write_all(text.as_bytes()),
            Some(file) => file.write_all(text.as_bytes()),
        };
        let place = self.how.file.as_ref().map(|p| format!(" to {}", p.display())).unwrap_or_default();
        written.map_err(|e| Failure::new(format!("cannot write the explanation{place}: {e}")))
    }
}

/// The daemon's side: what has come so far, and the task that receives more.
struct Listening {
    end: TraceEnd,
    came: Arc<Came>,
    receiving: JoinHandle<()>,
}

/// What came from the daemon: events, or unread lines.
#[derive(Default)]
struct Came {
    events: Collector,
    lines: Mutex<Vec<Vec<u8>>>,
}

impl Explaining {
    /// Begins: from here on this process's steps are kept.
    pub fn begin(how: Vec<Explain>) -> Result<Explaining, Failure> {
        let pages = how.into_iter().map(Page::open).collect::<Result<Vec<Page>, Failure>>()?;
        let (trace, own) = (TraceId::random(), Arc::new(Collector::default()));
        trace::install_process(trace, None, own.clone()).map_err(|e| Failure::new(format!("cannot explain: {e}")))?;
        let lines_only = pages.iter().all(|page| page.how.format == Format::Json);
        let (daemon, told, pages) = (RefCell::default(), RefCell::default(), RefCell::new(pages));
        Ok(Explaining { trace, own, daemon, told, lines_only, pages })
    }

    /// Opens the daemon's stream, once. A daemon that does not explain (a real Docker) is left out.
    pub async fn listen(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        if self.daemon.borrow().is_some() {
            return Ok(());
        }
        // Nobody reads a file of lines before its end; a person sees what is printed before a terminal is handed over.
        let batch = if self.lines_only { BATCH } else { 0 };
        if let Some((stream, end)) = Client::known(endpoint).trace_open(&self.trace.to_string(), batch).await? {
            let came = Arc::new(Came::default());
            let receiving = tokio::spawn(receive(stream, came.clone(), self.lines_only));
            *self.daemon.borrow_mut() = Some(Listening { end, came, receiving });
        }
        Ok(())
    }

    /// Prints what is known by now; what comes later is printed at the end.
    pub async fn print_so_far(&self) -> Result<(), Failure> {
        // What the daemon has sent lies in the socket's buffer: the task that receives gets a turn.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        if self.lines_only { Ok(()) } else { self.draw(Drawing::so_far) }
    }

    /// Ends the daemon's stream and prints what has not been printed.
    pub fn finish(&self, runtime: &Runtime) -> Result<(), Failure> {
        if let Some(listening) = &mut *self.daemon.borrow_mut() {
            runtime.block_on(async {
                // A daemon that has ended has closed the stream; what it sent is here.
                if listening.end.finish().await.is_ok() {
                    let _ = tokio::time::timeout(PATIENCE, &mut listening.receiving).await;
                }
            });
        }
        if self.lines_only { self.write_lines() } else { self.draw(Drawing::finish) }
    }

    /// JSON without reading what the daemon wrote: lines in the order of time, numbered anew. An explanation that a
    /// program keeps must not slow down what it explains.
    fn write_lines(&self) -> Result<(), Failure> {
        let mut lines = Vec::new();
        for event in self.own.take() {
            let mut line = Vec::new();
            encode(&event, &mut line);
            lines.push((event.ts, line));
        }
        if let Some(listening) = &*self.daemon.borrow() {
            let came = std::mem::take(&mut *listening.came.lines.lock().unwrap_or_else(PoisonError::into_inner));
            lines.extend(came.into_iter().map(|line| (time_of(&line), line)));
        }
        lines.sort_by_key(|(ts, _)| *ts);
        let mut text = Vec::new();
        let mut seq = 0;
        for (_, line) in &lines {
            seq += u64::from(renumber(line.trim_ascii_end(), seq + 1, &mut text));
        }
        let text = String::from_utf8_lossy(&text);
        self.pages.borrow_mut().iter_mut().try_for_each(|page| page.write(&text))
    }

    fn draw(&self, part: impl Fn(&mut Drawing, &[TraceEvent]) -> String) -> Result<(), Failure> {
        self.gather();
        let events = self.told.borrow();
        for page in &mut *self.pages.borrow_mut() {
            let text = part(&mut page.drawing, &events);
            page.write(&text)?;
        }
        Ok(())
    }

    /// Takes what has come, from both sides, into one order: one clock serves all processes of a host.
    fn gather(&self) {
        let events = &mut *self.told.borrow_mut();
        events.extend(self.own.take());
        if let Some(listening) = &*self.daemon.borrow() {
            events.extend(listening.came.events.take());
        }
        events.sort_by_key(|e| e.ts);
        for (event, seq) in events.iter_mut().zip(1..) {
            event.seq = seq;
        }
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    let opened = File::options().create(true).write(true).truncate(true).open(path);
    opened.map_err(|e| Failure::new(format!("cannot write the explanation to {}: {e}", path.display())))
}

/// The time in a line of ours, which stands before anything that a program could have written.
fn time_of(line: &[u8]) -> u64 {
    const KEY: &[u8] = b"\"ts\":";
    let at = line.windows(KEY.len()).position(|w| w == KEY).map_or(line.len(), |at| at + KEY.len());
    let digits = line[at..].iter().take_while(|b| b.is_ascii_digit());
    digits.fold(0, |n: u64, b| n.wrapping_mul(10).wrapping_add(u64::from(b - b'0')))
}

async fn receive(mut stream: TraceStream, came: Arc<Came>, lines_only: bool) {
    let (mut decoder, mut piece) = (Decoder::new(), Vec::new());
    while stream.piece(&mut piece).await.unwrap_or(false) {
        if lines_only {
            let lines = decoder.push_lines(&piece);
            came.lines.lock().unwrap_or_else(PoisonError::into_inner).extend(lines);
            continue;
        }
        for event in decoder.push(&piece) {
            came.events.keep(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_line_is_the_first_there() {
        let line = br#"{"v":1,"seq":0,"trace":"t","span":"s","ts":1234,"summary":"says \"ts\":9"}"#;
        assert_eq!(time_of(line), 1234);
        assert_eq!(time_of(b"{}"), 0);
    }
}
