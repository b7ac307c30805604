//! The document's own session, from "a new container" to `inspect`, in its order: each command is typed as there (`rdock`
//! for `docker`), and what comes is compared with what the document shows. Ids, times and generated names are named on
//! both sides alike; what is left to differ is in [`DEVIATIONS`], and published ports are not here yet.

use super::support::beside::normal::Memory;
use super::support::lab::run;
use super::support::need::Need;
use super::support::terminal::Terminal;
use super::support::{Answer, Lab, need};
use serde_json::Value;
use std::collections::BTreeSet;

/// (what, the document's, ours, why)
const DEVIATIONS: &[(&str, &str, &str, &str)] =
    &[("ps -a", "d2c94e258dcb", "hello-world", "the document's image had lost its name by then")];

/// Where a value of `inspect` is not the document's, and why. Every key of the document has to be there.
const VALUES: &[(&str, &str)] = &[
    ("/Id", "another container"),
    ("/Created", "another time"),
    ("/Name", "generated"),
    ("/State/Pid", "another process"),
    ("/State/StartedAt", "another time"),
    ("/Image", "the lab's stand-in for centos"),
    ("/ResolvConfPath", "another directory"),
    ("/HostnamePath", "another directory"),
    ("/HostsPath", "another directory"),
    ("/LogPath", "another directory"),
    (
        "/HostConfig/CgroupnsMode",
        "the document's host had version 1 alone, where Docker shares the host's view; ours is private",
    ),
    ("/HostConfig/Ulimits", "today's client sends an empty list"),
    ("/HostConfig/Runtime", "the runtime is rdock's own"),
    ("/GraphDriver/Data", "other directories"),
    ("/Config/Hostname", "another container"),
    ("/Config/Labels", "the lab's stand-in for centos"),
    ("/NetworkSettings", "no network but loopback yet"),
];

fn lab() -> Option<Lab> {
    need(&[Need::Root]).then(|| Lab::new().with_image("centos").with_image("hello-world"))
}

/// A terminal with the document's window.
fn bash(lab: &Lab) -> (Terminal, String) {
    let mut terminal = Terminal::rdock(lab, &["run", "-it", "centos", "/bin/bash"], 46, 150);
    let text = terminal.expect(" /]# ");
    let at = text.rfind("[root@").unwrap();
    (terminal, text[at + 6..at + 18].to_owned())
}

/// Compares after both were normalised.
struct Session {
    lab: Lab,
    theirs: Memory,
    ours: Memory,
    used: BTreeSet<usize>,
}

impl Session {
    fn names(&mut self) {
        self.theirs.learn_names(
            ["elegant_kirch", "bold_chebyshev", "vigorous_gagarin", "ecstatic_keller", "funny_clarke"].into_iter(),
        );
        let names = self.lab.rdock(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout;
        self.ours.learn_names(names.lines());
    }

    /// `rdock ARGS…` answers as the document shows.
    #[track_caller]
    fn shows(&mut self, args: &[&str], document: &str) {
        let answer = self.lab.rdock(args.iter().map(|a| self.ours.resolve(a)));
        self.names();
        let mut expected = self.theirs.normalise(document);
        for (n, (_, theirs, ours, _)) in DEVIATIONS.iter().enumerate().filter(|(_, d)| args.join(" ") == d.0) {
            let theirs = self.theirs.normalise(theirs);
            if expected.contains(&theirs) {
                expected = expected.replace(&theirs, ours);
                self.used.insert(n);
            }
        }
        let found = self.ours.normalise(&format!("{}{}", answer.stdout, answer.stderr));
        assert_eq!(squeezed(&found), squeezed(&expected), "rdock {}", args.join(" "));
    }

    fn shell(&self, line: &str) -> Answer {
        let mut command = self.lab.program("sh");
        let bin = std::path::Path::new(super::support::lab::RDOCK).parent().unwrap();
        let path = format!("{}:{}", bin.display(), super::support::lab::PATH);
        command.args(["-c", line]).env("PATH", path);
        run(command, b"")
    }
}

/// The document's blank lines and column widths are its typesetting.
fn squeezed(text: &str) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(words).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n")
}

