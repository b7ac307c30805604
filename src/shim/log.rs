//! The json-file log: one JSON object a line, `{"log":"text\n","stream":"stdout","time":"…"}`, as Docker writes it.
//! What has no newline is split after 16 KiB; bytes that are not UTF-8 become U+FFFD. With a largest size the file is
//! rotated before it is written to when it has that much.

use super::attach::Stream;
use super::protocol::LogLimit;
use base64::Engine as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

/// Longest piece of a line that one record holds.
const PIECE: usize = 16 * 1024;
/// So many bytes of records are collected before they are written.
const FLUSH: usize = 256 * 1024;

const RFC3339_NANO: &[FormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");

/// Now, in UTC, as RFC 3339 with nanoseconds.
pub(super) fn now() -> String {
    OffsetDateTime::now_utc().format(&RFC3339_NANO).unwrap_or_default()
}

/// What one stream has written since its last line feed.
#[derive(Default)]
struct Partial {
    text: Vec<u8>,
    /// When the line began: all its pieces have this time.
    since: String,
}

/// A container's log and the unfinished line of each stream.
pub(super) struct Log {
    file: File,
    path: PathBuf,
    limit: LogLimit,
    /// Bytes in `file`.
    size: u64,
    partial: [Partial; 2],
    out: Vec<u8>,
    /// `,"attrs":{…}`, the same in each record; empty without.
    attrs: String,
}

impl Log {
    /// Opens for appending; 0640, as Docker's. A record that a killed shim has written half ends here.
    pub(super) fn open(path: &Path, limit: LogLimit) -> io::Result<Log> {
        let mut file = open(path)?;
        let mut size = file.metadata()?.len();
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n")?;
            size += 1;
        }
        let attrs = match limit.attrs.is_empty() {
            true => String::new(),
            false => format!(",\"attrs\":{}", serde_json::to_string(&limit.attrs)?),
        };
        let partial = [Partial::default(), Partial::default()];
        Ok(Log { file, path: path.to_owned(), limit, size, partial, out: vec![], attrs })
    }

    /// Records what the container wrote. Lines are complete in the file when this returns; a full disk loses the
    /// record and never stops the container.
    pub(super) fn write(&mut self, stream: Stream, mut data: &[u8]) {
        let time = now();
        while !data.is_empty() {
            let partial = &mut self.partial[stream as usize];
            if partial.text.is_empty() {
                partial.since.clone_from(&time);
            }
            let room = &data[..data.len().min(PIECE - partial.text.len())];
            let end = memchr::memchr(b'\n', room).map_or(room.len(), |at| at + 1);
            partial.text.extend_from_slice(&data[..end]);
            data = &data[end..];
            if partial.text.ends_with(b"\n") {
                self.record(stream, 0);
            } else if partial.text.len() >= PIECE {
                let cut_off = unfinished_character(&partial.text);
                self.record(stream, cut_off);
            }
        }
        self.flush();
    }

    /// The last line, which may have no newline.
    pub(super) fn finish(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.partial[stream as usize].text.is_empty() {
                self.record(stream, 0);
            }
        }
        self.flush();
    }

    /// Where the file ends, for who reads it from another process: its inode and size; and what of each stream is not
    /// in it yet.
    pub(super) fn end(&self) -> io::Result<(u64, u64, [&[u8]; 2])> {
        let [out, err] = &self.partial;
        Ok((self.file.metadata()?.ino(), self.size, [&out.text, &err.text]))
    }

    /// What the stream has written so far becomes a record, but for the last `keep` bytes.
    fn record(&mut self, stream: Stream, keep: usize) {
        let partial = &mut self.partial[stream as usize];
        let end = partial.text.len() - keep;
        record(&mut self.out, &partial.text[..end], stream, &self.attrs, &partial.since);
        partial.text.drain(..end);
        let full = |max: u64| self.size + self.out.len() as u64 >= max;
        if self.out.len() >= FLUSH || self.limit.max_size.is_some_and(full) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        if self.limit.max_size.is_some_and(|max| self.size >= max)
            && let Err(error) = self.rotate()
        {
            eprintln!("rdock shim: rotate {}: {error}", self.path.display());
        }
        match self.file.write_all(&self.out) {
            Ok(()) => self.size += self.out.len() as u64,
            // Half a record may be there: the next one begins on a line of its own.
            Err(_) => self.size += u64::from(self.file.write_all(b"\n").is_ok()),
        }
        self.out.clear();
        self.out.shrink_to(256 * 1024);
    }

    /// `log` becomes `log.1`, `log.1` becomes `log.2`, …; the oldest goes. A file is never truncated: who reads it
    /// still has all of it, and finds the next one by name.
    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |n: u32| match n {
            0 => self.path.clone(),
            n => PathBuf::from(format!("{}.{n}", self.path.display())),
        };
        let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if self.limit.max_files < 2 {
            std::fs::remove_file(&self.path)?;
        }
        for n in (1..self.limit.max_files).rev() {
            match std::fs::rename(numbered(n - 1), numbered(n)) {
                Err(error) if !absent(&error) => return Err(error),
                _ => {}
            }
        }
        self.file = open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

