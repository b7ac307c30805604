//! What unpacking makes, what it refuses, and that it never leaves its root.

use super::*;
use crate::kernel::linux::LinuxKernel;
use crate::kernel::{Call, Errno, Kernel, Ret};
use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

mod bounds;
pub(in crate::images) mod build;
mod hostile;
pub(in crate::images) mod model;

use build::Tar;

/// Root of the host, not of a user namespace, which may neither give files away nor make devices.
pub(in crate::images) fn is_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    nix::unistd::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// As the daemon chooses them for whoever runs the tests.
pub(in crate::images) fn options() -> Options {
    Options { rootless: !is_root(), userxattr: !is_root(), max_layer: None }
}

/// Ends the test, visibly, where it cannot show anything.
macro_rules! require_root {
    () => {
        if !is_root() {
            println!("skipped: needs root");
            return;
        }
    };
}

type Xattrs = Vec<(String, Vec<u8>)>;

/// The real kernel, remembering extended attributes (std cannot read them) by inode.
#[derive(Default)]
pub(crate) struct Recorder {
    xattrs: Mutex<HashMap<u64, Xattrs>>,
    /// mknodat of a whiteout answers EPERM.
    no_whiteouts: bool,
}

impl Recorder {
    fn at(dirfd: crate::kernel::Fd, path: &Path) -> Option<std::fs::Metadata> {
        PathBuf::from(format!("/proc/self/fd/{}", dirfd.raw())).join(path).symlink_metadata().ok()
    }

    pub(crate) fn xattr(&self, path: &Path, name: &str) -> Option<Vec<u8>> {
        let inode = path.symlink_metadata().unwrap().ino();
        let all = self.xattrs.lock().unwrap();
        let (_, value) = all.get(&inode)?.iter().rev().find(|(n, _)| n == name)?;
        Some(value.clone())
    }
}

impl Kernel for Recorder {
    fn call(&self, call: &Call) -> Result<Ret, Errno> {
        if self.no_whiteouts
            && let Call::Mknodat { dev, kind: crate::kernel::call::NodeKind::Char, .. } = call
            && dev.major == 0
        {
            return Err(Errno::EPERM);
        }
        if let Call::Unlinkat { dirfd, pathname, .. } = call
            && let Some(meta) = Self::at(*dirfd, pathname)
            && (meta.is_dir() || meta.nlink() == 1)
        {
            self.xattrs.lock().unwrap().remove(&meta.ino());
        }
        let done = LinuxKernel.call(call)?;
        if let Call::Setxattr { dirfd, pathname, name, value } = call
            && let Some(meta) = Self::at(*dirfd, pathname)
        {
            let entry = (name.clone(), value.clone());
            self.xattrs.lock().unwrap().entry(meta.ino()).or_default().push(entry);
        }
        Ok(done)
    }

    fn write_all(&self, fd: i32, data: &[u8]) -> Result<(), Errno> {
        LinuxKernel.write_all(fd, data)
    }
}

/// A place to unpack in, beside a directory that nothing may touch.
pub(crate) struct Bench {
    pub home: tempfile::TempDir,
    pub kernel: Recorder,
    pub options: Options,
}

