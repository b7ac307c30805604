//! The service against shims that make no process: threads that speak the protocol.

use super::super::image_source::{SourceError, SourceImage};
use super::super::shim_client::{Launched, ShimProcess};
use super::super::state::Status;
use super::*;
use crate::images::{NewImage, WriteLayer};
use crate::kernel::faulty::Faulty;
use crate::kernel::linux::LinuxKernel;
use crate::kernel::{Errno, Kernel};
use crate::oci::ErrorKind;
use crate::shim::packet::Connection;
use crate::shim::protocol::{ExitRecord, Failure, Reply, Request, Start};
use crate::trace::Outcome;
use crate::trace::testing::Capture;
use bollard_stubs::models::{ContainerCreateBody, HostConfig};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, bind, listen, socket, socketpair,
};
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What a shim does after it was asked to start.
#[derive(Debug, Clone)]
enum Play {
    /// Prints and ends with this status.
    Ends(i32),
    /// Runs until a signal comes; SIGTERM counts only if the flag is set.
    Runs {
        ends_on_term: bool,
    },
    Fails(Failure),
    /// Is killed while the container runs; the flag: after it wrote the exit record.
    Dies {
        with_record: bool,
    },
    /// Is killed before it answers.
    DiesAtOnce,
    /// Never answers, and keeps the connection.
    Hangs,
}

struct Stage(Mutex<Play>);

impl Launch for Stage {
    fn launch(&self) -> io::Result<Launched> {
        let (mine, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let play = lock(&self.0).clone();
        std::thread::spawn(move || act(&Connection::new(theirs), play));
        Ok(Launched { connection: mine, process: ShimProcess::foreign(), spare: None })
    }
}

fn exit(code: i32, signal: Option<i32>) -> ExitRecord {
    ExitRecord { code, signal, oom_killed: false, at: super::super::clock::now() }
}

fn act(connection: &Connection, play: Play) {
    let Ok(Some((Request::Start(start), fds))) = connection.receive::<Request>() else { return };
    let started = Reply::Started { pid: 4242, at: super::super::clock::now() };
    let say = |reply: &Reply| connection.send(reply, &[]).is_ok();
    let finish = |record: ExitRecord| {
        fs::write(&start.exit_path, serde_json::to_vec(&record).unwrap()).unwrap();
        say(&Reply::Exited(record));
    };
    match play {
        Play::Ends(code) => {
            say(&started);
            for fd in fds {
                let _ = fs::File::from(fd).write_all(b"hello\n");
            }
            finish(exit(code, None));
        }
        Play::Runs { ends_on_term } => {
            say(&started);
            serve(connection, fds, &started, ends_on_term, &finish);
        }
        Play::Fails(failure) => drop(say(&Reply::Failed(failure))),
        Play::Dies { with_record } => {
            say(&started);
            if with_record {
                fs::write(&start.exit_path, serde_json::to_vec(&exit(9, None)).unwrap()).unwrap();
            }
        }
        Play::DiesAtOnce => {}
        Play::Hangs => drop(connection.receive::<Request>()),
    }
}

/// Answers until a signal ends the container.
fn serve(
    connection: &Connection,
    mut attached: Vec<OwnedFd>,
    started: &Reply,
    ends_on_term: bool,
    finish: &dyn Fn(ExitRecord),
) {
    while let Ok(Some((request, fds))) = connection.receive::<Request>() {
        let reply = match &request {
            Request::State => started.clone(),
            _ => Reply::Done,
        };
        attached.extend(fds);
        let _ = connection.send(&reply, &[]);
        if let Request::Kill { signal, .. } = request
            && (signal == libc::SIGKILL || (ends_on_term && signal == libc::SIGTERM))
        {
            attached.clear();
            return finish(exit(128 + signal, Some(signal)));
        }
    }
}

struct Images(tempfile::TempDir);

impl ImageSource for Images {
    fn find(&self, name: &str) -> Result<SourceImage, SourceError> {
        if name != "centos" {
            let message = format!("No such image: {name}:latest");
            return Err(SourceError { kind: ErrorKind::NotFound, message });
        }
        let (base, lower) = (self.0.path().to_owned(), vec!["aa/diff".into()]);
        Ok(SourceImage { id: "sha256:5d0d".into(), config: None, base, lower, hold: None })
    }

