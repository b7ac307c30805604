//! The files of a container: `cp`, `diff`, `export`, beside a real dockerd and alone.

use super::support::need::Need;
use super::support::{Beside, Lab, PATIENCE, eventually, need, wait_for};

const SETUP: &str = "mkdir -p /x/y; echo 1 >/x/y/f; chmod 640 /x/y/f; chown 1000:1000 /x/y/f; ln -s /x/y /lnk; \
    ln -s y/f /x/flink; ln -s ../../../../x /up; touch /x/.wh.odd; ln /x/y/f /x/hard; touch -d @1000000000 /x/y";

/// Both sides get the same container: `c`, stopped, or running as `r`.
fn prepared(test: &'static str) -> Option<Beside> {
    let mut beside = Beside::new(test, &["busybox"])?;
    let none = ["run", "--network", "none"];
    beside.same(&[&none[..], &["--name", "cc", "busybox", "sh", "-c", SETUP]].concat()).is(0, "", "");
    let wait = format!("{SETUP}; echo ready; exec sleep 1000");
    beside.same(&[&none[..], &["-d", "--name", "rr", "busybox", "sh", "-c", &wait]].concat()).ok();
    assert!(eventually(PATIENCE, || beside.raw(&["logs", "rr"]).iter().all(|a| a.stdout == "ready\n")));
    for dir in beside.dirs() {
        std::fs::create_dir_all(dir.join("dir/sub")).unwrap();
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
        std::os::unix::fs::symlink("dir", dir.join("dirlink")).unwrap();
    }
    beside.file("file", "contents");
    beside.file("dir/sub/f", "deep");
    Some(beside)
}

