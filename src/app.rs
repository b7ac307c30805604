//! Composition root: where everything of one rdock lives, and which kernel it uses.

mod hub;

use crate::cli::error::Failure;
use crate::cli::{self, Processes};
use crate::client::{Endpoint, autostart};
use crate::containers::shim_client::Shims;
use crate::containers::{Containers, Parts};
use crate::daemon::config::Config;
use crate::daemon::engine::About;
use crate::daemon::joints::{LocalContainers, LocalImages, ToldByShims};
use crate::daemon::place::Place;
use crate::daemon::sources::{HubConfig, Sources};
use crate::daemon::{self, Engine};
use crate::events::Bus;
use crate::images::files::Files;
use crate::images::{Images, WritableLayers};
use crate::kernel::linux::{self, LinuxKernel};
use crate::kernel::traced::{Traced, because};
use crate::kernel::{Call, Fd, Kernel};
use crate::runtime::rootless;
use crate::shim::leftovers::Leftovers;
use crate::trace::{self, Actor};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Where one rdock keeps its things (`interface.md`): two homes never disturb each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// What stays: `content/`, `snapshots/`, `containers/`, `hub/`.
    pub data: PathBuf,
    /// What lives as long as the machine runs: `rdock.sock`, `daemon.pid`, `containers/<id>/shim.sock`.
    pub run: PathBuf,
    /// What a person writes: `daemon.json`, `certs.d/`.
    pub config: PathBuf,
}

impl Home {
    /// `RDOCK_HOME` if set (`data/`, `run/`, `config/` below it), else `/var/lib/rdock`, `/run/rdock` and `/etc/rdock`
    /// for root, else `$XDG_DATA_HOME/rdock` (or `~/.local/share/rdock`), `$XDG_RUNTIME_DIR/rdock` (or
    /// `/tmp/rdock-UID`) and `$XDG_CONFIG_HOME/rdock` (or `~/.config/rdock`).
    pub fn from_env() -> Home {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(home) = var("RDOCK_HOME") {
            let home = std::path::absolute(&home).unwrap_or(home);
            return Home { data: home.join("data"), run: home.join("run"), config: home.join("config") };
        }
        let uid = nix::unistd::geteuid();
        if uid.is_root() {
            return Home { data: "/var/lib/rdock".into(), run: "/run/rdock".into(), config: "/etc/rdock".into() };
        }
        let data = var("XDG_DATA_HOME")
            .or_else(|| var("HOME").map(|h| h.join(".local/share")))
            .unwrap_or_else(|| PathBuf::from(format!("/tmp/rdock-data-{uid}")));
        let run = var("XDG_RUNTIME_DIR").unwrap_or_else(|| PathBuf::from(format!("/tmp/rdock-{uid}")));
        let config = var("XDG_CONFIG_HOME")
            .or_else(|| var("HOME").map(|h| h.join(".config")))
            .unwrap_or_else(|| PathBuf::from(format!("/tmp/rdock-config-{uid}")));
        Home { data: data.join("rdock"), run: run.join("rdock"), config: config.join("rdock") }
    }

    /// The Engine API's unix socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("rdock.sock")
    }

    /// A short, stable name of this home, for things that are named system-wide (cgroups, bridges): 8 hex
    /// characters of a digest of the data directory.
    pub fn tag(&self) -> String {
        use sha2::Digest as _;
        let sum = sha2::Sha256::digest(self.data.as_os_str().as_encoded_bytes());
        sum.iter().take(4).map(|b| format!("{b:02x}")).collect()
    }
}

/// The command line of the client; the daemon is one of its commands.
pub fn cli() -> ExitCode {
    let home = Home::from_env();
    let processes = Processes {
        socket: home.socket(),
        credentials: credentials(&home.config),
        run: home.run,
        program: std::env::current_exe().unwrap_or_else(|_| "rdock".into()),
        daemon,
        hub: hub::run,
    };
    cli::main(std::env::args_os().skip(1).collect(), processes)
}

/// The directory of the person's `config.json`: `DOCKER_CONFIG`; that of the home, if there is one; else the one that
/// the Docker command has, so that what was told to one is known to the other.
fn credentials(config: &std::path::Path) -> PathBuf {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    match (var("DOCKER_CONFIG"), var("RDOCK_HOME")) {
        (Some(directory), _) => directory,
        (None, Some(_)) => config.to_owned(),
        (None, None) => var("HOME").map_or_else(|| config.to_owned(), |home| home.join(".docker")),
    }
}

/// `rdock daemon [run|stop]`.
fn daemon(args: &cli::daemon::Daemon) -> Result<(), Failure> {
    // Asked before an ordinary user becomes root of a user namespace, and would be sent to root's places.
    let home = Home::from_env();
    let (data, run) = (args.data_root.clone().unwrap_or(home.data), args.exec_root.clone().unwrap_or(home.run));
    let home = Home { data, run, config: home.config };
    if args.action == "stop" {
        return daemon::stop::stop(&home.run).map_err(Failure::new);
    }
    let told = Told { autostarted: args.autostarted };
    serve(args, &home, &told).map_err(|sentence| told.failed(sentence))
}