impl Bench {
    pub fn new() -> Bench {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("place")).unwrap();
        std::fs::create_dir(home.path().join("canary")).unwrap();
        std::fs::write(home.path().join("canary/file"), "untouched").unwrap();
        Bench { home, kernel: Recorder::default(), options: options() }
    }

    /// The value of overlayfs' mark for an opaque directory.
    pub fn opaque(&self, path: &Path) -> Option<Vec<u8>> {
        let space = if self.options.userxattr { "user" } else { "trusted" };
        self.kernel.xattr(path, &format!("{space}.overlay.opaque"))
    }

    pub fn root(&self) -> PathBuf {
        self.home.path().join("place/diff")
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Unpacks a blob in pieces of `piece` bytes.
    pub fn unpack_as(&self, blob: &[u8], expected: &Expected, piece: usize) -> Result<Unpacked, UnpackError> {
        let pieces: Vec<_> = blob.chunks(piece).map(bytes::Bytes::copy_from_slice).collect();
        let mut pieces = pieces.into_iter();
        let place = Dir::open(&self.kernel, &self.home.path().join("place")).unwrap();
        unpack(place, self.options, expected, Box::new(move || pieces.next().map(Ok)), None)
    }

    pub fn unpack(&self, tar: &[u8]) -> Result<Unpacked, UnpackError> {
        self.unpack_as(tar, &expected(tar, tar), 4096)
    }

    /// Nothing outside the layer has changed.
    #[track_caller]
    pub fn assert_canary(&self) {
        assert_eq!(std::fs::read_to_string(self.home.path().join("canary/file")).unwrap(), "untouched");
        assert_eq!(std::fs::read_dir(self.home.path().join("canary")).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(self.home.path()).unwrap().count(), 2);
        for entry in std::fs::read_dir(self.home.path().join("place")).unwrap() {
            assert_eq!(entry.unwrap().file_name(), "diff");
        }
    }
}

pub(crate) fn expected(blob: &[u8], tar: &[u8]) -> Expected {
    Expected { digest: Digest::of(blob), size: blob.len() as u64, diff_id: Digest::of(tar) }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn files_directories_and_links_come_out_as_they_are() {
    let bench = Bench::new();
    let mut tar = Tar::new();
    tar.dir("etc", 0o755).mtime(1_000_000_000);
    tar.file("etc/hello", b"hello").mode(0o640).mtime(1_234_567_890);
    tar.symlink("etc/link", "../../../../somewhere/else");
    tar.hard_link("etc/same", "/etc/hello");
    tar.file("etc/big", &vec![7; 1 << 20]);
    let unpacked = bench.unpack(&tar.finish()).unwrap();
    assert_eq!(std::fs::read(bench.path("etc/hello")).unwrap(), b"hello");
    let meta = bench.path("etc/hello").metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.nlink()), (0o640, 1_234_567_890, 2));
    assert_eq!(meta.ino(), bench.path("etc/same").metadata().unwrap().ino());
    assert_eq!(std::fs::read_link(bench.path("etc/link")).unwrap(), Path::new("../../../../somewhere/else"));
    assert_eq!(std::fs::read(bench.path("etc/big")).unwrap().len(), 1 << 20);
    assert_eq!(bench.path("etc").metadata().unwrap().mtime(), 1_000_000_000, "the time from before the files");
    assert_eq!((unpacked.report.entries, unpacked.report.bytes), (5, 5 + 26 + (1 << 20)));
    bench.assert_canary();
}

#[test]
fn owners_modes_devices_and_attributes_are_kept() {
    require_root!();
    let bench = Bench::new();
    let mut tar = Tar::new();
    tar.file("su", b"#!").mode(0o4755).owner(0, 0);
    tar.file("mine", b"").mode(0o600).owner(1000, 100);
    tar.dir("mail", 0o2775).owner(0, 8);
    tar.file("mail/box", b"").mode(0o644).owner(0, 0);
    tar.dir("tmp", 0o1777).owner(0, 0);
    tar.node(b'3', "null", (1, 3)).mode(0o666);
    tar.node(b'6', "pipe", (0, 0)).mode(0o622);
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    tar.file("ping", b"x").mode(0o755).owner(1, 1).xattr("security.capability", capability);
    tar.file("odd", b"x")
        .xattr("trusted.overlay.opaque", b"y")
        .xattr("user.overlay.opaque", b"y")
        .xattr("security.selinux", b"x");
    let report = bench.unpack(&tar.finish()).unwrap().report;
    let of = |path: &str| {
        let meta = bench.path(path).symlink_metadata().unwrap();
        (meta.mode() & 0o7777, meta.uid(), meta.gid())
    };
    assert_eq!(of("su"), (0o4755, 0, 0));
    assert_eq!(of("mine"), (0o600, 1000, 100));
    assert_eq!(of("mail"), (0o2775, 0, 8));
    assert_eq!(of("mail/box"), (0o644, 0, 0), "not the directory's group");
    assert_eq!(of("tmp"), (0o1777, 0, 0));
    let null = bench.path("null").metadata().unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!((null.mode() & 0o7777, null.rdev()), (0o666, nix::libc::makedev(1, 3)));
    assert!(bench.path("pipe").metadata().unwrap().file_type().is_fifo());
    assert_eq!(of("pipe").0, 0o622);
    assert_eq!(bench.kernel.xattr(&bench.path("ping"), "security.capability").unwrap(), capability);
    assert_eq!(report.skipped_xattrs, 3);
    assert!(bench.kernel.xattr(&bench.path("odd"), "trusted.overlay.opaque").is_none());
}