/// How many bytes at the end are the beginning of a character that is not whole yet (UTF-8, RFC 3629).
fn unfinished_character(text: &[u8]) -> usize {
    for back in 1..=text.len().min(3) {
        let byte = text[text.len() - back];
        let whole = match byte {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            0x80..=0xbf => continue,
            _ => 1,
        };
        return if whole > back { back } else { 0 };
    }
    0
}

/// One record. What is not UTF-8 has U+FFFD in `log`, as Docker has it, and its bytes in `raw`, which other readers
/// leave alone.
fn record(out: &mut Vec<u8>, text: &[u8], stream: Stream, attrs: &str, time: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    let lossy = String::from_utf8_lossy(text);
    escape(out, &lossy);
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.name().as_bytes());
    out.push(b'"');
    out.extend_from_slice(attrs.as_bytes());
    out.extend_from_slice(b",\"time\":\"");
    out.extend_from_slice(time.as_bytes());
    out.push(b'"');
    if matches!(lossy, std::borrow::Cow::Owned(_)) {
        out.extend_from_slice(b",\"raw\":\"");
        out.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(text).as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"}\n");
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
        raw: Option<String>,
    }

    fn written(chunks: &[(Stream, Vec<u8>)]) -> Vec<Record> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut log = Log::open(file.path(), LogLimit::default()).unwrap();
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

    #[test]
    fn pieces_of_one_line_have_one_time_and_cut_no_character() {
        let text = format!("x{}", "\u{e9}".repeat(PIECE));
        let records = written(&[(Stream::Stdout, text.clone().into_bytes()), (Stream::Stdout, b"\nnext\n".to_vec())]);
        assert_eq!(records[0].log.len(), PIECE - 1);
        assert!(records.iter().all(|r| r.raw.is_none()));
        let (next, line) = records.split_last().unwrap();
        assert_eq!(next.log, "next\n");
        assert!(line.iter().all(|r| r.time == line[0].time));
        assert_eq!(line.iter().map(|r| r.log.as_str()).collect::<String>(), format!("{text}\n"));
    }

    #[test]
    fn what_is_no_text_is_kept_beside_its_stand_in() {
        let records = written(&[(Stream::Stdout, b"\xff\x00\n".to_vec())]);
        assert_eq!((records[0].log.as_str(), records[0].raw.as_deref()), ("\u{fffd}\u{0}\n", Some("/wAK")));
    }

    #[test]
    fn a_full_file_makes_way_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let limit = LogLimit { max_size: Some(10), max_files: 3, ..LogLimit::default() };
        let mut log = Log::open(&path, limit).unwrap();
        let first = std::fs::File::open(&path).unwrap();
        for n in 0..5 {
            log.write(Stream::Stdout, format!("{n}\n").as_bytes());
        }
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(text("log").contains("4\\n") && text("log.1").contains("3\\n") && text("log.2").contains("2\\n"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
        // Who reads the one that went can read it to its end.
        assert!(std::io::read_to_string(first).unwrap().contains("0\\n"));
    }

    #[test]
    fn half_a_record_of_a_killed_shim_does_not_spoil_the_next_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"{\"log\":\"ha").unwrap();
        let mut log = Log::open(file.path(), LogLimit::default()).unwrap();
        log.write(Stream::Stdout, b"whole\n");
        let text = std::fs::read_to_string(file.path()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (2, "{\"log\":\"ha"));
        assert!(serde_json::from_str::<Record>(lines[1]).is_ok());
    }
}