/// Everything that a daemon is made of, then the daemon, until it is asked to end.
fn serve(args: &cli::daemon::Daemon, home: &Home, told: &Told) -> Result<(), String> {
    let config = Config::read(args.config.as_deref(), &home.config)?;
    if args.autostarted {
        // Of its own session: what the client's terminal does to the client is not for the daemon.
        nix::unistd::setsid().map_err(|e| format!("cannot begin a session: {e}"))?;
    }
    let kernel = Arc::new(Traced(LinuxKernel));
    let root = rootless::enter(&*kernel).map_err(|e| e.to_string())?;
    let program = unwritable_self(&*kernel);
    let socket = match &args.host {
        Some(host) => Endpoint::parse(host).map_err(|e| e.to_string())?.socket,
        None => home.socket(),
    };
    let (_place, listener) = Place::take(&home.data, &home.run, &socket).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("rdock")
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start threads: {e}"))?;
    let ended = runtime.block_on(async {
        let traces = trace::transport::Hub::new();
        trace::install(traces.clone()).map_err(|e| e.to_string())?;
        let engine = engine(home, &config, kernel, &root, traces, program).await?;
        let _door = engine.sources.open_door().await.map_err(|e| e.to_string())?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(|e| e.to_string())?;
        told.ready();
        let containers = engine.containers.clone();
        daemon::serve::serve(listener, daemon::routes::router(engine), daemon::serve::asked_to_end()).await;
        containers.close().await;
        Ok(())
    });
    runtime.shutdown_timeout(LAST_WORDS);
    ended
}

/// This program on a mount of its own that is read-only and in no directory tree. What is started from there finds itself
/// there (`/proc/self/exe`), so no container can write to the engine through it, whatever privileges it has
/// (CVE-2019-5736). None where this user may not copy mounts: then there is nothing to write that is not the user's own.
fn unwritable_self(kernel: &dyn Kernel) -> Option<OwnedFd> {
    let why = "the engine's own program, to be started from where nobody can write to it";
    let call = |call: &Call| because(Actor::Daemon, why, || kernel.call(call)).ok();
    let copy = Call::OpenTree { dfd: Fd::Cwd, filename: "/proc/self/exe".into(), recursive: false };
    let fd = call(&copy)?.fd()?;
    let program = linux::adopt(fd);
    let attr_set = vec!["MOUNT_ATTR_RDONLY", "MOUNT_ATTR_NOSUID", "MOUNT_ATTR_NODEV"];
    call(&Call::MountSetattr { dfd: Fd::Raw(fd), recursive: false, attr_set })?;
    Some(program)
}

/// Threads for requests; waiting takes none, and unpacking has threads of its own.
const WORKERS: usize = 2;
/// So long the daemon waits at its end for work that cannot be called off.
const LAST_WORDS: Duration = Duration::from_secs(2);

async fn engine(
    home: &Home,
    config: &Config,
    kernel: Arc<dyn Kernel>,
    root: &rootless::Root,
    traces: Arc<trace::transport::Hub>,
    program: Option<OwnedFd>,
) -> Result<Engine, String> {
    let rootless = match root {
        rootless::Root::Real => None,
        rootless::Root::Mapped => Some("mapped"),
        rootless::Root::Single { .. } => Some("single"),
    };
    let hub = HubConfig { root: home.data.join("hub"), listen: config.hub_listen()? };
    let sources = Arc::new(Sources::new(hub, config.registries(&home.config)?));
    let (rootless_or_not, max_layer) = (rootless.is_some(), Some(config.max_layer_size()));
    let options = crate::images::Options { rootless: rootless_or_not, userxattr: rootless_or_not, max_layer };
    let images = Images::open(&home.data, kernel.clone(), sources.clone(), options).map_err(|e| e.to_string())?;
    let events = Bus::new();
    let images = Arc::new(images.telling(events.clone()));
    let leftovers = Leftovers::new(kernel.clone());
    let parts = Parts {
        data: home.data.join("containers"),
        run: home.run.clone(),
        tag: home.tag(),
        images: Arc::new(LocalImages(images.clone())),
        files: Files::new(kernel.clone(), options),
        layers: WritableLayers::new(kernel),
        leftovers: leftovers.clone(),
        shims: Arc::new(Shims::new(home.run.clone(), Some(format!("rdock-{}-spare", home.tag())), leftovers, program)),
        producers: Some(Arc::new(ToldByShims(traces.clone()))),
        events: events.clone(),
    };
    let containers = Containers::open(parts).await.map_err(|e| e.to_string())?;
    images.used_by(Arc::new(LocalContainers(containers.clone())));
    if let Err(error) = images.collect().await {
        // It is in nobody's way, and the next start tries again.
        tracing::warn!("what a daemon before this one left cannot be collected: {error}");
    }
    let about = Arc::new(About { id: home.tag(), data: home.data.clone(), rootless });
    Ok(Engine { images, containers, sources, traces, events, about })
}

/// How a daemon tells its client that it listens, or why it does not: one line on standard output.
struct Told {
    autostarted: bool,
}

impl Told {
    fn ready(&self) {
        self.line(autostart::READY);
        if self.autostarted {
            // The client's pipe must not stay open: it is what the client waits for.
            let _ = nix::unistd::dup2_stdout(std::io::stderr());
        }
    }

    fn failed(&self, sentence: String) -> Failure {
        self.line(&sentence);
        Failure::new(format!("rdock daemon: {sentence}"))
    }

    fn line(&self, text: &str) {
        if self.autostarted {
            let mut out = std::io::stdout();
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        }
    }
}
