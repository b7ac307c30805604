//! `docker logs`: reads the files that the shim writes; who follows is woken by the kernel.

use super::super::logs::{Form, LogOptions, Reader, files, tail};
use super::super::state::Status;
use super::super::store::Bundle;
use super::*;
use crate::trace::{self, Actor};
use bytes::Bytes;
use serde_json::json;
use std::io;
use tokio::sync::mpsc;

/// Pieces that may wait for a slow client: reading then waits, the container does not.
const AHEAD: usize = 4;
/// Bytes that are sent at a time.
const PIECE: usize = 64 * 1024;

/// A log on its way to a client, in pieces.
pub type LogStream = mpsc::Receiver<Bytes>;

impl Containers {
    /// What the container has written: framed as the Engine API frames it, raw if it has a terminal. With `follow`
    /// the stream ends when the container does.
    ///
    /// # Errors
    /// No such container; [`ContainerError::LogNotRead`] when it keeps no log; what opening the log answers.
    pub async fn logs(&self, id_or_name: &str, options: LogOptions) -> Result<LogStream, ContainerError> {
        let entry = self.inner.find(id_or_name)?;
        let record = entry.record();
        if matches!(record.state.status, Status::Removing | Status::Dead) {
            return Err(ContainerError::LogOfDead);
        }
        let driver =
            record.config.host_config.as_ref().and_then(|h| h.log_config.as_ref()).and_then(|l| l.typ.as_deref());
        if driver == Some("none") {
            return Err(ContainerError::LogNotRead);
        }
        let bundle = self.inner.store.bundle(&record.id);
        let framed = !record.config.tty.unwrap_or(false);
        let mut life = entry.life.subscribe();
        let follow = options.follow && life.borrow_and_update().up;
        let io = |step| move |source| ContainerError::Io { step, source };
        // Watched before the first look: what is written in between wakes as well.
        let changed = follow.then(|| self.inner.watcher.watch(&bundle.dir)).transpose().map_err(io("watch the log"))?;
        let (sender, stream) = mpsc::channel(AHEAD);
        let form = Form::new(LogOptions { follow, ..options }, framed);
        let reading = blocking(move || Reading::open(&bundle, form, sender).map_err(io("open the log"))).await?;
        tokio::spawn(follow_log(reading, changed, life).in_current_span());
        Ok(stream)
    }
}

/// Sends what is there; then, for as long as the container is up, what comes.
async fn follow_log(mut reading: Reading, changed: Option<watch::Receiver<()>>, mut life: watch::Receiver<Life>) {
    let Some(mut changed) = changed else {
        let _ = blocking(move || Ok(reading.send_all().map(|_| reading.tell()))).await;
        return;
    };
    let client = reading.sender.clone();
    let mut first = true;
    loop {
        // The shim has written the last line before it tells the end.
        let is_last = !life.borrow_and_update().up;
        let read = blocking(move || {
            let goes_on = reading.send_all().unwrap_or(false);
            if std::mem::take(&mut first) {
                reading.tell();
            }
            Ok((reading, goes_on))
        });
        let Ok((again, goes_on)) = read.await else { return };
        reading = again;
        if is_last || !goes_on {
            return;
        }
        first = false;
        tokio::select! {
            heard = changed.changed() => if heard.is_err() { return },
            heard = life.changed() => if heard.is_err() { return },
            () = client.closed() => return,
        }
    }
}

/// A log that is being sent.
struct Reading {
    reader: Reader,
    form: Form,
    sender: mpsc::Sender<Bytes>,
    /// Where reading began, for the explanation.
    from: (PathBuf, u64),
}

impl Reading {
    fn open(bundle: &Bundle, form: Form, sender: mpsc::Sender<Bytes>) -> io::Result<Reading> {
        let log = bundle.log();
        let mut opened = files::open(&log)?;
        let offset = match form.options().tail {
            Some(lines) => tail::start(&mut opened, lines)?,
            None => 0,
        };
        let reader = Reader::new(&log, opened, offset, form.options().follow)?;
        let from = reader.place();
        Ok(Reading { reader, form, sender, from })
    }

    /// Sends all that is there now; false: nothing more will be wanted.
    fn send_all(&mut self) -> io::Result<bool> {
        let mut out = Vec::with_capacity(PIECE);
        let mut goes_on = true;
        while goes_on && let Some(lines) = self.reader.next()? {
            goes_on = self.form.add(lines, &mut out);
            if out.len() >= PIECE && self.sender.blocking_send(std::mem::take(&mut out).into()).is_err() {
                return Ok(false);
            }
        }
        Ok((out.is_empty() || self.sender.blocking_send(out.into()).is_ok()) && goes_on)
    }

    /// Explains what was read so far.
    fn tell(&self) {
        let ((file, from), (last, to)) = (&self.from, self.reader.place());
        let (written, tail) = (self.form.written, self.form.options().tail);
        let step = trace::step(Actor::Daemon, "log.read")
            .why("the shim keeps what the container writes in a file of the host, so nobody need have listened")
            .args(|| json!({"file": file, "from": from, "tail": tail, "follow": self.form.options().follow}));
        step.ok(json!({"file": last, "to": to, "records": written}), || {
            let name = last.file_name().unwrap_or_default().to_string_lossy();
            let where_from = match (tail, *file == last) {
                (Some(_), _) => format!("looks from the end of the log for the last lines, reads from byte {from}"),
                (None, true) => format!("reads the log from byte {from}"),
                (None, false) => "reads the log from its oldest file".to_owned(),
            };
            let lines = if written == 1 { "record" } else { "records" };
            format!("{where_from} to byte {to} of {name}: {written} {lines}")
        });
        if self.form.options().follow {
            trace::step(Actor::Daemon, "log.follow")
                .why("nobody looks again and again: the kernel wakes the daemon (inotify) when the shim has written")
                .ok(json!({"file": last}), || "watches the log for what comes".to_owned());
        }
    }
}

/// What was logged up to `end` (inode of the file, byte in it), or until now: what stands before an attached stream.
pub(super) fn before(
    bundle: &Bundle,
    form: Form,
    end: Option<(u64, u64)>,
    sender: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let log = bundle.log();
    let opened = files::open(&log)?;
    let reader = match end {
        Some((inode, size)) => Reader::ending_at(&log, opened, inode, size)?,
        None => Reader::new(&log, opened, 0, false)?,
    };
    let from = reader.place();
    let mut reading = Reading { reader, form, sender, from };
    reading.send_all()?;
    reading.tell();
    Ok(())
}
