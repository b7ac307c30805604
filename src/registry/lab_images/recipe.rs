//! The recipe of a lab image: what it is called, how it is started, and what each layer holds.
//!
//! A recipe is `lessons/images/<name>/recipe.toml`; the format is told in `lessons/images/README.md`. An
//! unknown field is an error, so that a typing mistake is found when the recipe is read and not when a
//! learner misses a file. Names and paths are checked here: nothing in a recipe can point outside the
//! image or outside its own directory.

use std::collections::BTreeMap;

use super::server_program::ServerRecipe;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One image of the lab hub.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The name of the recipe and, where `repository` says nothing else, the last part of
    /// `docker.io/library/<name>`.
    pub name: String,
    /// For a second image under one name, which has other tags.
    pub repository: Option<String>,
    /// For search.
    #[serde(default)]
    pub stars: i64,
    /// For search.
    #[serde(default)]
    pub official: bool,
    /// The tags under which the hub serves it; the first is the one people mean.
    pub tags: Vec<String>,
    /// One sentence for people.
    pub description: String,
    /// RFC 3339; the `created` of the config and the modification time of every file.
    pub created: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `NAME=value`.
    #[serde(default)]
    pub env: Vec<String>,
    pub cmd: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub workdir: Option<String>,
    /// `80/tcp`.
    #[serde(default)]
    pub expose: Vec<String>,
    /// Directories that belong into volumes.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// The signal that asks its process to end, if not SIGTERM.
    pub stop_signal: Option<String>,
    /// The lower layers are those of another recipe.
    pub base: Option<Base>,
    /// Bottom first.
    pub layers: Vec<LayerRecipe>,
}

/// The first layers of another recipe, which the images then share.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    pub recipe: String,
    pub layers: usize,
}

/// One layer: its tar is made of all that is named here, sorted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerRecipe {
    /// Becomes `created_by` in the image's history.
    pub comment: String,
    #[serde(default)]
    pub dirs: Vec<DirRecipe>,
    #[serde(default)]
    pub files: Vec<FileRecipe>,
    #[serde(default)]
    pub symlinks: Vec<SymlinkRecipe>,
    #[serde(default)]
    pub host_programs: Vec<ProgramGroup>,
    /// The libraries of all programs of the image go into this layer (else: beside the program).
    #[serde(default)]
    pub host_libraries: bool,
    /// Libraries that programs open by name at run time, so no ELF header tells of them. Optional all.
    #[serde(default)]
    pub host_modules: Vec<String>,
    /// Terminal descriptions of the host (terminfo(5)). Optional all.
    #[serde(default)]
    pub host_terminfo: Vec<String>,
}

/// `"/usr/bin"`, or with a mode: `{ path = "/tmp", mode = 0o1777 }`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum DirRecipe {
    Plain(String),
    Mode(DirWithMode),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirWithMode {
    pub path: String,
    pub mode: u32,
}

impl DirRecipe {
    pub fn path(&self) -> &str {
        match self {
            DirRecipe::Plain(path) => path,
            DirRecipe::Mode(dir) => &dir.path,
        }
    }

    pub fn mode(&self) -> u32 {
        match self {
            DirRecipe::Plain(_) => 0o755,
            DirRecipe::Mode(dir) => dir.mode,
        }
    }
}

/// A file whose content is in the recipe (`text`) or in a file beside it (`from`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecipe {
    pub path: String,
    pub text: Option<String>,
    pub from: Option<String>,
    /// The content is not copied but made: see [`Generated`].
    pub generated: Option<Generated>,
    #[serde(default = "default_file_mode")]
    pub mode: u32,
}

fn default_file_mode() -> u32 {
    0o644
}

/// What rdock can make itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generated {
    /// A static executable for this machine that prints the text and ends ([`super::elf`]).
    Hello,
    /// One that prints the text, and answers on a port ([`super::server_program`]).
    Server(ServerRecipe),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymlinkRecipe {
    pub path: String,
    /// As readlink(1) will show it.
    pub target: String,
}

/// Programs that are copied from this machine, with what the message says when one is missing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramGroup {
    pub names: Vec<String>,
    /// The names under which the host may have it, best first (default: its own name). One name only.
    #[serde(default)]
    pub from: Vec<String>,
    /// A missing optional program is left out; a missing required one is an error.
    #[serde(default)]
    pub optional: bool,
    /// Leave the group out when this program was found by a group before.
    pub unless: Option<String>,
    /// A busybox: must be statically linked, and gets a symlink for each applet that it has.
    #[serde(default)]
    pub applets: bool,
    /// The directory in the image (default: `/usr/bin`, or `/usr/sbin` when it is in an sbin of the host).
    pub into: Option<String>,
    /// The package that has these programs in Debian and Ubuntu …
    pub debian: Option<String>,
    /// … and in Fedora and its relatives.
    pub fedora: Option<String>,
}

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    #[error("recipe {recipe}: {source}")]
    Syntax { recipe: String, source: Box<toml::de::Error> },
    #[error("recipe {recipe}: {field} {value:?} {problem}")]
    Value { recipe: String, field: &'static str, value: String, problem: &'static str },
}

