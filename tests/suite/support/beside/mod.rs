//! Side by side: the same `docker` command lines on a real dockerd and on rdock, and the answers must be the same.
//!
//! ```text
//! let Some(mut beside) = Beside::new("logs", &["centos"]) else { return };
//! beside.same(&["run", "--network", "none", "--name", "one", "centos", "echo", "hi"]);
//! let listed = beside.same(&["ps", "-a"]);           // what both said, normalised
//! beside.same(&["rm", "<id 1>"]);                    // the id that each side showed first
//! ```
//!
//! Both sides are asked through the API version of the older one, by the same program. Each has a directory of its own
//! to work in. What must differ is named (`normal`), what may differ is in one table (`deviations`).

pub mod deviations;
pub mod normal;
pub mod peer;

use super::lab::{Answer, PATH, run};
use super::need::{Need, need, skipped};
use super::{Lab, hub::HubStore};
use deviations::{DEVIATIONS, Deviation};
use normal::Memory;
use peer::Peer;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::MutexGuard;

/// What dockerd 20.10 speaks. The client asks both in the same words.
const API: &str = "1.41";

/// One engine with the client that asks it.
struct Side {
    name: &'static str,
    program: &'static str,
    env: Vec<(String, String)>,
    /// Where its commands work, and their HOME.
    dir: PathBuf,
    memory: Memory,
}

/// A session on both.
pub struct Beside {
    test: &'static str,
    lab: Lab,
    /// dockerd first.
    sides: Vec<Side>,
    used: BTreeSet<usize>,
    peer: &'static Peer,
    /// Goes last: the next test may begin.
    _turn: MutexGuard<'static, ()>,
}

impl Beside {
    /// A session in which both sides have these images of the lab and no containers. `test` is what the table of
    /// deviations calls it. `None` if this machine can't: then that has been said.
    pub fn new(test: &'static str, images: &[&str]) -> Option<Beside> {
        if !need(&[Need::Root, Need::Dockerd]) {
            return None;
        }
        let (peer, turn) = match peer::shared() {
            Ok(shared) => shared,
            Err(why) => {
                skipped(&why);
                return None;
            }
        };
        peer.reset(images);
        let lab = Lab::new();
        lab.start_daemon();
        for image in images {
            lab.rdock(["pull", "-q", image]).ok();
        }
        let known = known(&lab, images);
        let sides = vec![
            Side::new("dockerd", "docker", &lab, peer.host(), peer.dir(), known.clone()),
            Side::new("rdock", "docker", &lab, lab.host(), lab.home(), known),
        ];
        Some(Beside { test, lab, sides, used: BTreeSet::new(), peer, _turn: turn })
    }

    /// The environment of rdock's side.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    pub fn peer(&self) -> &Peer {
        self.peer
    }

    /// The directories that the commands of dockerd's and of rdock's side work in, in this order.
    pub fn dirs(&self) -> [&Path; 2] {
        [&self.sides[0].dir, &self.sides[1].dir]
    }

    /// Writes the same file into both directories.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) {
        for dir in self.dirs() {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents.as_ref()).unwrap();
        }
    }

    /// `docker ARGS…` on both: same standard output, standard error and status. Gives back what both said, normalised.
    #[track_caller]
    pub fn same(&mut self, args: &[&str]) -> Answer {
        self.same_with_input(args, b"")
    }

    #[track_caller]
    pub fn same_with_input(&mut self, args: &[&str], input: &[u8]) -> Answer {
        self.same_but(args, input, |text| text)
    }

    /// As [`Beside::same`], after a filter of the test's own has been over each normalised text.
    #[track_caller]
    pub fn same_but(&mut self, args: &[&str], input: &[u8], filter: impl Fn(String) -> String) -> Answer {
        let raw = self.raw_with_input(args, input);
        let mut answers = Vec::new();
        for (side, answer) in self.sides.iter_mut().zip(raw) {
            let mut tidy = |text: &str| filter(side.memory.normalise(text));
            let (stdout, stderr) = (tidy(&answer.stdout), tidy(&answer.stderr));
            answers.push(Answer { stdout, stderr, status: answer.status });
        }
        let ours = answers.pop().unwrap();
        let theirs = answers.pop().unwrap();
        self.compare(args, &theirs, &ours);
        ours
    }

    /// What each side says as it is, dockerd's first, compared with nothing.
    pub fn raw(&mut self, args: &[&str]) -> [Answer; 2] {
        self.raw_with_input(args, b"")
    }

    /// The standard output of each side as it is, for what is no text.
    pub fn raw_bytes(&mut self, args: &[&str]) -> [Vec<u8>; 2] {
        let bytes: Vec<_> = self.sides.iter().map(|s| s.command(args).output().unwrap().stdout).collect();
        bytes.try_into().unwrap()
    }

    fn raw_with_input(&mut self, args: &[&str], input: &[u8]) -> [Answer; 2] {
        let commands: Vec<Command> = self.sides.iter().map(|s| s.command(args)).collect();
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let running: Vec<_> = commands.into_iter().map(|c| scope.spawn(|| run(c, input))).collect();
            running.into_iter().map(|r| r.join().unwrap()).collect()
        });
        for (side, answer) in self.sides.iter_mut().zip(&answers) {
            side.learn_names(answer);
        }
        answers.try_into().unwrap()
    }

    #[track_caller]
    fn compare(&mut self, args: &[&str], theirs: &Answer, ours: &Answer) {
        let (mut expected, found) = (text(theirs), text(ours));
        if expected == found {
            return;
        }
        let line = args.join(" ");
        for (n, row) in rows(self.test).filter(|(_, row)| line.starts_with(row.when)) {
            if expected.contains(row.docker) {
                expected = expected.replacen(row.docker, row.rdock, 1);
                self.used.insert(n);
            }
        }
        assert!(
            expected == found,
            "docker {line}\n=== {} (deviations of {:?} applied)\n{expected}\n=== {}\n{found}\n=== daemon.log\n{}",
            self.sides[0].name,
            self.test,
            self.sides[1].name,
            self.lab.daemon_log(),
        );
    }
}

