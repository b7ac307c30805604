//! Pull, push and login with real registries: the one of the distribution project, open, with passwords, with TLS; and
//! what skopeo, podman and the docker command make of what rdock has pushed, and rdock of what they have.

use super::support::docker_registry::{DockerRegistry, Kind};
use super::support::hub::HubStore;
use super::support::lab::run;
use super::support::need::Need;
use super::support::terminal::Terminal;
use super::support::{Answer, Lab, need};
use std::os::unix::fs::PermissionsExt as _;

fn lab(needs: &[Need]) -> Option<Lab> {
    let all = [&[Need::Root, Need::Program("docker-registry")], needs].concat();
    need(&all).then(Lab::new)
}

/// The image that most of these tests are about.
fn pulled(lab: &Lab) {
    let _ = lab.rdock(["pull", "-q", "hello-world"]).ok();
}

/// Gives an image that is here another name.
fn named(lab: &Lab, from: &str, to: &str) {
    lab.rdock(["tag", from, to]).is(0, "", "");
}

#[must_use]
fn docker(lab: &Lab, args: &[&str]) -> Answer {
    let mut command = lab.program("docker");
    command.args(args).env("DOCKER_HOST", lab.host()).env("DOCKER_CONFIG", lab.home().join("config"));
    run(command, b"")
}

#[must_use]
fn program(lab: &Lab, name: &str, args: &[&str]) -> Answer {
    let mut command = lab.program(name);
    command.args(args);
    run(command, b"")
}

/// The digest that the last line of a push names.
fn pushed(answer: &Answer) -> String {
    let line = answer.stdout.lines().last().unwrap_or_default();
    let (_, rest) = line.split_once(": digest: ").unwrap_or_else(|| panic!("no digest in {answer:?}"));
    rest.split(' ').next().unwrap().to_owned()
}

#[test]
fn an_image_goes_to_a_registry_and_comes_back_with_its_digest() {
    let Some(lab) = lab(&[Need::DockerCli, Need::Program("skopeo")]) else { return };
    let registry = DockerRegistry::start(&lab, "open", Kind::Open);
    pulled(&lab);
    let (one, two) = (registry.name("lab/hello:1"), registry.name("other"));
    named(&lab, "hello-world", &one);
    let digest = HubStore::of(&lab).descriptor("hello-world")["digest"].as_str().unwrap().to_owned();
    let (first, events) = lab.traced(["push", &one]);
    let first = first.ok();
    let ops: Vec<&str> = events.iter().map(|e| e.op.as_str()).filter(|op| op.starts_with("registry.")).collect();
    let blob = ["registry.blob.head", "registry.upload.begin", "registry.blob.put"];
    // The layer, the config, the manifest, the index: parts first, the name last.
    let told = [&["registry.base.get"][..], &blob, &blob, &["registry.manifest.put"; 2]].concat();
    assert_eq!(ops, told);
    assert!(first.stdout.starts_with(&format!("The push refers to repository [{}]\n", registry.name("lab/hello"))));
    assert!(first.stdout.contains(": Preparing\n") && first.stdout.contains(": Pushed\n"), "{first:?}");
    assert_eq!(pushed(&first), digest);
    let again = lab.rdock(["push", &one]).ok();
    assert!(again.stdout.contains(": Layer already exists\n") && !again.stdout.contains(": Pushed\n"), "{again:?}");

    named(&lab, &one, &two);
    let mounted = docker(&lab, &["push", &two]).ok();
    assert!(mounted.stdout.starts_with("Using default tag: latest\nThe push refers"), "{mounted:?}");
    assert!(mounted.stdout.contains(": Mounted from lab/hello\n"), "{mounted:?}");
    lab.rdock(["push", "-q", &two]).is(0, &format!("{two}:latest\n"), "");

    named(&lab, &one, &registry.name("lab/hello:2"));
    let all = lab.rdock(["push", "-a", &registry.name("lab/hello")]).ok();
    assert!(all.stdout.contains("\n1: digest: ") && all.stdout.contains("\n2: digest: "), "{all:?}");

    let other = Lab::new();
    let pulled = other.rdock(["pull", "-a", &registry.name("lab/hello")]).ok();
    let name = registry.name("lab/hello");
    let end = format!("Digest: {digest}\nStatus: Downloaded newer image for {name}\n{name}\n");
    assert!(pulled.stdout.ends_with(&end), "{pulled:?}");
    let ran = other.rdock(["run", "--rm", &format!("{name}@{digest}")]).ok();
    assert!(ran.stdout.to_lowercase().contains("hello"), "{ran:?}");
    let seen = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{one}")];
    program(&lab, "skopeo", &seen).is(0, &format!("{digest}\n"), "");
}

