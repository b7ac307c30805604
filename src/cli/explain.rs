//! `--explain`: collects the steps of this process and of the daemon, and has them drawn.
//!
//! The client's own steps go to a collector of this process. The daemon's (and through it those of the shim, the
//! runtime and the container) come over a connection of their own, opened before the first request and ended after
//! the last one. Which events came before which is told by their time: one clock serves all processes of a host.

use super::error::Failure;
use super::globals::Explain;
use crate::client::{Client, Endpoint, TraceStream};
use crate::trace::render::{Drawing, Style};
use crate::trace::transport::Decoder;
use crate::trace::{self, Collector, Sink as _, TraceEvent, TraceId};
use crate::ui;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// The daemon answers at once; this only keeps a broken one from holding the client for ever.
const PATIENCE: Duration = Duration::from_secs(5);
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
    endpoint: Endpoint,
    came: Arc<Collector>,
    receiving: JoinHandle<()>,
}

impl Explaining {
    /// Begins: from here on this process's steps are kept.
    pub fn begin(how: Vec<Explain>) -> Result<Explaining, Failure> {
        let pages = how.into_iter().map(Page::open).collect::<Result<Vec<Page>, Failure>>()?;
        let (trace, own) = (TraceId::random(), Arc::new(Collector::default()));
        trace::install_process(trace, None, own.clone()).map_err(|e| Failure::new(format!("cannot explain: {e}")))?;
        Ok(Explaining { trace, own, daemon: RefCell::default(), told: RefCell::default(), pages: RefCell::new(pages) })
    }

    /// Opens the daemon's stream, once. A daemon that does not explain (a real Docker) is left out.
    pub async fn listen(&self, client: &Client) -> Result<(), Failure> {
        if self.daemon.borrow().is_some() {
            return Ok(());
        }
        if let Some(stream) = client.trace_open(&self.trace.to_string()).await? {
            let came = Arc::new(Collector::default());
            let receiving = tokio::spawn(receive(stream, came.clone()));
            let endpoint = client.endpoint().clone();
            *self.daemon.borrow_mut() = Some(Listening { endpoint, came, receiving });
        }
        Ok(())
    }

    /// Prints what is known by now; what comes later is printed at the end.
    pub async fn print_so_far(&self) -> Result<(), Failure> {
        // What the daemon has sent lies in the socket's buffer: the task that receives gets a turn.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        self.draw(Drawing::so_far)
    }

    /// Ends the daemon's stream and prints what has not been printed.
    pub fn finish(&self, runtime: &Runtime) -> Result<(), Failure> {
        if let Some(listening) = &mut *self.daemon.borrow_mut() {
            runtime.block_on(async {
                let ending = async { Client::known(&listening.endpoint).trace_finish(&self.trace.to_string()).await };
                // A daemon that has ended has closed the stream; what it sent is here.
                if ending.await.is_ok() {
                    let _ = tokio::time::timeout(PATIENCE, &mut listening.receiving).await;
                }
            });
        }
        self.draw(Drawing::finish)
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
            events.extend(listening.came.take());
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

async fn receive(mut stream: TraceStream, came: Arc<Collector>) {
    let mut decoder = Decoder::new();
    while let Ok(Some(piece)) = stream.piece().await {
        for event in decoder.push(&piece) {
            came.emit(event);
        }
    }
}