/// What is below both directories: names, kinds, modes, owners, contents.
fn listing(dir: &std::path::Path) -> String {
    let script = "find . -mindepth 1 -printf '%P %y %m %U:%G %l %s\\n' | grep -v -e '^out.tar' -e '^.docker' | sort | awk '{ if ($2 == \"d\") $NF = \"\"; print }'";
    let out = std::process::Command::new("sh").args(["-c", script]).current_dir(dir).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

fn assert_same_files(beside: &Beside) {
    let [theirs, ours] = beside.dirs().map(listing);
    assert_eq!(theirs, ours);
}

#[test]
fn copies_out_of_containers_are_dockers() {
    let Some(mut beside) = prepared("cp-out") else { return };
    for c in ["cc", "rr"] {
        let at = |path: &str| format!("{c}:{path}");
        for (from, to) in [
            ("/x", "out-a"),
            ("/x/.", "out-b"),
            ("/x/", "out-c"),
            ("x/y/f", "."),
            ("/x/y/f", "out-f"),
            ("/x/y/f", "dir"),
            ("/x/y/f", "dirlink"),
            ("/x/y/f", "link"),
            ("/lnk", "out-l"),
            ("/lnk/", "out-m"),
            ("/up/y/f", "out-u"),
            ("/x/flink", "out-fl"),
            ("/x/y", "dir"),
            ("/x/../x/y/./f", "out-dots"),
            ("/x/.wh.odd", "."),
            // refused
            ("/x/y/f", "nosuch/"),
            ("/x/y/f", "nosuch/f"),
            ("/nosuch", "."),
            ("/x", "file"),
            ("/x/nosuch/f", "."),
            ("/x/y/f", "file/"),
            ("", "."),
        ] {
            beside.same(&["cp", &at(from), to]);
        }
        for (from, to) in [("/lnk", "out-L"), ("/x/flink", "out-FL"), ("/x/flink", "dir"), ("/lnk/.", "out-L2")] {
            beside.same(&["cp", "-L", &at(from), to]).ok();
        }
        assert_same_files(&beside);
        // The archive itself: the same names, kinds, owners, modes and times.
        for path in ["/x/y/f", "/x", "/x/.", "/lnk", "/lnk/", "/x/flink"] {
            let [theirs, ours] = beside.raw_bytes(&["cp", &at(path), "-"]).map(|tar| members(&tar));
            assert_eq!(theirs, ours, "{path}");
        }
    }
    beside.same(&["cp", "nosuch:/x", "."]);
    beside.same(&["cp", "cc:/x", "rr:/y"]);
    beside.same(&["cp", "a", "b"]);
    beside.same(&["cp", "", "cc:/"]);
    beside.same(&["cp", "cc:/x"]);
    beside.same(&["cp", "-q=false", "cc:/x/y/f", "out-q"]);
    beside.same(&["cp", "-q=false", "cc:/x/y", "out-q2"]);
}

#[test]
fn copies_into_containers_are_dockers() {
    let Some(mut beside) = prepared("cp-in") else { return };
    let tar = {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o4711);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_000_000_000);
        header.set_size(3);
        builder.append_data(&mut header, "made/in/deep", &b"abc"[..]).unwrap();
        builder.into_inner().unwrap()
    };
    for c in ["cc", "rr"] {
        let at = |path: &str| format!("{c}:{path}");
        for (from, to) in [
            ("file", "/"),
            ("file", "/x/"),
            ("file", "/x"),
            ("file", "/new"),
            ("file", "/lnk"),
            ("file", "/lnk/zz"),
            ("dir", "/newdir"),
            ("dir/.", "/newdir2"),
            ("dir", "/x"),
            ("link", "/x/"),
            ("dirlink/", "/x/dl"),
            ("file", "/x/flink"),
            ("file", "/up/through"),
            ("dir/sub/../sub/f", "x/rel"),
            // refused
            ("file", "/nosuch/"),
            ("file", "/nosuch/a"),
            ("dir", "/etc/passwd"),
            ("dir", "/x/y/f"),
            ("file", "/x/y/f/"),
            ("nosuch", "/"),
            ("nosuch/", "/"),
            ("file/", "/"),
        ] {
            beside.same_but(&["cp", from, &at(to)], b"", without_log_lines);
        }
        beside.same(&["cp", "-L", "link", &at("/followed")]).ok();
        beside.same(&["cp", "-a", "file", &at("/owned")]).ok();
        beside.same_with_input(&["cp", "-", &at("/x")], &tar).ok();
        beside.same_with_input(&["cp", "-", &at("/x/y/f")], &tar);
        beside.same_with_input(&["cp", "-", &at("/")], b"this is no archive");
        for path in ["/x", "/newdir", "/newdir2", "/new", "/followed", "/owned", "/file"] {
            let [theirs, ours] = beside.raw_bytes(&["cp", &at(path), "-"]).map(|tar| members(&tar));
            assert_eq!(theirs, ours, "{path}");
        }
        let sorted = |text: String| {
            let mut lines: Vec<_> = text.lines().collect();
            lines.sort_unstable();
            lines.join("\n")
        };
        let changes = beside.same_but(&["diff", c], b"", sorted).ok();
        assert!(changes.stdout.contains("A /newdir2/sub/f"), "{changes:?}");
    }
    beside.same_but(&["cp", "file", "nosuch:/"], b"", without_log_lines);
    beside.same(&["diff", "nosuch"]);
    beside.same(&["diff"]);
    beside.same(&["export", "nosuch"]);
}

/// The docker command logs what it could not send.
fn without_log_lines(text: String) -> String {
    text.lines().filter(|l| !l.starts_with("time=")).map(|l| format!("{l}\n")).collect()
}

/// `name kind mode owner size time link`, sorted.
fn members(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|e| {
        let e = e.unwrap();
        let h = e.header();
        let (kind, link) = (h.entry_type(), e.link_name().unwrap());
        let own = (h.mode().unwrap() & 0o7777, h.uid().unwrap(), h.gid().unwrap(), h.size().unwrap());
        // A directory in which something was made has the time of that.
        let time = if kind.is_dir() || own.3 == 8 { 0 } else { h.mtime().unwrap() };
        let time = if time > 1_500_000_000 { 0 } else { time };
        format!("{} {kind:?} {own:?} {time} {link:?}", e.path().unwrap().display())
    });
    let mut all: Vec<_> = entries.collect();
    all.sort();
    all
}

