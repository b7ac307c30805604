//! The sink of a process without threads: events are lines in memory until they are flushed.

use super::decoder::encode;
use crate::trace::event::TraceEvent;
use crate::trace::ids::TraceId;
use crate::trace::sink::{Line, Sink, read};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{MsgFlags, send, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Mutex;

/// Most bytes that wait for a flush; what comes after them is counted as dropped.
pub const MAX_BUFFER: usize = 4 << 20;

/// A piece that a unix stream socket takes whole, so that lines of two processes that share it do not mix
/// (unix(7): a send up to the size of one socket buffer is queued at once).
const PIECE: usize = 16 << 10;

/// How long a flush waits for a reader that does not read, in seconds. The container must not wait for it.
const PATIENCE: i64 = 2;

/// Writes events as NDJSON to a descriptor, which closes on exec: the container never sees it.
///
/// Made for a shim that is cloned into an init: the copy of the buffer that the init has is thrown away at its first
/// event, since the shim will write it. When the reader has gone, events are thrown away silently: an explanation
/// that nobody reads must not stop a container.
#[derive(Debug)]
pub struct NdjsonWriter {
    state: Mutex<Buffer>,
}

#[derive(Debug)]
struct Buffer {
    fd: Option<OwnedFd>,
    bytes: Vec<u8>,
    owner: u32,
    dropped: u64,
    last_dropped: Option<TraceEvent>,
}

impl NdjsonWriter {
    /// Takes the descriptor over: a stream socket, a pipe or a file.
    pub fn new(fd: OwnedFd) -> io::Result<NdjsonWriter> {
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        // A pipe or a file has no such option: then a flush waits as long as it takes.
        let _ = setsockopt(&fd, sockopt::SendTimeout, &TimeVal::seconds(PATIENCE));
        let state =
            Buffer { fd: Some(fd), bytes: Vec::new(), owner: std::process::id(), dropped: 0, last_dropped: None };
        Ok(NdjsonWriter { state: Mutex::new(state) })
    }

    fn with<R>(&self, f: impl FnOnce(&mut Buffer) -> R) -> R {
        let mut buffer = match self.state.lock() {
            Ok(buffer) => buffer,
            Err(poisoned) => poisoned.into_inner(),
        };
        let me = std::process::id();
        if buffer.owner != me {
            buffer.owner = me;
            buffer.bytes.clear();
            buffer.dropped = 0;
            buffer.last_dropped = None;
        }
        f(&mut buffer)
    }

    /// The descriptor's number: it must stay open where descriptors are closed wholesale.
    pub fn raw_fd(&self) -> Option<i32> {
        self.with(|buffer| buffer.fd.as_ref().map(AsRawFd::as_raw_fd))
    }
}

impl Buffer {
    fn flush(&mut self) {
        if let Some(last) = self.last_dropped.take() {
            encode(&TraceEvent::dropped(&last, self.dropped), &mut self.bytes);
            self.dropped = 0;
        }
        if let Some(fd) = &self.fd
            && write_pieces(fd, &self.bytes).is_err()
        {
            self.fd = None;
        }
        self.bytes.clear();
    }
}

impl Sink for NdjsonWriter {
    fn accepts(&self, _: TraceId) -> bool {
        true
    }
    fn emit(&self, _: TraceId, line: Line<'_>) {
        self.with(|buffer| {
            if buffer.fd.is_none() {
                return;
            }
            if buffer.bytes.len() < MAX_BUFFER {
                line(&mut buffer.bytes);
            } else {
                buffer.dropped += 1;
                buffer.last_dropped = read(line).or(buffer.last_dropped.take());
            }
        });
    }
    fn flush(&self) {
        self.with(Buffer::flush);
    }
}

/// Whole lines at a time, as many as fit into a piece.
fn write_pieces(fd: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let fits = &bytes[..bytes.len().min(PIECE)];
        let end = match fits.iter().rposition(|&b| b == b'\n') {
            Some(end) => end + 1,
            None => bytes.iter().position(|&b| b == b'\n').map_or(bytes.len(), |end| end + 1),
        };
        let (piece, rest) = bytes.split_at(end);
        write_all(fd, piece)?;
        bytes = rest;
    }
    Ok(())
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = match send(fd.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
            Err(Errno::ENOTSOCK) => nix::unistd::write(fd.as_fd(), bytes),
            result => result,
        };
        match written {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::event::Actor;
    use crate::trace::transport::Decoder;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    fn event(summary: &str) -> TraceEvent {
        TraceEvent {
            v: 1,
            seq: 0,
            trace: TraceId::random().to_string(),
            span: "00f067aa0ba902b7".into(),
            parent: None,
            ts: 1,
            dur: None,
            actor: Actor::Shim,
            op: "shim.start".into(),
            pid: 1,
            summary: summary.into(),
            why: None,
            args: Default::default(),
            result: None,
            branch: None,
            lesson: None,
        }
    }

    fn emit(writer: &NdjsonWriter, event: &TraceEvent) {
        writer.emit(TraceId::random(), &|to| encode(event, to));
    }

    fn read_to_end(mut stream: UnixStream) -> Vec<TraceEvent> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let mut decoder = Decoder::new();
        let events = decoder.push(&bytes);
        assert_eq!(decoder.skipped(), 0);
        events
    }

    #[test]
    fn nothing_is_written_before_a_flush() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let writer = NdjsonWriter::new(ours.into()).unwrap();
        emit(&writer, &event("starts"));
        let early = (&theirs).read(&mut [0; 10]).unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::WouldBlock);
        writer.flush();
        drop(writer);
        theirs.set_nonblocking(false).unwrap();
        assert_eq!(read_to_end(theirs)[0].summary, "starts");
    }

    #[test]
    fn long_and_short_lines_arrive_whole() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let reader = std::thread::spawn(move || read_to_end(theirs));
        let writer = NdjsonWriter::new(ours.into()).unwrap();
        let long = "x".repeat(3 * PIECE);
        for summary in ["a", &long, "b", &"y".repeat(PIECE), "c"] {
            emit(&writer, &event(summary));
        }
        writer.flush();
        drop(writer);
        let lengths: Vec<_> = reader.join().unwrap().iter().map(|e| e.summary.len()).collect();
        assert_eq!(lengths, [1, 3 * PIECE, 1, PIECE, 1]);
    }

    #[test]
    fn a_reader_that_has_gone_stops_nothing() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let writer = NdjsonWriter::new(ours.into()).unwrap();
        emit(&writer, &event("starts"));
        writer.flush();
        assert_eq!(writer.raw_fd(), None);
        emit(&writer, &event("goes on"));
        writer.flush();
    }

    #[test]
    fn a_full_buffer_counts_what_it_drops_and_says_so_once() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let reader = std::thread::spawn(move || read_to_end(theirs));
        let writer = NdjsonWriter::new(ours.into()).unwrap();
        let line = event(&"x".repeat(100_000));
        let fits = MAX_BUFFER.div_ceil(100_000);
        for _ in 0..fits + 7 {
            emit(&writer, &line);
        }
        writer.flush();
        drop(writer);
        let events = reader.join().unwrap();
        let dropped: Vec<_> = events.iter().filter(|e| e.op == "trace.dropped").collect();
        assert_eq!(dropped.len(), 1);
        let count = dropped[0].args["count"].as_u64().unwrap() as usize;
        assert!(count >= 7);
        assert_eq!(events.len() - 1 + count, fits + 7);
    }

    #[test]
    fn what_is_buffered_twice_after_a_fork_is_written_once() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let writer = NdjsonWriter::new(ours.into()).unwrap();
        emit(&writer, &event("of the parent"));
        // As in the copy of the process: another pid finds the parent's lines.
        writer.state.lock().unwrap().owner = 0;
        emit(&writer, &event("of the child"));
        writer.flush();
        drop(writer);
        let events = read_to_end(theirs);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].summary, "of the child");
    }

    #[test]
    fn the_descriptor_closes_on_exec() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let ours: OwnedFd = ours.into();
        fcntl(&ours, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let writer = NdjsonWriter::new(ours).unwrap();
        let state = writer.state.lock().unwrap();
        let flags = fcntl(state.fd.as_ref().unwrap(), FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & nix::libc::FD_CLOEXEC, nix::libc::FD_CLOEXEC);
    }
}
