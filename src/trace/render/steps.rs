//! From events to lines: what is told, where it stands, what is folded.

use super::fold::{self, is_file_call};
use super::layout::{Kind, Line};
use super::order::{by_time, place_of_use};
use super::outcome::cancelled;
use super::syscalls::blocks;
use super::words::Words;
use crate::trace::event::{Actor, Outcome, TraceEvent};
use std::collections::{HashMap, HashSet};

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Repeats folded, calls of the kernel as a few lines.
    Folded,
    /// Every call, every reason.
    Calls,
}

/// Deepest indentation.
const DEEPEST: usize = 3;
/// Equal steps in a row from which on they are folded, and how many of them are shown then.
const MANY: usize = 4;
const SHOWN: usize = 2;
/// File calls of one step from which on they are told by number only.
const MANY_FILES: usize = 8;

/// The events of one explanation and how they hang together.
pub(super) struct Tree<'a> {
    pub sorted: Vec<&'a TraceEvent>,
    by_span: HashMap<&'a str, &'a TraceEvent>,
    parents: HashSet<&'a str>,
}

impl<'a> Tree<'a> {
    fn new(events: &'a [TraceEvent]) -> Tree<'a> {
        Tree {
            sorted: by_time(events),
            by_span: events.iter().map(|e| (e.span.as_str(), e)).collect(),
            parents: events.iter().filter_map(|e| e.parent.as_deref()).collect(),
        }
    }

    pub(super) fn parent(&self, event: &TraceEvent) -> Option<&'a TraceEvent> {
        self.by_span.get(event.parent.as_deref()?).copied()
    }

    /// How many steps are around it. (Bounded: a stream could claim to be its own parent.)
    pub(super) fn depth(&self, event: &TraceEvent) -> usize {
        let mut depth = 0;
        let mut around = self.parent(event);
        while let Some(step) = around.filter(|_| depth < DEEPEST) {
            depth += 1;
            around = self.parent(step);
        }
        depth
    }

    /// A step tells its result: with others inside it, that is known when it ends.
    fn place(&self, event: &TraceEvent) -> u64 {
        // A request is over when it is sent; what the daemon does for it comes after it.
        let around = self.parents.contains(event.span.as_str()) && event.op != "api.request";
        if around { event.end() } else { event.ts }
    }
}

/// All lines, in order.
pub(super) fn lines<'a>(events: &'a [TraceEvent], words: &Words, detail: Detail) -> Vec<Line<'a>> {
    let tree = Tree::new(events);
    let mut lines = Vec::new();
    let pull = if detail == Detail::Folded { Pull::of(&tree) } else { Pull::default() };
    for event in tree.sorted.iter().copied().filter(|e| !e.is_call()) {
        if !pull.hides(event) {
            push_step(event, &tree, words, detail, &pull, &mut lines);
        }
    }
    let calls: Vec<(usize, &TraceEvent)> =
        tree.sorted.iter().copied().enumerate().filter(|(_, e)| e.is_call()).collect();
    let (files, rest): (Vec<_>, Vec<_>) = calls.into_iter().partition(|(_, e)| is_file_call(e));
    match detail {
        Detail::Folded => {
            let rest: Vec<&TraceEvent> = rest.into_iter().map(|(_, call)| call).collect();
            lines.extend(fold::teach(&rest, &tree, words));
            let files: Vec<&TraceEvent> = files.into_iter().map(|(_, call)| call).collect();
            lines.extend(file_lines(&files, &tree));
        }
        Detail::Calls => {
            let single = files_below(files, &mut lines);
            let mut calls = [rest, single].concat();
            calls.sort_by_key(|(place, _)| *place);
            lines.extend(blocks(&calls, |call| tree.depth(call)));
        }
    }
    let used = place_of_use(events);
    for line in &mut lines {
        line.at = used(line.event).unwrap_or(line.at);
    }
    // Stable: what is told of one event stays in order.
    lines.sort_by_key(|line| line.at);
    if detail == Detail::Folded { repeats(lines) } else { lines }
}

