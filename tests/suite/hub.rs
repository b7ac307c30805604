//! The lab hub as a registry for everybody: skopeo, podman, the docker command, rdock itself; and what the document's
//! catalog does.

use super::support::lab::{Background, run};
use super::support::need::Need;
use super::support::{Answer, Lab, need};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

/// `rdock hub serve` on the store that the lab's own daemon uses, and another door to it.
struct Served {
    _process: Background,
    /// `127.0.0.1:port`
    address: String,
}

impl Served {
    fn start(lab: &Lab, more: &[&str]) -> Served {
        let mut command = lab.command(["hub", "serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.args(more).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("the lab hub listens on http://").unwrap_or_else(|| panic!("{line}"));
        Served { address: address.to_owned(), _process: Background(child) }
    }

    /// As skopeo names it.
    fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }
}

#[must_use]
fn skopeo(lab: &Lab, args: &[&str]) -> Answer {
    let mut command = lab.program("skopeo");
    command.args(["--insecure-policy"]).args(args);
    run(command, b"")
}

#[must_use]
fn copy(lab: &Lab, from: &str, to: &str, more: &[&str]) -> Answer {
    let plain = ["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo(lab, &[&plain, more, &[from, to]].concat())
}

fn tags(lab: &Lab, repository: &str) -> Vec<String> {
    let answer = skopeo(lab, &["list-tags", "--tls-verify=false", repository]).ok();
    let value: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    value["Tags"].as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()).collect()
}

#[test]
fn skopeo_copies_lists_and_deletes_in_both_families_of_media_types() {
    if !need(&[Need::Root, Need::Program("skopeo")]) {
        return;
    }
    let lab = Lab::new();
    let hub = Served::start(&lab, &[]);
    copy(&lab, &hub.image("library/hello-world:latest"), &hub.image("me/hello:1"), &["--all"]).ok();
    copy(&lab, &hub.image("me/hello:1"), &hub.image("you/hello:2"), &["--format", "v2s2"]).ok();
    assert_eq!(tags(&lab, &hub.image("me/hello")), ["1"]);
    let raw = skopeo(&lab, &["inspect", "--raw", "--tls-verify=false", &hub.image("you/hello:2")]).ok();
    assert!(raw.stdout.contains("application/vnd.docker.distribution.manifest.v2+json"), "{raw:?}");
    let layout = format!("oci:{}:hello", lab.file("layout").display());
    copy(&lab, &hub.image("you/hello:2"), &layout, &[]).ok();
    copy(&lab, &layout, &hub.image("third:latest"), &[]).ok();

    let official = copy(&lab, &layout, &hub.image("library/hello-world:mine"), &[]);
    let _ = official.fails(1, "belongs to the hub's owner");
    skopeo(&lab, &["delete", "--tls-verify=false", &hub.image("me/hello:1")]).ok();
    let gone = skopeo(&lab, &["inspect", "--raw", "--tls-verify=false", &hub.image("me/hello:1")]);
    let _ = gone.fails(1, "manifest unknown");
    assert_eq!(tags(&lab, &hub.image("you/hello")), ["2"], "what it shares with others stays");
    copy(&lab, &hub.image("you/hello:2"), &format!("dir:{}", lab.file("dir").display()), &[]).ok();

    // The owner sees whose they are, and takes them out.
    let listed = lab.rdock(["hub", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.Origin}}"]).ok().stdout;
    for line in ["hello-world:latest lab\n", "third:latest pushed\n", "you/hello:2 pushed\n", "mysql:5.7 lab\n"] {
        assert!(listed.contains(line), "{line:?} is not in {listed}");
    }
    let answer = lab.rdock(["hub", "rm", "nosuch:1", "you/hello:2", "third"]);
    answer.is(1, "you/hello:2\nthird:latest\n", "the hub has no image nosuch:1\n");
    let left = lab.rdock(["hub", "ls"]).ok().stdout;
    assert!(!left.contains("pushed"), "{left}");
    let repositories = std::fs::read_dir(lab.home().join("data/hub/repositories")).unwrap().count();
    assert_eq!(repositories, 0, "nothing of them is left");
}

#[test]
fn podman_pushes_what_rdock_pulls_and_runs() {
    if !need(&[Need::Root, Need::Program("podman")]) {
        return;
    }
    let lab = Lab::new();
    let hub = Served::start(&lab, &[]);
    let podman = |args: &[&str]| {
        let mut command = lab.program("podman");
        let (root, run_root) = (lab.file("podman"), lab.file("podman-run"));
        command.arg("--root").arg(root).arg("--runroot").arg(run_root).args(["--storage-driver=vfs"]).args(args);
        run(command, b"")
    };
    let (official, own) = (format!("{}/library/hello-world", hub.address), format!("{}/pod/hello:1", hub.address));
    let _ = podman(&["pull", "-q", "--tls-verify=false", &official]).ok();
    let _ = podman(&["push", "-q", "--tls-verify=false", &official, &own]).ok();
    let answer = lab.rdock(["run", "--rm", &own]).ok();
    assert!(answer.stdout.to_lowercase().contains("hello"), "{answer:?}");
    let _ = podman(&["rmi", "-af"]).ok();
    lab.stop();
}

/// A stranger's `mysql` has the name, and is served to who names the hub; whoever pulls `mysql` gets the lab's.
#[test]
fn what_was_pushed_is_never_taken_for_an_image_of_docker_io() {
    if !need(&[Need::Root, Need::Program("skopeo")]) {
        return;
    }
    let lab = Lab::new();
    let hub = Served::start(&lab, &[]);
    for name in ["mysql:latest", "somebody/tool:latest"] {
        copy(&lab, &hub.image("library/hello-world:latest"), &hub.image(name), &[]).ok();
    }
    let guest = format!("{}/mysql", hub.address);
    let layers = |image: &str| {
        lab.rdock(["pull", "-q", image]).ok();
        let answer = lab.rdock(["inspect", image]).ok();
        let value: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        value[0]["RootFS"]["Layers"].as_array().unwrap().len()
    };
    assert_eq!((layers(&guest), layers("mysql")), (1, 12));
    // Not even where docker.io has nothing of that name (or can't be asked).
    let answer = lab.rdock(["pull", "somebody/tool"]);
    assert_ne!(answer.status, 0, "{answer:?}");
    // The hub knows it by name, and says so to who asks the hub.
    let found = lab.rdock(["search", &format!("{}/somebody", hub.address)]).ok();
    assert!(found.stdout.contains("\nsomebody/tool "), "{found:?}");
}

#[test]
fn the_hub_is_filled_from_this_host_and_from_another_registry() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new().with_image("hello-world");
    let other = Lab::new();
    let registry = Served::start(&other, &["--read-only"]);
    let elsewhere = format!("{}/library/busybox", registry.address);
    let added = lab.rdock(["hub", "add", &elsewhere, "--as", "tool:1"]).ok();
    assert!(added.stdout.starts_with("Added docker.io/library/tool:1\nDigest: sha256:"), "{added:?}");
    assert_eq!(added.stderr, format!("{elsewhere}:latest comes from http://{}\n", registry.address));
    let answer = lab.rdock(["run", "--rm", "tool:1", "echo", "from the hub"]).ok();
    assert_eq!(answer.stdout, "from the hub\n", "pulled under the name that the owner gave it");
    let added = lab.rdock(["hub", "add", "hello-world", "--as", "greeting"]).ok();
    assert_eq!(added.stderr, "hello-world:latest is on this host\n");
    assert!(added.stdout.contains("\n0 new blobs for linux/"), "{added:?}");
    // What is no image of docker.io is none in the hub, if nobody says so.
    let _ = lab.rdock(["hub", "add", &elsewhere]).ok();
    let names = lab.rdock(["hub", "ls", "-q"]).ok().stdout;
    for name in ["greeting:latest\n", "library/busybox:latest\n", "tool:1\n"] {
        assert!(names.contains(name), "{name:?} is not in {names}");
    }
    let missing = lab.rdock(["hub", "add", &format!("{}/nosuch", registry.address)]);
    let _ = missing.fails(1, "not found");
    lab.rdock(["hub", "rm", "tool:1"]).is(0, "docker.io/library/tool:1\n", "");
}

