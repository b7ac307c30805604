//! Makes what differs from run to run, and from machine to machine, the same in each: for snapshots of output.
//!
//! What only has to be told apart (ids, processes, ports) becomes a stand-in of the same shape, so that the text reads as
//! a real one and columns stay where they are. What was measured or counted is not made up: a word in angle brackets
//! stands for it.
//!
//! | what | becomes |
//! | --- | --- |
//! | 64 or 12 hex characters (a container, an image), `sha256:…`, and their beginnings | others, as long, the same in each run |
//! | 32 and 16 hex characters (traces, spans, snapshots) | likewise |
//! | `pid 42`, `as process 42`, `clone3 = 42`, `/proc/42/` | 4101, 4102, … |
//! | `127.0.0.1:4711`, `localhost:4711` | `127.0.0.1:5050`, `:5051`, … |
//! | `/tmp/xyz` | `/tmp/lab`, `/tmp/lab2`, … |
//! | `rdock-267caa75-` (the tag of a home) | `rdock-1ab00001-`, … |
//! | `named cheery_kepler` | `named elegant_kirch`, … |
//! | `21 ms`, `1.2s`, 2026-01-02T03:04:05Z, the shares after `took` | `<time>` |
//! | `3.9 MB`, `482 bytes` | `<size>` |
//! | `252 files`, `863 calls`, `129 steps`, `8 places` | `<n> files`, … |
//! | `linux/amd64` | `linux/<arch>` |
//!
//! The same thing is the same stand-in everywhere, also in several texts of one [`Normaliser`].

use crate::trace::event::{Outcome, TraceEvent};
use serde_json::Value;
use std::collections::BTreeSet;

/// Replaces what varies in one text.
pub fn normalise(text: &str) -> String {
    Normaliser::new(text).text(text)
}

/// Kinds of things that keep their identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An image, a layer, a container: 64 characters, or the first of them.
    Id,
    /// 32 characters.
    Trace,
    /// 16 characters: what a snapshot directory is called.
    Short,
    Pid,
    Port,
    Tmp,
    Tag,
    Name,
    /// A descriptor that a call of the kernel gave or took.
    Fd,
}
const KINDS: usize = 9;

/// The names that containers get, in this order.
const CONTAINERS: [&str; 6] =
    ["elegant_kirch", "bold_chebyshev", "eager_edison", "happy_turing", "quiet_noether", "witty_hopper"];

/// Remembers what stands for what.
pub struct Normaliser {
    /// Texts of 64 hex characters: shorter ones that they begin with are the same thing.
    long: BTreeSet<String>,
    seen: [Vec<String>; KINDS],
    /// Things have their stand-ins already; only what was measured is replaced.
    measured_only: bool,
}

fn is_hex(c: char) -> bool {
    matches!(c, '0'..='9' | 'a'..='f')
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The longest beginning whose characters are all of a kind.
fn span(text: &str, of: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !of(c)).unwrap_or(text.len())]
}

impl Normaliser {
    /// `texts`: all that will be normalised, as far as it is known, so that a short id that comes before the long one
    /// is known for its beginning.
    pub fn new(texts: &str) -> Normaliser {
        let mut normaliser = Normaliser { long: BTreeSet::new(), seen: Default::default(), measured_only: false };
        normaliser.learn(texts);
        normaliser
    }

    /// More texts that will be normalised: what they have in common with earlier ones keeps its stand-in.
    pub fn learn(&mut self, texts: &str) {
        let words = texts.split(|c| !is_word(c));
        self.long.extend(words.filter(|word| word.len() == 64 && word.chars().all(is_hex)).map(str::to_owned));
    }

    /// A text for people.
    pub fn text(&mut self, text: &str) -> String {
        text.split_inclusive('\n').map(|line| self.line(line)).collect()
    }

    /// Events, to be drawn: stand-ins and all, the drawing is as it would be on a machine where these are the values.
    /// What the drawing computes itself (times, sums) is for [`Normaliser::measured`].
    pub fn events(&mut self, events: &[TraceEvent]) -> Vec<TraceEvent> {
        events.iter().map(|event| self.event(event)).collect()
    }

