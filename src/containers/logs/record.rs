//! One record of the log as a client gets it.

use super::LogOptions;
use base64::Engine as _;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `{"log":"text\n","stream":"stdout","time":"…"}`
#[derive(Deserialize)]
pub struct Record<'a> {
    #[serde(borrow)]
    pub log: Cow<'a, str>,
    #[serde(borrow)]
    pub stream: Cow<'a, str>,
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    /// Base64 of what is no text.
    #[serde(borrow, default)]
    raw: Option<Cow<'a, str>>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

impl Record<'_> {
    /// None: this is no record (a shim that was killed has written half of one).
    pub fn parse(line: &[u8]) -> Option<Record<'_>> {
        serde_json::from_slice(line).ok()
    }

    pub fn is_stderr(&self) -> bool {
        self.stream == "stderr"
    }

    /// The line goes on in the stream's next record.
    pub fn is_piece(&self) -> bool {
        !self.log.ends_with('\n')
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        let raw =
            self.raw.as_ref().and_then(|raw| base64::engine::general_purpose::STANDARD.decode(raw.as_bytes()).ok());
        raw.map_or(Cow::Borrowed(self.log.as_bytes()), Cow::Owned)
    }

    fn nanos(&self) -> Option<i64> {
        let at = OffsetDateTime::parse(&self.time, &Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos()).ok()
    }
}

/// How records are written for a client. Pieces of a line come as one line: what stands before it comes once.
#[derive(Debug)]
pub struct Form {
    options: LogOptions,
    /// With the 8 bytes before each piece that tell the stream.
    framed: bool,
    /// The stream is in the middle of a line.
    within: [bool; 2],
    /// Records that were written.
    pub written: u64,
}

impl Form {
    pub fn new(options: LogOptions, framed: bool) -> Form {
        Form { options, framed, within: [false; 2], written: 0 }
    }

    pub fn options(&self) -> &LogOptions {
        &self.options
    }

    /// Adds what the client gets of `lines` (whole records). False: nothing more will be wanted.
    pub fn add(&mut self, lines: &[u8], out: &mut Vec<u8>) -> bool {
        lines.split_inclusive(|b| *b == b'\n').filter_map(Record::parse).all(|record| self.add_record(&record, out))
    }

    fn add_record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> bool {
        let LogOptions { since, until, .. } = self.options;
        if since.is_some() || until.is_some() {
            let at = record.nanos().unwrap_or(0);
            if until.is_some_and(|until| at > until) {
                return false;
            }
            if since.is_some_and(|since| at < since) {
                return true;
            }
        }
        let stderr = record.is_stderr();
        let within = std::mem::replace(&mut self.within[usize::from(stderr)], record.is_piece());
        let wanted = if stderr { self.options.stderr } else { self.options.stdout };
        if !wanted {
            return true;
        }
        let mut before = String::new();
        if !within && self.options.timestamps {
            before.push_str(&record.time);
            before.push(' ');
        }
        if !within && self.options.details {
            let pairs = record.attrs.iter().map(|(key, value)| format!("{}={}", escaped(key), escaped(value)));
            before.push_str(&pairs.collect::<Vec<_>>().join(","));
            before.push(' ');
        }
        let text = record.bytes();
        if self.framed {
            let length = u32::try_from(before.len() + text.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&[if stderr { 2 } else { 1 }, 0, 0, 0]);
            out.extend_from_slice(&length.to_be_bytes());
        }
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(&text);
        self.written += 1;
        true
    }
}

/// As in the query of a URL.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = concat!(
        r#"{"log":"one\n","stream":"stdout","time":"2026-01-01T00:00:01.000000000Z"}"#,
        "\n",
        r#"{"log":"lo","stream":"stdout","time":"2026-01-01T00:00:02.000000000Z"}"#,
        "\n",
        r#"{"log":"err\n","stream":"stderr","attrs":{"b":"x y","a":"1"},"time":"2026-01-01T00:00:03.000000000Z"}"#,
        "\n",
        r#"{"log":"half of a rec"#,
        "\n",
        r#"{"log":"ng\n","stream":"stdout","time":"2026-01-01T00:00:02.000000000Z"}"#,
        "\n",
        r#"{"log":"�\n","stream":"stdout","time":"2026-01-01T00:00:04.000000000Z","raw":"/wo="}"#,
        "\n",
    );

    fn shown(options: LogOptions) -> Vec<u8> {
        let mut out = vec![];
        Form::new(LogOptions { stdout: true, ..options }, false).add(LOG.as_bytes(), &mut out);
        out
    }

    fn at(second: u32) -> Option<i64> {
        Some(1_767_225_600_000_000_000 + i64::from(second) * 1_000_000_000)
    }

    #[test]
    fn text_comes_as_it_was_written_whatever_bytes_it_had() {
        assert_eq!(shown(LogOptions::default()), b"one\nlong\n\xff\n");
        assert_eq!(shown(LogOptions { stderr: true, ..Default::default() }), b"one\nloerr\nng\n\xff\n");
    }

    #[test]
    fn what_stands_before_a_line_comes_once_a_line() {
        let text = shown(LogOptions { timestamps: true, ..Default::default() });
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains("\n2026-01-01T00:00:02.000000000Z long\n2026"), "{text}");
        let details = LogOptions { details: true, timestamps: true, stderr: true, ..Default::default() };
        let text = String::from_utf8_lossy(&shown(details)).into_owned();
        assert!(
            text.contains("2026-01-01T00:00:03.000000000Z a=1,b=x+y err\n") && text.contains("1.000000000Z  one\n")
        );
    }

    #[test]
    fn times_choose() {
        assert_eq!(shown(LogOptions { since: at(2), ..Default::default() }), b"long\n\xff\n");
        assert_eq!(shown(LogOptions { until: at(1), ..Default::default() }), b"one\n");
    }

    #[test]
    fn frames_name_the_stream() {
        let mut out = vec![];
        Form::new(LogOptions { stderr: true, ..Default::default() }, true).add(LOG.as_bytes(), &mut out);
        assert_eq!(out, b"\x02\0\0\0\0\0\0\x04err\n");
    }
}
