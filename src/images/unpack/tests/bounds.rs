//! Layers that are more than they seem, and layers of more entries than anybody has.

use super::*;
use std::process::Command;

#[test]
fn more_than_is_allowed_comes_out_of_no_layer() {
    const LIMIT: u64 = 1 << 20;
    let mut tar = Tar::new();
    let inside = tar.file("zeros", &vec![0; 32 << 20]).finish();
    // What comes after the end of the archive counts as well: it has to be digested.
    let mut behind = Tar::new().file("a", b"").finish();
    behind.resize(32 << 20, 0);
    for tar in [inside, behind] {
        for blob in [gzip(&tar), zstd(&tar), tar.clone()] {
            let bench = Bench { options: Options { max_layer: Some(LIMIT), ..options() }, ..Bench::new() };
            let error = bench.unpack_as(&blob, &expected(&blob, &tar), 4096).unwrap_err();
            assert!(matches!(error, UnpackError::TooLarge { limit: LIMIT }), "{error}");
            assert_eq!(error.code(), "EFBIG");
            assert!(error.to_string().contains("set \"max-layer-size\" in daemon.json"), "{error}");
            let made = std::fs::metadata(bench.path("zeros")).map_or(0, |m| m.len());
            assert!(made <= LIMIT, "{made}");
            let mut piece = Some(bytes::Bytes::from(blob.clone()));
            let pieces: Pieces = Box::new(move || piece.take().map(Ok));
            let error = verify(bench.options, &expected(&blob, &tar), pieces, None).unwrap_err();
            assert!(matches!(error, UnpackError::TooLarge { limit: LIMIT }), "{error}");
        }
    }
    let tar = Tar::new().file("a", b"x").finish();
    let bench = Bench { options: Options { max_layer: Some(tar.len() as u64), ..options() }, ..Bench::new() };
    bench.unpack(&tar).unwrap();
}

/// The tar stream of so many small entries, piece by piece: names and kinds that keep all of them apart.
fn many(entries: usize) -> impl Iterator<Item = Vec<u8>> {
    const AT_ONCE: usize = 100;
    let pieces = (0..entries).step_by(AT_ONCE).map(move |first| {
        let mut tar = Tar::new();
        for n in first..entries.min(first + AT_ONCE) {
            let long = "x".repeat(60);
            match n % 4 {
                0 => tar.dir(&format!("{long}/{n}"), 0o755),
                1 => tar.file(&format!("{long}/{}/{n}", n - 1), b"x"),
                2 => tar.symlink(&format!("{n}"), &long),
                _ => tar.file(&format!("d{}/.wh.{n}{long}", n % 1000), b""),
            };
        }
        let mut bytes = tar.finish();
        bytes.truncate(bytes.len() - 1024);
        bytes
    });
    pieces.chain([vec![0; 1024]])
}

/// Bytes of this process that no file backs.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn entries() -> usize {
    std::env::var("RDOCK_TEST_ENTRIES").map_or(20_000, |text| text.parse().unwrap())
}

#[test]
#[ignore = "`memory_does_not_grow_with_the_entries` starts it, in a process of its own"]
fn many_entries_are_unpacked() {
    let (mut digester, mut size) = (crate::oci::Digester::new(), 0);
    for piece in many(entries()) {
        digester.update(&piece);
        size += piece.len() as u64;
    }
    let digest = digester.finish();
    let expected = Expected { digest: digest.clone(), size, diff_id: digest };
    // In memory, as far as there is such a place: the disk is nothing that this is about.
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let place = Dir::open(&LinuxKernel, home.path()).unwrap();
    let mut pieces = many(entries());
    let (before, most) = (memory(), std::sync::Arc::new(Mutex::new(0)));
    let (noted, mut count) = (most.clone(), 0);
    let pieces: Pieces = Box::new(move || {
        count += 1;
        if count % 100 == 0 {
            let mut most = noted.lock().unwrap();
            *most = memory().max(*most);
        }
        pieces.next().map(|piece| Ok(piece.into()))
    });
    let report = unpack(place, options(), &expected, pieces, None).unwrap().report;
    assert!(report.entries + report.whiteouts >= entries() as u64 * 3 / 4, "{report:?}");
    println!("grew by {} bytes", most.lock().unwrap().saturating_sub(before));
}

#[test]
fn memory_does_not_grow_with_the_entries() {
    let name = "images::unpack::tests::bounds::many_entries_are_unpacked";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", name, "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let grew = said.split_once("grew by ").and_then(|(_, rest)| rest.split(' ').next()).expect(&said);
    // The names alone would be 1.5 MB, of a million entries 75.
    let grew: u64 = grew.parse().unwrap();
    assert!(grew < 1 << 20, "{grew} bytes for {} entries", entries());
}