    fn released<'a>(&'a self, _id: &'a str) -> futures_util::future::BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn size(&self, _id: &str) -> u64 {
        1000
    }

    fn commit(&self, image: &NewImage, _: Option<WriteLayer<'_>>) -> Result<String, SourceError> {
        Err(SourceError { kind: ErrorKind::Internal, message: format!("no image is made of {}", image.parent) })
    }
}

struct Lab {
    dir: tempfile::TempDir,
    stage: Arc<Stage>,
    images: Arc<Images>,
    containers: Containers,
}

impl Lab {
    async fn new(play: Play) -> Lab {
        let images = Images(tempfile::tempdir().unwrap());
        let etc = images.0.path().join("aa/diff/etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("passwd"), "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:\n").unwrap();
        Lab::with(tempfile::tempdir().unwrap(), Arc::new(images), play, Arc::new(LinuxKernel)).await
    }

    async fn with(dir: tempfile::TempDir, images: Arc<Images>, play: Play, kernel: Arc<dyn Kernel>) -> Lab {
        let stage = Arc::new(Stage(Mutex::new(play)));
        let parts = Parts {
            data: dir.path().join("data/containers"),
            run: dir.path().join("run"),
            tag: "0badcafe".into(),
            images: images.clone(),
            files: crate::images::files::Files::new(kernel.clone(), Default::default()),
            layers: WritableLayers::new(kernel.clone()),
            leftovers: Leftovers::new(kernel),
            shims: stage.clone(),
            producers: None,
            events: Bus::new(),
        };
        let containers = Containers::open(parts).await.unwrap();
        Lab { dir, stage, images, containers }
    }

    /// The next daemon on the same directories; the one before is as good as killed.
    async fn restarted(self) -> Lab {
        let Lab { dir, stage, images, containers } = self;
        drop(containers);
        let play = lock(&stage.0).clone();
        Lab::with(dir, images, play, Arc::new(LinuxKernel)).await
    }

    fn play(&self, play: Play) {
        *lock(&self.stage.0) = play;
    }

    async fn create(&self, name: &str, body: ContainerCreateBody) -> String {
        self.containers.create(Some(name), body).await.unwrap().id
    }

    fn status(&self, name: &str) -> Status {
        self.containers.record(name).unwrap().state.status
    }

    fn bundle(&self, id: &str) -> std::path::PathBuf {
        self.dir.path().join("data/containers").join(id)
    }

    /// Nothing of any container is on disk.
    fn assert_empty(&self) {
        for place in ["data/containers", "run/containers"] {
            let left: Vec<_> = fs::read_dir(self.dir.path().join(place))
                .map(|entries| entries.map(|e| e.unwrap().file_name()).collect())
                .unwrap_or_default();
            assert!(left.is_empty(), "{place}: {left:?}");
        }
        assert!(self.containers.records().is_empty());
        assert!(lock(&self.containers.inner.table).names.is_empty());
    }
}

fn body() -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some("centos".into()),
        cmd: Some(vec!["/bin/bash".into()]),
        ..ContainerCreateBody::default()
    }
}

fn auto_remove() -> ContainerCreateBody {
    let host_config = Some(HostConfig { auto_remove: Some(true), ..HostConfig::default() });
    ContainerCreateBody { host_config, ..body() }
}

const RUNS: Play = Play::Runs { ends_on_term: true };
const FORCE: RemoveOptions = RemoveOptions { force: true, volumes: false };
const STREAMS: AttachOptions = AttachOptions { stdin: false, stdout: true, stderr: true, stream: true, logs: false };

