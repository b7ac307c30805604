//! What is written is what is there, and what unpacking makes of it is the same again.

use super::*;
use crate::images::unpack::tests::build::Tar;
use crate::images::unpack::tests::model::{Step, lines, steps, tar_of};
use crate::images::unpack::tests::{Bench, is_root, options};
use proptest::prelude::*;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

mod overlay;

fn layer() -> View {
    View::Layer { userxattr: options().userxattr }
}

fn bytes_of(root: &Path, view: View) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(root, view, &mut bytes).unwrap();
    bytes
}

/// Names and kinds of the entries.
fn names(bytes: &[u8]) -> Vec<String> {
    let mut archive = crate::images::unpack::archive::Archive::new(bytes);
    let mut names = Vec::new();
    while let Some(entry) = archive.next_entry().unwrap() {
        names.push(String::from_utf8_lossy(&entry.path).into_owned());
    }
    names
}

#[test]
fn names_come_sorted_and_directories_before_what_they_hold() {
    let home = tempfile::tempdir().unwrap();
    for dir in ["b/z", "b/a", "a-", "a"] {
        std::fs::create_dir_all(home.path().join(dir)).unwrap();
    }
    for file in ["a/x", "b/a/1", "c"] {
        std::fs::write(home.path().join(file), file).unwrap();
    }
    let expected = ["./", "a/", "a/x", "a-/", "b/", "b/a/", "b/a/1", "b/z/", "c"];
    assert_eq!(names(&bytes_of(home.path(), View::Whole)), expected);
}

#[test]
fn what_a_layer_cannot_hold_is_left_out_and_counted() {
    let home = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(home.path().join("socket")).unwrap();
    std::fs::create_dir(home.path().join(".wh.dir")).unwrap();
    std::fs::write(home.path().join(".wh.dir/x"), "").unwrap();
    std::fs::write(home.path().join("kept"), "1234").unwrap();
    let mut bytes = Vec::new();
    let written = write(home.path(), layer(), &mut bytes).unwrap();
    assert_eq!(names(&bytes), ["./", "kept"]);
    let expected = Written { entries: 2, bytes: 4, sockets: 1, reserved_names: 1, ..Written::default() };
    assert_eq!(written, expected);
}

#[test]
fn long_names_large_ids_odd_times_and_attributes_survive() {
    if !is_root() {
        println!("skipped: needs root");
        return;
    }
    let bench = Bench::new();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(250));
    let mut tar = Tar::new();
    tar.file(&long, b"x").owner(4_000_000_000, 3_000_000_000).mode(0o6711);
    tar.symlink("link", &"t/".repeat(900));
    tar.file("ping", b"elf").xattr("security.capability", b"\x01\0\0\x02\n\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    tar.node(b'4', "disk", (259, 300_000)).mode(0o640);
    tar.hard_link("again", "ping");
    bench.unpack(&tar.finish()).unwrap();
    let time = std::time::SystemTime::UNIX_EPOCH - std::time::Duration::from_millis(1250);
    std::fs::File::open(bench.path(&long)).unwrap().set_modified(time).unwrap();
    let once = bytes_of(&bench.root(), layer());
    let again = Bench::new();
    let report = again.unpack(&once).unwrap().report;
    assert_eq!(report.skipped_xattrs, 0);
    let meta = again.path(&long).metadata().unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (4_000_000_000, 3_000_000_000, 0o6711));
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (-2, 750_000_000));
    assert_eq!(again.path("ping").metadata().unwrap().nlink(), 2);
    let disk = again.path("disk").metadata().unwrap();
    assert!(disk.file_type().is_block_device());
    assert_eq!(disk.rdev(), libc::makedev(259, 300_000));
    assert_eq!(bytes_of(&again.root(), layer()), once);
}

#[test]
fn depth_costs_no_descriptors() {
    let home = tempfile::tempdir().unwrap();
    let base = crate::images::unpack::Dir::open(&crate::kernel::linux::LinuxKernel, home.path()).unwrap();
    let mut dir = base.open_child(Path::new(".")).unwrap();
    for _ in 0..3000 {
        dir.mkdir(Path::new("d"), 0o755).unwrap();
        dir = dir.open_child(Path::new("d")).unwrap();
    }
    drop(dir);
    let mut bytes = Vec::new();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    assert_eq!(write(home.path(), layer(), &mut bytes).unwrap().entries, 3001);
    // Other tests open files too, but not by the thousand.
    assert!(open() < before + 500);
    // What no path can name cannot be unpacked, and the error names it in a line of its own.
    let error = Bench::new().unpack(&bytes).unwrap_err().to_string();
    assert!(error.contains("longer than a path may be") && error.len() < 300, "{error}");
    crate::images::unpack::remove_tree(&base, Path::new("d")).unwrap();
}

#[test]
fn links_are_written_and_never_followed() {
    let home = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(outside.path(), home.path().join("dir")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), home.path().join("file")).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(write(home.path(), layer(), &mut bytes).unwrap().bytes, 0);
    assert_eq!(names(&bytes), ["./", "dir", "file"]);
}

#[test]
fn a_write_that_fails_is_told() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let home = tempfile::tempdir().unwrap();
    assert!(matches!(write(home.path(), layer(), &mut Full), Err(DiffError::Write(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// `unpack ∘ diff = identity`, and the bytes depend on nothing but the tree.
    #[test]
    fn unpacking_what_was_written_gives_the_same_tree(steps in steps()) {
        let steps: Vec<Step> = steps;
        let first = Bench::new();
        if first.unpack(&tar_of(&steps)).is_err() {
            return Ok(());
        }
        let once = bytes_of(&first.root(), layer());
        let second = Bench::new();
        second.unpack(&once).unwrap();
        second.assert_canary();
        prop_assert_eq!(lines(&second), lines(&first));
        prop_assert_eq!(bytes_of(&second.root(), layer()), once);
    }
}
