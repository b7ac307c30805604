//! What must differ between two engines is given a name that is the same on both: ids, times, generated names,
//! directories. What comes out is compared, so nothing else may be touched here.

use std::collections::BTreeSet;

/// One side's memory through a session: the n-th id that this side showed is `<id n>` from then on.
#[derive(Debug, Default)]
pub struct Memory {
    /// 64 hexadecimal digits each, which are the same on both sides (image ids, diff ids) and stay as they are.
    known: BTreeSet<String>,
    /// Texts with the name that they get, such as the directory of the side. Longest first is the caller's duty.
    texts: Vec<(String, &'static str)>,
    ids: Vec<String>,
    names: Vec<String>,
}

const UNITS: [&str; 7] = ["second", "minute", "hour", "day", "week", "month", "year"];

impl Memory {
    pub fn new(known: BTreeSet<String>, texts: Vec<(String, &'static str)>) -> Memory {
        Memory { known, texts, ..Memory::default() }
    }

    /// Generated names of containers that this side has now.
    pub fn learn_names<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names.filter(|n| looks_generated(n)) {
            if !self.names.iter().any(|known| known == name) {
                self.names.push(name.to_owned());
            }
        }
    }

    /// `<id 1>`, `<short id 1>` and `<name 1>` in an argument, as this side calls them.
    pub fn resolve(&self, argument: &str) -> String {
        let mut text = argument.to_owned();
        for (n, id) in self.ids.iter().enumerate() {
            text = text.replace(&format!("<id {}>", n + 1), id);
            text = text.replace(&format!("<short id {}>", n + 1), &id[..id.len().min(12)]);
        }
        for (n, name) in self.names.iter().enumerate() {
            text = text.replace(&format!("<name {}>", n + 1), name);
        }
        text
    }

    /// The text without what must differ.
    pub fn normalise(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.texts {
            text = text.replace(from.as_str(), to);
        }
        let mut out = String::new();
        let mut rest = text.as_str();
        let mut before = ' ';
        while let Some(next) = rest.chars().next() {
            let start = !before.is_ascii_alphanumeric();
            let found = start.then(|| self.replacement(rest)).flatten();
            let (length, put) = found.unwrap_or_else(|| (next.len_utf8(), next.to_string()));
            out.push_str(&put);
            before = rest[..length].chars().next_back().unwrap_or(' ');
            rest = &rest[length..];
        }
        narrow(&out)
    }

    /// What the beginning of `rest` (a word's beginning) is replaced by, and its length.
    fn replacement(&mut self, rest: &str) -> Option<(usize, String)> {
        time(rest)
            .map(|n| (n, "<time>".to_owned()))
            .or_else(|| while_(rest).map(|n| (n, "<while>".to_owned())))
            .or_else(|| self.id(rest))
            .or_else(|| self.name(rest))
    }

    fn id(&mut self, rest: &str) -> Option<(usize, String)> {
        let length = rest.bytes().take_while(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).count();
        let ends = !rest[length..].starts_with(|c: char| c.is_ascii_alphanumeric());
        if !ends || !matches!(length, 12 | 64) {
            return None;
        }
        let hex = &rest[..length];
        if self.known.iter().any(|k| k.starts_with(hex)) {
            return Some((length, hex.to_owned()));
        }
        // An id may be seen short first and whole later, or the other way round.
        let same = |known: &String| known.starts_with(hex) || hex.starts_with(known.as_str());
        let at = match self.ids.iter().position(same) {
            Some(at) => at,
            None => {
                self.ids.push(String::new());
                self.ids.len() - 1
            }
        };
        if hex.len() > self.ids[at].len() {
            self.ids[at] = hex.to_owned();
        }
        let short = if length == 12 { "short " } else { "" };
        Some((length, format!("<{short}id {}>", at + 1)))
    }

