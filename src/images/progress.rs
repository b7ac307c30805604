//! What a pull tells its client while it works, in Docker's words.

use crate::oci::Digest;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

const PULLING_FROM: &str = "Pulling from";

/// One message of the stream that answers `POST /images/create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullProgress {
    /// `{"status":"Pulling from library/mysql","id":"latest"}`, `{"status":"Pulling fs layer","progressDetail":{},"id":"72a69066d2fe"}`
    Status { id: Option<String>, status: String },
    /// `{"status":"Downloading","progressDetail":{"current":3678,"total":313835},"id":"72a69066d2fe"}`, in bytes
    Progress { id: String, status: String, current: u64, total: u64 },
    /// `{"progressDetail":{},"aux":{"Tag":"latest","Digest":"sha256:…","Size":528}}`: for programs
    Aux(serde_json::Value),
    /// `{"stream":"Loaded image: centos:latest\n"}`: text as it is to be printed.
    Text(String),
}

/// Where messages go. Nobody listening is no reason to stop.
#[derive(Clone)]
pub struct Progress {
    to: UnboundedSender<PullProgress>,
    bars: bool,
}

impl Progress {
    pub fn new(to: UnboundedSender<PullProgress>) -> Progress {
        Progress { to, bars: true }
    }

    /// For who wants to know only what came of it.
    pub fn without_bars(to: UnboundedSender<PullProgress>) -> Progress {
        Progress { to, bars: false }
    }

    /// A line of its own: `Digest: sha256:…`.
    pub fn line(&self, status: String) {
        let _ = self.to.send(PullProgress::Status { id: None, status });
    }

    /// Text as it is to be printed, with its line feed.
    pub fn say(&self, text: String) {
        let _ = self.to.send(PullProgress::Text(text));
    }

    /// The first line: `latest: Pulling from library/mysql`.
    pub fn begin(&self, tag_or_digest: &str, repository: &str) {
        let _ = self.to.send(PullProgress::Status {
            id: Some(tag_or_digest.to_owned()),
            status: format!("{PULLING_FROM} {repository}"),
        });
    }

    /// What a program wants to know.
    pub fn aux(&self, value: serde_json::Value) {
        let _ = self.to.send(PullProgress::Aux(value));
    }

    /// What a layer, known by its blob, is at.
    pub fn layer(&self, blob: &Digest, status: &str) {
        let _ = self.to.send(PullProgress::Status { id: Some(blob.short().to_owned()), status: status.to_owned() });
    }

    /// The same with how far it is.
    pub fn bytes(&self, blob: &Digest, status: &str, current: u64, total: u64) {
        if !self.bars {
            return;
        }
        let _ = self.to.send(PullProgress::Progress {
            id: blob.short().to_owned(),
            status: status.to_owned(),
            current,
            total,
        });
    }
}

impl PullProgress {
    /// The message as the Engine API sends it, field by field in Docker's order.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            PullProgress::Text(text) => json!({ "stream": text }),
            PullProgress::Status { id: None, status } => json!({ "status": status }),
            PullProgress::Status { id: Some(id), status } if status.starts_with(PULLING_FROM) => {
                json!({ "status": status, "id": id })
            }
            PullProgress::Status { id: Some(id), status } => {
                json!({ "status": status, "progressDetail": {}, "id": id })
            }
            PullProgress::Aux(value) => json!({ "progressDetail": {}, "aux": value }),
            PullProgress::Progress { id, status, current, total } => json!({
                "status": status,
                "progressDetail": { "current": current, "total": total },
                "progress": bar(*current, *total),
                "id": id,
            }),
        }
    }
}

/// The bar of Docker's daemon: 50 places, then both sizes.
fn bar(current: u64, total: u64) -> String {
    if total == 0 || current > total {
        return format!("{:>8}", human_size(current));
    }
    let done = (current as f64 / total as f64 * 50.0) as usize;
    format!("[{}>{}] {:>8}/{}", "=".repeat(done), " ".repeat(50 - done), human_size(current), human_size(total))
}

/// Four significant digits in powers of 1000: `3.678kB`, `1.07MB` (go-units' HumanSize).
pub fn human_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut unit = 0;
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let whole_digits = (size.log10().floor().max(0.0) as usize) + 1;
    let mut number = format!("{size:.*}", 4usize.saturating_sub(whole_digits));
    if number.contains('.') {
        number.truncate(number.trim_end_matches('0').trim_end_matches('.').len());
    }
    format!("{number}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_docker_writes_them() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (3678, "3.678kB"),
            (313_835, "313.8kB"),
            (1_069_758, "1.07MB"),
            (1_980_000, "1.98MB"),
            (77_000_000, "77MB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn messages_have_the_shape_of_docker() {
        let (to, mut from) = tokio::sync::mpsc::unbounded_channel();
        let progress = Progress::new(to);
        let blob = Digest::of(b"");
        progress.begin("latest", "library/hello-world");
        progress.layer(&blob, "Pulling fs layer");
        progress.bytes(&blob, "Downloading", 3678, 313_835);
        progress.line("Status: done".into());
        let mut next = || from.try_recv().unwrap().to_json().to_string();
        assert_eq!(next(), r#"{"status":"Pulling from library/hello-world","id":"latest"}"#);
        assert_eq!(next(), r#"{"status":"Pulling fs layer","progressDetail":{},"id":"e3b0c44298fc"}"#);
        assert_eq!(
            next(),
            concat!(
                r#"{"status":"Downloading","progressDetail":{"current":3678,"total":313835},"#,
                r#""progress":"[>                                                  ]  3.678kB/313.8kB","#,
                r#""id":"e3b0c44298fc"}"#
            )
        );
        assert_eq!(next(), r#"{"status":"Status: done"}"#);
    }
}
