//! Lessons: `lessons/NN-name/lesson.md`, the text, and `lesson.toml`, the commands whose output the text shows.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All lessons, by the names of their directories.
#[derive(Debug, Clone, Default)]
pub struct Lessons {
    by_name: BTreeMap<String, Lesson>,
}

/// One lesson.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// Of `lesson.md`.
    pub path: PathBuf,
    pub text: String,
    pub manifest: Manifest,
}

/// The part of `lesson.toml` that the book needs.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// The name of the directory.
    pub id: String,
    pub title: String,
    #[serde(default)]
    pub commands: Vec<Command>,
}

/// A command of a lesson.
#[derive(Debug, Clone, Deserialize)]
pub struct Command {
    /// The snapshot that a test makes of what it prints.
    pub snapshot: String,
    /// The command line, as a learner types it.
    pub run: String,
}

/// The lessons can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LessonError {
    #[error("cannot read {}: {why}", path.display())]
    Read { path: PathBuf, why: std::io::Error },
    #[error("{}: {why}", path.display())]
    Manifest { path: PathBuf, why: toml::de::Error },
    #[error("{}: the id {id:?} is not the name of the directory", path.display())]
    Id { path: PathBuf, id: String },
}

impl Lessons {
    /// Reads the directories that begin with two digits and a dash; the others hold no lessons.
    ///
    /// # Errors
    /// A lesson without a text or a manifest, or with a manifest that says something else.
    pub fn read(directory: &Path) -> Result<Lessons, LessonError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |why| LessonError::Read { path, why }
        };
        let mut lessons = Lessons::default();
        for entry in std::fs::read_dir(directory).map_err(failed(directory))? {
            let place = entry.map_err(failed(directory))?.path();
            let Some(name) = place.file_name().and_then(|n| n.to_str()).filter(|n| is_lesson(n)) else { continue };
            let path = place.join("lesson.toml");
            let text = std::fs::read_to_string(&path).map_err(failed(&path))?;
            let manifest: Manifest =
                toml::from_str(&text).map_err(|why| LessonError::Manifest { path: path.clone(), why })?;
            if manifest.id != name {
                return Err(LessonError::Id { path, id: manifest.id });
            }
            let path = place.join("lesson.md");
            let text = std::fs::read_to_string(&path).map_err(failed(&path))?;
            lessons.by_name.insert(name.to_owned(), Lesson { path, text, manifest });
        }
        Ok(lessons)
    }

    /// In their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    pub fn get(&self, name: &str) -> Option<&Lesson> {
        self.by_name.get(name)
    }
}

impl Lesson {
    /// The command line whose output this snapshot is.
    pub fn command(&self, snapshot: &str) -> Option<&str> {
        self.manifest.commands.iter().find(|c| c.snapshot == snapshot).map(|c| c.run.as_str())
    }
}

/// `01-what-happens-on-run`
fn is_lesson(name: &str) -> bool {
    matches!(name.as_bytes(), [a, b, b'-', _, ..] if a.is_ascii_digit() && b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "id = \"01-one\"\ntitle = \"One\"\nminutes = 10\n\
                            [[commands]]\nsnapshot = \"hit\"\nrun = \"rdock run centos\"\nstatus = 0\n";

    fn lessons(files: &[(&str, &str)]) -> Result<Lessons, LessonError> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Lessons::read(directory.path())
    }

    #[test]
    fn a_lesson_knows_the_commands_behind_its_snapshots() {
        let lessons =
            lessons(&[("01-one/lesson.toml", MANIFEST), ("01-one/lesson.md", "# One\n"), ("images/x", "")]).unwrap();
        assert_eq!(lessons.names().collect::<Vec<_>>(), ["01-one"]);
        let lesson = lessons.get("01-one").unwrap();
        assert_eq!(lesson.command("hit"), Some("rdock run centos"));
        assert_eq!(lesson.command("miss"), None);
    }

    #[test]
    fn a_lesson_without_text_is_an_error() {
        let said = lessons(&[("01-one/lesson.toml", MANIFEST)]).unwrap_err().to_string();
        assert!(said.contains("lesson.md"), "{said}");
    }

    #[test]
    fn the_id_is_the_directory() {
        let said = lessons(&[("02-two/lesson.toml", MANIFEST), ("02-two/lesson.md", "")]).unwrap_err().to_string();
        assert!(said.contains("the id \"01-one\""), "{said}");
    }
}
