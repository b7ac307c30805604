//! From inside a container: what of the engine can be seen, and where an image's own paths can lead it.

use super::support::need::Need;
use super::support::{Lab, need};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

fn lab() -> Option<Lab> {
    need(&[Need::Root]).then(|| Lab::new().with_image("centos"))
}

#[test]
fn no_descriptor_of_the_engine_is_open_in_a_container() {
    let Some(lab) = lab() else { return };
    // The last one is that of the directory itself, which ls has open.
    let explain = format!("--explain=json:{}", lab.file("trace").display());
    for extra in [vec![], vec![explain.as_str()]] {
        let words = ["run", "--rm", "centos", "ls", "/proc/self/fd"];
        let seen = lab.rdock(extra.into_iter().chain(words)).ok();
        assert_eq!(seen.stdout, "0\n1\n2\n3\n");
    }
    let seen = lab.rdock(["run", "--rm", "-i", "centos", "ls", "/proc/1/fd"]).ok();
    assert_eq!(seen.stdout, "0\n1\n2\n3\n");
}

/// The class of CVE-2019-5736: an image whose command is `/proc/self/exe` runs the engine's own program inside, with
/// libraries of the image, and could write to it when it runs no more.
#[test]
fn the_engines_program_can_not_be_written_from_inside() {
    let Some(lab) = lab() else { return };
    lab.start_daemon();
    // What a spare shim, and each process that it makes, has as its program: on a mount that is read-only.
    let script = "exec 3< /proc/1/exe && echo opened; (: > /proc/self/fd/3) && echo written";
    let seen = lab.rdock(["run", "--rm", "--privileged", "--init", "centos", "sh", "-c", script]);
    assert!(seen.stdout == "opened\n" && seen.stderr.contains("Read-only file system"), "{seen:?}");
    // As its own command it is a program of the host, which finds nothing of the host: whatever comes of it, it is not
    // written to.
    let before = std::fs::metadata(super::support::lab::RDOCK).unwrap().modified().unwrap();
    let _ = lab.rdock(["run", "--rm", "--privileged", "centos", "/proc/self/exe", "version"]);
    assert_eq!(std::fs::metadata(super::support::lab::RDOCK).unwrap().modified().unwrap(), before);
}

#[test]
fn nothing_of_the_callers_environment_comes_along() {
    let Some(mut lab) = lab() else { return };
    let _ = lab.rdock(["daemon", "stop"]).ok();
    lab.env("RDOCK_TEST_SECRET", "of the client, and of the daemon that it starts");
    let seen = lab.rdock(["run", "--rm", "--hostname", "box", "centos", "cat", "/proc/1/environ"]).ok();
    let mut names: Vec<&str> = seen.stdout.split('\0').filter_map(|v| v.split_once('=')).map(|(n, _)| n).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "HOSTNAME", "PATH"]);
}

/// What an unpacked image has at `path`, to be replaced by something hostile.
fn unpacked(lab: &Lab, path: &str) -> PathBuf {
    let layers = std::fs::read_dir(lab.home().join("data/snapshots")).unwrap();
    let places = layers.map(|layer| layer.unwrap().path().join("diff").join(path));
    let mut there: Vec<PathBuf> = places.filter(|place| place.symlink_metadata().is_ok()).collect();
    assert_eq!(there.len(), 1, "{path} is in one layer: {there:?}");
    there.remove(0)
}

fn canary(lab: &Lab) -> PathBuf {
    let place = lab.file("canary");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("file"), "untouched\n").unwrap();
    place
}

fn assert_alive(canary: &Path) {
    let names: Vec<_> = std::fs::read_dir(canary).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(std::fs::read_to_string(canary.join("file")).unwrap(), "untouched\n");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&canary.display().to_string()), "something is mounted there");
}

#[test]
fn an_image_whose_proc_is_a_link_is_refused() {
    let Some(lab) = lab() else { return };
    let canary = canary(&lab);
    for place in ["proc", "dev"] {
        let directory = unpacked(&lab, place);
        let away = directory.with_extension("away");
        std::fs::rename(&directory, &away).unwrap();
        for target in [canary.as_path(), Path::new("/tmp"), Path::new("../../../../../tmp")] {
            symlink(target, &directory).unwrap();
            let _ = lab.rdock(["run", "--rm", "centos", "true"]).fails(125, &format!("/{place}"));
            std::fs::remove_file(&directory).unwrap();
        }
        std::fs::rename(&away, &directory).unwrap();
    }
    assert_alive(&canary);
    let _ = lab.rdock(["run", "--rm", "centos", "true"]).ok();
}

#[test]
fn a_bind_on_a_link_of_the_image_stays_in_the_container() {
    let Some(lab) = lab() else { return };
    let canary = canary(&lab);
    let etc = unpacked(&lab, "etc/passwd").parent().unwrap().to_path_buf();
    for name in ["hosts", "hostname", "resolv.conf"] {
        let _ = std::fs::remove_file(etc.join(name));
        symlink(canary.join("file"), etc.join(name)).unwrap();
    }
    // There is no such place in the image: it can't be started, or the file is made inside. The host's is as it was.
    let answer = lab.rdock(["run", "--rm", "centos", "sh", "-c", "echo changed > /etc/hosts"]);
    assert!(matches!(answer.status, 0 | 125), "{answer:?}");
    assert_alive(&canary);
}
