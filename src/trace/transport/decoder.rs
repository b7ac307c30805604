//! NDJSON, both ways.

use crate::trace::event::TraceEvent;

/// Longest line that is kept, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// Appends one event as a line.
pub fn encode(event: &TraceEvent, to: &mut Vec<u8>) {
    let start = to.len();
    match serde_json::to_writer(&mut *to, event) {
        Ok(()) => to.push(b'\n'),
        Err(_) => to.truncate(start),
    }
}

/// What every line of ours begins with, up to the number: [`renumber`] relies on it.
const BEFORE_SEQ: &str = "{\"v\":1,\"seq\":";

/// Writes a line of ours with another `seq`, without reading the rest of it; false (and nothing written) for a line
/// that begins otherwise. Events pass through the daemon and the client this way, since reading each and writing it
/// again would cost more than the calls that they tell of.
pub fn renumber(line: &[u8], seq: u64, to: &mut Vec<u8>) -> bool {
    use std::io::Write as _;
    let Some(after) = line.strip_prefix(BEFORE_SEQ.as_bytes()) else { return false };
    let digits = after.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || after.get(digits) != Some(&b',') {
        return false;
    }
    let start = to.len();
    if write!(to, "{BEFORE_SEQ}{seq}").is_err() {
        to.truncate(start);
        return false;
    }
    to.extend_from_slice(&after[digits..]);
    to.push(b'\n');
    true
}

/// Turns bytes, in pieces of any size, into events. Lines that are no event (cut off, too long, of another kind)
/// are passed over and counted.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Vec<u8>,
    /// The line at hand is too long: everything up to its end is passed over.
    overlong: bool,
    skipped: u64,
}