const HEADER: &str = "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n";

#[test]
fn the_documents_session_reads_as_in_the_document() {
    let Some(lab) = lab() else { return };
    let theirs = Memory::new(["d2c94e258dcb".to_owned()].into(), vec![]);
    let mut s = Session { lab, theirs, ours: Memory::default(), used: BTreeSet::new() };
    let _ = s.lab.rdock(["run", "hello-world"]).ok();

    // Start and enter a container; leave it.
    let (mut terminal, first) = bash(&s.lab);
    terminal.send("ls\r");
    let listed = terminal.expect("[root@");
    let document =
        "bin  dev  etc  home  lib  lib64  lost+found  media  mnt  opt  proc  root  run  sbin  srv  sys  tmp  usr  var";
    let names = |text: &str| -> BTreeSet<String> {
        text.split_whitespace()
            .filter(|w| !w.contains("[root@") && *w != "ls")
            .map(strip_codes)
            .filter(|w| !w.is_empty())
            .collect()
    };
    assert_eq!(names(&listed), names(document), "{listed:?}");
    terminal.send("exit\r");
    let (status, shown) = terminal.end();
    assert!(status == 0 && shown.ends_with("exit\r\n"), "{shown:?}");
    assert_eq!(
        (s.ours.normalise(&first), s.theirs.normalise("82893955fb41")),
        ("<short id 1>".into(), "<short id 1>".into())
    );

    s.shows(&["ps"], HEADER);
    s.shows(
        &["ps", "-a"],
        "CONTAINER ID   IMAGE          COMMAND       CREATED         STATUS                          PORTS     NAMES\n\
         82893955fb41   centos         \"/bin/bash\"   3 minutes ago   Exited (0) About a minute ago             elegant_kirch\n\
         0a5890a6d948   d2c94e258dcb   \"/hello\"      9 hours ago     Exited (0) 9 hours ago                    bold_chebyshev\n",
    );
    s.shows(
        &["ps", "-n=1"],
        "CONTAINER ID   IMAGE     COMMAND       CREATED         STATUS                     PORTS     NAMES\n\
         82893955fb41   centos    \"/bin/bash\"   6 minutes ago   Exited (0) 4 minutes ago             elegant_kirch\n",
    );
    s.shows(&["ps", "-aq"], "82893955fb41\n0a5890a6d948\n");

    // Ctrl-P Ctrl-Q leaves it running.
    let (mut terminal, left) = bash(&s.lab);
    terminal.send("docker ps\r");
    terminal.expect("bash: docker: command not found\r\n");
    terminal.expect(" /]# ");
    terminal.send("\x10\x11");
    assert_eq!(terminal.end().0, 0);
    s.shows(
        &["ps"],
        "CONTAINER ID   IMAGE     COMMAND       CREATED         STATUS         PORTS     NAMES\n\
         4bdda8d6242e   centos    \"/bin/bash\"   8 minutes ago   Up 8 minutes             vigorous_gagarin\n",
    );

    // Remove: one, one that runs, all.
    let _ = s.lab.rdock(["rm", &left]).fails(1, "You cannot remove a running container");
    s.lab.rdock(["rm", &first]).is(0, &format!("{first}\n"), "");
    assert_eq!(s.shell("rdock rm -f $(rdock ps -aq)").ok().stdout.lines().count(), 2);
    let _ = s.lab.rdock(["create", "centos"]).ok();
    assert_eq!(s.shell("rdock ps -a -q | xargs rdock rm").ok().stdout.lines().count(), 1);
    s.shows(&["ps", "-a"], HEADER);

    // Start and stop.
    let (mut terminal, _) = bash(&s.lab);
    terminal.send("exit\r");
    terminal.end();
    s.shows(
        &["os"],
        "docker: 'os' is not a docker command.\nSee 'docker --help'\n".replace("docker", "rdock").as_str(),
    );
    s.shows(&["ps"], HEADER);
    s.shows(
        &["ps", "-a"],
        "CONTAINER ID   IMAGE     COMMAND       CREATED          STATUS                      PORTS     NAMES\n\
         a54518f477e9   centos    \"/bin/bash\"   56 seconds ago   Exited (0) 49 seconds ago             ecstatic_keller\n",
    );
    let stopped = s.lab.rdock(["ps", "-aq"]).ok().stdout.trim().to_owned();
    s.shows(&["start", &stopped], "a54518f477e9\n");
    s.shows(
        &["ps"],
        "CONTAINER ID   IMAGE     COMMAND       CREATED              STATUS         PORTS     NAMES\n\
         a54518f477e9   centos    \"/bin/bash\"   About a minute ago   Up 6 seconds             ecstatic_keller\n",
    );
    s.shows(&["stop", &stopped], "a54518f477e9\n");
    s.shows(&["ps"], HEADER);
    s.lab.rdock(["start", &stopped]).ok();
    s.shows(&["kill", &stopped], "a54518f477e9\n");

    // In the background, with nothing to do: it ends at once.
    let id = s.lab.rdock(["run", "-d", "centos"]).ok().stdout;
    assert!(id.len() == 65 && id.trim().bytes().all(|b| b.is_ascii_hexdigit()), "{id:?}");
    s.lab.rdock(["wait", id.trim()]).is(0, "0\n", "");
    s.shows(&["ps"], HEADER);
    let _ = s.lab.rdock(["run", "--name", "talks", "centos", "sh", "-c", "echo one; echo two; echo three"]).ok();
    let log = s.lab.rdock(["logs", "-f", "-t", "--tail", "2", "talks"]).ok().stdout;
    assert_eq!(Memory::default().normalise(&log), "<time> two\n<time> three\n");

    inspected(&s.lab);
    assert_eq!(s.used.len(), DEVIATIONS.len(), "a row that nothing needs any more");
}

