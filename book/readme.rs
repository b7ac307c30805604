//! The transcript in `README.md`: between two marks stands what the program printed in a test, and a test compares.

use crate::snapshot::{SnapshotError, Snapshots};

/// Before and after the transcript, each alone on a line.
pub const BEGIN: &str = "<!-- transcript:begin -->";
pub const END: &str = "<!-- transcript:end -->";

/// The command of the transcript, and the snapshot of what it prints where nothing was downloaded before.
pub const COMMAND: &str = "rdock --explain run centos";
pub const SNAPSHOT: &str = "explain_centos_miss";

/// There is no transcript to show.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("{SNAPSHOT:?} was printed by {0:?}, not by {COMMAND:?}: see `description:` in front of it")]
    Command(String),
}

/// What must stand between the marks.
///
/// # Errors
/// No test has made the snapshot, or of another command.
pub fn transcript(snapshots: &Snapshots) -> Result<String, TranscriptError> {
    let snapshot = snapshots.get(SNAPSHOT)?;
    match snapshot.command.as_deref() {
        Some(COMMAND) => Ok(format!("\n```console\n$ {COMMAND}\n{}\n```\n", snapshot.text)),
        other => Err(TranscriptError::Command(other.unwrap_or("nobody knows what").to_owned())),
    }
}

/// What stands between the marks; none where one of them is missing.
pub fn found(readme: &str) -> Option<&str> {
    Some(parts(readme)?.1)
}

/// The same text with `transcript` between the marks.
pub fn with(readme: &str, transcript: &str) -> Option<String> {
    let (before, _, after) = parts(readme)?;
    Some(format!("{before}{transcript}{after}"))
}

/// Up to the line after the first mark, between the marks, from the second mark on.
fn parts(readme: &str) -> Option<(&str, &str, &str)> {
    let begin = readme.find(&format!("\n{BEGIN}\n"))? + BEGIN.len() + 2;
    // The line feed of the first mark may be the one before the second.
    let end = begin + readme[begin - 1..].find(&format!("\n{END}\n"))?;
    Some((&readme[..begin], &readme[begin..end], &readme[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transcript_is_of_its_command() {
        let transcript_of = |front: &str| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(format!("{SNAPSHOT}.snap"));
            std::fs::write(path, format!("---\nsource: x\n{front}---\nout\n")).unwrap();
            transcript(&Snapshots::read(directory.path()).unwrap()).map_err(|e| e.to_string())
        };
        let right = transcript_of(&format!("description: {COMMAND}\n")).unwrap();
        assert_eq!(right, format!("\n```console\n$ {COMMAND}\nout\n```\n"));
        assert!(transcript_of("description: rdock run hello-world\n").unwrap_err().contains("rdock run hello-world"));
        assert!(transcript_of("").is_err());
    }

    #[test]
    fn what_is_put_in_is_found_again() {
        let readme = format!("# x\n\n{BEGIN}\nold\n{END}\n\nmore\n");
        assert_eq!(found(&readme), Some("old\n"));
        let new = with(&readme, "\n```console\n$ a\nb\n```\n").unwrap();
        assert_eq!(new, format!("# x\n\n{BEGIN}\n\n```console\n$ a\nb\n```\n{END}\n\nmore\n"));
        assert_eq!(found(&new), Some("\n```console\n$ a\nb\n```\n"));
    }

    #[test]
    fn an_empty_place_can_be_filled() {
        let readme = format!("# x\n{BEGIN}\n{END}\nmore\n");
        assert_eq!(found(&readme), Some(""));
        assert_eq!(with(&readme, "new\n").unwrap(), format!("# x\n{BEGIN}\nnew\n{END}\nmore\n"));
    }

    #[test]
    fn without_both_marks_there_is_no_transcript() {
        assert_eq!(found(&format!("x\n{BEGIN}\nold\n")), None);
        assert_eq!(found(&format!("x\n{END}\nold\n{BEGIN}\n")), None);
    }
}