fn lab() -> Option<Lab> {
    need(&[Need::Root]).then(|| Lab::new().with_image("busybox"))
}

/// rdock's own client says what Docker's says, and does the same.
#[test]
fn the_own_client_copies_compares_and_exports() {
    let Some(lab) = lab() else { return };
    lab.rdock(["run", "--name", "one", "busybox", "sh", "-c", SETUP]).ok();
    let file = lab.file("local");
    std::fs::write(&file, "from here").unwrap();
    let (file, out) = (file.display().to_string(), lab.file("out").display().to_string());
    lab.rdock(["cp", &file, "one:/x/y/new"]).is(0, "", "");
    lab.rdock(["cp", "one:/x", &out]).is(0, "", "");
    assert_eq!(std::fs::read_to_string(lab.file("out/y/new")).unwrap(), "from here");
    let said = format!("Successfully copied 2.05kB to {out}/y\n");
    lab.rdock(["cp", "-q=false", "one:/x/y/f", &format!("{out}/y")]).is(0, "", &said);
    lab.rdock(["cp", "one:/nosuch", "."]).is(
        1,
        "",
        "Error response from daemon: Could not find the file /nosuch in container one\n",
    );
    lab.rdock(["cp", "one:/x", "two:/y"]).is(1, "", "copying between containers is not supported\n");
    lab.rdock(["cp", &out, "one:/x/y/f"]).is(1, "", "cannot copy directory\n");
    let changes = lab.rdock(["diff", "one"]).ok().stdout;
    let expected = "A /lnk\nA /up\nA /x\nA /x/.wh.odd\nA /x/flink\nA /x/hard\nA /x/y\nA /x/y/f\nA /x/y/new\n";
    assert_eq!(changes, expected);
    let tar = lab.file("all.tar");
    lab.rdock(["export", "-o", &tar.display().to_string(), "one"]).is(0, "", "");
    let piped = run_bytes(lab.command(["export", "one"]));
    assert_eq!(members(&piped), members(&std::fs::read(&tar).unwrap()));
    let names: Vec<String> = members(&piped).iter().map(|m| m.split(' ').next().unwrap().to_owned()).collect();
    for name in ["bin/busybox", "x/y/new", "x/hard", "lnk"] {
        assert!(names.iter().any(|n| n == name), "{name} is not in {names:?}");
    }
    // A container that never ran has files too, and no changes.
    lab.rdock(["create", "--name", "fresh", "busybox"]).ok();
    lab.rdock(["diff", "fresh"]).is(0, "", "");
    lab.rdock(["cp", &file, "fresh:/etc/added"]).is(0, "", "");
    lab.rdock(["diff", "fresh"]).is(0, "C /etc\nA /etc/added\n", "");
    lab.rdock(["start", "-a", "fresh"]).ok();
    let passwd = lab.rdock(["cp", "fresh:/etc/added", "-"]).ok();
    assert!(passwd.stdout.contains("from here"));
}

#[test]
fn what_a_container_deletes_and_replaces_is_told() {
    let Some(mut beside) = Beside::new("diff", &["busybox"]) else { return };
    let script = "rm /etc/passwd; rm -r /usr 2>/dev/null; rm -r /root; mkdir /root; touch /root/a; chmod 700 /etc; \
        rm /bin/true; mkdir /bin/true; echo more >> /etc/group; echo x > /bin/false; touch /etc/group /tmp/t; true";
    beside.same(&["run", "--network", "none", "--name", "changed", "busybox", "sh", "-c", script]).ok();
    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    let changes = beside.same_but(&["diff", "changed"], b"", sorted).ok();
    assert!(changes.stdout.contains("D /etc/passwd"), "{changes:?}");
}