#[test]
fn directories_that_no_entry_describes_are_made() {
    let bench = Bench::new();
    let mut tar = Tar::new();
    tar.file("a/b/c/d", b"x");
    tar.dir("a/b", 0o700).mtime(5);
    tar.file("a/b/late", b"y");
    bench.unpack(&tar.finish()).unwrap();
    assert_eq!(bench.path("a").metadata().unwrap().mode() & 0o7777, 0o755);
    let b = bench.path("a/b").metadata().unwrap();
    assert_eq!((b.mode() & 0o7777, b.mtime()), (0o700, 5));
}

#[test]
fn the_roots_own_entry_counts() {
    let bench = Bench::new();
    let mut tar = Tar::new();
    tar.file("first", b"");
    tar.dir("./", 0o711).mtime(77);
    tar.file("second", b"");
    bench.unpack(&tar.finish()).unwrap();
    let root = bench.root().metadata().unwrap();
    assert_eq!((root.mode() & 0o7777, root.mtime()), (0o711, 77));
}

#[test]
fn whiteouts_become_what_overlayfs_understands() {
    let bench = Bench::new();
    let mut tar = Tar::new();
    tar.dir("usr", 0o755).mtime(9);
    tar.file("usr/.wh.gone", b"");
    tar.dir("opt", 0o755);
    tar.file("opt/.wh..wh..opq", b"");
    tar.file("opt/new", b"");
    tar.file(".wh..wh.plnk/1.2", b"aufs");
    let report = bench.unpack(&tar.finish()).unwrap().report;
    let gone = bench.path("usr/gone").metadata().unwrap();
    assert!(gone.file_type().is_char_device());
    assert_eq!(gone.rdev(), 0);
    assert_eq!(bench.path("usr").metadata().unwrap().mtime(), 9);
    assert_eq!(bench.opaque(&bench.path("opt")).unwrap(), b"y");
    assert_eq!(std::fs::read_dir(bench.path("opt")).unwrap().count(), 1);
    assert_eq!((report.whiteouts, report.opaque, report.opaque_root), (1, 1, false));
    assert!(!bench.path(".wh..wh.plnk").exists());
}

#[test]
fn a_whiteout_and_an_entry_of_one_name_mean_the_same_in_either_order() {
    for whiteout_first in [true, false] {
        let bench = Bench::new();
        let mut tar = Tar::new();
        for step in [whiteout_first, !whiteout_first] {
            if step {
                tar.file(".wh.file", b"");
                tar.file(".wh.dir", b"");
                tar.file(".wh.implied", b"");
            } else {
                tar.file("file", b"new");
                tar.dir("dir", 0o755);
                tar.file("implied/x", b"");
            }
        }
        bench.unpack(&tar.finish()).unwrap();
        assert_eq!(std::fs::read(bench.path("file")).unwrap(), b"new");
        for dir in ["dir", "implied"] {
            let opaque = bench.opaque(&bench.path(dir));
            assert_eq!(opaque.as_deref(), Some(&b"y"[..]), "{dir}, whiteout first: {whiteout_first}");
        }
    }
}