#[tokio::test]
async fn a_created_container_is_whole_on_disk() {
    let lab = Lab::new(RUNS).await;
    let id = lab.create("web", body()).await;
    let bundle = lab.bundle(&id);
    for name in ["container.json", "hostname", "hosts", "resolv.conf", "upper", "work", "merged"] {
        assert!(bundle.join(name).exists(), "{name}");
    }
    assert_eq!(fs::read_to_string(bundle.join("hostname")).unwrap(), format!("{}\n", &id[..12]));
    let document = lab.containers.inspect(&id[..8]).unwrap();
    assert_eq!((&document["Name"], &document["State"]["Status"]), (&"/web".into(), &"created".into()));
    let missing = ContainerCreateBody { image: Some("nosuch".into()), ..body() };
    let error = lab.containers.create(None, missing).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.kind()), ("No such image: nosuch:latest", ErrorKind::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_want_one_name_one_gets_it() {
    let lab = Lab::new(RUNS).await;
    let all = (0..8).map(|_| lab.containers.create(Some("web"), body()));
    let made = futures_util::future::join_all(all).await;
    let (good, bad): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    let id = &good[0].as_ref().unwrap().id;
    assert_eq!((good.len(), bad.len()), (1, 7));
    for error in bad {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(&format!("\"/web\" is already in use by container \"{id}\"")));
    }
    lab.containers.remove("web", FORCE).await.unwrap();
    lab.assert_empty();
    lab.create("web", body()).await;
}

#[tokio::test]
async fn output_and_exit_of_a_short_lived_container_are_not_missed() {
    let lab = Lab::new(Play::Ends(7)).await;
    lab.create("web", body()).await;
    let mut stream = lab.containers.attach("web", STREAMS).await.unwrap();
    let waiting = lab.containers.watch("web", WaitCondition::NextExit).unwrap();
    lab.containers.start("web").await.unwrap();
    let mut output = String::new();
    stream.read_to_string(&mut output).await.unwrap();
    assert_eq!(output, "hello\n");
    assert_eq!(waiting.answer().await, WaitAnswer { status_code: 7, error: None });
    let record = lab.containers.record("web").unwrap();
    assert_eq!((record.state.status, record.state.exit_code, record.state.pid), (Status::Exited, 7, 0));
    let again = lab.containers.wait("web", WaitCondition::NotRunning).await.unwrap();
    assert_eq!(again.status_code, 7);
    lab.containers.start("web").await.unwrap();
}

#[tokio::test]
async fn the_spec_knows_the_user_of_the_image() {
    let lab = Lab::new(Play::Ends(0)).await;
    let id = lab.create("ann", ContainerCreateBody { user: Some("ann".into()), ..body() }).await;
    lab.containers.start("ann").await.unwrap();
    let spec = oci_spec::runtime::Spec::load(lab.bundle(&id).join("config.json")).unwrap();
    let process = spec.process().clone().unwrap();
    assert_eq!((process.user().uid(), process.user().gid()), (1000, 1000));
    assert!(process.env().as_ref().unwrap().contains(&"HOME=/home/ann".to_owned()));
    lab.create("eve", ContainerCreateBody { user: Some("eve".into()), ..body() }).await;
    let error = lab.containers.start("eve").await.unwrap_err();
    assert_eq!(error.to_string(), "unable to find user eve: no matching entries in passwd file");
    assert_eq!(lab.status("eve"), Status::Created);
}

fn not_found() -> Play {
    Play::Fails(Failure {
        exit_code: 127,
        op: "kernel.execve".into(),
        errno: "ENOENT".into(),
        message: "exec: \"nosuch\": executable file not found in $PATH".into(),
    })
}