/// CVE-2018-15664 and its like: a path is not what it was a moment ago.
#[test]
fn a_container_that_swaps_links_gets_nothing_of_the_host() {
    let Some(lab) = lab() else { return };
    let host = lab.file("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("f"), "secret of the host").unwrap();
    // The same path exists in the container, or the link would lead nowhere at all.
    let target = host.display().to_string();
    let script = format!(
        "mkdir -p {target}; echo inner > {target}/f; mkdir /real; echo inner > /real/f; echo ready; \
         while :; do ln -sfn {target} /swap; rm /swap; mv /real /swap; mv /swap /real; done"
    );
    lab.rdock(["run", "-d", "--name", "evil", "busybox", "sh", "-c", &script]).ok();
    wait_for("the container", || lab.rdock(["logs", "evil"]).stdout.contains("ready").then_some(()));
    let file = lab.file("sent");
    std::fs::write(&file, "sent").unwrap();
    let mut seen = 0;
    for _ in 0..15 {
        let out = lab.rdock(["cp", "evil:/swap/f", "-"]);
        assert!(!out.stdout.contains("secret"), "{out:?}");
        seen += usize::from(out.status == 0);
        let _ = lab.rdock(["cp", &file.display().to_string(), "evil:/swap/planted"]).status;
        let _ = lab.rdock(["cp", "evil:/swap/.", "-"]).status;
    }
    let names: Vec<_> = std::fs::read_dir(&host).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["f"], "only what was there");
    assert_eq!(std::fs::read_to_string(host.join("f")).unwrap(), "secret of the host");
    assert!(seen <= 15);
}

#[test]
fn deep_directories_links_in_circles_and_devices_do_no_harm() {
    let Some(lab) = lab() else { return };
    let script = "i=0; while [ $i -lt 1200 ]; do mkdir d && cd d || break; i=$((i+1)); done; ln -s /loop /loop; \
        mknod /dev2 c 1 5; mkfifo /fifo; ln -s ../../../../../../../../etc/passwd /out";
    lab.rdock(["run", "--name", "odd", "busybox", "sh", "-c", script]).ok();
    let deep = members(&run_bytes(lab.command(["cp", "odd:/d", "-"])));
    assert_eq!(deep.len(), 1200);
    let _ = lab.rdock(["cp", "odd:/loop/x", "."]).fails(1, "too many symbolic links encountered");
    for name in ["/dev2", "/fifo", "/loop", "/out"] {
        assert_eq!(members(&run_bytes(lab.command(["cp", &format!("odd:{name}"), "-"]))).len(), 1, "{name}");
    }
    let listed = lab.rdock(["diff", "odd"]).ok().stdout;
    assert_eq!(listed.lines().count(), 1204, "{}", listed.lines().last().unwrap_or_default().len());
}

