//! A hermetic environment: an rdock of its own, with nothing of the caller's environment in it.

use super::leaks::Watch;
use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The binary under test.
pub const RDOCK: &str = env!("CARGO_BIN_EXE_rdock");

/// What programs are looked for in, whatever the caller's PATH holds.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// No command of a test takes longer; one that does hangs, and is killed.
const DEADLINE: Duration = Duration::from_secs(120);

/// One home and what belongs to it. When it goes, its daemon is stopped and everything that was made must be gone.
pub struct Lab {
    home: tempfile::TempDir,
    /// HOME, TMPDIR and files of the test.
    side: tempfile::TempDir,
    watch: Watch,
    env: Vec<(String, String)>,
    check: bool,
}

/// What a command printed and how it ended. Every function that returns one is `#[must_use]`: an answer is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub stdout: String,
    pub stderr: String,
    /// As a shell counts: 128+n when signal n ended it.
    pub status: i32,
}

impl Lab {
    pub fn new() -> Lab {
        Lab::in_directory(&std::env::temp_dir())
    }

    /// A home below `dir`. Its name is short: a shim's socket holds 64 characters of an id and a socket's path may
    /// have 107 (unix(7)).
    pub fn in_directory(dir: &Path) -> Lab {
        let make = |prefix| tempfile::Builder::new().prefix(prefix).rand_bytes(6).tempdir_in(dir).unwrap();
        let (home, side) = (make("rd"), make("rdside"));
        for name in ["tmp", "user"] {
            std::fs::create_dir(side.path().join(name)).unwrap();
        }
        let watch = Watch::new(home.path());
        Lab { home, side, watch, env: Vec::new(), check: true }
    }

    /// RDOCK_HOME.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A place for files of the test itself.
    pub fn file(&self, name: &str) -> PathBuf {
        self.side.path().join(name)
    }

    /// `unix://…/run/rdock.sock`
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.home().join("run/rdock.sock")
    }

    /// Sets a variable for all commands from here on.
    pub fn env(&mut self, name: &str, value: impl Into<String>) {
        self.env.push((name.to_owned(), value.into()));
    }

    /// The environment of every command, for those that are started by other means.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut all = vec![
            ("PATH".to_owned(), PATH.to_owned()),
            ("HOME".to_owned(), self.file("user").display().to_string()),
            ("TMPDIR".to_owned(), self.file("tmp").display().to_string()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("COLUMNS".to_owned(), "100".to_owned()),
            ("RDOCK_HOME".to_owned(), self.home().display().to_string()),
        ];
        all.extend(self.env.iter().cloned());
        all
    }

    /// Any program in this environment, standard input at its end.
    pub fn program(&self, name: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(name);
        command.env_clear().envs(self.environment()).current_dir(self.side.path()).stdin(Stdio::null());
        command
    }

    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.program(RDOCK);
        command.args(args);
        command
    }

    /// `rdock ARGS…`, to its end.
    #[must_use]
    pub fn rdock<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Answer {
        run(self.command(args), b"")
    }

    /// `rdock ARGS…` with `input` on standard input.
    #[must_use]
    pub fn rdock_with_input<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Answer {
        run(self.command(args), input)
    }

    /// The trace of `rdock ARGS…` (events in the order of the stream) beside its answer.
    #[must_use]
    pub fn traced<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> (Answer, Vec<rdock::trace::TraceEvent>) {
        let file = self.file("trace.ndjson");
        let _ = std::fs::remove_file(&file);
        let mut command = self.command([format!("--explain=json:{}", file.display())]);
        command.args(args);
        let answer = run(command, b"");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let events = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("not a trace event: {e}: {l}")))
            .collect();
        (answer, events)
    }

    /// Starts the daemon, where no command of the client should be the first.
    pub fn start_daemon(&self) {
        self.rdock(["version"]).ok();
    }

    /// The daemon's process, as it wrote it down.
    pub fn daemon_pid(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.home().join("run/daemon.pid")).ok()?;
        text.trim().parse().ok()
    }

    /// What the daemon wrote down, for messages of failed tests.
    /// SIGKILL, and the moment after which nobody listens any more.
    pub fn kill_daemon(&self) {
        let pid = nix::unistd::Pid::from_raw(self.daemon_pid().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        super::wait_for("the daemon's end", || std::os::unix::net::UnixStream::connect(self.socket()).err());
    }

    pub fn daemon_log(&self) -> String {
        std::fs::read_to_string(self.home().join("run/daemon.log")).unwrap_or_default()
    }

    /// A copy of the binary that every user may execute: the target directory may be closed to others.
    pub fn shared_binary(&self) -> PathBuf {
        let copy = self.file("rdock");
        std::fs::copy(RDOCK, &copy).unwrap();
        for path in [self.side.path(), &copy] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        copy
    }

    /// Pulls what most tests run.
    pub fn with_image(self, name: &str) -> Lab {
        self.rdock(["pull", "-q", name]).ok();
        self
    }

    /// Half-made things in the store: temporary files, layers without their description.
    pub fn half_made(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let data = self.home().join("data");
        for dir in ["content", "hub"] {
            let store = data.join(dir);
            for place in [store.clone(), store.join("blobs"), store.join("blobs/sha256"), store.join("ingest")] {
                found.extend(entries(&place).into_iter().filter(|p| {
                    let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let known = [
                        "oci-layout",
                        "index.json",
                        "blobs",
                        "sha256",
                        "ingest",
                        "lab",
                        "faults.json",
                        "uploads",
                        "repositories",
                    ];
                    let blob = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
                    let lock = name.ends_with(".lock");
                    !(blob || lock || known.contains(&name.as_str()))
                }));
            }
        }
        for layer in entries(&data.join("snapshots")) {
            if layer.is_dir() && !layer.join("layer.json").exists() {
                found.push(layer);
            }
        }
        found
    }

    /// Containers that have a directory.
    pub fn containers_on_disk(&self) -> Vec<PathBuf> {
        entries(&self.home().join("data/containers")).into_iter().filter(|p| p.is_dir()).collect()
    }

    /// Ends the daemon and looks whether anything is left. Done by `drop` as well.
    pub fn stop(&self) {
        if self.socket().exists() {
            let answer = self.rdock(["daemon", "stop"]);
            if answer.status != 0 && !std::thread::panicking() {
                eprintln!("daemon stop: {answer:?}");
            }
        }
        self.watch.kill_what_is_left_of_the_daemon();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- daemon.log of {}\n{}", self.home().display(), self.daemon_log());
            self.stop();
            self.watch.end_all_processes();
            self.watch.remove_groups();
            return;
        }
        if !self.check {
            return;
        }
        remove_running(self);
        self.stop();
        let leaks = self.watch.leaks_after_settling();
        if !leaks.is_empty() {
            self.watch.end_all_processes();
            self.watch.remove_groups();
            panic!("left behind:\n  {}\n--- daemon.log\n{}", leaks.join("\n  "), self.daemon_log());
        }
    }
}