impl Drop for Beside {
    /// A row that nothing needed is wrong, or hides what will be wrong.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let unused: Vec<_> = rows(self.test).filter(|(n, _)| !self.used.contains(n)).map(|(_, row)| row.why).collect();
        assert!(unused.is_empty(), "rows of {:?} that nothing needed: {unused:?}", self.test);
    }
}

fn rows(test: &str) -> impl Iterator<Item = (usize, &'static Deviation)> {
    DEVIATIONS.iter().enumerate().filter(move |(_, row)| row.test == test)
}

/// One text for all of an answer.
fn text(answer: &Answer) -> String {
    format!("status {}\n--- stdout\n{}--- stderr\n{}", answer.status, answer.stdout, answer.stderr)
}

/// The hexadecimal part of what is the same on both sides: image ids and diff ids.
fn known(lab: &Lab, images: &[&str]) -> BTreeSet<String> {
    let hub = HubStore::of(lab);
    let mut known = BTreeSet::new();
    for image in images {
        let (digest, config) = hub.config(image);
        known.insert(digest);
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        let diffs = config["rootfs"]["diff_ids"].as_array().unwrap().iter();
        known.extend(diffs.map(|d| d.as_str().unwrap().to_owned()));
    }
    known.iter().map(|d| d.trim_start_matches("sha256:").to_owned()).collect()
}

impl Side {
    fn new(
        name: &'static str,
        program: &'static str,
        lab: &Lab,
        host: String,
        root: &Path,
        known: BTreeSet<String>,
    ) -> Side {
        let dir = lab.file(&format!("beside-{name}"));
        std::fs::create_dir_all(&dir).unwrap();
        let data = root.join("data").display().to_string();
        let texts = vec![(dir.display().to_string(), "<dir>"), (data, "<root>"), (host.clone(), "<host>")];
        let env = vec![
            ("PATH".to_owned(), PATH.to_owned()),
            ("HOME".to_owned(), dir.display().to_string()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("COLUMNS".to_owned(), "100".to_owned()),
            ("DOCKER_HOST".to_owned(), host),
            ("DOCKER_API_VERSION".to_owned(), API.to_owned()),
        ];
        Side { name, program, env, dir, memory: Memory::new(known, texts) }
    }

    fn command<S: AsRef<str>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(self.program);
        command.env_clear().envs(self.env.iter().cloned()).current_dir(&self.dir).stdin(std::process::Stdio::null());
        command.args(args.iter().map(|a| self.memory.resolve(a.as_ref())));
        command
    }

    /// Asks for the names of all containers if there is something in the answer that may be a generated one.
    fn learn_names(&mut self, answer: &Answer) {
        let words =
            |text: &str| text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(normal::looks_generated);
        if words(&answer.stdout) || words(&answer.stderr) {
            let listed = run(self.command(&["ps", "-a", "--format", "{{.Names}}"]), b"").ok();
            self.memory.learn_names(listed.stdout.lines());
        }
    }
}

/// Every row belongs to a test that exists; otherwise nothing would tell when it is not needed any more.
#[test]
fn every_deviation_belongs_to_a_test() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite");
    let mut sources = String::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten().filter(|e| e.path().is_file()) {
        let source = std::fs::read_to_string(entry.path()).unwrap();
        // The name may come to it through a function of the file's own.
        if source.contains("Beside::new(") {
            sources.push_str(&source);
        }
    }
    let unknown: Vec<_> =
        DEVIATIONS.iter().map(|d| d.test).filter(|t| !sources.contains(&format!("(\"{t}\""))).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(DEVIATIONS.iter().all(|d| !d.why.is_empty() && d.docker != d.rdock));
}
