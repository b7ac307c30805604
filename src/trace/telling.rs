//! An event on its way out: borrowed parts, written once, straight into the line that is sent.
//!
//! A container takes some two hundred calls to make. Building a [`super::TraceEvent`] of each, with a map of its
//! arguments, and turning that into JSON took longer than many of the calls; written like this it takes a
//! microsecond. A law in the tests holds the line to the type that it is read as.

use super::event::Actor;
use super::ids::{SpanId, TraceId};
use serde::Serialize;
use std::io::Write as _;

/// Anything that has a form in JSON (what `Serialize` is, for values of any type behind one pointer).
pub trait Json {
    /// Appends it; what cannot be written is `null`.
    fn write(&self, to: &mut Vec<u8>);
}

impl<T: Serialize + ?Sized> Json for T {
    fn write(&self, to: &mut Vec<u8>) {
        let start = to.len();
        if serde_json::to_writer(&mut *to, self).is_err() {
            to.truncate(start);
            to.extend_from_slice(b"null");
        }
    }
}

/// How a step ended; see [`super::Outcome`].
#[derive(Clone, Copy)]
pub enum Ended<'a> {
    Ok(&'a dyn Json),
    Err { errno: &'a str, message: &'a str },
}

/// One event; the fields are those of [`super::TraceEvent`], in its order.
pub(super) struct Telling<'a> {
    pub trace: TraceId,
    pub span: SpanId,
    pub parent: Option<SpanId>,
    pub ts: u64,
    pub dur: Option<u64>,
    pub actor: Actor,
    pub op: &'a str,
    pub pid: u32,
    pub summary: &'a str,
    pub why: Option<&'a str>,
    /// None, or an object.
    pub args: Option<&'a dyn Json>,
    pub result: Option<Ended<'a>>,
    pub branch: Option<&'a str>,
    pub lesson: Option<&'a str>,
}

impl Telling<'_> {
    /// Appends the line, with its line feed.
    pub fn write(&self, to: &mut Vec<u8>) {
        // Writing to memory does not fail.
        let _ = write!(to, "{{\"v\":1,\"seq\":0,\"trace\":\"{}\",\"span\":\"{}\"", self.trace, self.span);
        if let Some(parent) = self.parent {
            let _ = write!(to, ",\"parent\":\"{parent}\"");
        }
        field(to, ",\"ts\":", &self.ts);
        if let Some(dur) = &self.dur {
            field(to, ",\"dur\":", dur);
        }
        field(to, ",\"actor\":", self.actor.name());
        field(to, ",\"op\":", self.op);
        field(to, ",\"pid\":", &self.pid);
        field(to, ",\"summary\":", self.summary);
        text(to, ",\"why\":", self.why);
        self.args(to);
        match self.result {
            None => {}
            Some(Ended::Ok(value)) => {
                to.extend_from_slice(b",\"result\":{\"ok\":");
                value.write(to);
                to.push(b'}');
            }
            Some(Ended::Err { errno, message }) => {
                field(to, ",\"result\":{\"errno\":", errno);
                field(to, ",\"message\":", message);
                to.push(b'}');
            }
        }
        text(to, ",\"branch\":", self.branch);
        text(to, ",\"lesson\":", self.lesson);
        to.extend_from_slice(b"}\n");
    }

    /// An empty object is left out, as are all fields without a value.
    fn args(&self, to: &mut Vec<u8>) {
        let Some(args) = self.args else { return };
        let start = to.len();
        to.extend_from_slice(b",\"args\":");
        let value = to.len();
        args.write(to);
        if to.len() <= value + 2 || to[value] != b'{' {
            to.truncate(start);
        }
    }
}

fn field<T: Serialize + ?Sized>(to: &mut Vec<u8>, key: &str, value: &T) {
    to.extend_from_slice(key.as_bytes());
    Json::write(value, to);
}

fn text(to: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        field(to, key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Outcome, TraceEvent};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    proptest! {
        /// Byte for byte what serialising the event itself gives, with any text in it.
        #[test]
        fn a_line_is_the_event(
            (op, summary, why) in (".*", ".*", prop::option::of(".*")),
            (ts, dur, pid) in (any::<u64>(), any::<Option<u64>>(), any::<u32>()),
            args in prop::collection::vec((".*", ".*".prop_map(Value::from)), 0..4).prop_map(Map::from_iter),
            result in prop::option::of(prop_oneof![
                ".*".prop_map(|ok| Outcome::Ok { ok: json!({"value": ok}) }),
                Just(Outcome::Ok { ok: Value::Null }),
                (".*", ".*").prop_map(|(errno, message)| Outcome::Err { errno, message }),
            ]),
            (parent, branch, lesson) in (any::<bool>(), prop::option::of("[a-z-]*"), prop::option::of("[a-z-]*")),
        ) {
            let (trace, span) = (TraceId::random(), SpanId::next());
            let parent = parent.then(SpanId::next);
            let event = TraceEvent {
                v: 1, seq: 0, trace: trace.to_string(), span: span.to_string(), parent: parent.map(|p| p.to_string()),
                ts, dur, actor: Actor::Shim, op: op.clone(), pid, summary: summary.clone(), why: why.clone(),
                args: args.clone(), result: result.clone(), branch: branch.clone(), lesson: lesson.clone(),
            };
            let mut expected = serde_json::to_vec(&event).unwrap();
            expected.push(b'\n');
            let ended = match &result {
                None => None,
                Some(Outcome::Ok { ok }) => Some(Ended::Ok(ok)),
                Some(Outcome::Err { errno, message }) => Some(Ended::Err { errno, message }),
            };
            let telling = Telling {
                trace, span, parent, ts, dur, actor: Actor::Shim, op: &op, pid, summary: &summary,
                why: why.as_deref(), args: Some(&args), result: ended, branch: branch.as_deref(),
                lesson: lesson.as_deref(),
            };
            let mut line = Vec::new();
            telling.write(&mut line);
            prop_assert_eq!(String::from_utf8(line), String::from_utf8(expected));
        }
    }
}
