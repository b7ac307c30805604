//! `--explain`: collects the steps of this process and of the daemon, and has them drawn.
//!
//! The client's own steps go to a collector of this process. The daemon's (and through it those of the shim, the
//! runtime and the container) come over a connection of their own, opened before the first request and ended after
//! the last one. Which events came before which is told by their time: one clock serves all processes of a host.

use super::error::Failure;
use super::globals::{Explain, Format};
use crate::client::{Client, Endpoint, TraceStream};
use crate::trace::transport::Decoder;
use crate::trace::{self, Actor, Collector, TraceEvent, TraceId};
use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// The daemon answers at once; this only keeps a broken one from holding the client for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// The explanation of one invocation.
pub struct Explaining {
    how: Explain,
    trace: TraceId,
    own: Arc<Collector>,
    daemon: RefCell<Option<Listening>>,
    /// How many events have been printed already.
    printed: RefCell<Vec<TraceEvent>>,
}

/// The daemon's side: what has come so far, and the task that receives more.
struct Listening {
    endpoint: Endpoint,
    came: Arc<Collector>,
    receiving: JoinHandle<()>,
}

impl Explaining {
    /// Begins: from here on this process's steps are kept.
    pub fn begin(how: Explain, words: &[OsString]) -> Result<Explaining, Failure> {
        let (trace, own) = (TraceId::random(), Arc::new(Collector::default()));
        trace::layer::install_process(trace, None, own.clone())
            .map_err(|e| Failure::new(format!("cannot explain: {e}")))?;
        let words: Vec<String> = words.iter().map(|w| w.to_string_lossy().into_owned()).collect();
        let step = trace::step(Actor::Client, "client.parse").arg("argv", &words);
        step.ok(words.first(), || format!("reads the command: {}", words.join(" ")));
        Ok(Explaining { how, trace, own, daemon: RefCell::default(), printed: RefCell::default() })
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
    pub fn print_so_far(&self) -> Result<(), Failure> {
        let events = self.take();
        if self.how.format != Format::Json {
            self.write(&events)?;
        }
        self.printed.borrow_mut().extend(events);
        Ok(())
    }

    /// Ends the daemon's stream and prints what has not been printed.
    pub fn finish(&self, runtime: &Runtime) -> Result<(), Failure> {
        let listening = self.daemon.borrow_mut().take();
        let mut events = self.take();
        if let Some(Listening { endpoint, came, receiving }) = listening {
            runtime.block_on(async {
                let ending = async {
                    let client = Client::connect(&endpoint).await?;
                    client.trace_finish(&self.trace.to_string()).await
                };
                // A daemon that has ended has closed the stream; what it sent is here.
                if ending.await.is_ok() {
                    let _ = tokio::time::timeout(PATIENCE, receiving).await;
                }
            });
            events.extend(came.take());
        }
        let printed = self.printed.take();
        if self.how.format == Format::Json {
            events.splice(0..0, printed);
        }
        self.write(&events)
    }

    fn take(&self) -> Vec<TraceEvent> {
        let mut events = self.own.take();
        if let Some(listening) = &*self.daemon.borrow() {
            events.extend(listening.came.take());
        }
        events
    }

    fn write(&self, events: &[TraceEvent]) -> Result<(), Failure> {
        let mut events = events.to_vec();
        events.sort_by_key(|e| e.ts);
        for (event, seq) in events.iter_mut().zip(1..) {
            event.seq = seq;
        }
        let text = draw(self.how.format, &events);
        let written = match &self.how.file {
            None => io::stderr().write_all(text.as_bytes()),
            Some(path) => File::options()
                .create(true)
                .append(true)
                .open(path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
        };
        written.map_err(|e| Failure::new(format!("cannot write the explanation: {e}")))
    }
}

async fn receive(mut stream: TraceStream, came: Arc<Collector>) {
    use crate::trace::Sink as _;
    let mut decoder = Decoder::new();
    while let Ok(Some(piece)) = stream.piece().await {
        for event in decoder.push(&piece) {
            came.emit(event);
        }
    }
}

fn draw(format: Format, events: &[TraceEvent]) -> String {
    let mut bytes = Vec::new();
    let _ = format;
    for event in events {
        trace::transport::encode(event, &mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