fn run_bytes(mut command: std::process::Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn a_commit_is_an_image_as_dockers_is() {
    let Some(mut beside) = Beside::new("commit", &["busybox"]) else { return };
    let script = "echo new > /added; rm /etc/passwd; rm -r /root; mkdir /root; touch /root/x; chown 5:6 /added";
    let made = ["run", "--network", "none", "--name", "one", "-e", "A=b", "busybox", "sh", "-c", script];
    beside.same(&made).ok();
    let options =
        ["-a", "Ada <ada@lab>", "-m", "said so", "-c", "CMD [\"cat\", \"/added\"]", "-c", "ENV C=d", "-c", "LABEL l=1"];
    beside.same(&[&["commit"][..], &options, &["one", "lab/made:v1"]].concat()).ok();
    // What the image says, and what a container of it has: the same on both.
    for field in ["{{json .Config.Cmd}}", "{{json .Config.Labels}}", "{{.Author}}", "{{len .RootFS.Layers}}"] {
        beside.same(&["image", "inspect", "-f", field, "lab/made:v1"]).ok();
    }
    let history = ["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "lab/made:v1"];
    let told = beside.same(&history).ok().stdout;
    assert_eq!(told.lines().next(), Some(format!("sh -c {script}|said so").as_str()));
    let run = ["run", "--rm", "--network", "none", "lab/made:v1"];
    beside.same(&run).is(0, "new\n", "");
    let look = "ls -A /root; stat -c '%u:%g %a %s' /added; ls /etc/passwd; echo $A$C";
    let listed = beside.same(&[&run[..], &["sh", "-c", look]].concat());
    assert!(listed.stdout.contains("5:6 644 4\nbd\n"), "{listed:?}");
    assert!(listed.stderr.contains("/etc/passwd: No such file"), "{listed:?}");
    // What the engine made to mount on is in no layer of the image: all names of the layer are the container's.
    let names = "o=$(mktemp -d); tar -xf - -C $o; cd $o; l=$(jq -r '.[0].Layers[-1]' manifest.json); \
        (gzip -dc $l 2>/dev/null || cat $l) | tar -t | sed 's,^[.]/,,' | \
        grep -v -x -e '' -e etc/ -e root/.wh..wh..opq | sort; rm -r $o";
    let [theirs, ours] = beside.raw_bytes(&["save", "lab/made:v1"]).map(|tar| piped(names, &tar));
    assert_eq!(theirs, ours);
    assert!(ours.contains("etc/.wh.passwd") && !ours.contains("etc/hosts"), "{ours}");
    // Nothing changed: no layer more. No name: dangling.
    beside.same(&["create", "--network", "none", "--name", "fresh", "busybox"]).ok();
    beside.same(&["commit", "fresh"]).ok();
    beside.same(&["commit", "one", "Upper/Case"]);
    beside.same(&["commit", "one", "digest@sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"]);
    beside.same(&["commit", "nosuch", "x"]);
    beside.same(&["commit"]);
    beside.same(&["rm", "one", "fresh"]).ok();
}

/// What a shell script prints that reads `input`.
fn piped(script: &str, input: &[u8]) -> String {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, input).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let output = std::process::Command::new("sh").args(["-c", script]).stdin(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_own_client_commits_what_runs_and_what_has_stopped() {
    let Some(lab) = lab() else { return };
    let script = "echo 1 >/f; rm /etc/group; echo ready; exec sleep 1000";
    lab.rdock(["run", "-d", "--name", "one", "busybox", "sh", "-c", script]).ok();
    wait_for("the container", || lab.rdock(["logs", "one"]).stdout.contains("ready").then_some(()));
    let id = lab.rdock(["commit", "-m", "hello", "one", "made"]).ok().stdout;
    assert!(id.starts_with("sha256:") && id.len() == 72, "{id:?}");
    lab.rdock(["inspect", "-f", "{{.State.Status}}", "one"]).is(0, "running\n", "");
    // A commit that fails lets it go on as well, and keeps no image.
    lab.rdock(["commit", "-c", "RUN x", "one"]).fails(1, "RUN is not a valid change command");
    lab.rdock(["inspect", "-f", "{{.State.Status}}", "one"]).is(0, "running\n", "");
    lab.rdock(["run", "--rm", "made", "sh", "-c", "cat /f; ls /etc/group"]).fails(1, "/etc/group: No such file");
    lab.rdock(["commit", "--pause=false", "one", "made:again"]).ok();
    // Paused by hand: it stays so.
    lab.rdock(["pause", "one"]).ok();
    lab.rdock(["container", "commit", "one", "made:held"]).ok();
    lab.rdock(["inspect", "-f", "{{.State.Status}}", "one"]).is(0, "paused\n", "");
    // `--until` knows whole seconds.
    let told = wait_for("three commits", || {
        let told = lab.rdock(["events", "--since", "1", "--until", "0s", "--filter", "event=commit"]).ok().stdout;
        (told.lines().count() == 3).then_some(told)
    });
    assert!(
        told.contains(&format!("comment=hello, image=busybox, imageID={}, imageRef=made:latest", id.trim())),
        "{told}"
    );
    lab.rdock(["rm", "-f", "one"]).ok();
    // The image is a child of the one below, which so can't go.
    let below = lab.rdock(["images", "-q", "busybox"]).ok().stdout;
    let steps = lab.rdock(["history", "-q", "made"]).ok().stdout;
    assert_eq!(steps.lines().nth(1), below.lines().next(), "{steps}");
    lab.rdock(["commit"]).is(
        1,
        "",
        "rdock: 'rdock commit' requires at least 1 and at most 2 arguments\n\nUsage:  rdock commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]\n\nRun 'rdock commit --help' for more information\n",
    );
}