#[tokio::test]
async fn a_failed_start_is_told_kept_and_cleaned_up() {
    let lab = Lab::new(not_found()).await;
    lab.create("web", body()).await;
    let mut stream = lab.containers.attach("web", STREAMS).await.unwrap();
    let error = lab.containers.start("web").await.unwrap_err();
    assert!(error.to_string().contains("exec: \"nosuch\": executable file not found in $PATH: unknown"));
    assert_eq!(error.kind(), ErrorKind::BadParameter);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    let state = lab.containers.record("web").unwrap().state.clone();
    assert_eq!((state.status, state.exit_code), (Status::Created, 127));
    assert!(state.error.contains("nosuch"));
    lab.play(Play::DiesAtOnce);
    let error = lab.containers.start("web").await.unwrap_err();
    assert!(error.to_string().contains("the shim is gone"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Internal);
    lab.play(Play::Ends(0));
    lab.containers.start("web").await.unwrap();
    assert!(lab.containers.record("web").unwrap().state.error.is_empty());
}

/// The clock stands still and jumps to the next time-out when nothing else is to be done.
#[tokio::test(start_paused = true)]
async fn a_shim_that_hangs_is_given_up_and_the_container_can_be_started_again() {
    let lab = Lab::new(Play::Hangs).await;
    lab.create("web", body()).await;
    let error = lab.containers.start("web").await.unwrap_err();
    assert!(
        error.to_string().contains("no answer for 60 seconds and was killed: start the container again"),
        "{error}"
    );
    assert_eq!((error.kind(), lab.status("web")), (ErrorKind::Internal, Status::Created));
    tokio::time::resume();
    lab.play(Play::Ends(0));
    lab.containers.start("web").await.unwrap();
    let _ = lab.containers.wait("web", WaitCondition::NotRunning).await;
    lab.containers.remove("web", FORCE).await.unwrap();
    lab.assert_empty();
}

#[tokio::test]
async fn auto_remove_removes_after_the_end_and_after_a_failed_start() {
    for (play, code) in [(Play::Ends(3), 3), (not_found(), 127)] {
        let lab = Lab::new(play).await;
        let id = lab.create("web", auto_remove()).await;
        let waiting = lab.containers.watch(&id, WaitCondition::Removed).unwrap();
        let _ = lab.containers.start(&id).await;
        assert_eq!(waiting.answer().await.status_code, code);
        lab.assert_empty();
    }
}

#[tokio::test]
async fn signals_stop_and_their_words() {
    let lab = Lab::new(RUNS).await;
    let id = lab.create("bg", body()).await;
    let error = lab.containers.kill("bg", "").await.unwrap_err();
    assert_eq!(error.to_string(), format!("Cannot kill container: bg: Container {id} is not running"));
    lab.containers.start("bg").await.unwrap();
    assert_eq!(lab.containers.start("bg").await.unwrap_err().kind(), ErrorKind::NotModified);
    assert!(lab.containers.kill("bg", "NOPE").await.unwrap_err().to_string().starts_with("Invalid signal"));
    lab.containers.kill("bg", "USR1").await.unwrap();
    lab.containers.resize("bg", 80, 24).await.unwrap();
    lab.containers.stop("bg", None, None).await.unwrap();
    assert_eq!(lab.containers.record("bg").unwrap().state.exit_code, 143);
    assert_eq!(lab.containers.stop("bg", None, None).await.unwrap_err().kind(), ErrorKind::NotModified);
    lab.play(Play::Runs { ends_on_term: false });
    lab.containers.start("bg").await.unwrap();
    lab.containers.stop("bg", None, Some(Duration::ZERO)).await.unwrap();
    assert_eq!(lab.containers.record("bg").unwrap().state.exit_code, 137);
}

#[tokio::test]
async fn a_running_container_is_removed_only_by_force() {
    let lab = Lab::new(RUNS).await;
    let id = lab.create("web", body()).await;
    lab.containers.start("web").await.unwrap();
    let mut stream = lab.containers.attach("web", STREAMS).await.unwrap();
    let error = lab.containers.remove("web", RemoveOptions::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "You cannot remove a running container {id}. Stop the container before attempting removal or force remove"
        )
    );
    let waiting = lab.containers.watch("web", WaitCondition::Removed).unwrap();
    lab.containers.remove("web", FORCE).await.unwrap();
    assert_eq!(waiting.answer().await.status_code, 137);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(lab.containers.remove("web", FORCE).await.unwrap_err().to_string(), "No such container: web");
    lab.assert_empty();
}

