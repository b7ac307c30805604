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

/// What somebody may type of containers, right and wrong, in an order in which each has something to say.
#[test]
fn all_that_is_said_of_a_containers_life_is_the_same() {
    let Some(mut beside) = Beside::new("beside-life", &["busybox"]) else { return };
    for line in LIFE.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words = shlex::split(line).unwrap();
        beside.same(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

const LIFE: &str = r#"
    run -d --network none --name web busybox sleep 1000
    run -d --network none --name two --stop-signal KILL busybox sleep 1000
    create --network none --name made busybox echo hello
    create --network none --name web busybox true
    create --network none --name _bad busybox true
    start made
    wait made
    logs made
    start -a made
    start web
    start nosuch
    stop nosuch made
    restart nosuch
    kill nosuch
    kill made
    kill -s 99 web
    kill -s NOPE web
    kill -s 0 web
    kill -s USR1 made
    rename made
    rename nosuch other
    rename made web
    rename made _x
    rename made made
    rename made again
    ps -a --filter name=again --format '{{.Names}} {{.Command}} {{.State}}'
    ps --filter nosuch=1
    ps --filter status=bogus
    ps --filter exited=abc
    ps --filter is-task=maybe
    ps --filter before=nosuch
    ps --filter bad
    ps --format '{{.Nope}}'
    rm web
    rm nosuch
    pause web
    pause web
    exec web true
    ps --filter name=web --format '{{.Names}} {{.State}}'
    rm web
    unpause web
    unpause web
    pause again
    unpause again
    pause nosuch
    top web -eo comm
    top again
    top nosuch
    top web --nope
    exec web echo hi
    exec again true
    exec nosuch true
    exec -w relative web true
    exec -u nobodyhere web true
    exec -e A=b web sh -c 'echo $A; exit 4'
    inspect -f '{{.State.Status}} {{.State.Running}} {{.Config.Cmd}} {{.RestartCount}}' web
    inspect -f '{{.Nope}}' web
    inspect -f '{{' web
    inspect -f '{{json .State.Paused}}' web nosuch
    inspect --type container nosuch
    port web
    port web 80
    port nosuch
    logs nosuch
    logs --since nope again
    attach nosuch
    attach again
    stop -t 5 two
    inspect -f '{{.State.ExitCode}}' two
    stop two
    restart -t 0 two
    kill two
    wait two nosuch
    container prune -f --filter bad=1
    rm -f two web again
    ps -a
"#;

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
