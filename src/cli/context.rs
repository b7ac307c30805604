//! One invocation: its global options, its connection, its explanation.

use super::daemon::Daemon;
use super::error::{ENGINE_FAILED, Failure};
use super::explain::Explaining;
use super::globals::Globals;
use super::hub::{Line as HubLine, Task as HubTask};
use crate::client::autostart::{self, Started};
use crate::client::{Client, ClientError, Endpoint};
use crate::trace::{self, Actor};
use serde_json::json;
use std::cell::OnceCell;
use std::future::Future;
use std::path::PathBuf;
use tokio::runtime::Runtime;

/// What the client cannot do itself: the places and the other processes, given by the composition root.
#[derive(Debug, Clone)]
pub struct Processes {
    /// The socket of our own home.
    pub socket: PathBuf,
    /// The directory for run-time files of our own home.
    pub run: PathBuf,
    /// The directory of the person's `config.json`.
    pub credentials: PathBuf,
    /// This program, to start the daemon with.
    pub program: PathBuf,
    /// `rdock daemon`; returns when the daemon has ended.
    pub daemon: fn(&Daemon) -> Result<(), Failure>,
    /// `rdock hub …`.
    pub hub: fn(HubTask<'_>) -> Result<Vec<HubLine>, Failure>,
}

/// Why there is no connection.
enum Unmet {
    Client(ClientError),
    Explaining(Failure),
}

impl From<ClientError> for Unmet {
    fn from(error: ClientError) -> Unmet {
        Unmet::Client(error)
    }
}

impl From<Unmet> for Failure {
    fn from(unmet: Unmet) -> Failure {
        match unmet {
            Unmet::Client(error) => error.into(),
            Unmet::Explaining(failure) => failure,
        }
    }
}

/// See the module.
pub struct Context {
    globals: Globals,
    processes: Processes,
    runtime: OnceCell<Runtime>,
    explaining: Option<Explaining>,
}

impl Context {
    /// Begins an invocation.
    pub fn new(globals: Globals, processes: Processes) -> Result<Context, Failure> {
        let explain = globals.explain.clone();
        let explaining = (!explain.is_empty()).then(|| Explaining::begin(explain)).transpose()?;
        Ok(Context { globals, processes, runtime: OnceCell::new(), explaining })
    }

    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    /// Runs what waits for sockets and signals, on this thread.
    pub fn block_on<F: Future<Output = Result<u8, Failure>>>(&self, future: F) -> Result<u8, Failure> {
        self.runtime()?.block_on(future)
    }

    fn runtime(&self) -> Result<&Runtime, Failure> {
        if self.runtime.get().is_none() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|e| Failure::new(format!("cannot wait for events: {e}")).status(ENGINE_FAILED))?;
            let _ = self.runtime.set(runtime);
        }
        self.runtime.get().ok_or_else(|| Failure::silent(ENGINE_FAILED))
    }

    /// The socket that this invocation speaks to.
    pub fn endpoint(&self) -> Result<Endpoint, Failure> {
        match &self.globals.host {
            Some(host) => Endpoint::parse(host).map_err(|e| Failure::new(e).status(ENGINE_FAILED)),
            None => Ok(Endpoint::own(self.processes.socket.clone(), self.processes.run.clone())),
        }
    }

    /// A connection; starts a daemon of our own when nobody listens on our own socket.
    pub async fn client(&self) -> Result<Client, Failure> {
        let endpoint = self.endpoint()?;
        match (self.connect(&endpoint).await, &endpoint.autostart) {
            (Err(Unmet::Client(ClientError::NotRunning { .. })), Some(run)) => {
                self.start_daemon(&endpoint, run)?;
                Ok(self.connect(&endpoint).await?)
            }
            (connected, _) => Ok(connected?),
        }
    }

    /// Greets the daemon and, beside it, opens its side of the explanation: before the first request is sent.
    async fn connect(&self, endpoint: &Endpoint) -> Result<Client, Unmet> {
        let Some(explaining) = &self.explaining else { return Ok(Client::connect(endpoint).await?) };
        let (client, listening) = tokio::join!(Client::connect(endpoint), explaining.listen(endpoint));
        let client = client?;
        listening.map_err(Unmet::Explaining)?;
        Ok(client)
    }

    fn start_daemon(&self, endpoint: &Endpoint, run: &std::path::Path) -> Result<(), Failure> {
        let step = trace::step(Actor::Client, "client.daemon.start")
            .why("the daemon owns images and containers; without one there is nobody to ask")
            .arg("socket", endpoint.socket.display().to_string());
        let socket = endpoint.socket.display();
        match autostart::start(endpoint, run, &self.processes.program) {
            Ok(Started::New { pid }) => {
                let said = || format!("nobody listens on {socket}: starts the daemon (pid {pid})");
                step.ok(json!({"pid": pid}), said);
            }
            Ok(Started::Already) => {
                step.ok(json!(null), || {
                    format!("nobody listened on {socket}, but another client has just started a daemon")
                });
            }
            Err(error) => {
                step.fail("", &error, || {
                    format!("nobody listens on {socket}, and no daemon could be started: {error}")
                });
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Before the terminal is handed to a container: prints what has been explained so far.
    pub async fn hand_over(&self) -> Result<(), Failure> {
        match &self.explaining {
            Some(explaining) => explaining.print_so_far().await,
            None => Ok(()),
        }
    }

    /// Ends the invocation: what is left of the explanation is printed.
    pub fn finish(&self, ended: Result<u8, Failure>) -> Result<u8, Failure> {
        if let Some(explaining) = &self.explaining {
            explaining.finish(self.runtime()?)?;
        }
        ended
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // What still waits (a connection, a thread that reads the terminal) must not keep the process.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