impl Decoder {
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// The events that end in this piece.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<TraceEvent> {
        let mut events = Vec::new();
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            self.add(line);
            self.line(&mut events);
        }
        self.add(bytes);
        events
    }

    /// The lines that end in this piece, unread: for who only passes them on. What is no object is passed over.
    pub fn push_lines(&mut self, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            self.add(line);
            lines.extend(self.finish_line());
        }
        self.add(bytes);
        lines
    }

    /// A last line without a line feed, unread.
    pub fn finish_line(&mut self) -> Option<Vec<u8>> {
        let overlong = std::mem::take(&mut self.overlong);
        let line = std::mem::take(&mut self.partial);
        match (line.first(), line.last()) {
            (Some(b'{'), Some(b'}')) if !overlong => return Some(line),
            (None, _) if !overlong => {}
            _ => self.skipped += 1,
        }
        None
    }

    /// The event of a last line without a line feed.
    pub fn finish(&mut self) -> Option<TraceEvent> {
        let mut events = Vec::new();
        self.line(&mut events);
        events.pop()
    }

    /// How many lines were no event.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.overlong || self.partial.len() + bytes.len() > MAX_LINE {
            self.overlong = true;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn line(&mut self, events: &mut Vec<TraceEvent>) {
        let overlong = std::mem::take(&mut self.overlong);
        let line = self.partial.trim_ascii();
        if overlong {
            self.skipped += 1;
        } else if !line.is_empty() {
            match serde_json::from_slice(line) {
                Ok(event) => events.push(event),
                Err(_) => self.skipped += 1,
            }
        }
        self.partial.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::event::{Actor, Outcome};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".*", inner), 0..4).prop_map(|pairs| Value::Object(Map::from_iter(pairs))),
            ]
        })
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            json_value().prop_map(|ok| Outcome::Ok { ok }),
            ("[A-Z]{1,9}", ".*").prop_map(|(errno, message)| Outcome::Err { errno, message }),
        ]
    }

    fn actor() -> impl Strategy<Value = Actor> {
        use Actor::*;
        prop::sample::select(vec![Client, Daemon, Registry, Layer, Network, Shim, Runtime, Container])
    }

    fn event() -> impl Strategy<Value = TraceEvent> {
        let ids = ("[0-9a-f]{32}", "[0-9a-f]{16}", prop::option::of("[0-9a-f]{16}"));
        let when = (any::<u64>(), any::<u64>(), any::<Option<u64>>(), any::<u32>());
        let what = (actor(), "[a-z]{1,8}\\.[a-z_]{1,8}", ".*", prop::option::of(".*"));
        let args = prop::collection::vec((".*", json_value()), 0..4).prop_map(Map::from_iter);
        let end = (args, prop::option::of(outcome()), prop::option::of("[a-z-]*"));
        (ids, when, what, end).prop_map(|(ids, when, what, end)| TraceEvent {
            v: 1,
            seq: when.0,
            trace: ids.0,
            span: ids.1,
            parent: ids.2,
            ts: when.1,
            dur: when.2,
            actor: what.0,
            op: what.1,
            pid: when.3,
            summary: what.2,
            why: what.3,
            args: end.0,
            result: end.1,
            branch: end.2,
            lesson: None,
        })
    }

    proptest! {
        #[test]
        fn events_survive_a_round_trip_cut_anywhere(
            events in prop::collection::vec(event(), 0..5), piece in 1usize..50,
        ) {
            let mut bytes = Vec::new();
            for event in &events {
                encode(event, &mut bytes);
            }
            prop_assert_eq!(bytes.iter().filter(|&&b| b == b'\n').count(), events.len());
            let mut decoder = Decoder::new();
            let back: Vec<_> = bytes.chunks(piece).flat_map(|c| decoder.push(c)).collect();
            prop_assert_eq!(back, events);
            prop_assert_eq!(decoder.skipped(), 0);
        }
    }

    fn minimal() -> Value {
        json!({"v": 1, "seq": 3, "trace": "t", "span": "s", "ts": 5, "actor": "shim", "op": "shim.start",
               "pid": 7, "summary": "starts"})
    }

    proptest! {
        #[test]
        fn a_renumbered_line_is_the_same_event_with_another_number(event in event(), seq: u64) {
            let mut line = Vec::new();
            encode(&event, &mut line);
            let mut renumbered = Vec::new();
            prop_assert!(renumber(line.trim_ascii_end(), seq, &mut renumbered));
            let back = Decoder::new().push(&renumbered);
            prop_assert_eq!(back, vec![TraceEvent { seq, ..event }]);
        }
    }

    #[test]
    fn what_begins_otherwise_is_not_renumbered() {
        for line in ["{}", "{\"seq\":1,\"v\":1}", "{\"v\":1,\"seq\":,", "{\"v\":1,\"seq\":5"] {
            let mut to = Vec::new();
            assert!(!renumber(line.as_bytes(), 7, &mut to), "{line}");
            assert!(to.is_empty());
        }
    }

    #[test]
    fn lines_are_cut_anywhere_and_put_together() {
        let text = format!("{}\ngarbage\n\n{}\n", minimal(), minimal());
        for piece in 1..40 {
            let mut decoder = Decoder::new();
            let lines: Vec<_> = text.as_bytes().chunks(piece).flat_map(|c| decoder.push_lines(c)).collect();
            assert_eq!(lines, [minimal().to_string().into_bytes(), minimal().to_string().into_bytes()]);
            assert_eq!(decoder.skipped(), 1);
        }
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let mut value = minimal();
        value["mood"] = json!("good");
        let events = Decoder::new().push(format!("{value}\n").as_bytes());
        assert_eq!(events[0].op, "shim.start");
    }

    #[test]
    fn fields_without_a_value_are_left_out() {
        let event: TraceEvent = serde_json::from_value(minimal()).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap(), minimal());
    }

    #[test]
    fn a_line_that_is_no_event_is_passed_over_and_counted() {
        let mut decoder = Decoder::new();
        let text = format!("garbage\n\n{}\n{{\"v\":", minimal());
        assert_eq!(decoder.push(text.as_bytes()).len(), 1);
        assert_eq!(decoder.finish(), None);
        assert_eq!(decoder.skipped(), 2);
    }

    #[test]
    fn a_line_without_end_is_not_kept_in_memory() {
        let mut decoder = Decoder::new();
        for _ in 0..3 {
            assert!(decoder.push(&vec![b'x'; MAX_LINE]).is_empty());
            assert!(decoder.partial.len() <= MAX_LINE);
        }
        assert_eq!(decoder.push(format!("\n{}\n", minimal()).as_bytes()).len(), 1);
        assert_eq!(decoder.skipped(), 1);
    }

    #[test]
    fn the_last_line_may_lack_its_line_feed() {
        let mut decoder = Decoder::new();
        assert!(decoder.push(minimal().to_string().as_bytes()).is_empty());
        assert!(decoder.finish().is_some());
        assert!(decoder.finish().is_none());
    }
}
