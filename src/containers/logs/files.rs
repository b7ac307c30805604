//! The files of a log: the one that is written to, and what rotation has left of it (`….1` is younger than `….2`).

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Bytes that are read at a time.
const BLOCK: usize = 256 * 1024;
/// So often the files are listed again when rotation changes them under the list.
const TRIES: usize = 16;

/// One file of a log, held open: rotation may rename or delete it.
#[derive(Debug)]
pub struct LogFile {
    pub file: File,
    pub inode: u64,
    /// As it was called when it was opened.
    pub path: PathBuf,
}

/// Number (0: written to now) and inode of the files that have a name, the oldest first.
fn list(log: &Path) -> io::Result<Vec<(u32, u64)>> {
    let (Some(dir), Some(name)) = (log.parent(), log.file_name().and_then(OsStr::to_str)) else { return Ok(vec![]) };
    let number = |file: &str| match file.strip_prefix(name)? {
        "" => Some(0),
        rest => rest.strip_prefix('.')?.parse::<u32>().ok(),
    };
    let mut found = vec![];
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(number)
            && let Ok(data) = entry.metadata()
        {
            found.push((number, data.ino()));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Opens all files of a log, the oldest first. None when nothing was ever written.
pub fn open(log: &Path) -> io::Result<Vec<LogFile>> {
    let mut opened: Vec<LogFile> = vec![];
    for _ in 0..TRIES {
        let before = list(log)?;
        opened.clear();
        for (number, _) in &before {
            let path = numbered(log, *number);
            // One that has got another name in between is found under that one.
            let Ok(file) = File::open(&path) else { continue };
            let inode = file.metadata()?.ino();
            if opened.iter().all(|other| other.inode != inode) {
                opened.push(LogFile { file, inode, path });
            }
        }
        if list(log)? == before {
            break;
        }
    }
    Ok(opened)
}

fn numbered(log: &Path, number: u32) -> PathBuf {
    match number {
        0 => log.to_owned(),
        n => PathBuf::from(format!("{}.{n}", log.display())),
    }
}

/// Reads a log from a place in one of its files on, whole records at a time.
#[derive(Debug)]
pub struct Reader {
    log: PathBuf,
    current: Option<LogFile>,
    younger: VecDeque<LogFile>,
    offset: u64,
    /// Nothing is read of the youngest file from here on; none: what is written later too.
    end: Option<u64>,
    block: Vec<u8>,
}

impl Reader {
    /// `files` are those of `log`, the oldest first; reading begins at `offset` of the first one. Without `follow`
    /// it ends where the youngest one ends now.
    pub fn new(log: &Path, files: Vec<LogFile>, offset: u64, follow: bool) -> io::Result<Reader> {
        let end = match files.last() {
            _ if follow => None,
            Some(last) => Some(last.file.metadata()?.len()),
            None => Some(0),
        };
        let mut younger = VecDeque::from(files);
        let current = younger.pop_front();
        Ok(Reader { log: log.to_owned(), current, younger, offset, end, block: vec![] })
    }

    /// As [`Reader::new`], to the byte `size` of the file `inode`.
    pub fn ending_at(log: &Path, mut files: Vec<LogFile>, inode: u64, size: u64) -> io::Result<Reader> {
        if let Some(at) = files.iter().position(|file| file.inode == inode) {
            files.truncate(at + 1);
        }
        let mut reader = Reader::new(log, files, 0, false)?;
        reader.end = Some(size);
        Ok(reader)
    }

    /// The file that is read, and where in it.
    pub fn place(&self) -> (PathBuf, u64) {
        (self.current.as_ref().map_or_else(|| self.log.clone(), |c| c.path.clone()), self.offset)
    }

    /// The next whole records, with their line feeds; none: there are no more now.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut room = BLOCK;
        loop {
            // Looked at first: what was written until then is in the file, and nothing comes after it.
            let is_last = self.younger.is_empty();
            let over = !is_last || self.is_rotated();
            let read = self.read(room, is_last)?;
            match memchr::memrchr(b'\n', &self.block[..read]) {
                Some(at) => {
                    self.offset += at as u64 + 1;
                    return Ok(Some(&self.block[..=at]));
                }
                // A record that is longer than the block.
                None if read == room => room *= 2,
                None if over => {
                    if !self.go_on()? {
                        return Ok(None);
                    }
                    room = BLOCK;
                }
                None => return Ok(None),
            }
        }
    }

    fn read(&mut self, room: usize, is_last: bool) -> io::Result<usize> {
        let Some(current) = &self.current else { return Ok(0) };
        let left = match self.end {
            Some(end) if is_last => usize::try_from(end.saturating_sub(self.offset)).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let room = room.min(left);
        self.block.resize(room.max(self.block.len()), 0);
        let mut have = 0;
        while have < room {
            match current.file.read_at(&mut self.block[have..room], self.offset + have as u64) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(have)
    }

    /// Whether another file has the log's name now. A moment without any is not the end: the shim is at it.
    fn is_rotated(&self) -> bool {
        self.end.is_none()
            && fs::metadata(&self.log)
                .is_ok_and(|data| self.current.as_ref().is_none_or(|current| current.inode != data.ino()))
    }

    /// On to the next younger file; false: there is none.
    fn go_on(&mut self) -> io::Result<bool> {
        if self.younger.is_empty() {
            let mut files = open(&self.log)?;
            if let Some(at) = self.current.as_ref().and_then(|c| files.iter().position(|f| f.inode == c.inode)) {
                files.drain(..=at);
            }
            self.younger = files.into();
        }
        match self.younger.pop_front() {
            Some(next) => {
                (self.current, self.offset) = (Some(next), 0);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Log(tempfile::TempDir);

    impl Log {
        fn path(&self) -> PathBuf {
            self.0.path().join("log")
        }
        fn write(&self, text: &str) {
            use std::io::Write as _;
            let mut file = File::options().append(true).create(true).open(self.path()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        fn rotate(&self, files: u32) {
            for n in (1..files).rev() {
                let _ = fs::rename(numbered(&self.path(), n - 1), numbered(&self.path(), n));
            }
            if files == 1 {
                fs::remove_file(self.path()).unwrap();
            }
        }
        fn reader(&self, follow: bool) -> Reader {
            Reader::new(&self.path(), open(&self.path()).unwrap(), 0, follow).unwrap()
        }
    }

    fn log() -> Log {
        Log(tempfile::tempdir().unwrap())
    }

    fn rest(reader: &mut Reader) -> String {
        let mut all = vec![];
        while let Some(lines) = reader.next().unwrap() {
            all.extend_from_slice(lines);
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn files_are_read_from_the_oldest_to_the_youngest() {
        let log = log();
        for n in 0..3 {
            log.write(&format!("{n}\n"));
            log.rotate(5);
        }
        log.write("3\nhalf");
        assert_eq!(rest(&mut log.reader(false)), "0\n1\n2\n3\n");
    }

    #[test]
    fn without_following_the_end_is_where_it_was() {
        let log = log();
        log.write("1\n");
        let mut reader = log.reader(false);
        log.write("2\n");
        assert_eq!(rest(&mut reader), "1\n");
    }

    #[test]
    fn who_follows_misses_nothing_when_files_are_rotated() {
        for files in [1, 2, 5] {
            let log = log();
            let mut reader = log.reader(true);
            assert_eq!(rest(&mut reader), "");
            log.write("1\nha");
            assert_eq!(rest(&mut reader), "1\n");
            log.write("lf\n2\n");
            log.rotate(files);
            assert_eq!(rest(&mut reader), "half\n2\n", "a moment without a file");
            log.write("3\n");
            assert_eq!(rest(&mut reader), "3\n");
            log.rotate(files);
            log.write("4\n");
            if files > 2 {
                log.rotate(files);
                log.write("5\n");
            }
            assert_eq!(rest(&mut reader), if files > 2 { "4\n5\n" } else { "4\n" });
        }
    }

    #[test]
    fn a_record_longer_than_the_block_comes_whole() {
        let log = log();
        let long = format!("{}\n", "x".repeat(3 * BLOCK));
        log.write(&long);
        assert_eq!(rest(&mut log.reader(false)), long);
    }

    #[test]
    fn a_reader_may_end_in_the_middle_of_a_file_that_was_rotated() {
        let log = log();
        log.write("1\n2\n");
        let inode = fs::metadata(log.path()).unwrap().ino();
        log.rotate(3);
        log.write("3\n");
        let files = open(&log.path()).unwrap();
        assert_eq!(rest(&mut Reader::ending_at(&log.path(), files, inode, 2).unwrap()), "1\n");
    }
}