    /// A drawing of such events.
    pub fn measured(&mut self, drawing: &str) -> String {
        self.measured_only = true;
        let text = self.text(drawing);
        self.measured_only = false;
        text
    }

    fn event(&mut self, event: &TraceEvent) -> TraceEvent {
        let mut value = serde_json::to_value(event).unwrap_or_default();
        self.value("", &mut value);
        let mut event: TraceEvent = serde_json::from_value(value).unwrap_or_else(|_| event.clone());
        if event.op == "lab.images"
            && let Some(at) = event.summary.find(", without ")
        {
            // What the host of the lab has not got.
            event.summary.truncate(at);
        }
        if event.is_call() {
            event.dur = None;
            self.descriptors(&mut event);
        }
        event
    }

    /// Which descriptors are free differs with what a process has inherited.
    fn descriptors(&mut self, call: &mut TraceEvent) {
        let opens = matches!(call.op.as_str(), "kernel.openat2" | "kernel.open_tree");
        let given = match &mut call.result {
            Some(Outcome::Ok { ok }) if opens => Some(ok),
            _ => None,
        };
        let taken = ["fd", "oldfd", "from_dfd"];
        let args = call.args.iter_mut().filter(|(key, _)| taken.contains(&key.as_str())).map(|(_, value)| value);
        for fd in args.chain(given).filter(|fd| fd.as_u64().is_some_and(|fd| fd > 2)) {
            *fd = self.stand_in(Kind::Fd, &fd.to_string()).parse::<u32>().map_or(Value::Null, Value::from);
        }
    }