fn push_step<'a>(
    event: &'a TraceEvent,
    tree: &Tree<'a>,
    words: &Words,
    detail: Detail,
    pull: &Pull<'a>,
    lines: &mut Vec<Line<'a>>,
) {
    let depth = tree.depth(event);
    let mut line = Line {
        event,
        at: tree.place(event),
        actor: event.actor,
        depth,
        kind: if event.op == "api.answer" { Kind::Answer } else { Kind::Step },
        text: event.summary.clone(),
        right: String::new(),
        failed: is_failure(event),
        below: Vec::new(),
    };
    if let (Actor::Registry, Some(url)) = (event.actor, event.text("url")) {
        let method = event.text("method").unwrap_or("GET");
        let below = Vec::new();
        let address = pull.request(event).unwrap_or(url);
        let text = match detail {
            Detail::Folded => format!("──▶ {method} {}", shortened(address)),
            Detail::Calls => format!("──▶ {method} {address}"),
        };
        let (actor, kind) = (Actor::Daemon, Kind::Request);
        lines.push(Line { text, actor, kind, failed: false, at: event.ts, below, ..line.clone() });
        line.at = line.at.max(event.ts);
    }
    if let Some(text) = pull.text(event) {
        line.text = text;
    }
    line.right = [pull.right(event), lesson(event)].into_iter().flatten().collect::<Vec<_>>().join("  ");
    if line.failed {
        line.text = format!("{}  {}", words.failed, with_message(event));
    }
    if detail == Detail::Calls
        && let Some(why) = &event.why
    {
        line.below.push(format!("# {why}"));
    }
    lines.push(line);
}

fn lesson(event: &TraceEvent) -> Option<String> {
    event.lesson.as_ref().map(|lesson| format!("(lesson {lesson})"))
}

/// A miss in the flow chart is an answer, and so is what the daemon says to a request: neither is a failure of a step.
fn is_failure(event: &TraceEvent) -> bool {
    event.failed() && event.branch.is_none() && event.op != "api.answer"
}

fn with_message(event: &TraceEvent) -> String {
    match &event.result {
        Some(Outcome::Err { message, .. }) if !message.is_empty() && !event.summary.contains(message.as_str()) => {
            format!("{}: {message}", event.summary)
        }
        _ => event.summary.clone(),
    }
}

/// What a pull says of its layers, joined: a layer is asked for, checked and unpacked, and that is one line.
#[derive(Default)]
struct Pull<'a> {
    hidden: HashSet<&'a str>,
    texts: HashMap<&'a str, String>,
    requests: HashMap<&'a str, String>,
    rights: HashMap<&'a str, String>,
}

