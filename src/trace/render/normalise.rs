//! Makes what differs from run to run the same in each: for snapshots of output.
//!
//! | what | becomes |
//! | --- | --- |
//! | `sha256:<64 hex>`, and its beginnings | `<digest1>` |
//! | 64 or 12 hex characters (a container, an image), and their beginnings | `<id1>` |
//! | 32 hex characters | `<trace1>` |
//! | 16 hex characters (spans, snapshots) | `<hex1>` |
//! | `pid 42`, `"pid":42`, `clone3 = 42`, `clone3(…) = 42`, `/proc/42/` | `<pid1>` |
//! | `127.0.0.1:4711`, `localhost:4711`, `[::1]:4711` | `127.0.0.1:<port1>` |
//! | `/tmp/xyz` | `<tmp1>` |
//! | `21 ms`, `1.2s`, `"ts":5`, `"dur":5`, 2026-01-02T03:04:05Z, the shares after `took` | `<time>` |
//! | `3.9 MB`, `482 bytes` | `<size>` |
//! | three and more spaces inside a line | three spaces (what stood before them had another length) |
//!
//! The same thing is the same placeholder everywhere in one text.

use std::collections::BTreeSet;

/// Replaces what varies.
pub fn normalise(text: &str) -> String {
    let mut normaliser = Normaliser::new(text);
    text.split_inclusive('\n').map(|line| normaliser.line(line)).collect()
}

/// Kinds of things that keep their identity.
const DIGEST: usize = 0;
const ID: usize = 1;
const TRACE: usize = 2;
const HEX: usize = 3;
const PID: usize = 4;
const PORT: usize = 5;
const TMP: usize = 6;
const NAMES: [&str; 7] = ["digest", "id", "trace", "hex", "pid", "port", "tmp"];

struct Normaliser {
    /// Hex texts of 64 characters that stand behind `sha256:` somewhere, and all others.
    digests: BTreeSet<String>,
    ids: BTreeSet<String>,
    seen: [Vec<String>; NAMES.len()],
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
    fn new(text: &str) -> Normaliser {
        let (mut digests, mut ids) = (BTreeSet::new(), BTreeSet::new());
        let mut rest = text;
        while let Some(at) = rest.find(is_word) {
            let before = &rest[..at];
            let word = span(&rest[at..], is_word);
            if word.len() == 64 && word.chars().all(is_hex) {
                let digest = before.ends_with(':') && text[..text.len() - rest.len() + at].ends_with("sha256:");
                let set = if digest { &mut digests } else { &mut ids };
                set.insert(word.to_owned());
            }
            rest = &rest[at + word.len()..];
        }
        Normaliser { digests, ids, seen: Default::default() }
    }

    fn name(&mut self, kind: usize, thing: &str) -> String {
        let seen = &mut self.seen[kind];
        let number = seen.iter().position(|s| s == thing).unwrap_or_else(|| {
            seen.push(thing.to_owned());
            seen.len() - 1
        });
        format!("<{}{}>", NAMES[kind], number + 1)
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
        let inside_word = before.ends_with(is_word);
        let found = if inside_word { None } else { self.hex(before, rest) };
        let found = found
            .or_else(|| self.path(before, rest))
            .or_else(|| if inside_word { None } else { self.number(before, rest, shares) })
            .or_else(|| spaces(before, rest));
        found.unwrap_or_else(|| {
            let c = rest.chars().next().unwrap_or(' ');
            (c.len_utf8(), c.to_string())
        })
    }

    fn hex(&mut self, before: &str, rest: &str) -> Option<(usize, String)> {
        if let Some(behind) = rest.strip_prefix("sha256:") {
            let hex = span(behind, is_hex);
            // Cut off, as in `sha256:5d0d…`: the dots belong to it.
            let dots = if behind[hex.len()..].starts_with('…') { '…'.len_utf8() } else { 0 };
            let known = self.digests.iter().find(|d| d.starts_with(hex)).cloned();
            let name = self.name(DIGEST, &known.unwrap_or_else(|| hex.to_owned()));
            return (hex.len() >= 4).then_some(("sha256:".len() + hex.len() + dots, name));
        }
        let word = span(rest, is_word);
        let hex = word.chars().all(is_hex);
        let kind = match word.len() {
            64 => ID,
            32 => TRACE,
            16 => HEX,
            12 => ID,
            _ => return None,
        };
        let starts = |set: &BTreeSet<String>| set.iter().find(|long| long.starts_with(word)).cloned();
        let (kind, thing) = match (starts(&self.digests), starts(&self.ids)) {
            _ if !hex => return None,
            (Some(digest), _) => (DIGEST, digest),
            (None, Some(id)) => (ID, id),
            // Twelve letters or digits can be a word or a number.
            (None, None) if kind == ID && !mixed(word) => return None,
            (None, None) => (kind, word.to_owned()),
        };
        let _ = before;
        Some((word.len(), self.name(kind, &thing)))
    }

