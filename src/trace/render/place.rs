//! Where lines stand when time alone would tell it badly: processes work side by side, and which of two that do not wait
//! for each other is first differs from run to run.

use super::fold::removes_group;
use super::layout::Line;
use super::steps::Tree;
use crate::trace::event::{Actor, TraceEvent};
use serde_json::Value;
use std::collections::HashSet;

/// - layers that come side by side stand together, the lowest first
/// - a container runs when its command has begun, and its control group goes when it has ended
/// - an answer stands with its request
pub(super) fn settle(lines: &mut [Line<'_>], tree: &Tree<'_>) {
    layers(lines, tree);
    container(lines);
    answers(lines, tree);
}

fn layers(lines: &mut [Line<'_>], tree: &Tree<'_>) {
    let stored = tree.sorted.iter().find_map(|e| e.args.get("layers").filter(|_| e.op == "image.store"));
    let order: Vec<&str> = stored.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let rank = |line: &Line<'_>| {
        let digest = line.event.text("digest").filter(|_| line.event.op == "layer.unpack" && !line.failed)?;
        order.iter().position(|d| *d == digest)
    };
    let Some(end) = lines.iter().filter(|line| rank(line).is_some()).map(|line| line.at).max() else { return };
    for line in lines {
        if let Some(rank) = rank(line) {
            line.at = end.saturating_sub((order.len() - rank) as u64);
        }
    }
}

fn container(lines: &mut [Line<'_>]) {
    let last = |lines: &[Line<'_>], op: &str| {
        lines.iter().filter(|line| line.event.op == op && !line.event.failed()).map(|line| line.at).max()
    };
    let (begun, ended) = (last(lines, "kernel.execve"), last(lines, "container.exit"));
    for line in lines {
        if let Some(begun) = begun.filter(|_| line.event.op == "container.start" && !line.failed) {
            line.at = begun + 1;
        }
        if let Some(ended) = ended.filter(|_| removes_group(line.event)) {
            line.at = line.at.max(ended + 1);
        }
    }
}

/// Beside the last thing that the daemon did before it answered, or beside the request itself: an answer may also come
/// while the daemon goes on.
fn answers(lines: &mut [Line<'_>], tree: &Tree<'_>) {
    let mut answered: HashSet<&str> = HashSet::new();
    for index in 0..lines.len() {
        let event = lines[index].event;
        if event.op != "api.answer" {
            continue;
        }
        // The request's path has the version before it.
        let same = |e: &TraceEvent| route(event).is_none_or(|own| route(e).is_some_and(|path| path.ends_with(own)));
        let asks = |e: &&&TraceEvent| {
            e.op == "api.request" && e.ts <= event.ts && same(e) && !answered.contains(e.span.as_str())
        };
        let Some(request) = tree.sorted.iter().rev().find(asks).copied() else { continue };
        answered.insert(&request.span);
        // What follows from the container's end is no part of what was asked for, even if it was quick.
        let end = tree.sorted.iter().find(|e| e.op == "container.exit" && within(e, request, tree)).map(|e| e.ts);
        let done = lines.iter().filter(|line| {
            let step = line.event;
            let before = step.end() <= event.ts && end.is_none_or(|end| step.ts < end);
            step.actor == Actor::Daemon && before && within(step, request, tree)
        });
        let place = done.map(|line| line.at).max();
        lines[index].at = place.unwrap_or(request.ts);
    }
}

fn route(event: &TraceEvent) -> Option<&str> {
    event.text("path")?.split('?').next()
}

fn within(step: &TraceEvent, request: &TraceEvent, tree: &Tree<'_>) -> bool {
    const DEEPEST: usize = 16;
    let mut around = tree.parent(step);
    for _ in 0..DEEPEST {
        match around {
            Some(step) if step.span == request.span => return true,
            Some(step) => around = tree.parent(step),
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::trace::event::{Actor, Outcome, TraceEvent};
    use crate::trace::render::tests::at;
    use crate::trace::render::{Style, flow};
    use serde_json::json;

    /// A step within the request that starts a container.
    fn event(op: &str, actor: Actor, ts: u64, dur: u64) -> TraceEvent {
        let parent = (actor != Actor::Client).then(|| "1".to_owned());
        let mut event = TraceEvent { op: op.into(), actor, parent, span: format!("s{ts}"), ..at(1, ts, dur) };
        event.summary = op.to_owned();
        event
    }

    fn request(path: &str, ts: u64) -> TraceEvent {
        let mut event = TraceEvent { span: "1".into(), ..event("api.request", Actor::Client, ts, 1) };
        event.args.insert("path".into(), json!(path));
        event
    }

    fn answer(path: &str, ts: u64, text: &str) -> TraceEvent {
        let mut event = event("api.answer", Actor::Client, ts, 1);
        event.args.insert("path".into(), json!(path));
        event.summary = text.to_owned();
        event
    }

    /// The words of the lines, without lanes, numbers and gaps.
    fn told(events: &[TraceEvent]) -> Vec<String> {
        let text = flow(events, &Style::plain(100));
        let steps = text.lines().take_while(|line| !line.is_empty());
        steps.map(|line| line[16..].split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn a_container_that_is_gone_before_the_daemon_answers_is_told_in_the_same_order() {
        let story = |answered: u64| {
            let mut exec = event("kernel.execve", Actor::Runtime, 20, 0);
            exec.result = None;
            exec.args.insert("pathname".into(), json!("/hello"));
            exec.args.insert("argv".into(), json!(["/hello"]));
            let mut group = event("kernel.unlinkat", Actor::Runtime, 35, 1);
            group.args.insert("pathname".into(), json!("/sys/fs/cgroup/pids/rdock-1-2"));
            let path = "/containers/2/start";
            [
                request("/v1.47/containers/2/start", 10),
                event("container.start", Actor::Daemon, 12, 30),
                exec,
                group,
                event("container.exit", Actor::Container, 45, 2),
                event("container.remove", Actor::Daemon, 50, 5),
                answer(path, answered, "◀── 204"),
            ]
        };
        let wanted = [
            "api.request",
            "becomes /hello execve",
            "container.start ◀── 204",
            "container.exit",
            "removes the control group: it is empty now",
            "container.remove",
        ];
        for answered in [43, 48, 90] {
            assert_eq!(told(&story(answered)), wanted, "{answered}");
        }
    }

    #[test]
    fn an_answer_that_comes_while_the_daemon_goes_on_stands_with_its_request() {
        let events = [
            request("/v1.47/images/create?fromImage=a", 10),
            event("image.pull", Actor::Daemon, 12, 50),
            event("registry.manifest.get", Actor::Registry, 14, 3),
            answer("/images/create", 30, "◀── 200"),
        ];
        assert_eq!(told(&events), ["api.request ◀── 200", "image.pull", "registry.manifest.get"]);
    }

    #[test]
    fn layers_stand_in_the_order_of_the_image() {
        let layer = |digest: &str, ts: u64| {
            let mut event = event("layer.unpack", Actor::Layer, ts, 1);
            event.args.insert("digest".into(), json!(digest));
            event.summary = digest.to_owned();
            event
        };
        let mut stored = event("image.store", Actor::Layer, 40, 1);
        stored.args.insert("layers".into(), json!(["sha256:a", "sha256:b", "sha256:c"]));
        stored.result = Some(Outcome::Ok { ok: json!(null) });
        let events = [layer("sha256:c", 10), layer("sha256:a", 20), layer("sha256:b", 30), stored];
        assert_eq!(told(&events), ["sha256:a", "sha256:b", "sha256:c", "image.store"]);
    }
}