#[test]
fn what_cannot_be_pushed_is_told_in_dockers_words() {
    let Some(lab) = lab(&[]) else { return };
    let registry = DockerRegistry::start(&lab, "open", Kind::Open);
    pulled(&lab);
    let (nobody, app) = ("127.0.0.1:1/app".to_owned(), registry.name("app"));
    let refers = |name: &str| format!("The push refers to repository [{name}]\n");
    lab.rdock(["push", &registry.name("nosuch:1")]).is(
        1,
        &refers(&registry.name("nosuch")),
        &format!("An image does not exist locally with the tag: {}\n", registry.name("nosuch")),
    );
    named(&lab, "hello-world", &app);
    named(&lab, "hello-world", &nobody);
    let words = format!("tag does not exist: {app}:nosuch\n");
    lab.rdock(["push", &format!("{app}:nosuch")]).is(1, &refers(&app), &words);
    let words = "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused\n";
    lab.rdock(["push", &format!("{nobody}:latest")]).is(1, &refers(&nobody), words);
    lab.rdock(["push", "-a", "app:1"]).is(1, "", "tag can't be used with --all-tags/-a\n");
    let digest = format!("app@sha256:{}", "a".repeat(64));
    lab.rdock(["push", &digest]).is(1, "", "cannot push a digest reference\n");
}

#[test]
fn a_login_is_kept_and_never_told() {
    let Some(lab) = lab(&[Need::DockerCli, Need::Program("htpasswd")]) else { return };
    let registry = DockerRegistry::start(&lab, "guarded", Kind::Guarded);
    pulled(&lab);
    let (name, server) = (registry.name("app:1"), registry.domain.as_str());
    named(&lab, "hello-world", &name);
    let refused = lab.rdock(["push", &name]).fails(1, "no basic auth credentials\nhint: 'rdock login'");
    assert!(refused.stderr.starts_with("no basic"), "{refused:?}");
    let _ = lab.rdock(["pull", &name]).fails(1, "/manifests/1\": no basic auth credentials\nhint: ");

    let wrong = lab.rdock(["login", "-u", "me", "-p", "wrong", server]);
    let words = format!("login attempt to http://{server}/v2/ failed with status: 401 Unauthorized");
    assert!(wrong.fails(1, &words).stderr.starts_with("WARNING! Using --password via the CLI is insecure."));
    lab.rdock(["login", server]).is(
        1,
        "",
        "Error: Cannot perform an interactive login from a non TTY device\nhint: give -u and --password-stdin\n",
    );
    lab.rdock(["login", "--password-stdin", server]).is(
        1,
        "",
        "the --password-stdin option requires --username to be set\n",
    );
    let file = lab.home().join("config/config.json");
    let kept = lab.rdock_with_input(["login", "-u", "me", "--password-stdin", server], b"hunter2\n").ok();
    assert_eq!(kept.stdout, "Login Succeeded\n");
    let warning = format!("\nWARNING! Your credentials are stored unencrypted in '{}'.\n", file.display());
    assert!(kept.stderr.starts_with(&warning), "{kept:?}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let (explained, events) = lab.traced(["login", "-u", "me", "-p", "hunter2", server]);
    assert_eq!(explained.ok().stdout, "Login Succeeded\n");
    let told = serde_json::to_string(&events).unwrap();
    assert!(told.contains("registry.base.get") && told.contains("--password=…"), "{told}");
    for secret in ["hunter2", "bWU6aHVudGVyMg"] {
        assert!(!told.contains(secret) && !lab.daemon_log().contains(secret), "{told}");
    }
    let known = lab.rdock(["login", server]).ok();
    assert!(known.stderr.starts_with("Authenticating with existing credentials... [Username: me]\n"), "{known:?}");

    let _ = lab.rdock(["push", &name]).ok();
    let _ = docker(&lab, &["push", &name]).ok();
    let _ = docker(&lab, &["pull", &name]).ok();
    let words = format!("Removing login credentials for {server}\n");
    lab.rdock(["logout", server]).is(0, &words, "");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\n\t\"auths\": {}\n}");
    let _ = lab.rdock(["pull", &name]).fails(1, "no basic auth credentials");
    let mut terminal = Terminal::rdock(&lab, &["login", server], 24, 80);
    terminal.expect("Username: ");
    terminal.send("me\r");
    terminal.expect("Password: ");
    terminal.send("hunter2\r");
    let (status, screen) = terminal.end();
    assert_eq!(status, 0, "{screen}");
    assert!(screen.contains("Login Succeeded") && !screen.contains("hunter2"), "{screen}");
    let _ = lab.rdock(["logout", server]).ok();
    let asked = docker(&lab, &["login", "-u", "me", "-p", "hunter2", server]).ok();
    assert_eq!(asked.stdout, "Login Succeeded\n");
    let _ = lab.rdock(["pull", &name]).ok();
}