/// Containers that still run would be the test's own leak, not the engine's.
fn remove_running(lab: &Lab) {
    if !lab.socket().exists() {
        return;
    }
    for dir in lab.containers_on_disk() {
        if let Some(id) = dir.file_name().and_then(OsStr::to_str) {
            let _ = lab.rdock(["rm", "-f", id]);
        }
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect()
}

/// Runs a command to its end, with `input` on its standard input, at most [`DEADLINE`].
#[must_use]
pub fn run(mut command: Command, input: &[u8]) -> Answer {
    let shown = format!("{command:?}");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{shown}: {e}"));
    let stdin = child.stdin.take();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    let (ended, waiting) = mpsc::channel::<()>();
    let (stdout, stderr, status, hung) = std::thread::scope(|scope| {
        // The watchdog ends when the sender is dropped, or kills.
        let watchdog = scope.spawn(move || {
            let hung = waiting.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout);
            if hung {
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            hung
        });
        scope.spawn(move || {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input);
            }
        });
        let errors = scope.spawn(move || {
            let mut bytes = Vec::new();
            let _ = err.read_to_end(&mut bytes);
            bytes
        });
        let mut bytes = Vec::new();
        let _ = out.read_to_end(&mut bytes);
        let stderr = errors.join().unwrap();
        let status = child.wait().unwrap();
        drop(ended);
        (bytes, stderr, status, watchdog.join().unwrap())
    });
    let answer = Answer {
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        status: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
    };
    assert!(!hung, "{shown} hung for {DEADLINE:?}: {answer:?}");
    answer
}

impl Answer {
    /// It worked: status 0.
    #[track_caller]
    pub fn ok(self) -> Answer {
        assert_eq!(self.status, 0, "{self:#?}");
        self
    }

    /// Exactly this, and nothing else.
    #[track_caller]
    pub fn is(self, status: i32, stdout: &str, stderr: &str) -> Answer {
        assert_eq!((self.status, self.stdout.as_str(), self.stderr.as_str()), (status, stdout, stderr));
        self
    }

    /// A failure with one sentence (and hints, no backtrace) on standard error.
    #[track_caller]
    pub fn fails(self, status: i32, words: &str) -> Answer {
        assert_eq!(self.status, status, "{self:#?}");
        assert!(self.stderr.contains(words), "{words:?} is not in {self:#?}");
        for sign in ["panicked at", "RUST_BACKTRACE", "Os {", "kind:"] {
            assert!(!self.stderr.contains(sign), "not for a learner: {self:#?}");
        }
        self
    }
}

/// A child that is killed and waited for when it goes.
pub struct Background(pub Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