impl<'a> Pull<'a> {
    fn of(tree: &Tree<'a>) -> Pull<'a> {
        let mut pull = Pull::default();
        let steps = |op: &'static str| tree.sorted.iter().copied().filter(move |e| e.op == op);
        let good = |op: &'static str| steps(op).filter(|e| !e.failed());
        let unpacked: HashMap<&str, &TraceEvent> = good("layer.unpack").filter_map(|e| Some((digest(e)?, e))).collect();
        for verified in good("layer.verify") {
            if let Some(unpack) = digest(verified).and_then(|d| unpacked.get(d)) {
                pull.hidden.insert(&verified.span);
                pull.rights.insert(&unpack.span, "sha256 verified".to_owned());
            }
        }
        let blobs: Vec<&TraceEvent> =
            good("registry.blob.get").filter(|e| digest(e).is_some_and(|d| unpacked.contains_key(d))).collect();
        if let [first, _, ..] = blobs.as_slice()
            && let Some((base, _)) = first.text("url").and_then(|url| url.rsplit_once('/'))
            && blobs.iter().all(|b| b.text("url").is_some_and(|url| url.starts_with(base)))
        {
            pull.hidden.extend(blobs[1..].iter().map(|b| b.span.as_str()));
            pull.requests.insert(&first.span, format!("{base}/…  ({} blobs)", blobs.len()));
            pull.texts.insert(&first.span, answers(&blobs));
        }
        let exist: Vec<&TraceEvent> = good("layer.exists").collect();
        if let [first, ..] = exist.as_slice() {
            pull.hidden.extend(exist[1..].iter().map(|e| e.span.as_str()));
            let here: Vec<String> = exist.iter().filter_map(|e| digest(e)).map(short).collect();
            let all = exist.len() + steps("layer.unpack").count();
            let layers = if all == 1 { "1 layer".to_owned() } else { format!("{all} layers") };
            pull.texts.insert(&first.span, format!("{layers}, {} already here: {}", exist.len(), here.join(", ")));
        }
        // What was given up because something else failed is not the news.
        if tree.sorted.iter().any(|e| is_failure(e) && !cancelled(e)) {
            pull.hidden.extend(tree.sorted.iter().filter(|e| cancelled(e)).map(|e| e.span.as_str()));
        }
        pull
    }

    fn hides(&self, event: &TraceEvent) -> bool {
        self.hidden.contains(event.span.as_str())
    }
    fn text(&self, event: &TraceEvent) -> Option<String> {
        self.texts.get(event.span.as_str()).cloned()
    }
    fn request(&self, event: &TraceEvent) -> Option<&str> {
        self.requests.get(event.span.as_str()).map(String::as_str)
    }
    fn right(&self, event: &TraceEvent) -> Option<String> {
        self.rights.get(event.span.as_str()).cloned()
    }
}

/// The blob that a step is about: an argument of its own, or the last part of the address.
fn digest(event: &TraceEvent) -> Option<&str> {
    let of_url = || event.text("url")?.rsplit('/').next();
    event.text("digest").or_else(of_url).filter(|d| d.starts_with("sha256:"))
}

fn short(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(12).collect()
}

/// `sha256:` and the first 12 characters of a digest that stands at the end of an address.
fn shortened(address: &str) -> String {
    match address.rsplit_once("sha256:") {
        Some((before, hex)) if hex.len() == 64 => format!("{before}sha256:{}…", short(hex)),
        _ => address.to_owned(),
    }
}

/// What several blobs were answered with: the status and all bytes, or else each answer as it was told.
fn answers(blobs: &[&TraceEvent]) -> String {
    let number = |blob: &&TraceEvent, field: &str| blob.ok_field(field)?.as_u64();
    let status: Option<HashSet<u64>> = blobs.iter().map(|b| number(b, "status")).collect();
    let bytes: Option<u64> = blobs.iter().map(|b| number(b, "size")).sum();
    match (status.map(Vec::from_iter).as_deref(), bytes) {
        (Some([status]), Some(bytes)) => format!("{status}, {:.1} MB altogether", bytes as f64 / 1e6),
        _ => blobs.iter().map(|b| b.summary.as_str()).collect::<Vec<_>>().join("; "),
    }
}

/// Many file calls in one line for each kind of step that makes them (the unpacking of all layers, a removal),
/// after the last of these steps. A few are not worth a line.
fn file_lines<'a>(files: &[&'a TraceEvent], tree: &Tree<'a>) -> Vec<Line<'a>> {
    let mut groups: Vec<(Option<&str>, Vec<&'a TraceEvent>)> = Vec::new();
    for &call in files {
        let op = tree.parent(call).map(|step| step.op.as_str());
        match groups.iter_mut().find(|(of, _)| *of == op) {
            Some((_, calls)) => calls.push(call),
            None => groups.push((op, vec![call])),
        }
    }
    let line = |calls: &[&'a TraceEvent]| {
        let event = *calls.first().filter(|_| calls.len() > MANY_FILES)?;
        let at = calls.iter().map(|call| tree.parent(call).unwrap_or(call).end()).max()?;
        let (actor, depth, kind, text) = (event.actor, tree.depth(event), Kind::Step, counts(calls));
        Some(Line { event, at, actor, depth, kind, text, right: String::new(), failed: false, below: Vec::new() })
    };
    groups.iter().filter_map(|(_, calls)| line(calls)).collect()
}

/// `1742 calls for files: openat2 412, fchownat 412, …`
fn counts(files: &[&TraceEvent]) -> String {
    let mut ops: Vec<(&str, usize)> = Vec::new();
    for call in files {
        let op = call.op.trim_start_matches("kernel.");
        match ops.iter_mut().find(|(name, _)| *name == op) {
            Some((_, count)) => *count += 1,
            None => ops.push((op, 1)),
        }
    }
    ops.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let each: Vec<String> = ops.iter().map(|(op, count)| format!("{op} {count}")).collect();
    let (number, calls) = (files.len(), if files.len() == 1 { "call" } else { "calls" });
    format!("{number} {calls} of the kernel for files: {}", each.join(", "))
}

/// Many file calls of one step become one line below it; the others are given back.
fn files_below<'a>(files: Vec<(usize, &'a TraceEvent)>, lines: &mut [Line<'a>]) -> Vec<(usize, &'a TraceEvent)> {
    let mut single = Vec::new();
    let mut groups: HashMap<Option<&str>, Vec<(usize, &'a TraceEvent)>> = HashMap::new();
    for (place, call) in files {
        groups.entry(call.parent.as_deref()).or_default().push((place, call));
    }
    for (parent, group) in groups {
        let step = lines.iter_mut().find(|line| Some(line.event.span.as_str()) == parent && line.kind == Kind::Step);
        match step {
            Some(step) if group.len() > MANY_FILES => {
                let calls: Vec<&TraceEvent> = group.into_iter().map(|(_, call)| call).collect();
                step.below.push(counts(&calls));
            }
            _ => single.extend(group),
        }
    }
    single
}

/// Folds equal steps that follow each other.
fn repeats(lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    let mut folded: Vec<Line<'_>> = Vec::new();
    let same = |a: &Line<'_>, b: &Line<'_>| {
        let of = |line: &Line<'_>| (line.actor, line.kind, line.failed, line.depth);
        of(a) == of(b) && a.event.op == b.event.op && a.kind == Kind::Step && !a.failed
    };
    for run in lines.chunk_by(same) {
        if run.len() < MANY {
            folded.extend_from_slice(run);
            continue;
        }
        folded.extend_from_slice(&run[..SHOWN]);
        let more = run.len() - SHOWN;
        folded.push(Line {
            text: format!("… and {more} more of the same kind"),
            right: String::new(),
            ..run[SHOWN].clone()
        });
    }
    folded
}
