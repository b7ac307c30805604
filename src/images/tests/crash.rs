//! A daemon that is killed at any write: at every one of them, one after another. Afterwards no image is half there, no
//! blob is another than its name says, nothing half-made is left, and the same command finishes the work.

use super::*;
use crate::content::points;
use crate::images::diff::{self, View};
use crate::images::{Import, Source};
use crate::kernel::{Call, Errno, Kernel, Ret};
use nix::fcntl::OFlag;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Command;

/// The real kernel, with a point before each call that changes something.
struct Mortal;

impl Kernel for Mortal {
    fn call(&self, call: &Call) -> Result<Ret, Errno> {
        let reads = match call {
            Call::Openat2 { flags, .. } => !flags.contains(OFlag::O_CREAT),
            call => matches!(call, Call::Close { .. }),
        };
        if !reads {
            points::point();
        }
        LinuxKernel.call(call)
    }

    fn write_all(&self, fd: i32, data: &[u8]) -> Result<(), Errno> {
        points::point();
        LinuxKernel.write_all(fd, data)
    }
}

/// What the killed process was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Pull,
    /// To an image that is there, so that its name moves.
    PullAgain,
    Import,
    Tag,
    Remove,
}

const DEEDS: [Deed; 5] = [Deed::Pull, Deed::PullAgain, Deed::Import, Deed::Tag, Deed::Remove];

fn several_files(name: &str) -> Vec<u8> {
    // The root too: what no entry describes has the time at which it was made.
    Tar::new()
        .dir("", 0o755)
        .dir("d", 0o1777)
        .file(&format!("d/{name}"), b"x")
        .symlink("l", "d")
        .file("f", name.as_bytes())
        .finish()
}

/// The same in each process.
fn registry() -> Registry {
    let registry = Registry::default();
    registry.image("old:latest", &[several_files("shared"), several_files("old")]);
    registry.image("new:latest", &[several_files("shared"), several_files("new")]);
    // A name that stands for something else the second time.
    registry.image("moved:latest", &[several_files("moved")]);
    registry
}

fn source(bytes: Vec<u8>) -> Source {
    let mut piece = Some(Bytes::from(bytes));
    Box::new(move || piece.take().map(Ok))
}

/// Opens the images of `home` and does it.
async fn perform(home: &Path, kernel: Arc<dyn Kernel>, deed: Deed) {
    let registry = registry();
    let images = Arc::new(Images::open(home, kernel, Arc::new(registry), options()).unwrap());
    let messages = || unbounded_channel().0;
    let pull = |name: &'static str| {
        let (images, to) = (images.clone(), messages());
        async move { images.pull(&Reference::parse(name).unwrap(), Some("linux/amd64"), None, to).await.unwrap() }
    };
    match deed {
        Deed::Pull => drop(pull("new").await),
        Deed::PullAgain => drop(pull("old").await),
        Deed::Import => {
            let name = Some(Reference::parse("imported:1").unwrap());
            let import = Import { name, from: "-".into(), ..Import::default() };
            images.import(source(several_files("imported")), import, messages()).await.unwrap();
        }
        Deed::Tag => {
            let descriptor = images.store().resolve("docker.io/library/old:latest").unwrap().unwrap();
            images.give(&[Reference::parse("other:1").unwrap()], &descriptor).unwrap();
        }
        // What was removed before the end is gone already.
        Deed::Remove => match images.remove("old", RemoveImage { force: false, prune: true }).await {
            Ok(_) | Err(RemoveError::Image(ImageError::NoSuchImage(_))) => {}
            Err(e) => panic!("{e}"),
        },
    }
}

/// What a home holds: names with their images' layers as bytes.
type Held = BTreeMap<String, Vec<Vec<u8>>>;