#[tokio::test]
async fn attached_input_needs_an_open_stdin_and_the_stream_waits_for_the_start() {
    let lab = Lab::new(RUNS).await;
    lab.create("web", body()).await;
    let mut gone = vec![];
    for _ in 0..40 {
        gone.push(lab.containers.attach("web", STREAMS).await);
        if gone.len() == 20 {
            gone.clear();
        }
    }
    assert!(gone.iter().all(Result::is_ok), "clients that went away do not count");
    let entry = lab.containers.inner.find("web").unwrap();
    assert!(lock(&entry.pending).iter().all(|(wants, _)| !wants.stdin));
    let mut half_closed = lab.containers.attach("web", STREAMS).await.unwrap();
    half_closed.shutdown().await.unwrap();
    let before = lock(&entry.pending).len();
    lab.containers.attach("web", STREAMS).await.unwrap();
    assert_eq!(lock(&entry.pending).len(), before + 1, "one that only ended its input still counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_starts_one_starts() {
    let lab = Lab::new(RUNS).await;
    lab.create("web", body()).await;
    let all = (0..8).map(|_| lab.containers.start("web"));
    let answers = futures_util::future::join_all(all).await;
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 1);
    assert!(answers.iter().flat_map(|a| a.as_ref().err()).all(|e| e.kind() == ErrorKind::NotModified));
    lab.containers.remove("web", FORCE).await.unwrap();
    lab.assert_empty();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_race_leave_nothing_half_made() {
    let lab = Lab::new(RUNS).await;
    for round in 0..40 {
        lab.play(if round % 3 == 0 { Play::Ends(0) } else { RUNS });
        let body = if round % 2 == 0 { auto_remove() } else { body() };
        let id = lab.create("web", body).await;
        let containers = &lab.containers;
        let removed = containers.watch(&id, WaitCondition::Removed).unwrap();
        let plain = RemoveOptions::default();
        let _ = tokio::join!(
            containers.start(&id),
            containers.attach(&id, STREAMS),
            containers.kill(&id, "KILL"),
            containers.stop(&id, None, Some(Duration::ZERO)),
            containers.remove(&id, plain),
            containers.start(&id),
            containers.remove(&id, if round % 5 == 0 { FORCE } else { plain }),
            containers.kill(&id, "TERM"),
        );
        match containers.remove(&id, FORCE).await {
            Ok(()) => {}
            Err(error) => assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict), "{error}"),
        }
        removed.answer().await;
        lab.assert_empty();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_does_not_stop_its_command() {
    let lab = Lab::new(RUNS).await;
    lab.create("web", body()).await;
    {
        let start = std::pin::pin!(lab.containers.start("web"));
        let gone = futures_util::future::select(start, futures_util::future::ready(())).await;
        drop(gone);
    }
    let entry = lab.containers.inner.find("web").unwrap();
    entry.life.subscribe().wait_for(|life| life.up).await.unwrap();
    assert_eq!(lab.status("web"), Status::Running);
    lab.containers.remove("web", FORCE).await.unwrap();
}

#[tokio::test]
async fn a_container_whose_shim_was_killed_is_dead_and_starts_again() {
    let lab = Lab::new(Play::Dies { with_record: false }).await;
    lab.create("web", body()).await;
    let waiting = lab.containers.watch("web", WaitCondition::NextExit).unwrap();
    lab.containers.start("web").await.unwrap();
    assert_eq!(waiting.answer().await.status_code, 137);
    assert_eq!(lab.status("web"), Status::Dead);
    lab.play(Play::Dies { with_record: true });
    let waiting = lab.containers.watch("web", WaitCondition::NextExit).unwrap();
    lab.containers.start("web").await.unwrap();
    assert_eq!(waiting.answer().await.status_code, 9);
    assert_eq!(lab.status("web"), Status::Exited);
}

#[tokio::test]
async fn every_call_that_fails_while_creating_leaves_nothing() {
    for at in 0..3 {
        let lab = Lab::new(RUNS).await;
        let Lab { dir, images, .. } = lab;
        let kernel = Arc::new(Faulty::new(LinuxKernel, at, Errno::ENOSPC));
        let lab = Lab::with(dir, images, RUNS, kernel).await;
        let error = lab.containers.create(Some("web"), body()).await.unwrap_err();
        assert!(error.to_string().ends_with("no space left on device"), "{error}");
        lab.assert_empty();
        lab.create("web", body()).await;
    }
}

#[tokio::test]
async fn a_removal_that_fails_can_be_taken_up_again() {
    let lab = Lab::new(RUNS).await;
    let Lab { dir, images, .. } = lab;
    // Three calls make the container; the fourth, which removes it, fails.
    let kernel = Arc::new(Faulty::new(LinuxKernel, 3, Errno::EIO));
    let lab = Lab::with(dir, images, RUNS, kernel).await;
    lab.create("web", body()).await;
    assert!(lab.containers.remove("web", RemoveOptions::default()).await.is_err());
    assert_eq!(lab.status("web"), Status::Dead);
    lab.containers.remove("web", RemoveOptions::default()).await.unwrap();
    lab.assert_empty();
}

// --- what is explained ---

#[tokio::test]
async fn each_step_is_explained_with_its_reason() {
    let capture = Capture::start();
    let lab = Lab::new(Play::Ends(0)).await;
    let id = lab.create("web", auto_remove()).await;
    let waiting = lab.containers.watch("web", WaitCondition::Removed).unwrap();
    lab.containers.start("web").await.unwrap();
    waiting.answer().await;
    let steps = capture.take();
    let ops: Vec<_> = steps.iter().map(|s| s.op.as_str()).collect();
    assert_eq!(ops, ["container.create", "shim.start", "container.start", "container.exit", "container.remove"]);
    assert!(steps.iter().all(|s| s.why.is_some() && !s.summary.is_empty() && !s.summary.ends_with('.')));
    let short = &id[..12];
    assert_eq!(
        steps[0].summary,
        format!("makes container {short}, named web: 1 read-only layer, 1 empty writable one")
    );
    assert_eq!(steps[2].summary, format!("container {short} runs /bin/bash as process 4242 of the host"));
    assert_eq!(
        steps[3].summary,
        "/bin/bash ends with 0: no terminal (-t) and no input (-i), so bash has nothing to do"
    );
    assert!(steps[4].summary.ends_with("image centos stays"), "{}", steps[4].summary);
}

#[tokio::test]
async fn a_start_that_fails_is_explained_with_its_errno() {
    let capture = Capture::start();
    let lab = Lab::new(not_found()).await;
    lab.create("web", body()).await;
    let _ = lab.containers.start("web").await;
    let steps = capture.take();
    let start = steps.iter().find(|s| s.op == "container.start").unwrap();
    let Some(Outcome::Err { errno, message }) = &start.result else { panic!("{start:?}") };
    assert_eq!(errno, "ENOENT");
    assert!(message.contains("executable file not found in $PATH"));
}

// --- the next daemon ---

/// A shim that was there before this daemon: listens in its run directory, for one connection.
fn old_shim(run_dir: &Path, exit_path: std::path::PathBuf) {
    fs::create_dir_all(run_dir).unwrap();
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let directory = fs::File::open(run_dir).unwrap();
    let short = format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd());
    bind(listener.as_raw_fd(), &UnixAddr::new(short.as_str()).unwrap()).unwrap();
    listen(&listener, Backlog::new(1).unwrap()).unwrap();
    std::thread::spawn(move || {
        let fd = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC).unwrap();
        let connection = Connection::new(crate::kernel::linux::adopt(fd));
        let started = Reply::Started { pid: 77, at: "2026-11-23T20:09:44Z".into() };
        serve(&connection, vec![], &started, true, &|record| {
            fs::write(&exit_path, serde_json::to_vec(&record).unwrap()).unwrap();
            let _ = connection.send(&Reply::Exited(record), &[]);
        });
    });
}

