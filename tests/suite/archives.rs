//! Images in one file: `save`, `load`, `import`, with our own client and Docker's, and over other tools and back.

use super::support::need::Need;
use super::support::terminal::Terminal;
use super::support::{Beside, Lab, need};
use std::fs;
use std::path::Path;

fn blobs(lab: &Lab) -> usize {
    fs::read_dir(lab.home().join("data/content/blobs/sha256")).unwrap().count()
}

#[test]
fn an_image_goes_out_and_comes_back() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new().with_image("hello-world");
    let tar = lab.file("hello.tar");
    let path = tar.to_str().unwrap();
    lab.rdock(["save", "-o", path, "hello-world"]).is(0, "", "");
    let bytes = fs::read(&tar).unwrap();
    lab.rdock(["load", "-i", path]).is(0, "Loaded image: hello-world:latest\n", "");
    lab.rdock_with_input(["load", "-q"], &bytes).is(0, "Loaded image: hello-world:latest\n", "");
    // Into a home that has nothing.
    let other = Lab::new();
    other.rdock_with_input(["load"], &bytes).is(0, "Loaded image: hello-world:latest\n", "");
    assert!(other.rdock(["run", "--rm", "hello-world"]).ok().stdout.contains("Hello from rdock!"));
    let whole = blobs(&other);
    other
        .rdock_with_input(["load"], &bytes[..bytes.len() / 2])
        .fails(1, "the archive ends in the middle\nhint: the file is not complete: write it or copy it again");
    other
        .rdock_with_input(["load"], b"\xfd7zXZ\0")
        .fails(1, "packed with xz, which rdock cannot unpack\nhint: unpack it");
    assert_eq!(blobs(&other), whole, "nothing is kept");
    other.rdock(["load", "-i", "/nosuch"]).is(1, "", "open /nosuch: no such file or directory\n");
    other.rdock(["save", "nosuch"]).is(1, "", "Error response from daemon: No such image: nosuch\n");
    let nowhere = ["save", "-o", "/nosuch/x", "hello-world"];
    other.rdock(nowhere).fails(1, "invalid output path: stat /nosuch: no such file or directory");
    let (status, screen) = Terminal::rdock(&other, &["save", "hello-world"], 24, 80).end();
    assert_eq!((status, screen.contains("cowardly refusing to save to a terminal")), (1, true), "{screen}");
    let (status, screen) = Terminal::rdock(&other, &["load"], 24, 80).end();
    assert_eq!((status, screen.contains("requested load from stdin, but stdin is empty")), (1, true), "{screen}");
    lab.stop();
    other.stop();
}

#[test]
fn a_file_system_becomes_an_image_that_runs() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new().with_image("busybox");
    let layer = lab.file("root.tar");
    // The lab's busybox is one layer: its tar archive is a file system like any other.
    let config = lab.rdock(["save", "-o", lab.file("b.tar").to_str().unwrap(), "busybox"]).ok();
    assert_eq!(config.stdout, "");
    let packed = layer_of(&lab.file("b.tar"));
    fs::write(&layer, &packed).unwrap();
    let change = r#"CMD ["sh", "-c", "echo imported by $WHO"]"#;
    let words = ["import", "-c", change, "-c", "ENV WHO=rdock", "-m", "made by hand"];
    let id = lab.rdock([&words[..], &[layer.to_str().unwrap(), "imported:1"]].concat()).ok().stdout;
    assert!(id.starts_with("sha256:") && id.len() == 72, "{id}");
    lab.rdock(["run", "--rm", "imported:1"]).is(0, "imported by rdock\n", "");
    assert!(lab.rdock(["inspect", "imported:1"]).ok().stdout.contains("\"Comment\": \"made by hand\""));
    lab.rdock(["import", "-c", "RUN x", layer.to_str().unwrap()]).fails(1, "RUN is not a valid change command");
    lab.stop();
}

/// The only layer in an archive, as it is in there.
fn layer_of(archive: &Path) -> Vec<u8> {
    let file = fs::File::open(archive).unwrap();
    let mut archive = tar::Archive::new(file);
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let largest = entries.by_ref().map(|mut entry| {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        bytes
    });
    largest.max_by_key(Vec::len).unwrap()
}

#[test]
fn archives_cross_over_between_docker_and_rdock() {
    let Some(mut beside) = Beside::new("archives", &["busybox"]) else { return };
    beside.same(&["save", "-o", "out.tar", "busybox"]).is(0, "", "");
    let [theirs, ours] = beside.dirs().map(|dir| dir.join("out.tar"));
    let (from_docker, from_rdock) = (fs::read(&theirs).unwrap(), fs::read(&ours).unwrap());
    fs::write(&theirs, from_rdock).unwrap();
    fs::write(&ours, from_docker).unwrap();
    beside.same(&["load", "-i", "out.tar"]).is(0, "Loaded image: busybox:latest\n", "");
    beside.same(&["run", "--rm", "--network", "none", "busybox", "echo", "it runs"]).is(0, "it runs\n", "");
    beside.same(&["load", "-i", "nosuch.tar"]);
    beside.same(&["import", "nosuch.tar"]);
    beside.same(&["save", "nosuch"]);
    beside.same(&["save", "-o", "nosuch/dir.tar", "busybox"]);
}

#[test]
fn other_tools_read_what_is_saved_and_write_what_is_loaded() {
    if !need(&[Need::Root, Need::Program("skopeo")]) {
        return;
    }
    let lab = Lab::new().with_image("hello-world");
    let [saved, docker, oci] = ["saved.tar", "docker.tar", "oci.tar"].map(|name| lab.file(name).display().to_string());
    lab.rdock(["save", "-o", &saved, "hello-world"]).is(0, "", "");
    for (from, to) in [
        (format!("docker-archive:{saved}"), format!("docker-archive:{docker}:by-skopeo:docker")),
        (format!("oci-archive:{saved}"), format!("oci-archive:{oci}:by-skopeo:oci")),
    ] {
        let copied = lab.program("skopeo").args(["copy", "--insecure-policy", "-q", &from, &to]).output().unwrap();
        assert!(copied.status.success(), "{from} {copied:?}");
    }
    lab.rdock(["load", "-i", &docker]).is(0, "Loaded image: by-skopeo:docker\n", "");
    lab.rdock(["load", "-i", &oci]).is(0, "Loaded image: by-skopeo:oci\n", "");
    for name in ["by-skopeo:docker", "by-skopeo:oci"] {
        assert!(lab.rdock(["run", "--rm", name]).ok().stdout.contains("Hello from rdock!"));
    }
    lab.stop();
}