    fn path(&mut self, before: &str, rest: &str) -> Option<(usize, String)> {
        if before.ends_with(|c: char| is_word(c) || matches!(c, '.' | '-' | '/')) {
            return None;
        }
        let root = ["/var/tmp/", "/tmp/"].into_iter().find(|root| rest.starts_with(root))?;
        let name = span(&rest[root.len()..], |c| is_word(c) || matches!(c, '.' | '-'));
        let name = name.trim_end_matches('.');
        (!name.is_empty()).then(|| (root.len() + name.len(), self.name(TMP, name)))
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
            return Some((digits.len(), self.name(PORT, digits)));
        }
        if is_pid(before) && !rest[digits.len()..].starts_with('.') {
            return Some((digits.len(), self.name(PID, digits)));
        }
        if before.ends_with("\"ts\":") || before.ends_with("\"dur\":") {
            return Some((digits.len(), "<time>".to_owned()));
        }
        if let Some(found) = quantity(rest) {
            return Some(found);
        }
        let ends = !rest[digits.len()..].starts_with(is_word);
        // What stands behind the middle dot of that line is a count, not a time.
        (shares && ends && !before.contains('·')).then(|| (digits.len(), "<time>".to_owned()))
    }
}

/// Letters and digits both: hardly a word, hardly a number.
fn mixed(word: &str) -> bool {
    word.contains(|c: char| c.is_ascii_digit()) && word.contains(|c: char| c.is_ascii_alphabetic())
}

/// Whether a number here is a process.
fn is_pid(before: &str) -> bool {
    let says_so = ["pid ", "pid=", "pid = ", "\"pid\":", "\"pid\": ", "clone3 = ", "/proc/"];
    says_so.iter().any(|said| before.ends_with(said))
        || (before.ends_with(") = ") && before.trim_start().starts_with("clone3("))
}

/// `21 ms`, `1.2s`, `3.9 MB`, `482 bytes`.
fn quantity(rest: &str) -> Option<(usize, String)> {
    const TIMES: [&str; 8] = ["ns", "µs", "us", "ms", "s", "min", "seconds", "second"];
    const SIZES: [&str; 12] = ["B", "kB", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "bytes", "byte", "kiB"];
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

/// Three and more spaces, unless they indent the line.
fn spaces(before: &str, rest: &str) -> Option<(usize, String)> {
    let run = span(rest, |c| c == ' ');
    (run.len() > 3 && !before.trim().is_empty()).then(|| (run.len(), "   ".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "82893955fb41b0a3c1f0c5a6b5ce8ac1f3a7d6f5f4e3d2c1b0a9f8e7d6c5b4a3";
    const B: &str = "e9027fe4d91c0153429607251656806cc784e914937271037f7738bd5b8e7709";

    #[test]
    fn the_same_thing_keeps_its_placeholder_whole_or_short() {
        let text = format!("{A} 82893955fb41 0a5890a6d948 82893955fb41");
        assert_eq!(normalise(&text), "<id1> <id1> <id2> <id1>");
        let text = format!("e9027fe4d91c sha256:{B} sha256:e902… e9027fe4d91c");
        assert_eq!(normalise(&text), "<digest1> <digest1> <digest1> <digest1>");
    }

    #[test]
    fn a_short_form_before_the_whole_is_found_too() {
        assert_eq!(normalise(&format!("82893955fb41\n{A}\n")), "<id1>\n<id1>\n");
    }

    #[test]
    fn ids_of_traces_and_snapshots() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 snapshots/00f067aa0ba902b7/diff";
        assert_eq!(normalise(text), "00-<trace1>-<hex1>-01 snapshots/<hex1>/diff");
    }

    #[test]
    fn processes_keep_their_identity() {
        let text = "daemon (pid 4102), clone3 = 4127, \"pid\":4127, /proc/4102/ns/net\n  clone3(SIGCHLD) = 4127";
        assert_eq!(
            normalise(text),
            "daemon (pid <pid1>), clone3 = <pid2>, \"pid\":<pid2>, /proc/<pid1>/ns/net\n  clone3(SIGCHLD) = <pid2>"
        );
    }

    #[test]
    fn times_and_sizes() {
        assert_eq!(
            normalise("3.9 MB in 21 ms, 1.98MB, 482 bytes, <120 µs>"),
            "<size> in <time>, <size>, <size>, <<time>>"
        );
        assert_eq!(
            normalise(r#""ts":123,"dur":45,"at":"2026-11-23T20:57:52.123Z""#),
            r#""ts":<time>,"dur":<time>,"at":"<time>""#
        );
        assert_eq!(
            normalise("  took 182 ms: registry 31, the rest 49  ·  63 calls of the kernel"),
            "  took <time>: registry <time>, the rest <time>  ·  63 calls of the kernel"
        );
    }

    #[test]
    fn ports_and_temporary_directories() {
        assert_eq!(
            normalise("http://127.0.0.1:40123/v2 localhost:40123 127.0.0.1:99"),
            "http://127.0.0.1:<port1>/v2 localhost:<port1> 127.0.0.1:<port2>"
        );
        assert_eq!(normalise("/tmp/.tmpAbC12/run, /tmp/other /tmp/.tmpAbC12."), "<tmp1>/run, <tmp2> <tmp1>.");
    }

    #[test]
    fn what_does_not_vary_stays() {
        for text in [
            "library/centos:latest exited (0), gives up 27 capabilities",
            "mysql:5.7, 3 layers, 404 No such image, step 12 of 14",
            "defaced acceded effaced0 /data/tmp/x 123456789012 v1.47",
            "    indented, a  b   c",
            "mode=0755, pids.max = 10, user 1000",
        ] {
            assert_eq!(normalise(text), text);
        }
    }

    #[test]
    fn gaps_to_the_right_margin_become_equal() {
        assert_eq!(normalise(" CLIENT  1  starts          rdock (pid 7)"), " CLIENT  1  starts   rdock (pid <pid1>)");
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
        fn what_is_normal_stays_as_it_is(text in "[a-f0-9 :/.,(=)\"mskBpidtmp\n-]{0,120}") {
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once.clone());
        }
    }
}
