//! Snapshots of the tests: files that insta writes, read here so that a page can show them.
//!
//! A file has two parts: lines about the snapshot between two lines `---`, and then what was seen, to the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All snapshots of a directory, by the last part of their names: insta may put the test's module before it, as in
/// `suite__explain__NAME.snap`.
#[derive(Debug, Clone, Default)]
pub struct Snapshots {
    by_name: BTreeMap<String, Vec<Snapshot>>,
}

/// What a command printed in a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub path: PathBuf,
    /// `description:` in front of it: the command that was run.
    pub command: Option<String>,
    /// Without the front matter and without the line feed at the end.
    pub text: String,
}

/// A snapshot can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("cannot read {}: {why}", path.display())]
    Read { path: PathBuf, why: String },
    #[error("{} does not begin with the lines that insta writes between `---` and `---`", .0.display())]
    FrontMatter(PathBuf),
    #[error("no test has made a snapshot called {name:?}{}", closest(.like))]
    Unknown { name: String, like: Option<String> },
    #[error("{name:?} can mean {}", .paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" or "))]
    Ambiguous { name: String, paths: Vec<PathBuf> },
}

fn closest(like: &Option<String>) -> String {
    like.as_ref().map_or_else(String::new, |like| format!("; there is one called {like:?}"))
}

impl Snapshots {
    /// Reads all `*.snap` in a directory (what is not accepted yet, `*.snap.new`, is none).
    ///
    /// # Errors
    /// A file that can't be read, or that insta did not write.
    pub fn read(directory: &Path) -> Result<Snapshots, SnapshotError> {
        let failed = |why: std::io::Error| SnapshotError::Read { path: directory.into(), why: why.to_string() };
        let mut snapshots = Snapshots::default();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(stem) = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".snap")) else {
                continue;
            };
            let name = stem.rsplit("__").next().unwrap_or(stem).to_owned();
            let text = std::fs::read_to_string(&path)
                .map_err(|why| SnapshotError::Read { path: path.clone(), why: why.to_string() })?;
            let snapshot = parse(&path, &text)?;
            snapshots.by_name.entry(name).or_default().push(snapshot);
        }
        Ok(snapshots)
    }

    /// The snapshot that a page means.
    ///
    /// # Errors
    /// None of that name, or more than one.
    pub fn get(&self, name: &str) -> Result<&Snapshot, SnapshotError> {
        match self.by_name.get(name).map(Vec::as_slice) {
            Some([one]) => Ok(one),
            None | Some([]) => Err(SnapshotError::Unknown { name: name.into(), like: self.like(name) }),
            Some(several) => {
                let mut paths: Vec<_> = several.iter().map(|s| s.path.clone()).collect();
                paths.sort();
                Err(SnapshotError::Ambiguous { name: name.into(), paths })
            }
        }
    }

    /// A name that differs in dashes, case, or by being a part only.
    fn like(&self, name: &str) -> Option<String> {
        let plain = |s: &str| s.to_lowercase().replace(['-', '_'], "");
        let wanted = plain(name);
        let near = |other: &&String| plain(other).contains(&wanted) || wanted.contains(&plain(other));
        self.by_name.keys().find(near).cloned()
    }
}

fn parse(path: &Path, text: &str) -> Result<Snapshot, SnapshotError> {
    let wrong = || SnapshotError::FrontMatter(path.into());
    let rest = text.strip_prefix("---\n").ok_or_else(wrong)?;
    let (front, body) = rest.split_once("\n---\n").ok_or_else(wrong)?;
    let command = front.lines().find_map(|line| line.strip_prefix("description:")).map(unquoted);
    Ok(Snapshot { path: path.into(), command, text: body.strip_suffix('\n').unwrap_or(body).to_owned() })
}

/// A plain or quoted scalar of YAML, on one line.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    match value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
        Some(inside) => inside.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')).unwrap_or(value).replace("''", "'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> Result<Snapshots, SnapshotError> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Snapshots::read(directory.path())
    }

    #[test]
    fn what_insta_says_about_a_snapshot_is_not_part_of_it() {
        let file = "---\nsource: tests/suite/explain.rs\nassertion_line: 14\nexpression: text\n---\n a\n---\n\nb\n";
        let snapshots = with(&[("one.snap", file)]).unwrap();
        assert_eq!(snapshots.get("one").unwrap().text, " a\n---\n\nb");
        assert_eq!(snapshots.get("one").unwrap().command, None);
    }

    #[test]
    fn the_description_is_the_command() {
        let file = |line: &str| format!("---\nsource: x\ndescription: {line}\n---\nout\n");
        let plain = file("rdock run centos");
        let double = file(r#""rdock run -e \"A=b\" centos""#);
        let single = file("'rdock run centos echo ''hi'''");
        let snapshots = with(&[("a.snap", &plain), ("b.snap", &double), ("c.snap", &single)]).unwrap();
        let command = |name: &str| snapshots.get(name).unwrap().command.clone().unwrap();
        assert_eq!(command("a"), "rdock run centos");
        assert_eq!(command("b"), "rdock run -e \"A=b\" centos");
        assert_eq!(command("c"), "rdock run centos echo 'hi'");
    }

    #[test]
    fn the_module_in_front_of_a_name_does_not_matter_unless_two_have_it() {
        let file = "---\nsource: x\n---\nout\n";
        let snapshots = with(&[("suite__explain__hit.snap", file), ("flow_hit.snap", file)]).unwrap();
        assert_eq!(snapshots.get("hit").unwrap().text, "out");
        let two = with(&[("suite__a__hit.snap", file), ("suite__b__hit.snap", file)]).unwrap();
        assert!(matches!(two.get("hit"), Err(SnapshotError::Ambiguous { paths, .. }) if paths.len() == 2));
    }

    #[test]
    fn a_name_that_is_nearly_right_is_told() {
        let snapshots = with(&[("explain_not_found.snap", "---\nsource: x\n---\nout\n")]).unwrap();
        let said = snapshots.get("explain-not-found").unwrap_err().to_string();
        assert_eq!(
            said,
            "no test has made a snapshot called \"explain-not-found\"; there is one called \"explain_not_found\""
        );
        assert!(snapshots.get("else").unwrap_err().to_string().ends_with("called \"else\""));
    }

    #[test]
    fn what_was_not_accepted_is_no_snapshot() {
        let snapshots = with(&[("one.snap.new", "---\nsource: x\n---\nout\n")]).unwrap();
        assert!(snapshots.get("one").is_err());
    }

    #[test]
    fn a_file_that_insta_did_not_write_is_refused() {
        let said = with(&[("one.snap", "typed by hand\n")]).unwrap_err().to_string();
        assert!(said.contains("one.snap does not begin"), "{said}");
    }
}