/// A shim whose answers come late: it takes the first connection and says nothing, and answers on the second one.
fn slow_shim(run_dir: &Path, exit_path: std::path::PathBuf) {
    fs::create_dir_all(run_dir).unwrap();
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let directory = fs::File::open(run_dir).unwrap();
    let short = format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd());
    bind(listener.as_raw_fd(), &UnixAddr::new(short.as_str()).unwrap()).unwrap();
    listen(&listener, Backlog::new(4).unwrap()).unwrap();
    std::thread::spawn(move || {
        let accept = || {
            Connection::new(crate::kernel::linux::adopt(accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC).unwrap()))
        };
        let silent = accept();
        let connection = accept();
        let started = Reply::Started { pid: 77, at: "2026-11-23T20:09:44Z".into() };
        serve(&connection, vec![], &started, true, &|record| {
            fs::write(&exit_path, serde_json::to_vec(&record).unwrap()).unwrap();
            let _ = connection.send(&Reply::Exited(record), &[]);
        });
        drop(silent);
    });
}

/// Writes the record as a daemon that was killed at this moment would have left it.
fn rewrite(lab: &Lab, name: &str, change: impl FnOnce(&mut Record)) {
    let mut record = Record::clone(&lab.containers.record(name).unwrap());
    change(&mut record);
    lab.containers.inner.store.save(&record).unwrap();
}