#[test]
fn an_opaque_root_is_told_to_whoever_mounts() {
    let bench = Bench::new();
    let mut tar = Tar::new();
    tar.file(".wh..wh..opq", b"");
    assert!(bench.unpack(&tar.finish()).unwrap().report.opaque_root);
}

#[test]
fn where_the_kernel_refuses_the_device_a_whiteout_is_an_attribute() {
    let mut bench = Bench::new();
    bench.kernel.no_whiteouts = true;
    bench.options.userxattr = true;
    let mut tar = Tar::new();
    tar.dir("a", 0o755);
    tar.file("a/.wh.gone", b"");
    tar.file("a/.wh.back", b"");
    tar.dir("a/back", 0o755);
    tar.dir("b", 0o755);
    tar.file("b/.wh.gone", b"");
    tar.file("b/.wh..wh..opq", b"");
    let report = match bench.unpack(&tar.finish()) {
        Ok(unpacked) => unpacked.report,
        Err(UnpackError::Call { errno: Errno::EOPNOTSUPP, .. }) => {
            println!("skipped: needs user.* attributes in the temporary directory");
            return;
        }
        Err(e) => panic!("{e}"),
    };
    assert_eq!(report.whiteouts_as_xattr, 3);
    let xattr = |path: &str, name: &str| bench.kernel.xattr(&bench.path(path), name);
    assert_eq!(bench.path("a/gone").metadata().unwrap().len(), 0);
    assert_eq!(xattr("a/gone", "user.overlay.whiteout").unwrap(), b"");
    assert_eq!(xattr("a", "user.overlay.opaque").unwrap(), b"x");
    assert_eq!(xattr("a/back", "user.overlay.opaque").unwrap(), b"y");
    assert_eq!(xattr("b", "user.overlay.opaque").unwrap(), b"y");
    assert!(!bench.path("b/gone").exists(), "nothing to hide in an opaque directory");
}

#[test]
fn the_last_entry_of_a_name_wins() {
    let bench = Bench::new();
    let mut tar = Tar::new();
    tar.dir("x", 0o755);
    tar.file("x/deep/er", b"1");
    tar.file("x", b"file now");
    tar.symlink("y", "nowhere");
    tar.dir("y", 0o755);
    tar.file("y/in", b"");
    tar.dir("d", 0o700);
    tar.file("d/stays", b"");
    tar.dir("d", 0o755).mtime(3);
    bench.unpack(&tar.finish()).unwrap();
    assert_eq!(std::fs::read(bench.path("x")).unwrap(), b"file now");
    assert!(bench.path("y").symlink_metadata().unwrap().is_dir());
    assert!(bench.path("d/stays").exists());
    let d = bench.path("d").metadata().unwrap();
    assert_eq!((d.mode() & 0o7777, d.mtime()), (0o755, 3));
    bench.assert_canary();
}

#[test]
fn every_compression_and_any_cut_of_the_pieces_gives_the_same() {
    let mut tar = Tar::new();
    tar.file("a", &b"some text, some text, ".repeat(5000));
    let tar = tar.finish();
    let (first, second) = tar.split_at(tar.len() / 2);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    for (name, blob) in [
        ("tar", tar.clone()),
        ("gzip", gzip(&tar)),
        ("gzip", [gzip(first), gzip(second)].concat()),
        ("zstd", zstd(&tar)),
        ("zstd", [skippable.clone(), zstd(first), skippable, zstd(second)].concat()),
    ] {
        for piece in [1, 7, 1 << 20] {
            let bench = Bench::new();
            let unpacked = bench.unpack_as(&blob, &expected(&blob, &tar), piece).unwrap();
            assert_eq!(unpacked.compression, name);
            assert_eq!(std::fs::read(bench.path("a")).unwrap().len(), 22 * 5000);
        }
    }
}

