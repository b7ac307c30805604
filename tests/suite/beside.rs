//! Side by side with a real dockerd: a container's life in the commands that are there today.

use super::support::Beside;

#[test]
fn a_containers_life_reads_the_same_on_both() {
    let Some(mut beside) = Beside::new("beside", &["busybox"]) else { return };
    let none = ["run", "--network", "none"];
    let run = |rest: &[&'static str]| [&none[..], rest].concat();
    beside.same(&["ps", "-a"]);
    beside
        .same(&run(&["--name", "one", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]))
        .is(7, "out\n", "err\n");
    beside.same(&run(&["-d", "busybox", "true"])).is(0, "<id 1>\n", "");
    beside.same(&["wait", "<id 1>"]).is(0, "0\n", "");
    let listed = beside.same(&["ps", "-a", "--no-trunc"]).ok();
    assert!(
        listed.stdout.contains("<id 1>   busybox   \"true\"   <while> ago   Exited (0) <while> ago   "),
        "{listed:?}"
    );
    assert!(listed.stdout.contains("<name 1>\n"), "{listed:?}");
    beside.same_with_input(&run(&["-i", "--rm", "busybox", "cat"]), b"through").is(0, "through", "");
    beside.same(&run(&["--name", "one", "busybox"]));
    beside.same(&run(&["busybox", "nosuchcommand"]));
    beside.same(&["rm", "one", "<name 1>", "nosuch"]);
    beside.same(&["inspect", "nosuch"]);
}

#[test]
fn both_sides_work_in_directories_of_their_own_on_their_own_engine() {
    let Some(mut beside) = Beside::new("beside-own", &[]) else { return };
    beside.file("sub/file", "text");
    let [theirs, ours] = beside.dirs();
    assert_ne!(theirs, ours);
    assert!(theirs.join("sub/file").exists() && ours.join("sub/file").exists());
    let [theirs, ours] = beside.raw(&["version", "--format", "{{.Server.Version}}"]);
    assert_eq!(theirs, beside.peer().docker(&["version", "--format", "{{.Server.Version}}"]));
    assert_ne!(theirs.ok().stdout, ours.ok().stdout);
    assert_eq!(beside.lab().rdock(["ps", "-q"]).ok().stdout, "");
    beside.same(&["images", "-q"]).is(0, "", "");
}