#[tokio::test]
async fn the_next_daemon_finds_running_containers() {
    let lab = Lab::new(RUNS).await;
    let known = lab.create("known", body()).await;
    let unseen = lab.create("unseen", body()).await;
    rewrite(&lab, "known", |r| r.state.started(77, "2026-11-23T20:09:44Z").unwrap());
    for id in [&known, &unseen] {
        old_shim(&lab.containers.inner.run_dir(id), lab.bundle(id).join("exit.json"));
    }
    let lab = lab.restarted().await;
    for name in ["known", "unseen"] {
        let state = lab.containers.record(name).unwrap().state.clone();
        assert_eq!((state.status, state.pid), (Status::Running, 77), "{name}");
        lab.containers.stop(name, None, None).await.unwrap();
        assert_eq!(lab.containers.record(name).unwrap().state.exit_code, 143);
    }
}

#[tokio::test]
async fn a_slow_shim_is_not_gone() {
    let lab = Lab::new(RUNS).await;
    let id = lab.create("slow", body()).await;
    rewrite(&lab, "slow", |r| r.state.started(77, "2026-11-23T20:09:44Z").unwrap());
    slow_shim(&lab.containers.inner.run_dir(&id), lab.bundle(&id).join("exit.json"));
    let lab = lab.restarted().await;
    assert_eq!(lab.status("slow"), Status::Running, "nothing is known, so nothing is assumed");
    assert!(lab.containers.inner.run_dir(&id).join("shim.sock").exists());
    let entry = lab.containers.inner.find("slow").unwrap();
    while entry.shim().is_none() {
        tokio::task::yield_now().await;
    }
    lab.containers.stop("slow", None, None).await.unwrap();
    assert_eq!(lab.containers.record("slow").unwrap().state.exit_code, 143);
}