#[test]
fn a_blob_that_is_not_what_it_should_be_is_told_exactly() {
    let mut tar = Tar::new();
    tar.file("a", &[1; 5000]);
    let tar = tar.finish();
    let blob = gzip(&tar);
    let right = expected(&blob, &tar);
    let mut flipped = blob.clone();
    flipped[blob.len() / 2] ^= 1;
    let unpack = |blob: &[u8], expected: &Expected| Bench::new().unpack_as(blob, expected, 16).unwrap_err();
    assert!(matches!(unpack(&flipped, &right), UnpackError::DigestMismatch { .. }));
    for cut in [0, 1, 10, blob.len() - 1] {
        match unpack(&blob[..cut], &right) {
            UnpackError::Truncated { got, expected } => {
                assert_eq!((got, expected), (cut as u64, blob.len() as u64));
            }
            other => panic!("{other}"),
        }
    }
    let longer = [&blob[..], b"x"].concat();
    assert!(matches!(unpack(&longer, &right), UnpackError::TooLong { .. }));
    let other = Expected { diff_id: Digest::of(b"other"), ..right };
    assert!(matches!(unpack(&blob, &other), UnpackError::WrongDiffId { .. }));
    let cut_inside = gzip(&tar[..1000]);
    assert!(matches!(unpack(&cut_inside, &expected(&cut_inside, &tar)), UnpackError::Decompress(_)));
}

#[test]
fn a_full_disk_is_one_sentence_with_the_way_out() {
    struct Full;
    impl Kernel for Full {
        fn call(&self, call: &Call) -> Result<Ret, Errno> {
            LinuxKernel.call(call)
        }
        fn write_all(&self, _: i32, _: &[u8]) -> Result<(), Errno> {
            Err(Errno::ENOSPC)
        }
    }
    let bench = Bench::new();
    let mut tar = Tar::new();
    tar.file("usr/big", b"x");
    let tar = tar.finish();
    let place = Dir::open(&Full, &bench.home.path().join("place")).unwrap();
    let mut piece = Some(bytes::Bytes::from(tar.clone()));
    let pieces: Pieces = Box::new(move || piece.take().map(Ok));
    let error = unpack(place, bench.options, &expected(&tar, &tar), pieces, None).unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("no space left on device at usr/big"), "{message}");
    assert!(message.contains("RDOCK_HOME"), "{message}");
    assert_eq!(error.code(), "ENOSPC");
}

#[test]
fn owners_that_are_not_mapped_are_counted_when_rootless_and_fatal_otherwise() {
    struct Unmapped;
    impl Kernel for Unmapped {
        fn call(&self, call: &Call) -> Result<Ret, Errno> {
            match call {
                Call::Fchownat { .. } => Err(Errno::EINVAL),
                call => LinuxKernel.call(call),
            }
        }
        fn write_all(&self, fd: i32, data: &[u8]) -> Result<(), Errno> {
            LinuxKernel.write_all(fd, data)
        }
    }
    for rootless in [true, false] {
        let bench = Bench::new();
        let mut tar = Tar::new();
        tar.file("a", b"x").owner(4242, 4242);
        let tar = tar.finish();
        let place = Dir::open(&Unmapped, &bench.home.path().join("place")).unwrap();
        let mut piece = Some(bytes::Bytes::from(tar.clone()));
        let pieces: Pieces = Box::new(move || piece.take().map(Ok));
        let options = Options { rootless, userxattr: rootless, max_layer: None };
        let result = unpack(place, options, &expected(&tar, &tar), pieces, None);
        if rootless {
            assert_eq!(result.unwrap().report.unmapped_owners, 1);
        } else {
            assert!(matches!(result, Err(UnpackError::Call { call: "fchownat", .. })));
        }
    }
}