    fn value(&mut self, key: &str, value: &mut Value) {
        match value {
            // There are as many as there are events, which differs; nobody reads them.
            Value::String(_) if matches!(key, "trace" | "span" | "parent") => {}
            Value::String(text) => *text = self.text(text),
            Value::Number(number) if key == "pid" => {
                let stand_in = self.stand_in(Kind::Pid, &number.to_string());
                *value = stand_in.parse::<u32>().map_or(Value::Null, Value::from);
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(key, item)),
            Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| self.value(key, value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// What stands for a thing.
    fn stand_in(&mut self, kind: Kind, thing: &str) -> String {
        if self.measured_only {
            return thing.to_owned();
        }
        let seen = &mut self.seen[kind as usize];
        let number = seen.iter().position(|s| s == thing).unwrap_or_else(|| {
            seen.push(thing.to_owned());
            seen.len() - 1
        });
        match kind {
            Kind::Id | Kind::Trace | Kind::Short => hex(kind as usize * 1000 + number, thing.len()),
            Kind::Pid => (4101 + number).to_string(),
            Kind::Port => (5050 + number).to_string(),
            Kind::Tmp if number == 0 => "/tmp/lab".to_owned(),
            Kind::Tmp => format!("/tmp/lab{}", number + 1),
            Kind::Fd => (10 + number).to_string(),
            Kind::Tag => format!("1ab{:05}", number + 1),
            Kind::Name => match CONTAINERS.get(number) {
                Some(name) => (*name).to_owned(),
                None => format!("{}{number}", CONTAINERS[0]),
            },
        }
    }

    fn line(&mut self, line: &str) -> String {
        let mut out = String::new();
        let mut rest = line;
        // In `took 182 ms: registry 31, layers 88` the numbers after the colon are times too.
        let shares = ["took ", "用时 "].iter().any(|took| line.trim_start().starts_with(took));
        while !rest.is_empty() {
            let before = &line[..line.len() - rest.len()];
            let (used, replaced) = self.token(before, rest, shares);
            out += &replaced;
            rest = &rest[used..];
        }
        out
    }

    /// How much of the text is used up, and what stands for it.
    fn token(&mut self, before: &str, rest: &str, shares: bool) -> (usize, String) {
        let found = if before.ends_with(is_word) {
            None
        } else {
            self.hex(rest).or_else(|| self.word(before, rest)).or_else(|| self.number(before, rest, shares))
        };
        let found = found.or_else(|| self.path(before, rest));
        found.unwrap_or_else(|| {
            let c = rest.chars().next().unwrap_or(' ');
            (c.len_utf8(), c.to_string())
        })
    }

    fn hex(&mut self, rest: &str) -> Option<(usize, String)> {
        let word = span(rest, is_word);
        let cut_off = rest[word.len()..].starts_with('…') && word.len() >= 4;
        if !word.chars().all(is_hex) || !(matches!(word.len(), 64 | 32 | 16 | 12) || cut_off) {
            return None;
        }
        let known = self.long.iter().find(|long| long.starts_with(word)).cloned();
        // Twelve letters or digits, and numbers, can be something else.
        if known.is_none() && !mixed(word) {
            return None;
        }
        let thing = known.unwrap_or_else(|| word.to_owned());
        let kind = match thing.len() {
            32 => Kind::Trace,
            16 => Kind::Short,
            _ => Kind::Id,
        };
        let stand_in = self.stand_in(kind, &thing);
        Some((word.len(), stand_in.chars().take(word.len()).collect()))
    }

    fn word(&mut self, before: &str, rest: &str) -> Option<(usize, String)> {
        let word = span(rest, is_word);
        let letters = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase());
        let name = word.split_once('_').is_some_and(|(one, two)| letters(one) && letters(two));
        if name && ["named ", "\"name\":\""].iter().any(|said| before.ends_with(said)) {
            return Some((word.len(), self.stand_in(Kind::Name, word)));
        }
        if before.ends_with("rdock-") && word.len() == 8 && word.chars().all(is_hex) {
            return Some((word.len(), self.stand_in(Kind::Tag, word)));
        }
        let arch = before.ends_with("linux/") && matches!(word, "amd64" | "arm64" | "riscv64" | "s390x" | "ppc64le");
        arch.then(|| (word.len(), "<arch>".to_owned()))
    }

    fn path(&mut self, before: &str, rest: &str) -> Option<(usize, String)> {
        if before.ends_with(|c: char| is_word(c) || matches!(c, '.' | '-' | '/' | '>')) {
            return None;
        }
        let root = ["/var/tmp/", "/tmp/"].into_iter().find(|root| rest.starts_with(root))?;
        let name = span(&rest[root.len()..], |c| is_word(c) || matches!(c, '.' | '-'));
        let path = &rest[..root.len() + name.trim_end_matches('.').len()];
        (path.len() > root.len()).then(|| (path.len(), self.stand_in(Kind::Tmp, path)))
    }

    fn number(&mut self, before: &str, rest: &str, shares: bool) -> Option<(usize, String)> {
        let digits = span(rest, |c| c.is_ascii_digit());
        if digits.is_empty() || before.ends_with('.') {
            return None;
        }
        if let Some(length) = timestamp(rest) {
            return Some((length, "<time>".to_owned()));
        }
        let host = ["127.0.0.1:", "localhost:", "[::1]:", "0.0.0.0:"].iter().any(|host| before.ends_with(host));
        if host {
            return Some((digits.len(), self.stand_in(Kind::Port, digits)));
        }
        if is_pid(before) && !rest[digits.len()..].starts_with('.') {
            return Some((digits.len(), self.stand_in(Kind::Pid, digits)));
        }
        if let Some(found) = quantity(rest) {
            return Some(found);
        }
        let ends = !rest[digits.len()..].starts_with(is_word);
        (shares && ends).then(|| (digits.len(), "<time>".to_owned()))
    }
}

/// So many hex characters, letters and digits mixed, for the thing with this number (splitmix64).
fn hex(number: usize, length: usize) -> String {
    let mut out = String::new();
    let mut state = (number as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93);
    while out.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out += &format!("{:016x}", mixed ^ (mixed >> 31));
    }
    out.truncate(length);
    out
}

/// Letters and digits both: hardly a word, hardly a number.
fn mixed(word: &str) -> bool {
    word.contains(|c: char| c.is_ascii_digit()) && word.contains(|c: char| c.is_ascii_alphabetic())
}

/// Whether a number here is a process.
fn is_pid(before: &str) -> bool {
    let says_so = ["pid ", "pid=", "pid = ", "\"pid\":", "\"pid\": ", "clone3 = ", "/proc/", "as process ", "-spare-"];
    says_so.iter().any(|said| before.ends_with(said))
        || (before.ends_with(") = ") && before.trim_start().starts_with("clone3("))
}

/// `21 ms`, `1.2s`, `3.9 MB`, `482 bytes`, `252 files`.
fn quantity(rest: &str) -> Option<(usize, String)> {
    const TIMES: [&str; 8] = ["ns", "µs", "us", "ms", "s", "min", "seconds", "second"];
    const SIZES: [&str; 12] = ["B", "kB", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "bytes", "byte", "kiB"];
    const COUNTS: [&str; 6] = ["files", "calls", "steps", "places", "处", "次系统调用"];
    let number = span(rest, |c| c.is_ascii_digit() || c == '.');
    let behind = &rest[number.len()..];
    let space = if behind.starts_with(' ') { 1 } else { 0 };
    let unit = span(&behind[space..], |c| c.is_alphabetic());
    let end = number.len() + space + unit.len();
    if rest[end..].starts_with(is_word) {
        return None;
    }
    match unit {
        unit if TIMES.contains(&unit) => Some((end, "<time>".to_owned())),
        unit if SIZES.contains(&unit) => Some((end, "<size>".to_owned())),
        unit if COUNTS.contains(&unit) => Some((number.len(), "<n>".to_owned())),
        _ => None,
    }
}

/// Length of an RFC 3339 time at the beginning: `2026-11-23T20:57:52.123456789Z`.
fn timestamp(rest: &str) -> Option<usize> {
    const SHAPE: &str = "0000-00-00T00:00:00";
    let head = rest.get(..SHAPE.len())?;
    let fits = head.chars().zip(SHAPE.chars()).all(|(c, s)| if s == '0' { c.is_ascii_digit() } else { c == s });
    let zone = span(&rest[SHAPE.len()..], |c| c.is_ascii_digit() || matches!(c, '.' | 'Z' | '+' | ':'));
    fits.then_some(SHAPE.len() + zone.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::render::tests::at;
    use proptest::prelude::*;
    use serde_json::json;

    const A: &str = "82893955fb41b0a3c1f0c5a6b5ce8ac1f3a7d6f5f4e3d2c1b0a9f8e7d6c5b4a3";
    const B: &str = "e9027fe4d91c0153429607251656806cc784e914937271037f7738bd5b8e7709";

    fn short(number: usize) -> String {
        hex(number, 12)
    }

    #[test]
    fn the_same_thing_keeps_its_stand_in_whole_or_short() {
        let text = format!("{A} 82893955fb41 0a5890a6d948 82893955fb41");
        assert_eq!(normalise(&text), format!("{} {} {} {}", hex(0, 64), short(0), short(1), short(0)));
        let text = format!("e9027fe4d91c sha256:{B} sha256:e902… e9027fe4d91c");
        let wanted = format!("{} sha256:{} sha256:{}… {}", short(0), hex(0, 64), hex(0, 4), short(0));
        assert_eq!(normalise(&text), wanted);
    }

    #[test]
    fn a_short_form_before_the_whole_is_found_too() {
        assert_eq!(normalise(&format!("82893955fb41\n{A}\n")), format!("{}\n{}\n", short(0), hex(0, 64)));
    }

    #[test]
    fn ids_of_traces_and_snapshots() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 snapshots/00f067aa0ba902b7/diff";
        let (trace, span) = (hex(1000, 32), hex(2000, 16));
        assert_eq!(normalise(text), format!("00-{trace}-{span}-01 snapshots/{span}/diff"));
    }

    #[test]
    fn processes_keep_their_identity() {
        let text =
            "daemon (pid 4711), clone3 = 99, runs as process 99 of the host, /proc/4711/ns/net\n  clone3(X) = 99";
        assert_eq!(
            normalise(text),
            "daemon (pid 4101), clone3 = 4102, runs as process 4102 of the host, /proc/4101/ns/net\n  clone3(X) = 4102"
        );
    }

    #[test]
    fn names_and_tags() {
        assert_eq!(
            normalise("named cheery_kepler, named shy_gauss; rdock-267caa75-spare-12-3 rdock-267caa75-82893955fb41"),
            format!(
                "named elegant_kirch, named bold_chebyshev; rdock-1ab00001-spare-4101-3 rdock-1ab00001-{}",
                short(0)
            )
        );
    }

    #[test]
    fn what_was_measured_or_counted_is_not_made_up() {
        assert_eq!(
            normalise("3.9 MB in 21 ms, 1.98MB, 482 bytes, <120 µs>"),
            "<size> in <time>, <size>, <size>, <<time>>"
        );
        assert_eq!(normalise("at 2026-11-23T20:57:52.123Z"), "at <time>");
        assert_eq!(
            normalise("  took 182 ms: registry 31, the rest 49\n  63 calls of the kernel"),
            "  took <time>: registry <time>, the rest <time>\n  <n> calls of the kernel"
        );
        assert_eq!(
            normalise("252 files, unpacked 66 files; plans 10 steps around and 119 steps inside; 8 places in /proc"),
            "<n> files, unpacked <n> files; plans <n> steps around and <n> steps inside; <n> places in /proc"
        );
        assert_eq!(normalise("linux/amd64 → x"), "linux/<arch> → x");
    }

    #[test]
    fn ports_and_temporary_directories() {
        assert_eq!(
            normalise("http://127.0.0.1:40123/v2 localhost:40123 127.0.0.1:99"),
            "http://127.0.0.1:5050/v2 localhost:5050 127.0.0.1:5051"
        );
        assert_eq!(normalise("/tmp/.tmpAbC12/run, /tmp/other /tmp/.tmpAbC12."), "/tmp/lab/run, /tmp/lab2 /tmp/lab.");
    }

    #[test]
    fn what_does_not_vary_stays() {
        for text in [
            "library/centos:latest exited (0), gives up 27 capabilities",
            "mysql:5.7, 3 layers, 404 No such image, step 12 of 14, 1 file",
            "defaced acceded effaced0 /data/tmp/x 123456789012 v1.47",
            "    indented, a  b   c       d",
            "mode=0755, pids.max = 10, user 1000, process 1 of the container",
            "  start ━▶ image on this host? ━[no]━▶ on the registry? ━[yes]━▶ download ━┓",
            "             ········▷ run ◀━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┛",
        ] {
            assert_eq!(normalise(text), text);
        }
    }

    #[test]
    fn events_and_texts_share_their_stand_ins() {
        let mut event = at(4711, 1_234_567_890_123_456, 20);
        event.op = "lab.images".into();
        event.summary = "82893955fb41 runs as process 4711, without ping".into();
        event.args.insert("list".into(), json!([A, {"pid": 4711}]));
        let mut normaliser = Normaliser::new(A);
        let made = normaliser.events(&[event]).remove(0);
        assert_eq!((made.pid, made.ts), (4101, 1_234_567_890_123_456));
        let list = json!([normaliser.text(A), {"pid": 4101}]);
        assert_eq!(made.args["list"], list);
        assert_eq!(made.summary, format!("{} runs as process 4101", normaliser.text("82893955fb41")));
        assert_eq!(normaliser.measured("pid 4101, 21 ms"), "pid 4101, <time>");
    }

    proptest! {
        #[test]
        fn other_ids_of_the_same_shape_give_the_same_text(
            one in "[0-9a-f]{62}a1", two in "[0-9a-f]{62}b2", three in "[0-9a-f]{62}c3", four in "[0-9a-f]{62}d4",
        ) {
            let text = |a: &str, b: &str| format!("{a} sha256:{b} {a}\n{b}");
            prop_assert_eq!(normalise(&text(&one, &two)), normalise(&text(&three, &four)));
        }

        #[test]
        fn columns_stay_where_only_ids_stand(ids in prop::collection::vec("[0-9a-f]{10}a1", 0..5)) {
            let text = ids.join("   ");
            prop_assert_eq!(normalise(&text).len(), text.len());
        }

        #[test]
        fn what_is_normal_stays_as_it_is(text in "[a-f0-9 :/.,(=)\"mskBpidtmp\n-]{0,120}") {
            let once = normalise(&text);
            prop_assert_eq!(Normaliser::new(&once).measured(&once), once.clone());
        }
    }
}