impl Recipe {
    /// Reads and checks one recipe. `dir` is the directory that it was found in, which must be its name.
    pub fn parse(dir: &str, text: &str) -> Result<Recipe, RecipeError> {
        let recipe: Recipe =
            toml::from_str(text).map_err(|e| RecipeError::Syntax { recipe: dir.to_owned(), source: Box::new(e) })?;
        recipe.check(dir)?;
        Ok(recipe)
    }

    /// Seconds since 1970 of [`Recipe::created`].
    pub fn created_unix(&self) -> u64 {
        OffsetDateTime::parse(&self.created, &Rfc3339)
            .ok()
            .and_then(|t| u64::try_from(t.unix_timestamp()).ok())
            .unwrap_or(0)
    }

    /// What a person calls the image, without its tag.
    pub fn image(&self) -> &str {
        self.repository.as_deref().unwrap_or(&self.name)
    }

    /// The repository on the hub: `library/centos`.
    pub fn repository(&self) -> String {
        format!("library/{}", self.image())
    }

    /// Puts the layers of the base below its own.
    ///
    /// # Errors
    /// The base has not so many layers, or another date: then the layers would not be the same.
    pub fn stand_on(&mut self, base: &Recipe) -> Result<(), RecipeError> {
        let bad = |problem| RecipeError::Value {
            recipe: self.name.clone(),
            field: "base",
            value: base.name.clone(),
            problem,
        };
        let wanted = self.base.as_ref().map_or(0, |b| b.layers);
        let below = base.layers.get(..wanted).ok_or_else(|| bad("has not so many layers"))?;
        if base.created != self.created {
            return Err(bad("has another date"));
        }
        self.layers.splice(0..0, below.iter().cloned());
        Ok(())
    }

    /// The names in the store: `docker.io/library/centos:latest`, …
    pub fn references(&self) -> impl Iterator<Item = String> + '_ {
        self.tags.iter().map(|tag| format!("docker.io/{}:{tag}", self.repository()))
    }

    fn check(&self, dir: &str) -> Result<(), RecipeError> {
        let bad = |field, value: &str, problem| RecipeError::Value {
            recipe: dir.to_owned(),
            field,
            value: value.to_owned(),
            problem,
        };
        if self.name != dir {
            return Err(bad("name", &self.name, "is not the name of its directory"));
        }
        for name in std::iter::once(&self.name).chain(&self.repository) {
            if !is_repository_name(name) {
                return Err(bad("name", name, "is not a name of lower case letters, digits and single . _ -"));
            }
        }
        if self.tags.is_empty() {
            return Err(bad("tags", "", "must name at least one tag"));
        }
        if let Some(tag) = self.tags.iter().find(|t| !is_tag(t)) {
            return Err(bad("tag", tag, "is not a tag of at most 128 letters, digits, . _ -"));
        }
        match OffsetDateTime::parse(&self.created, &Rfc3339) {
            Ok(t) if t.unix_timestamp() >= 0 => {}
            _ => {
                return Err(bad("created", &self.created, "is not a date after 1970 such as 2026-11-01T00:00:00Z"));
            }
        }
        if let Some(env) = self.env.iter().find(|e| !e.contains('=')) {
            return Err(bad("env", env, "is not NAME=value"));
        }
        let dirs = self.workdir.iter().map(|d| ("workdir", d)).chain(self.volumes.iter().map(|d| ("volume", d)));
        for (field, dir) in dirs {
            if !is_image_path(dir) {
                return Err(bad(field, dir, IMAGE_PATH));
            }
        }
        if let Some(port) = self.expose.iter().find(|p| !is_port(p)) {
            return Err(bad("expose", port, "is no port such as 80/tcp"));
        }
        if self.layers.is_empty() {
            return Err(bad("layers", "", "must hold at least one layer"));
        }
        self.layers.iter().try_for_each(|layer| layer.check(&bad))
    }
}

const IMAGE_PATH: &str = "is not an absolute path without . and .. parts";
const PLAIN_NAME: &str = "is not a plain file name";