/// Without what only a terminal understands: `ESC [`, parameters, a letter.
fn strip_codes(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(at) = rest.find("\x1b[") {
        out.push_str(&rest[..at]);
        rest = rest[at + 2..].trim_start_matches(|c: char| !c.is_ascii_alphabetic());
        rest = rest.get(1..).unwrap_or("");
    }
    out + rest
}

/// `inspect` of a container that runs has every field of the document.
fn inspected(lab: &Lab) {
    let (mut terminal, id) = bash(lab);
    terminal.send("\x10\x11");
    terminal.end();
    let answer: Value = serde_json::from_str(&lab.rdock(["inspect", &id]).ok().stdout).unwrap();
    let document: Value = serde_json::from_str(include_str!("inspect.json")).unwrap();
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    differences("", &document[0], &answer[0], &mut used, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unused: Vec<_> = VALUES.iter().map(|v| v.0).filter(|path| !used.contains(path)).collect();
    assert!(unused.is_empty(), "not needed any more: {unused:?}");
}

fn differences(at: &str, theirs: &Value, ours: &Value, used: &mut BTreeSet<&'static str>, wrong: &mut Vec<String>) {
    if let (Value::Object(theirs), Value::Object(_)) = (theirs, ours) {
        for (key, value) in theirs {
            let below = format!("{at}/{key}");
            match ours.get(key) {
                Some(ours) => differences(&below, value, ours, used, wrong),
                None => match VALUES.iter().find(|v| below.starts_with(v.0) && v.0 != below) {
                    Some(row) => drop(used.insert(row.0)),
                    None => wrong.push(format!("{below} is not there")),
                },
            }
        }
        return;
    }
    if theirs != ours {
        match VALUES.iter().find(|v| at.starts_with(v.0)) {
            Some(row) => drop(used.insert(row.0)),
            None => wrong.push(format!("{at}: {theirs} in the document, {ours} here")),
        }
    }
}
