//! What daemon and shim say to each other: one JSON message a packet (`SOCK_SEQPACKET`, unix(7)), at most
//! [`MAX_MESSAGE`] bytes, descriptors beside it (`SCM_RIGHTS`).
//!
//! The daemon starts `rdock shim` with one end of a socket pair as its standard input and sends [`Request::Start`].
//! The shim listens on `<run>/containers/<id>/shim.sock` as well, so that a daemon that was restarted can connect
//! again; both kinds of connection speak the same. Each request gets exactly one [`Reply`]; besides, every
//! connection is told [`Reply::Exited`] when the container's process has ended, all its output is in the log and
//! all attached streams have been closed.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Longest packet in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Daemon → shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Makes in advance what every container needs, under this cgroup name, and waits for [`Request::Start`]. May be
    /// the first message on the inherited connection; has no reply.
    Prepare { cgroup: String },
    /// Makes and starts the container. First message on the inherited connection. Descriptors beside it, in this
    /// order: one stream socket per entry of `attach`, then the trace socket if `trace` is there.
    Start(Box<Start>),
    /// One more attached stream; its socket comes beside the message.
    Attach(Attach),
    /// Window size of the terminal (columns, rows).
    Resize { width: u16, height: u16 },
    /// Signal number to the container's first process. The trace socket comes beside it if `trace` is there.
    Kill {
        signal: i32,
        #[serde(default)]
        trace: Option<TraceContext>,
    },
    /// One more process in the container; answered by [`Reply::ExecStarted`] or [`Reply::Failed`]. Beside it, in this
    /// order: a file with the process as JSON (`process` of the OCI runtime spec; longer than a packet may be), the
    /// socket of the attached stream if `attach` is there, the trace socket if `trace` is there.
    Exec(Box<Exec>),
    /// Window size of such a process's terminal (columns, rows).
    ResizeExec { id: String, width: u16, height: u16 },
    /// Signal number to such a process.
    KillExec { id: String, signal: i32 },
    /// Asks for the processes that [`Request::Exec`] has started and that still run: [`Reply::Execs`] (a daemon that
    /// was restarted).
    Execs,
    /// Asks again for [`Reply::Started`] or [`Reply::Exited`] (a daemon that was restarted).
    State,
}

/// All that the shim needs to know of its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// 64 hex characters.
    pub id: String,
    /// OCI bundle: `config.json` (the OCI runtime spec) and the paths below are in it.
    pub bundle: PathBuf,
    /// Where `shim.sock` and the like go.
    pub run_dir: PathBuf,
    /// The image's read-only layers and the writable one.
    pub rootfs: Rootfs,
    /// json-file log; none: no log is kept.
    pub log_path: Option<PathBuf>,
    /// How long the log may get, and what each record has besides.
    #[serde(default)]
    pub log_limit: LogLimit,
    /// Written (atomically) when the container has ended: [`ExitRecord`] as JSON.
    pub exit_path: PathBuf,
    /// The container has a standard input (else it reads `/dev/null`).
    pub open_stdin: bool,
    /// Standard input closes when the first attached stream ends its input.
    pub stdin_once: bool,
    /// cgroup name below each controller's mount (v1) or below the unified one (v2): `rdock-<tag>-<id>`.
    pub cgroup: String,
    /// `docker run --rm`: the writable layer need not survive a crash of the machine (overlay `volatile`).
    pub volatile: bool,
    /// Streams attached before the start.
    pub attach: Vec<Attach>,
    /// Where events go, when somebody listens.
    pub trace: Option<TraceContext>,
}

/// `--log-opt` of the json-file log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimit {
    /// Bytes after which the file is rotated; none: never.
    pub max_size: Option<u64>,
    /// Files that are kept, the one that is written to among them.
    pub max_files: u32,
    /// Labels and variables of the container that each record names.
    pub attrs: BTreeMap<String, String>,
}

impl Default for LogLimit {
    fn default() -> Self {
        LogLimit { max_size: None, max_files: 1, attrs: BTreeMap::new() }
    }
}

/// How the root file system is put together (overlayfs).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Directory that the relative paths in `lower` start from.
    pub base: PathBuf,
    /// Read-only layers, topmost first, relative to `base`.
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    pub merged: PathBuf,
}

/// One attached stream. Output comes as the Engine API frames it (8-byte header: stream type, 3 zero bytes,
/// big-endian length), or raw when the container has a terminal; input is raw; the end of input is the shut-down
/// of the writing half.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// The answer is [`Reply::Attached`]: the caller sends what was logged before, and this stream goes on from there.
    #[serde(default)]
    pub after_log: bool,
}

/// One more process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// 64 hex characters.
    pub id: String,
    /// What a daemon that was restarted wants to find again: its own JSON, not read here.
    pub about: String,
    /// None: nobody is attached, the process reads and writes `/dev/null` (a terminal is kept all the same).
    pub attach: Option<Attach>,
    /// Where events go, when somebody listens.
    pub trace: Option<TraceContext>,
}

/// One that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningExec {
    pub id: String,
    /// As the shim's pid namespace numbers it.
    pub pid: i32,
    /// [`Exec::about`]
    pub about: String,
}

/// The trace that the events of shim, runtime and init belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// 32 hex characters.
    pub trace_id: String,
    /// 16 hex characters: the daemon's span.
    pub parent: String,
}

/// Shim → daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The container's process has become the command (execve succeeded).
    Started { pid: i32, at: String },
    /// It could not be started; everything made so far is undone.
    Failed(Failure),
    /// The stream is attached and goes on where the log's file ends now: at `size` bytes of the file `inode`.
    Attached { inode: u64, size: u64 },
    /// The request was carried out.
    Done,
    /// The request could not be carried out: a sentence.
    Refused { message: String },
    /// The new process has become its command.
    ExecStarted { pid: i32 },
    /// Comes by itself, to every connection: such a process has ended and all its output is on its way. Its attached
    /// stream closes after this.
    ExecEnded { id: String, code: i32 },
    /// The answer to [`Request::Execs`].
    Execs { running: Vec<RunningExec> },
    /// The container has ended.
    Exited(ExitRecord),
}

/// Why a container did not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// 127 command not found, 126 it can't be invoked, 125 everything else.
    pub exit_code: i32,
    /// The call that failed: `kernel.mount`; empty when it was not a call.
    pub op: String,
    /// Symbolic errno, or empty.
    pub errno: String,
    /// One sentence, lower case, no full stop.
    pub message: String,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Exit status; 128+n when signal n ended it.
    pub code: i32,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    /// RFC 3339 with nanoseconds, UTC.
    pub at: String,
}