/// A policy that starts what ends, with shims that end at once: a stop in the middle ends it.
#[tokio::test]
async fn a_stop_ends_what_its_policy_restarts() {
    let lab = Lab::new(Play::Ends(3)).await;
    let policy = bollard_stubs::models::RestartPolicy {
        name: Some(bollard_stubs::models::RestartPolicyNameEnum::ALWAYS),
        maximum_retry_count: None,
    };
    let host = HostConfig { restart_policy: Some(policy), ..HostConfig::default() };
    lab.create("ever", ContainerCreateBody { host_config: Some(host), ..body() }).await;
    let mut waiting = lab.containers.watch("ever", WaitCondition::NextExit).unwrap();
    lab.containers.start("ever").await.unwrap();
    for _ in 0..2 {
        assert_eq!(waiting.answer().await.status_code, 3);
        waiting = lab.containers.watch("ever", WaitCondition::NextExit).unwrap();
    }
    lab.containers.stop("ever", None, None).await.unwrap();
    let state = lab.containers.record("ever").unwrap().state.clone();
    assert_eq!((state.status, state.stopped_by_hand), (Status::Exited, true));
    assert!(state.restart_count >= 1);
    let lab = lab.restarted().await;
    let restarted = lab.containers.watch("ever", WaitCondition::NextExit).unwrap();
    assert_eq!(restarted.answer().await.status_code, 3, "always means always when a daemon begins");
    lab.containers.remove("ever", FORCE).await.unwrap();
    lab.assert_empty();
}

#[tokio::test]
async fn the_next_daemon_takes_down_how_containers_ended() {
    let lab = Lab::new(RUNS).await;
    let told = lab.create("told", body()).await;
    lab.create("lost", body()).await;
    let unseen = lab.create("unseen", body()).await;
    lab.create("gone", auto_remove()).await;
    for name in ["told", "lost", "gone"] {
        rewrite(&lab, name, |r| r.state.started(1 << 22, "2026-11-23T20:09:44Z").unwrap());
    }
    for id in [&told, &unseen] {
        fs::write(lab.bundle(id).join("exit.json"), serde_json::to_vec(&exit(5, None)).unwrap()).unwrap();
    }
    let lab = lab.restarted().await;
    for (name, status, code) in
        [("told", Status::Exited, 5), ("unseen", Status::Exited, 5), ("lost", Status::Dead, 137)]
    {
        let state = lab.containers.record(name).unwrap().state.clone();
        assert_eq!((state.status, state.exit_code), (status, code), "{name}");
    }
    assert!(lab.containers.record("gone").is_err());
    let before = lab.containers.record("told").unwrap();
    let lab = lab.restarted().await;
    assert_eq!(lab.containers.record("told").unwrap(), before, "a record that is known is not taken down twice");
}

#[tokio::test]
async fn the_next_daemon_finishes_what_was_begun() {
    let lab = Lab::new(RUNS).await;
    lab.create("leaving", body()).await;
    lab.create("staying", body()).await;
    rewrite(&lab, "leaving", |r| r.state.removing().unwrap());
    let half_made = lab.bundle("0123");
    fs::create_dir_all(half_made.join("upper/deep")).unwrap();
    let lab = lab.restarted().await;
    assert!(!half_made.exists());
    assert!(lab.containers.record("leaving").is_err());
    assert_eq!(lab.status("staying"), Status::Created);
    lab.containers.start("staying").await.unwrap();
    lab.containers.remove("staying", FORCE).await.unwrap();
    lab.assert_empty();
}

#[tokio::test]
async fn the_start_message_holds_what_the_shim_needs() {
    let lab = Lab::new(RUNS).await;
    let id = lab.create("web", auto_remove()).await;
    let record = lab.containers.record("web").unwrap();
    let start: Start = lab.containers.inner.start_message(&record, vec![], None);
    assert_eq!(start.rootfs.lower, [Path::new("aa/diff")]);
    assert_eq!(start.log_path.unwrap(), lab.bundle(&id).join(format!("{id}-json.log")));
    assert!(start.cgroup.starts_with("rdock-") && start.cgroup.ends_with(&id));
    assert!(start.volatile && !start.open_stdin);
}
