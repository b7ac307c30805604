//! The judge is the kernel: a container's changes are made through a real overlayfs mount, its upper directory is
//! written and unpacked again, and mounted over the same lower layer it has to show the same tree.

use super::*;
use crate::kernel::linux::LinuxKernel;
use crate::kernel::{Call, Errno, Kernel as _};
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use std::fs;
use std::os::unix::fs::symlink;

/// What a program in a container may do.
#[derive(Debug, Clone)]
enum Deed {
    Write(String, u8),
    Remove(String),
    Mkdir(String),
    Chmod(String, u32),
    Rename(String, String),
    HardLink(String, String),
    Symlink(String, String),
    Fifo(String),
    Time(String, u64),
}

fn names() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|parts| parts.join("/"))
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (names(), any::<u8>()).prop_map(|(n, c)| Deed::Write(n, c)),
        4 => names().prop_map(Deed::Remove),
        3 => names().prop_map(Deed::Mkdir),
        1 => (names(), 0o400u32..0o777).prop_map(|(n, m)| Deed::Chmod(n, m)),
        2 => (names(), names()).prop_map(|(a, b)| Deed::Rename(a, b)),
        2 => (names(), names()).prop_map(|(a, b)| Deed::HardLink(a, b)),
        1 => (names(), names()).prop_map(|(a, b)| Deed::Symlink(a, b)),
        1 => names().prop_map(Deed::Fifo),
        1 => (names(), 1u64..2_000_000_000).prop_map(|(n, t)| Deed::Time(n, t)),
    ];
    prop::collection::vec(deed, 0..14)
}

/// Does it; what the file system refuses is not done.
fn apply(root: &Path, deed: &Deed) {
    let at = |name: &String| root.join(name);
    let _ = match deed {
        // Opening a fifo would wait for its other end.
        Deed::Write(name, _) if at(name).metadata().is_ok_and(|m| !m.is_file()) => Ok(()),
        Deed::Write(name, content) => fs::write(at(name), [*content]),
        Deed::Remove(name) if at(name).symlink_metadata().is_ok_and(|m| m.is_dir()) => fs::remove_dir_all(at(name)),
        Deed::Remove(name) => fs::remove_file(at(name)),
        Deed::Mkdir(name) => fs::create_dir(at(name)),
        Deed::Chmod(name, mode) => fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(*mode)),
        Deed::Rename(from, to) => fs::rename(at(from), at(to)),
        Deed::HardLink(from, to) => fs::hard_link(at(from), at(to)),
        Deed::Symlink(target, name) => symlink(target, at(name)),
        Deed::Fifo(name) => nix::unistd::mkfifo(&at(name), nix::sys::stat::Mode::S_IRWXU).map_err(std::io::Error::from),
        Deed::Time(name, seconds) => {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(*seconds);
            match at(name).symlink_metadata() {
                Ok(meta) if meta.is_file() || meta.is_dir() => {
                    fs::File::open(at(name)).and_then(|f| f.set_modified(time))
                }
                _ => Ok(()),
            }
        }
    };
}

fn mount(kind: Option<&'static str>, target: &Path, flags: MsFlags, data: Option<String>) -> Result<(), Errno> {
    let source = kind.map(Into::into);
    let call = Call::Mount { source, target: target.into(), filesystemtype: kind, mountflags: flags, data };
    LinuxKernel.call(&call).map(drop)
}

fn umount(target: &Path) -> Result<(), Errno> {
    LinuxKernel.call(&Call::Umount2 { target: target.into(), flags: MntFlags::empty() }).map(drop)
}

fn overlay(home: &Path, lower: &str, upper: &str, merged: &str) -> Result<(), Errno> {
    let work = home.join(format!("work-{merged}"));
    for dir in [&work, &home.join(upper), &home.join(merged)] {
        fs::create_dir_all(dir).unwrap();
    }
    let [lower, upper] = [lower, upper].map(|name| home.join(name));
    let data = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    mount(Some("overlay"), &home.join(merged), MsFlags::empty(), Some(data))
}

/// A mount namespace for this thread alone: what is mounted in it goes with the thread.
fn private() -> Result<(), Errno> {
    LinuxKernel.call(&Call::Unshare { flags: CloneFlags::CLONE_NEWNS })?;
    mount(None, Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)
}

/// Both trees as bytes: as the container left it, and as the layer brings it back.
fn through_a_layer(below: &[Deed], deeds: &[Deed]) -> Result<(Vec<u8>, Vec<u8>), Errno> {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    fs::create_dir(home.join("lower")).unwrap();
    below.iter().for_each(|deed| apply(&home.join("lower"), deed));
    overlay(home, "lower", "upper", "merged")?;
    deeds.iter().for_each(|deed| apply(&home.join("merged"), deed));
    let left = bytes_of(&home.join("merged"), View::Whole);
    umount(&home.join("merged"))?;
    let tar = bytes_of(&home.join("upper"), layer());
    let bench = Bench::new();
    bench.unpack(&tar).unwrap();
    fs::rename(bench.root(), home.join("again")).unwrap();
    overlay(home, "lower", "again", "shown")?;
    let brought = bytes_of(&home.join("shown"), View::Whole);
    umount(&home.join("shown"))?;
    Ok((left, brought))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_layer_brings_back_what_the_container_left(below in deeds(), deeds in deeds()) {
        if !is_root() {
            println!("skipped: needs root");
            return Ok(());
        }
        let both = std::thread::scope(|scope| {
            scope.spawn(|| private().and_then(|()| through_a_layer(&below, &deeds))).join().unwrap()
        });
        let (left, brought) = match both {
            Ok(both) => both,
            Err(errno) => {
                println!("skipped: overlayfs cannot be mounted here: {errno}");
                return Ok(());
            }
        };
        prop_assert_eq!(super::names(&brought), super::names(&left));
        prop_assert!(brought == left, "the same names, but not the same files");
    }
}
