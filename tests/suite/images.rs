//! The image commands: side by side with a real dockerd, with rdock's own client, and the store in the hands of others.

use super::support::need::Need;
use super::support::{Beside, Lab, need};
use std::process::Command;

/// Images that both sides have, under tags that were given here: dockerd has loaded its images, and knows no digests.
fn beside(test: &'static str) -> Option<Beside> {
    let mut beside = Beside::new(test, &["busybox", "hello-world"])?;
    for args in [
        ["tag", "busybox", "one:1"].as_slice(),
        &["tag", "hello-world", "lab/hello:5.7"],
        &["rmi", "busybox", "hello-world"],
    ] {
        for answer in beside.raw(args) {
            let _ = answer.ok();
        }
    }
    Some(beside)
}

#[test]
fn every_image_command_reads_the_same_on_both() {
    let Some(mut beside) = beside("images") else { return };
    for line in [
        "images",
        "images -a --digests --no-trunc",
        "images -q one",
        "images --filter reference=lab/*:5.*",
        "images --filter dangling=true",
        "images --filter label=nobody",
        "images --filter before=nosuch",
        "images --filter dangling=maybe",
        "images --filter reference=[",
        "images --format {{.ID}}:{{.Repository}}:{{.Tag}}:{{.Size}}",
        "history one:1",
        "history --no-trunc -H=false lab/hello:5.7",
        "history nosuch",
        "image inspect -f {{.Id}}|{{.RepoTags}}|{{.Size}}|{{.Os}}|{{.RootFS.Layers}}|{{.Config.Cmd}} one:1",
        "image inspect nosuch",
        "tag nosuch x",
        "tag one:1 two:2",
        "tag one:1 BAD",
        "images --format {{.Repository}}:{{.Tag}}",
        "rmi nosuch",
        "rmi -f nosuch",
        "rmi two:2",
        "create --network none --name c1 one:1 true",
        "rmi one:1",
        "system df --format {{.Type}}:{{.TotalCount}}:{{.Active}}",
        "image prune -f",
        "rmi lab/hello:5.7",
        "rmi -f one:1",
        "images -a",
        "container prune -f",
        "system prune -a -f --volumes",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            // Both images are of the same day: dockerd has them in any order.
            "images" => beside.same_but(&words, b"", sorted),
            _ => beside.same(&words),
        };
    }
}

/// The lines in an order of their own.
fn sorted(text: String) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_running_container_keeps_its_image() {
    let Some(mut beside) = beside("images-running") else { return };
    beside.same(&["run", "-d", "--network", "none", "--name", "c1", "one:1", "sleep", "1000"]);
    let id = beside.same(&["images", "-q", "one"]).ok().stdout;
    let id = id.trim();
    beside.same(&["tag", "one:1", "two:2"]);
    for line in
        [format!("rmi {id}"), format!("rmi -f {id}"), "rmi two:2".into(), format!("rmi {id}"), "rmi one:1".into()]
    {
        let words: Vec<&str> = line.split(' ').collect();
        beside.same(&words);
    }
    // By force the name goes, and the image stays without one.
    beside.same(&["rmi", "-f", "one:1"]);
    beside.same_but(&["images"], b"", sorted);
    for line in ["image prune -f", "images -q -f dangling=true", "rm -f c1"] {
        let words: Vec<&str> = line.split(' ').collect();
        beside.same(&words);
    }
    beside.same(&["rmi", id]);
    beside.same(&["images", "-a"]);
}

#[test]
fn rdocks_own_client_says_the_same_words() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new();
    let _ = lab.rdock(["pull", "-q", "hello-world"]).ok();
    let inspect =
        |format: &str| lab.rdock(["image", "inspect", "-f", format, "hello-world"]).ok().stdout.trim().to_owned();
    let (id, digest, diff) =
        (inspect("{{.Id}}"), inspect("{{index .RepoDigests 0}}"), inspect("{{index .RootFS.Layers 0}}"));
    let _ = lab.rdock(["tag", "hello-world", "mine:1"]).is(0, "", "");
    let _ = lab.rdock(["image", "ls", "-q", "--no-trunc", "mine"]).is(0, &format!("{id}\n"), "");
    let _ = lab.rdock(["image", "rm", "mine:1"]).is(0, "Untagged: mine:1\n", "");
    let gone = format!("Untagged: hello-world:latest\nUntagged: {digest}\nDeleted: {id}\nDeleted: {diff}\n");
    let _ = lab.rdock(["rmi", "hello-world"]).is(0, &gone, "");
    let nobody = "Error response from daemon: No such image: hello-world:latest\n";
    let _ = lab.rdock(["rmi", "hello-world"]).is(1, "", nobody);
    let _ = lab.rdock(["rmi", "-f", "hello-world"]).is(0, "", nobody);
    let _ = lab.rdock(["image", "prune"]).is(
        0,
        "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] ",
        "",
    );
    let _ = lab.rdock(["system", "df", "--format", "{{.Type}} {{.Size}}"]).is(
        0,
        "Images 0B\nContainers 0B\nLocal Volumes 0B\nBuild Cache 0B\n",
        "",
    );
    let empty = |dir: &str| std::fs::read_dir(lab.home().join(dir)).unwrap().count();
    assert_eq!((empty("data/snapshots"), empty("data/content/blobs/sha256")), (0, 0));
}

#[test]
fn other_tools_read_the_store_as_it_is() {
    if !need(&[Need::Root, Need::Program("skopeo"), Need::Program("umoci")]) {
        return;
    }
    let lab = Lab::new();
    let _ = lab.rdock(["pull", "-q", "hello-world"]).ok();
    let _ = lab.rdock(["tag", "hello-world", "mine:1"]).ok();
    let layout = lab.home().join("data/content");
    let of = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let layer = lab.rdock(["image", "inspect", "-f", "{{index .RootFS.Layers 0}}", "mine:1"]).ok().stdout;
    for name in ["docker.io/library/hello-world:latest", "docker.io/library/mine:1"] {
        let config = of("skopeo", &["inspect", "--config", &format!("oci:{}:{name}", layout.display())]);
        assert!(config.contains(layer.trim()), "{name}: {config}");
    }
    let names = of("umoci", &["ls", "--layout", &layout.display().to_string()]);
    assert!(names.lines().any(|n| n == "docker.io/library/hello-world:latest"), "{names}");
}
