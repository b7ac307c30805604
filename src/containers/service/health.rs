//! Runs the health checks of containers: each probe is an exec, as moby has it.

use super::super::clock::{nanos_between, now};
use super::super::health::{Check, Health, Probe};
use super::super::state::Status;
use super::*;
use crate::shim::protocol::Request;
use bollard_stubs::models::ExecConfig;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

/// Bytes of a probe's output that are kept.
const OUTPUT: usize = 4096;
/// Exit status of a probe that could not be run, or took too long.
const NO_ANSWER: i64 = -1;

impl Inner {
    /// Begins to look after a container that runs, if it has a health check; ends with the container.
    pub(super) fn watch_health(self: &Arc<Inner>, entry: &Arc<Entry>) {
        if let Some(check) = Check::of(&entry.record().config) {
            tokio::spawn(self.clone().look_after(entry.clone(), check));
        }
    }

    async fn look_after(self: Arc<Inner>, entry: Arc<Entry>, check: Check) {
        let mut life = entry.life.subscribe();
        let run = life.borrow().ends;
        let over = |life: &Life| life.ends != run || !life.up || life.removed;
        loop {
            let state = entry.record().state.clone();
            let Some(health) = &state.health else { return };
            let ran = Duration::from_nanos(nanos_between(&state.started_at, &now()));
            if tokio::time::timeout(check.next(health, ran), life.wait_for(over)).await.is_ok() {
                return;
            }
            // What is held still has nothing to say.
            if entry.record().state.status != Status::Running {
                continue;
            }
            let probe = tokio::select! {
                probe = self.probe(&entry, &check) => probe,
                _ = life.wait_for(over) => return,
            };
            self.note_probe(&entry, &check, probe).await;
        }
    }

    async fn note_probe(&self, entry: &Entry, check: &Check, probe: Probe) {
        let mut told = None;
        let noted = self.note(entry, |record| {
            let started_at = record.state.started_at.clone();
            let live = record.state.status.is_live();
            if let Some(health) = record.state.health.as_mut().filter(|_| live)
                && health.take(probe, check, &started_at)
            {
                told = Some(health.status.name());
            }
            Ok(())
        });
        if let (Ok(record), Some(status)) = (noted.await, told) {
            self.tell(&record, format!("health_status: {status}"), []);
        }
    }

    async fn probe(self: &Arc<Inner>, entry: &Arc<Entry>, check: &Check) -> Probe {
        let start = now();
        let mut exec = None;
        let (exit_code, output) = match tokio::time::timeout(check.timeout, self.run(entry, check, &mut exec)).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => (NO_ANSWER, error.to_string()),
            Err(_) => {
                if let (Some(id), Some(shim)) = (exec, entry.shim()) {
                    // One that has ended in this moment is as good as killed.
                    let _ = shim.ask(&Request::KillExec { id, signal: libc::SIGKILL }, vec![]).await;
                }
                (NO_ANSWER, format!("Health check exceeded timeout ({})", in_gos_words(check.timeout)))
            }
        };
        Probe { start, end: now(), exit_code, output }
    }

    /// Runs the check in the container: exit status and output. The exec's id is told as soon as there is one.
    async fn run(
        self: &Arc<Inner>,
        entry: &Arc<Entry>,
        check: &Check,
        exec: &mut Option<String>,
    ) -> Result<(i64, String), ContainerError> {
        let containers = Containers { inner: self.clone() };
        let config = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(check.argv.clone()),
            ..ExecConfig::default()
        };
        let id = containers.exec_create(&entry.id, config).await?;
        *exec = Some(id.clone());
        let io = |source| ContainerError::Io { step: "read what the health check says", source };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(io)?;
        ours.set_nonblocking(true).map_err(io)?;
        let ours = UnixStream::from_std(ours).map_err(io)?;
        containers.exec_start(&id, Some(theirs.into())).await?;
        let output = first_bytes(ours).await.map_err(io)?;
        Ok((containers.exec_end(&id).await?, output))
    }
}

/// What both outputs say, without the frames; no more than is kept of it, but read to the end.
async fn first_bytes(mut stream: UnixStream) -> std::io::Result<String> {
    let (mut text, mut header) = (vec![], [0u8; 8]);
    while stream.read_exact(&mut header).await.is_ok() {
        let [.., a, b, c, d] = header;
        let mut frame = (&mut stream).take(u32::from_be_bytes([a, b, c, d]).into());
        let mut piece = vec![];
        frame.read_to_end(&mut piece).await?;
        text.extend_from_slice(&piece[..piece.len().min(OUTPUT - text.len())]);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// As Go writes durations: `30s`, `1m30s`, `500ms`.
fn in_gos_words(span: Duration) -> String {
    let (minutes, seconds, millis) = (span.as_secs() / 60, span.as_secs() % 60, span.subsec_millis());
    let fraction = if millis == 0 { String::new() } else { format!(".{millis:03}").trim_end_matches('0').to_owned() };
    match (minutes, seconds) {
        (0, 0) => format!("{millis}ms"),
        (0, _) => format!("{seconds}{fraction}s"),
        _ if minutes >= 60 => format!("{}h{}m{seconds}{fraction}s", minutes / 60, minutes % 60),
        _ => format!("{minutes}m{seconds}{fraction}s"),
    }
}

/// The health of a container that begins; none without a check.
pub(super) fn beginning(record: &mut Record) {
    let check = Check::of(&record.config);
    record.state.health = check.map(|_| Health::begin(record.state.health.take()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_gos() {
        for (millis, words) in
            [(500, "500ms"), (30_000, "30s"), (1_500, "1.5s"), (90_000, "1m30s"), (3_600_000, "1h0m0s")]
        {
            assert_eq!(in_gos_words(Duration::from_millis(millis)), words);
        }
    }

    #[tokio::test]
    async fn output_is_kept_up_to_its_limit_and_read_to_its_end() {
        use tokio::io::AsyncWriteExt as _;
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let write = async move {
            for (stream, text) in [(1u8, "out"), (2, "err"), (1, &"x".repeat(3 * OUTPUT))] {
                theirs.write_all(&[stream, 0, 0, 0]).await.unwrap();
                theirs.write_u32(text.len() as u32).await.unwrap();
                theirs.write_all(text.as_bytes()).await.unwrap();
            }
        };
        let (read, ()) = tokio::join!(first_bytes(ours), write);
        let read = read.unwrap();
        assert!(read.starts_with("outerrxxx") && read.len() == OUTPUT);
    }
}