impl LayerRecipe {
    fn check(&self, bad: &dyn Fn(&'static str, &str, &'static str) -> RecipeError) -> Result<(), RecipeError> {
        let dirs = self.dirs.iter().map(|d| ("dir", d.path()));
        let files = self.files.iter().map(|f| ("file", f.path.as_str()));
        let links = self.symlinks.iter().map(|l| ("symlink", l.path.as_str()));
        let into = self.host_programs.iter().filter_map(|g| Some(("into", g.into.as_deref()?)));
        for (field, path) in dirs.chain(files).chain(links).chain(into) {
            if !is_image_path(path) {
                return Err(bad(field, path, IMAGE_PATH));
            }
        }
        let modes = self.dirs.iter().map(|d| (d.path(), d.mode()));
        for (path, mode) in modes.chain(self.files.iter().map(|f| (f.path.as_str(), f.mode))) {
            if mode > 0o7777 {
                return Err(bad("mode of", path, "is more than 0o7777"));
            }
        }
        for file in &self.files {
            if file.text.is_some() == file.from.is_some() {
                return Err(bad("file", &file.path, "must have either text or from"));
            }
        }
        if let Some(link) = self.symlinks.iter().find(|l| l.target.is_empty()) {
            return Err(bad("symlink", &link.path, "has no target"));
        }
        for group in &self.host_programs {
            if !group.from.is_empty() && group.names.len() != 1 {
                return Err(bad("from", &group.from.join(" "), "is for a group of one name"));
            }
        }
        let programs = self.host_programs.iter().flat_map(|g| g.names.iter().chain(&g.from));
        let names = programs.map(|n| ("program", n));
        let names = names.chain(self.files.iter().filter_map(|f| Some(("from", f.from.as_ref()?))));
        let names = names.chain(self.host_modules.iter().map(|n| ("module", n)));
        for (field, name) in names.chain(self.host_terminfo.iter().map(|n| ("terminfo", n))) {
            if !is_plain_name(name) {
                return Err(bad(field, name, PLAIN_NAME));
            }
        }
        Ok(())
    }
}

fn is_port(port: &str) -> bool {
    let number = port.strip_suffix("/tcp").or_else(|| port.strip_suffix("/udp"));
    number.and_then(|n| n.parse::<u16>().ok()).is_some_and(|n| n > 0)
}

/// One path component of the distribution spec's `<name>`.
fn is_repository_name(name: &str) -> bool {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= 64 && name.split(['.', '_', '-']).all(word)
}

fn is_tag(tag: &str) -> bool {
    let rest = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=128).contains(&tag.len()) && tag.bytes().all(rest) && !tag.starts_with(['.', '-'])
}

/// Absolute, and no part that is empty, `.` or `..`, so it cannot leave the image.
fn is_image_path(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| !rest.is_empty() && rest.split('/').all(is_plain_name))
}

/// A name that stays in the directory where it is used.
fn is_plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        name = "demo"
        tags = ["latest"]
        description = "a demo"
        created = "2026-11-01T00:00:00Z"
        [[layers]]
        comment = "one file"
        files = [{ path = "/etc/motd", text = "hi" }]
    "#;

    fn error_of(text: &str) -> String {
        Recipe::parse("demo", text).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_small_recipe_is_read_with_its_defaults() {
        let recipe = Recipe::parse("demo", SMALL).unwrap();
        assert_eq!(recipe.references().collect::<Vec<_>>(), ["docker.io/library/demo:latest"]);
        assert_eq!(recipe.layers[0].files[0].mode, 0o644);
        assert_eq!(recipe.created_unix(), 1_793_491_200);
    }

    #[test]
    fn an_unknown_field_is_an_error_that_names_it() {
        assert!(error_of(&format!("colour = 1\n{SMALL}")).contains("unknown field `colour`"));
        assert!(error_of(&SMALL.replace("text", "txet")).contains("unknown field `txet`"));
        assert!(error_of(&format!("{SMALL}\nhost_program = []")).contains("unknown field `host_program`"));
    }

    #[test]
    fn no_name_and_no_path_can_escape() {
        for path in ["etc/motd", "/../etc/passwd", "/etc/../../x", "/", "//x", "/etc/./x", "/a/"] {
            let text = SMALL.replace("/etc/motd", path);
            assert!(error_of(&text).contains(IMAGE_PATH), "{path}");
        }
        let from = SMALL.replace(r#"text = "hi""#, r#"from = "../secret""#);
        assert!(error_of(&from).contains(PLAIN_NAME));
        let program = format!("{SMALL}\nhost_programs = [{{ names = [\"../../bin/sh\"] }}]");
        assert!(error_of(&program).contains(PLAIN_NAME));
        assert!(error_of(&SMALL.replace(r#"name = "demo""#, r#"name = "../demo""#)).contains("name of its directory"));
        assert!(error_of(&SMALL.replace("latest", "../x")).contains("is not a tag"));
    }

    #[test]
    fn a_file_has_text_or_a_source_and_a_mode_that_fits() {
        assert!(error_of(&SMALL.replace(r#", text = "hi""#, "")).contains("either text or from"));
        let mode = SMALL.replace(r#"text = "hi""#, r#"text = "hi", mode = 0o100644"#);
        assert!(error_of(&mode).contains("0o7777"));
    }

    #[test]
    fn names_follow_the_distribution_spec() {
        for good in ["centos", "hello-world", "a.b", "x86_64"] {
            assert!(is_repository_name(good), "{good}");
        }
        for bad in ["", "Centos", "a--b", "-a", "a/b", "a b"] {
            assert!(!is_repository_name(bad), "{bad}");
        }
    }
}