/// Starts on what is there, as the daemon does. Sees that everything is whole, and that nothing is there besides.
async fn whole(home: &Path) -> Held {
    let images = open(home, &registry());
    images.collect().await.unwrap();
    let names = |dir: &str| -> BTreeSet<String> {
        let dir = std::fs::read_dir(home.join(dir)).unwrap();
        dir.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut needed = (BTreeSet::new(), BTreeSet::new());
    for image in images.catalog().all().unwrap().into_values() {
        let layers: BTreeSet<Digest> = image.layers.iter().cloned().collect();
        needed.0.extend(layers.iter().map(|l| snapshots::Snapshots::name(l).display().to_string()));
        needed.1.extend(image.parts().iter().filter(|p| !layers.contains(p)).map(|p| p.hex().to_owned()));
    }
    for (dir, needed) in [("snapshots", needed.0), ("content/blobs/sha256", needed.1)] {
        let odd: Vec<String> = names(dir).symmetric_difference(&needed).cloned().collect();
        assert_eq!(odd, Vec::<String>::new(), "{dir}");
    }
    let [ingest, content] = ["content/ingest", "content"].map(names);
    assert_eq!((ingest.len(), content.iter().any(|name| name.starts_with(".new-"))), (0, false), "{content:?}");
    for digest in images.store().digests().unwrap() {
        images.store().read(&digest).unwrap();
    }
    let mut held = Held::new();
    for (name, _) in images.store().entries().unwrap() {
        let image = images.get(&name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (base, lower) = images.lower_dirs(&image).unwrap_or_else(|e| panic!("{name}: {e}"));
        let layers = lower.iter().map(|dir| {
            let mut bytes = Vec::new();
            let view = View::Layer { userxattr: options().userxattr };
            diff::write(&base.join(dir), view, &mut bytes).unwrap();
            bytes
        });
        held.insert(name, layers.collect());
    }
    held
}

/// In memory where there is such a place: what the processor has not written does not matter to a process that dies.
fn place() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn copy_of(template: &Path) -> tempfile::TempDir {
    let home = place();
    let copied = Command::new("cp").arg("-a").arg(template.join(".")).arg(home.path()).status().unwrap();
    assert!(copied.success());
    home
}

/// Does `deed` in a process that dies at point `at`; whether it lived to the end.
fn survives(home: &Path, deed: Deed, at: usize) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "images::tests::crash::a_process_that_dies_where_it_is_told_to", "--nocapture"])
        .env("RDOCK_CRASH", format!("{deed:?} {at} {}", home.display()))
        .output()
        .unwrap();
    match output.status.signal() {
        Some(nix::libc::SIGKILL) => false,
        _ => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            true
        }
    }
}

#[test]
#[ignore = "the crash test starts it"]
fn a_process_that_dies_where_it_is_told_to() {
    let told = std::env::var("RDOCK_CRASH").expect("RDOCK_CRASH: DEED POINT HOME");
    let [deed, at, home] = *told.splitn(3, ' ').collect::<Vec<_>>() else { panic!("{told}") };
    let deed = *DEEDS.iter().find(|d| format!("{d:?}") == deed).unwrap();
    points::arm(at.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(perform(&PathBuf::from(home), Arc::new(Mortal), deed));
}

/// Kills at every point of `deed`; how many there were.
fn killed_everywhere(deed: Deed) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let template = place();
    if deed != Deed::Pull {
        runtime.block_on(perform(template.path(), Arc::new(LinuxKernel), Deed::PullAgain));
    }
    if deed == Deed::PullAgain {
        // Half of the image is missing, and comes back.
        let images = open(template.path(), &registry());
        let top = images.get("old").unwrap().layers.pop().unwrap();
        std::fs::remove_dir_all(template.path().join("snapshots").join(snapshots::Snapshots::name(&top))).unwrap();
    }
    let finished = copy_of(template.path());
    runtime.block_on(perform(finished.path(), Arc::new(LinuxKernel), deed));
    let expected = runtime.block_on(whole(finished.path()));
    for at in 0.. {
        let home = copy_of(template.path());
        if survives(home.path(), deed, at) {
            assert_eq!(runtime.block_on(whole(home.path())), expected, "{deed:?}");
            return at;
        }
        if deed != Deed::PullAgain {
            runtime.block_on(whole(home.path()));
        }
        runtime.block_on(perform(home.path(), Arc::new(LinuxKernel), deed));
        assert_eq!(runtime.block_on(whole(home.path())), expected, "{deed:?} was killed at point {at}");
    }
    unreachable!()
}

#[test]
fn a_pull_may_be_killed_at_any_write() {
    let points = killed_everywhere(Deed::Pull);
    assert!(points > 60, "{points}");
}

#[test]
fn the_repair_of_an_image_may_be_killed_at_any_write() {
    let points = killed_everywhere(Deed::PullAgain);
    assert!(points > 20, "{points}");
}

#[test]
fn an_import_may_be_killed_at_any_write() {
    let points = killed_everywhere(Deed::Import);
    assert!(points > 30, "{points}");
}

#[test]
fn names_may_be_given_and_taken_under_fire() {
    let points = killed_everywhere(Deed::Tag) + killed_everywhere(Deed::Remove);
    assert!(points > 15, "{points}");
}
