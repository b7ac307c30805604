//! What a test needs of the machine. What is missing is said, counted, and in CI it is a failure.

use std::io::Write as _;

/// Something that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Root,
    Strace,
    DockerCli,
    /// A real Docker engine to start beside rdock: dockerd, containerd, runc, the docker command, ip.
    Dockerd,
    /// Any other program that something is tried with, such as skopeo.
    Program(&'static str),
    /// util-linux: setpriv, unshare
    UtilLinux,
    /// Somebody else than root, who may make user namespaces.
    OrdinaryUser,
}

impl Need {
    /// Why it can't be had here; `None` when it is there.
    fn missing(self) -> Option<String> {
        let program = |name: &str| (!on_path(name)).then(|| format!("{name} is not installed"));
        match self {
            Need::Root => (!nix::unistd::geteuid().is_root()).then(|| "needs root".to_owned()),
            Need::Strace => program("strace").or_else(strace_may_not_trace),
            Need::DockerCli => program("docker"),
            Need::Dockerd => ["docker", "dockerd", "containerd", "runc", "ip", "unshare"].into_iter().find_map(program),
            Need::Program(name) => program(name),
            Need::UtilLinux => program("setpriv").or_else(|| program("unshare")),
            Need::OrdinaryUser => Need::Root.missing().or_else(|| program("setpriv")).or_else(no_user_namespaces),
        }
    }

    /// Whether `.ci/run` sees to it, so that its absence there is a failure and not a skip. Other engines and tools
    /// are installed there too if that works: they are for comparing, and too big to depend on.
    fn ci_provides(self) -> bool {
        !matches!(self, Need::DockerCli | Need::Dockerd | Need::Program(_))
    }
}

/// Whether all of `needs` are there. If not, says so where it is seen (also when the harness captures output) and
/// notes it for the summary of `.ci/run`. To be used as `if !need(&[…]) { return; }`.
#[must_use]
pub fn need(needs: &[Need]) -> bool {
    let Some((need, why)) = needs.iter().find_map(|n| Some((n, n.missing()?))) else {
        return true;
    };
    let must_run = std::env::var_os("RDOCK_TESTS_MUST_RUN").is_some_and(|v| v == "1");
    assert!(!(must_run && need.ci_provides()), "RDOCK_TESTS_MUST_RUN=1, and {why}");
    skipped(&why);
    false
}

/// Notes a skip.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED: {test}: {why}\n");
    // Straight to the descriptor: the harness shows nothing of a test that passes.
    let _ = std::io::stderr().write_all(line.as_bytes());
    let list = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped.txt");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(list);
    let _ = file.and_then(|mut f| f.write_all(line.as_bytes()));
}

/// Whether a program is in PATH.
pub fn on_path(name: &str) -> bool {
    super::lab::PATH.split(':').any(|dir| std::path::Path::new(dir).join(name).is_file())
}

fn strace_may_not_trace() -> Option<String> {
    let quiet = std::process::Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    (!quiet.is_ok_and(|o| o.status.success())).then(|| "strace may not trace here (ptrace is forbidden)".to_owned())
}

fn no_user_namespaces() -> Option<String> {
    let tried = std::process::Command::new("setpriv")
        .args([
            "--reuid=65432",
            "--regid=65432",
            "--clear-groups",
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "true",
        ])
        .output();
    (!tried.is_ok_and(|o| o.status.success())).then(|| "an ordinary user may not make user namespaces here".to_owned())
}

#[test]
fn what_is_there_is_not_missing() {
    assert!(need(&[Need::Program("sh")]));
    assert!(on_path("sh"));
    assert!(!on_path("no-such-program"));
}