#[test]
fn search_shows_the_documents_catalog_to_both_clients() {
    if !need(&[Need::Root, Need::DockerCli]) {
        return;
    }
    let lab = Lab::new();
    let rows = "mysql     MySQL is a widely used, open-source relation…   14726     [OK]       \n\
                mariadb   MariaDB Server is a high performing open sou…   5619      [OK]       \n";
    let head = "NAME      DESCRIPTION                                     STARS     OFFICIAL   AUTOMATED\n";
    let table = format!("{head}{rows}");
    lab.rdock(["search", "mysql"]).is(0, &table, "");
    lab.rdock(["search", "mysql", "--filter=stars=3000"]).is(0, &table, "");
    lab.rdock(["search", "mysql", "--limit", "1", "--format", "{{.Name}} {{.StarCount}}"]).is(0, "mysql 14726\n", "");
    let first = rows.lines().next().unwrap();
    lab.rdock(["search", "-f", "stars=10000", "mysql"]).is(0, &format!("{head}{first}\n"), "");
    let whole = lab.rdock(["search", "--no-trunc", "mysql"]).ok();
    assert!(
        whole.stdout.contains("MySQL is a widely used, open-source relational database; this is the lab's stand-in")
    );
    let refused = lab.rdock(["search", "--filter", "start=3000", "mysql"]);
    let _ = refused.fails(1, "invalid filter 'start'");
    let _ = lab.rdock(["search", "--limit", "101", "mysql"]).fails(1, "limit 101 is outside the range of [1, 100]");

    let docker = |args: &[&str]| {
        let mut command = lab.program("docker");
        command.args(args).env("DOCKER_HOST", lab.host());
        run(command, b"")
    };
    // Docker's own client has no column AUTOMATED any more.
    let without: String =
        table.lines().map(|l| format!("{}\n", l.trim_end_matches("   AUTOMATED").trim_end())).collect();
    docker(&["search", "mysql"]).is(0, &without, "");
    docker(&["search", "--filter", "is-official=true", "--format", "{{.Name}}", "tomcat"]).is(0, "tomcat\n", "");
    let refused = docker(&["search", "--filter", "start=3000", "mysql"]);
    let _ = refused.fails(1, "Error response from daemon: invalid filter 'start'");
}