#[test]
fn a_credential_helper_keeps_what_it_is_given() {
    let Some(mut lab) = lab(&[Need::Program("htpasswd")]) else { return };
    let registry = DockerRegistry::start(&lab, "guarded", Kind::Guarded);
    // Keeps one entry in a file beside itself.
    let (bin, kept) = (lab.file("bin"), lab.file("kept"));
    let script = format!(
        "#!/bin/sh\ncase $1 in\nstore) cat > {0} ;;\nget) cat {0} 2>/dev/null || \
         {{ echo credentials not found in native keychain; exit 1; }} ;;\nerase) rm -f {0} ;;\nesac\n",
        kept.display()
    );
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("docker-credential-lab"), script).unwrap();
    std::fs::set_permissions(bin.join("docker-credential-lab"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(lab.home().join("config")).unwrap();
    std::fs::write(lab.home().join("config/config.json"), r#"{"credsStore": "lab"}"#).unwrap();
    lab.env("PATH", format!("{}:{}", bin.display(), super::support::lab::PATH));

    let server = registry.domain.as_str();
    let _ = lab.rdock(["pull", &registry.name("nosuch")]).fails(1, "no basic auth credentials");
    lab.rdock_with_input(["login", "-u", "me", "--password-stdin", server], b"hunter2").is(0, "Login Succeeded\n", "");
    let entry: serde_json::Value = serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
    assert_eq!(entry, serde_json::json!({"ServerURL": server, "Username": "me", "Secret": "hunter2"}));
    let file = std::fs::read_to_string(lab.home().join("config/config.json")).unwrap();
    assert!(file.contains(server) && !file.contains("bWU6"), "{file}");
    let _ = lab.rdock(["pull", &registry.name("nosuch")]).fails(1, "manifest unknown");
    let _ = lab.rdock(["logout", server]).ok();
    assert!(!kept.exists());
}

#[test]
fn an_authority_of_ones_own_is_believed_once_it_is_put_where_docker_looks() {
    let Some(lab) = lab(&[]) else { return };
    let registry = DockerRegistry::start(&lab, "tls", Kind::Tls);
    let certificates = lab.home().join("config/certs.d").join(&registry.domain);
    std::fs::create_dir_all(&certificates).unwrap();
    pulled(&lab);
    let name = registry.name("app:1");
    named(&lab, "hello-world", &name);
    let _ = lab.rdock(["push", &name]).fails(1, "tls: invalid peer certificate");
    std::fs::copy(&registry.authority, certificates.join("ca.crt")).unwrap();
    let digest = pushed(&lab.rdock(["push", &name]).ok());
    assert!(lab.rdock(["pull", &name]).ok().stdout.contains(&format!("Digest: {digest}\n")));
}

#[test]
fn a_mirror_of_the_daemons_file_is_asked_before_docker() {
    let Some(lab) = lab(&[Need::Program("skopeo")]) else { return };
    let registry = DockerRegistry::start(&lab, "mirror", Kind::Open);
    std::fs::create_dir(lab.home().join("config")).unwrap();
    let file = format!(r#"{{"registry-mirrors": ["http://{}"]}}"#, registry.domain);
    std::fs::write(lab.home().join("config/daemon.json"), file).unwrap();
    pulled(&lab);
    named(&lab, "hello-world", &registry.name("library/from-the-mirror"));
    let _ = lab.rdock(["push", &registry.name("library/from-the-mirror")]).ok();
    let (pulled, events) = lab.traced(["pull", "from-the-mirror"]);
    let _ = pulled.ok();
    let asked: Vec<_> = events
        .iter()
        .filter(|e| e.op == "registry.manifest.get")
        .map(|e| e.args["url"].as_str().unwrap().contains(&registry.domain))
        .collect();
    // The lab hub has not got it, the mirror has.
    assert_eq!(asked, [false, true]);
}

/// Layers as other tools pack them, and images that they and rdock give each other.
#[test]
fn skopeo_and_podman_understand_rdock_and_rdock_them() {
    let Some(lab) = lab(&[Need::Program("skopeo"), Need::Program("podman")]) else { return };
    let registry = DockerRegistry::start(&lab, "open", Kind::Open);
    pulled(&lab);
    let name = registry.name("app:rdock");
    named(&lab, "hello-world", &name);
    let digest = pushed(&lab.rdock(["push", &name]).ok());
    let other = Lab::new();
    let to = |tag: &str| format!("docker://{}", registry.name(&format!("app:{tag}")));
    let copy = |options: &[&str], tag: &str| {
        let (source, target) = (to("rdock"), to(tag));
        let plain = ["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"];
        let args = [&plain[..], options, &[&source, &target]].concat();
        let _ = program(&lab, "skopeo", &args).ok();
        let ran = other.rdock(["run", "--rm", &registry.name(&format!("app:{tag}"))]).ok();
        assert!(ran.stdout.to_lowercase().contains("hello"), "{tag}: {ran:?}");
    };
    copy(&["--format", "oci", "--dest-compress-format", "zstd"], "zstd");
    copy(&["--format", "v2s2"], "docker");
    let root = lab.file("podman");
    let storage = |dir: &str| root.join(dir).display().to_string();
    let (root, runroot) = (storage("root"), storage("run"));
    let places = ["--root", root.as_str(), "--runroot", runroot.as_str(), "--storage-driver", "vfs"];
    let podman = |args: &[&str]| program(&lab, "podman", &[&places[..], args].concat());
    let _ = podman(&["pull", "-q", "--tls-verify=false", &name]).ok();
    let seen = podman(&["image", "inspect", "--format", "{{.RepoDigests}}", &name]).ok();
    assert!(seen.stdout.contains(&digest), "{seen:?}");
    let back = registry.name("app:podman");
    let _ = podman(&["push", "-q", "--tls-verify=false", &name, &back]).ok();
    let ran = other.rdock(["run", "--rm", &back]).ok();
    assert!(ran.stdout.to_lowercase().contains("hello"), "{ran:?}");
}

/// The hub's owner reaches registries as the daemon does: with a login, with an authority of one's own.
#[test]
fn the_hub_is_filled_from_registries_that_want_a_login_or_have_an_authority_of_their_own() {
    let Some(lab) = lab(&[Need::Program("htpasswd")]) else { return };
    let guarded = DockerRegistry::start(&lab, "guarded", Kind::Guarded);
    let tls = DockerRegistry::start(&lab, "tls", Kind::Tls);
    let certificates = lab.home().join("config/certs.d").join(&tls.domain);
    std::fs::create_dir_all(&certificates).unwrap();
    pulled(&lab);
    let names = [guarded.name("app:1"), tls.name("app:1")];
    let add = |name: &str, own: &str| lab.rdock(["hub", "add", "--pull", name, "--as", own]);
    let _ = add(&names[0], "one:1").fails(1, "no basic auth credentials");
    let _ = add(&names[1], "two:1").fails(1, "tls: invalid peer certificate");

    lab.rdock_with_input(["login", "-u", "me", "--password-stdin", &guarded.domain], b"hunter2").ok();
    std::fs::copy(&tls.authority, certificates.join("ca.crt")).unwrap();
    for (name, own) in names.iter().zip(["one:1", "two:1"]) {
        named(&lab, "hello-world", name);
        let _ = lab.rdock(["push", name]).ok();
        let added = add(name, own).ok();
        assert!(added.stdout.starts_with(&format!("Added docker.io/library/{own}\nDigest: sha256:")), "{added:?}");
        let _ = lab.rdock(["pull", own]).ok();
    }
    std::fs::write(lab.home().join("config/daemon.json"), "{").unwrap();
    let _ = add(&names[0], "three:1").fails(1, "cannot understand");
}