    fn name(&self, rest: &str) -> Option<(usize, String)> {
        let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let at = self.names.iter().position(|n| *n == rest[..length])?;
        Some((length, format!("<name {}>", at + 1)))
    }
}

/// `bold_carver`, `bold_carver1`
pub fn looks_generated(name: &str) -> bool {
    let word = |w: &str| w.len() > 1 && w.bytes().all(|b| b.is_ascii_lowercase());
    name.trim_end_matches(|c: char| c.is_ascii_digit()).split_once('_').is_some_and(|(a, b)| word(a) && word(b))
}

/// RFC 3339, or as Go prints a time (`2023-12-23 13:18:36 +0000 UTC`); not the zero time, which says "never".
fn time(rest: &str) -> Option<usize> {
    let date = matches(rest, "dddd-dd-dd")?;
    if rest.starts_with("0001-01-01") {
        return None;
    }
    let mut length = date + matches(&rest[date..], "Tdd:dd:dd").or_else(|| matches(&rest[date..], " dd:dd:dd"))?;
    if rest[length..].starts_with('.') {
        length += 1 + rest[length + 1..].bytes().take_while(u8::is_ascii_digit).count();
    }
    for zone in ["Z", "+dd:dd", "-dd:dd", " +dddd UTC", " +dddd CET"] {
        if let Some(n) = matches(&rest[length..], zone) {
            return Some(length + n);
        }
    }
    Some(length)
}

/// The length of `pattern` if `text` begins so; `d` is any digit.
fn matches(text: &str, pattern: &str) -> Option<usize> {
    let mut bytes = text.bytes();
    let fits = pattern.bytes().all(|p| match (p, bytes.next()) {
        (b'd', Some(b)) => b.is_ascii_digit(),
        (p, b) => b == Some(p),
    });
    fits.then_some(pattern.len())
}

/// How Docker says a duration: `Less than a second`, `About a minute`, `5 seconds`.
fn while_(rest: &str) -> Option<usize> {
    for fixed in ["Less than a second", "About a minute", "About an hour"] {
        if rest.starts_with(fixed) {
            return Some(fixed.len());
        }
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let unit = UNITS.iter().find(|u| digits > 0 && rest[digits..].starts_with(&format!(" {u}")))?;
    let length = digits + 1 + unit.len();
    Some(length + usize::from(rest[length..].starts_with('s')))
}

/// Columns are as wide as what is in them: three spaces or more become three.
fn narrow(text: &str) -> String {
    let mut out = String::new();
    let mut spaces = 0;
    for c in text.chars() {
        spaces = if c == ' ' { spaces + 1 } else { 0 };
        if spaces <= 3 {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "f6306cb0eaaa4894af9e6cd5d276c93fcadb3cfe5c1d2c46b44cb91d02d39ece";

    #[test]
    fn an_id_is_the_same_short_and_whole() {
        let mut memory = Memory::default();
        assert_eq!(memory.normalise("82893955fb41\n0a5890a6d948\n"), "<short id 1>\n<short id 2>\n");
        assert_eq!(memory.normalise(&format!("{FULL} f6306cb0eaaa")), "<id 3> <short id 3>");
        assert_eq!(memory.normalise("[root@0a5890a6d948 /]# "), "[root@<short id 2> /]# ");
        assert_eq!(memory.resolve("<short id 3>:/etc"), "f6306cb0eaaa:/etc");
        assert_eq!(memory.resolve("<id 3>"), FULL);
        assert_eq!(memory.resolve("<id 9>"), "<id 9>");
    }

    #[test]
    fn digests_that_both_sides_know_stay() {
        let mut memory = Memory { known: [FULL.to_owned()].into(), ..Memory::default() };
        let text = format!("sha256:{FULL} f6306cb0eaaa");
        assert_eq!(memory.normalise(&text), text);
        assert_eq!(memory.normalise("sha256:82893955fb41"), "sha256:<short id 1>");
    }

    #[test]
    fn what_is_no_id_stays() {
        let mut memory = Memory::default();
        for text in ["deadbeef", "82893955fb4", "x82893955fb41", "82893955fb41x", "centos 448MB 0:0", "no_such_name"] {
            assert_eq!(memory.normalise(text), text);
        }
    }

    #[test]
    fn times_and_durations_are_named_and_never_is_not() {
        let mut memory = Memory::default();
        for text in [
            "2023-12-23T13:18:36.76455639Z",
            "2023-12-23T13:18:36+01:00",
            "2023-12-23 13:18:36 +0000 UTC",
            "2023-12-23T13:18:36.7Z",
        ] {
            assert_eq!(memory.normalise(&format!("a {text} b")), "a <time> b");
        }
        assert_eq!(memory.normalise("0001-01-01T00:00:00Z"), "0001-01-01T00:00:00Z");
        assert_eq!(memory.normalise("2023-12-23"), "2023-12-23");
        assert_eq!(memory.normalise("Up 2 seconds"), "Up <while>");
        assert_eq!(memory.normalise("Exited (0) About a minute ago"), "Exited (0) <while> ago");
        assert_eq!(memory.normalise("Less than a second ago"), "<while> ago");
        assert_eq!(memory.normalise("1 hour, 12 items"), "<while>, 12 items");
    }

    #[test]
    fn only_names_that_were_learnt_are_replaced() {
        let mut memory = Memory::default();
        memory.learn_names(["bold_carver", "web", "my_web_1", "elegant_kirch2"].into_iter());
        assert_eq!(memory.normalise("bold_carver elegant_kirch2 web my_web_1"), "<name 1> <name 2> web my_web_1");
        assert_eq!(memory.normalise("bold_carvers"), "bold_carvers");
        assert_eq!(memory.resolve("<name 2>"), "elegant_kirch2");
    }

    #[test]
    fn columns_and_directories() {
        let mut memory = Memory { texts: vec![("/tmp/x/data".into(), "<root>")], ..Memory::default() };
        assert_eq!(memory.normalise("a     b  c /tmp/x/data/y"), "a   b  c <root>/y");
    }
}