#[test]
fn the_documents_pulls_of_mysql_share_seven_layers() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new();
    let first = lab.rdock(["pull", "mysql"]).ok().stdout;
    assert_eq!(first.matches(": Pull complete\n").count(), 12, "{first}");
    let second = lab.rdock(["pull", "mysql:5.7"]).ok().stdout;
    let (there, new) = (second.matches(": Already exists\n").count(), second.matches(": Pull complete\n").count());
    assert_eq!((there, new), (7, 4), "{second}");
    assert!(second.starts_with("5.7: Pulling from library/mysql\n"), "{second}");
    assert!(
        second.ends_with("Status: Downloaded newer image for mysql:5.7\ndocker.io/library/mysql:5.7\n"),
        "{second}"
    );
}

#[test]
fn the_catalogs_servers_do_what_they_say() {
    if !need(&[Need::Root, Need::UtilLinux]) {
        return;
    }
    let lab = Lab::new();
    for (image, port, title) in [("nginx", 80, "nginx"), ("tomcat", 8080, "tomcat")] {
        let _ = lab.rdock(["run", "-d", "--name", image, image]).ok();
        let page = asked(&lab, image, port);
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains(&format!("image <b>{title}</b>")), "{page}");
        // The shim writes it down when it has read it, which may be after the answer.
        super::support::wait_for("the request in the log", || {
            log_of(&lab, image).contains("GET / HTTP/1.0").then_some(())
        });
        lab.rdock(["stop", image]).is(0, &format!("{image}\n"), "");
        assert_eq!(state(&lab, image)["ExitCode"], 0, "it ends when it is asked to");
    }
    // mysql wants a password, as the original does; then it stays, and tells a client what it is.
    let refused = lab.rdock(["run", "--name", "no-password", "mysql"]);
    let _ = refused.fails(1, "nobody said which password it shall have");
    let _ = lab.rdock(["run", "-d", "--name", "db", "-e", "MYSQL_ROOT_PASSWORD=x", "mysql"]).ok();
    let told = asked(&lab, "db", 3306);
    assert!(told.contains("this is the rdock lab's stand-in for mysql 8.0"), "{told}");
    assert_eq!(state(&lab, "db")["Status"], "running");
}

/// What the server in a container answers to a request, asked from its own network.
fn asked(lab: &Lab, name: &str, port: u16) -> String {
    let pid = state(lab, name)["Pid"].to_string();
    super::support::wait_for("the server", || {
        let mut command: Command = lab.program("nsenter");
        let ask = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3");
        command.args(["-t", &pid, "-n", "bash", "-c", &ask]);
        Some(run(command, b"")).filter(|a| a.status == 0 && !a.stdout.is_empty()).map(|a| a.stdout)
    })
}

fn state(lab: &Lab, name: &str) -> serde_json::Value {
    let answer = lab.rdock(["inspect", name]).ok();
    let value: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    value[0]["State"].clone()
}

fn log_of(lab: &Lab, name: &str) -> String {
    let answer = lab.rdock(["inspect", name]).ok();
    let value: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    let id = value[0]["Id"].as_str().unwrap().to_owned();
    std::fs::read_to_string(lab.home().join(format!("data/containers/{id}/{id}-json.log"))).unwrap()
}
