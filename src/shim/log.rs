//! The json-file log: one JSON object a line, `{"log":"text\n","stream":"stdout","time":"…"}`, as Docker writes it.
//! What has no newline is split after 16 KiB; bytes that are not UTF-8 become U+FFFD.

use super::attach::Stream;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

/// Longest piece of a line that one record holds.
const PIECE: usize = 16 * 1024;

const RFC3339_NANO: &[FormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");

/// Now, in UTC, as RFC 3339 with nanoseconds.
pub(super) fn now() -> String {
    OffsetDateTime::now_utc().format(&RFC3339_NANO).unwrap_or_default()
}

/// A container's log and the unfinished line of each stream.
pub(super) struct Log {
    file: File,
    partial: [Vec<u8>; 2],
    out: Vec<u8>,
}

impl Log {
    /// Opens for appending; 0640, as Docker's.
    pub(super) fn open(path: &Path) -> io::Result<Log> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        Ok(Log { file, partial: [vec![], vec![]], out: vec![] })
    }

    /// Records what the container wrote. Lines are complete in the file when this returns; a full disk loses the
    /// record and never stops the container.
    pub(super) fn write(&mut self, stream: Stream, mut data: &[u8]) {
        let time = now();
        let partial = &mut self.partial[stream as usize];
        while let Some(end) = data.iter().position(|b| *b == b'\n') {
            partial.extend_from_slice(&data[..=end]);
            data = &data[end + 1..];
            pieces(&mut self.out, partial, stream, &time);
            partial.clear();
        }
        partial.extend_from_slice(data);
        while partial.len() >= PIECE {
            record(&mut self.out, &partial[..PIECE], stream, &time);
            partial.drain(..PIECE);
        }
        self.flush();
    }

    /// The last line, which may have no newline.
    pub(super) fn finish(&mut self) {
        let time = now();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut self.partial[stream as usize]);
            if !partial.is_empty() {
                pieces(&mut self.out, &partial, stream, &time);
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        let _ = self.file.write_all(&self.out);
        self.out.clear();
        self.out.shrink_to(256 * 1024);
    }
}

fn pieces(out: &mut Vec<u8>, line: &[u8], stream: Stream, time: &str) {
    for piece in line.chunks(PIECE) {
        record(out, piece, stream, time);
    }
}

fn record(out: &mut Vec<u8>, text: &[u8], stream: Stream, time: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    escape(out, &String::from_utf8_lossy(text));
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.name().as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// JSON string escapes (RFC 8259), and those for HTML that Docker's log has.
fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut clean = 0;
    for (i, byte) in bytes.iter().enumerate() {
        let plain = !matches!(byte, 0..=0x1f | b'"' | b'\\' | b'<' | b'>' | b'&');
        if plain {
            continue;
        }
        out.extend_from_slice(&bytes[clean..i]);
        clean = i + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[clean..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(serde::Deserialize)]
    struct Record {
        log: String,
        stream: String,
        time: String,
    }

    fn written(chunks: &[(Stream, Vec<u8>)]) -> Vec<Record> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut log = Log::open(file.path()).unwrap();
        for (stream, chunk) in chunks {
            log.write(*stream, chunk);
        }
        log.finish();
        let text = std::fs::read_to_string(file.path()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_that_arrives_in_two_chunks_is_one_record() {
        let records = written(&[
            (Stream::Stdout, b"one".to_vec()),
            (Stream::Stderr, b"err\n".to_vec()),
            (Stream::Stdout, b" line\nlast".to_vec()),
        ]);
        let lines: Vec<_> = records.iter().map(|r| (r.stream.as_str(), r.log.as_str())).collect();
        assert_eq!(lines, [("stderr", "err\n"), ("stdout", "one line\n"), ("stdout", "last")]);
        assert!(records.iter().all(|r| r.time.len() == 30 && r.time.ends_with('Z')));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_changed(chunks in prop::collection::vec(prop::collection::vec(any::<char>(), 0..40), 0..20)) {
            let chunks: Vec<_> = chunks.into_iter()
                .map(|c| (Stream::Stdout, c.into_iter().collect::<String>().into_bytes())).collect();
            let sent: Vec<u8> = chunks.iter().flat_map(|c| c.1.clone()).collect();
            let got: String = written(&chunks).into_iter().map(|r| r.log).collect();
            prop_assert_eq!(got.into_bytes(), sent);
        }
    }

    #[test]
    fn a_line_without_end_is_split_and_memory_stays_bounded() {
        let records = written(&[(Stream::Stdout, vec![b'x'; PIECE * 3 + 5])]);
        assert_eq!(records.iter().map(|r| r.log.len()).collect::<Vec<_>>(), [PIECE, PIECE, PIECE, 5]);
    }
}
