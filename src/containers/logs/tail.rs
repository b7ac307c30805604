//! Where the last lines of a log begin, found from its end: the log may be long, and its beginning is not looked at.

use super::files::LogFile;
use super::record::Record;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Bytes that are read at a time.
const BLOCK: u64 = 64 * 1024;

/// Lines that were met on the way back.
#[derive(Default)]
struct Lines {
    /// How many are wanted.
    wanted: u64,
    met: u64,
    /// Whether a record of this stream was met already.
    seen: [bool; 2],
}

impl Lines {
    /// Takes one record, coming from the end; true: it belongs to the last lines.
    ///
    /// A record that ends with a line feed ends a line, and so does the last one of a stream. The pieces before it
    /// belong to the same line.
    fn take(&mut self, line: &[u8]) -> bool {
        let Some(record) = Record::parse(line) else { return true };
        let seen = std::mem::replace(&mut self.seen[usize::from(record.is_stderr())], true);
        if !record.is_piece() || !seen {
            if self.met == self.wanted {
                return false;
            }
            self.met += 1;
        }
        true
    }
}

/// Leaves those of `files` (the oldest first) that hold the last `wanted` lines; the answer is where in the first of
/// them they begin.
pub fn start(files: &mut Vec<LogFile>, wanted: u64) -> io::Result<u64> {
    let mut lines = Lines { wanted, ..Lines::default() };
    for at in (0..files.len()).rev() {
        if let Some(offset) = start_in(&files[at], &mut lines)? {
            files.drain(..at);
            return Ok(offset);
        }
    }
    Ok(0)
}

/// Where in this file the last lines begin; none: in an older one.
fn start_in(log: &LogFile, lines: &mut Lines) -> io::Result<Option<u64>> {
    let mut position = log.file.metadata()?.len();
    // The beginning of a record whose end has been read already.
    let mut carry: Vec<u8> = vec![];
    let mut block = vec![];
    while position > 0 {
        let size = BLOCK.min(position);
        position -= size;
        block.resize(size as usize, 0);
        log.file.read_exact_at(&mut block, position)?;
        block.extend_from_slice(&carry);
        let mut end = block.len();
        // What is behind the last line feed is half written; what is before the first one began in an earlier block.
        while let Some(feed) = memchr::memrchr(b'\n', &block[..end.saturating_sub(1)]) {
            if block[end - 1] == b'\n' && !lines.take(&block[feed + 1..end]) {
                return Ok(Some(position + end as u64));
            }
            end = feed + 1;
        }
        block.truncate(end);
        std::mem::swap(&mut carry, &mut block);
    }
    match carry.last() {
        Some(b'\n') if !lines.take(&carry) => Ok(Some(carry.len() as u64)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::{Reader, open};
    use super::super::{Form, LogOptions};
    use super::*;
    use proptest::prelude::*;

    fn record(text: &str, stream: &str) -> String {
        let text = serde_json::to_string(text).unwrap();
        format!("{{\"log\":{text},\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:01.000000000Z\"}}\n")
    }

    /// The last lines of a log that is made of these files, the oldest first.
    fn last(files: &[String], wanted: u64) -> String {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        for (n, text) in files.iter().rev().enumerate() {
            let name = if n == 0 { "log".to_owned() } else { format!("log.{n}") };
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let mut files = open(&log).unwrap();
        let offset = start(&mut files, wanted).unwrap();
        let mut reader = Reader::new(&log, files, offset, false).unwrap();
        let mut form = Form::new(LogOptions { stdout: true, stderr: true, ..Default::default() }, false);
        let mut out = vec![];
        while let Some(lines) = reader.next().unwrap() {
            form.add(lines, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_counted_not_records() {
        let log =
            record("a\n", "stdout") + &record("lo", "stdout") + &record("e\n", "stderr") + &record("ng\n", "stdout");
        assert_eq!(last(std::slice::from_ref(&log), 0), "");
        assert_eq!(last(std::slice::from_ref(&log), 1), "ng\n", "what stands before it belongs to other lines too");
        assert_eq!(last(std::slice::from_ref(&log), 2), "loe\nng\n");
        assert_eq!(last(std::slice::from_ref(&log), 3), "a\nloe\nng\n");
        assert_eq!(last(&[log], 99), "a\nloe\nng\n");
    }

    #[test]
    fn a_line_without_end_is_one_and_half_a_record_none() {
        let log = record("a\n", "stdout") + &record("b", "stdout");
        assert_eq!(last(&[log.clone() + "{\"log\":\"c"], 1), "b");
        assert_eq!(last(&[log], 2), "a\nb");
        assert_eq!(last(&["{\"log\"".into()], 5), "");
        assert_eq!(last(&[], 5), "");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_last_lines_are_those_that_tail_would_show(
            lines in prop::collection::vec("[a-z\"\\\\é]{0,6}", 0..40), wanted in 0u64..45, cut in 0usize..40, long in 0usize..3,
        ) {
            let text = |line: &String| format!("{}{line}\n", "x".repeat(long * 40_000));
            let (old, young) = lines.split_at(cut.min(lines.len()));
            let file = |lines: &[String]| lines.iter().map(|line| record(&text(line), "stdout")).collect::<String>();
            let shown = last(&[file(old), file(young)], wanted);
            let skip = lines.len().saturating_sub(wanted as usize);
            prop_assert_eq!(shown, lines[skip..].iter().map(text).collect::<String>());
        }
    }
}
