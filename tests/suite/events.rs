//! `events`: what happened, what happens, in Docker's words, through both clients.

use super::support::need::Need;
use super::support::{Lab, need};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

fn lab() -> Option<Lab> {
    need(&[Need::Root]).then(|| {
        let lab = Lab::new();
        lab.start_daemon();
        lab
    })
}

/// As the API wants it, to the nanosecond.
fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

/// `container start (name=web)`: without the time and the id.
fn told(line: &str) -> String {
    let mut words = line.splitn(5, ' ');
    let (time, kind, action) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    assert!(time.len() >= 30 && time.contains('T'), "{line}");
    let _id = words.next();
    let attributes = words.next().unwrap_or_default().trim_start_matches('(').trim_end_matches(')');
    // Not those that the image gives its containers, nor what depends on the machine's speed.
    let own = |a: &&str| a.contains('=') && !a.starts_with("org.") && !a.starts_with("execDuration=");
    let own: Vec<&str> = attributes.split(", ").filter(own).collect();
    format!("{kind} {action} ({})", own.join(", "))
}

#[test]
fn what_happened_is_replayed_in_order_and_filtered() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    let _ = lab.rdock(["run", "--name", "web", "-l", "tier=front", "centos", "true"]).ok();
    let _ = lab.rdock(["rm", "web"]).ok();
    let all = lab.rdock(["events", "--since", "1h", "--until", &now()]).ok().stdout;
    let lines: Vec<String> = all.lines().map(told).collect();
    let of = |besides: &str| format!("({besides}image=centos, name=web, tier=front)");
    assert_eq!(
        lines,
        [
            "image pull (name=centos)".to_owned(),
            format!("container create {}", of("")),
            format!("container attach {}", of("")),
            format!("container start {}", of("")),
            format!("container die {}", of("exitCode=0, ")),
            format!("container destroy {}", of("")),
        ]
    );
    let filtered = |filter: &[&str]| {
        let now = now();
        let filters = filter.iter().flat_map(|f| ["--filter", f]);
        let words = ["events", "--since", "1h", "--until", &now].into_iter().chain(filters);
        lab.rdock(words)
            .ok()
            .stdout
            .lines()
            .map(told)
            .map(|l| l.split(' ').nth(1).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(filtered(&["event=die", "event=start", "container=web"]), ["start", "die"]);
    assert_eq!(filtered(&["type=image"]), ["pull"]);
    assert!(filtered(&["label=tier=back"]).is_empty());
    let _ =
        lab.rdock(["events", "--filter", "colour=red"]).fails(1, "Error response from daemon: invalid filter 'colour'");
    let _ = lab.rdock(["events", "--since", "soon"]).fails(1, "failed to parse value as time or duration: \"soon\"");
    let json =
        lab.rdock(["events", "--since", "1h", "--until", &now(), "--filter", "event=die", "--format", "json"]).ok();
    let event: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&event["status"], &event["from"], &event["scope"]), (&"die".into(), &"centos".into(), &"local".into()));
}

#[test]
fn who_listens_is_told_while_it_happens() {
    let Some(lab) = lab() else { return };
    let lab = lab.with_image("centos");
    // Whether or not it listens before the first event: from then on is what it asks for.
    let mut listening = lab.command(["events", "--filter", "type=container", "--since", &now()]);
    let mut listening = super::support::lab::Background(listening.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(listening.0.stdout.take().unwrap()).lines().map(|line| told(&line.unwrap()));
    let _ = lab.rdock(["run", "-d", "--name", "bg", "centos", "sleep", "1000"]).ok();
    let _ = lab.rdock(["stop", "-t", "0", "bg"]).ok();
    let _ = lab.rdock(["rm", "bg"]).ok();
    let mut heard = vec![];
    while heard.last().is_none_or(|l: &String| !l.starts_with("container destroy")) {
        heard.push(lines.next().unwrap());
    }
    let actions: Vec<&str> = heard.iter().map(|l| l.split(' ').nth(1).unwrap()).collect();
    assert_eq!(actions, ["create", "start", "kill", "kill", "die", "stop", "destroy"], "{heard:#?}");
    assert!(heard[2].contains("signal=15") && heard[3].contains("signal=9") && heard[4].contains("exitCode=137"));
}
