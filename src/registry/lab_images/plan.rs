//! From a recipe and a host to what each layer will hold, before a byte is copied.
//!
//! A plan is the list of entries of each layer, sorted, with every path resolved through the image's own
//! symbolic links (`/bin/ls` is `usr/bin/ls` where `/bin` leads to `usr/bin`), and the list of what the
//! result depends on. It is made of the recipe and of the host's directories and ELF headers only, so it
//! is cheap, and two plans of the same recipe on the same host are equal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::host::{Host, Needs, Program, applets};
use super::inputs::Inputs;
use super::layout::{self, Links};
use super::recipe::{FileRecipe, Generated, LayerRecipe, ProgramGroup, Recipe};
use super::{LabError, elf};

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Dir {
        mode: u32,
    },
    File {
        mode: u32,
        content: Content,
    },
    Symlink {
        target: String,
    },
    /// The same file under another name of this layer; that name comes first in the order of the tar.
    HardLink {
        to: String,
        mode: u32,
    },
}

/// Where the bytes of a file come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Bytes(Vec<u8>),
    /// Copied from this machine, followed if it is a symbolic link.
    Host(PathBuf),
}

/// What one layer will hold. Paths have no leading slash and no symbolic link in their directories.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlannedLayer {
    pub comment: String,
    pub entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Bottom first.
    pub layers: Vec<PlannedLayer>,
    /// What the image was made from.
    pub inputs: Inputs,
    /// What is optional and this host does not have, or cannot give.
    pub left_out: Vec<LeftOut>,
}

/// Something optional that is not in the image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftOut {
    pub name: String,
    /// The packages that have it, as a person would install them.
    pub packages: String,
}

/// The files beside a recipe, by name.
pub type Beside<'a> = &'a dyn Fn(&str) -> Option<&'a [u8]>;

/// Plans the image of `recipe` on `host`.
pub fn plan(recipe: &Recipe, beside: Beside<'_>, host: &Host) -> Result<Plan, LabError> {
    let mut planner = Planner::new(recipe, host);
    for (at, layer) in recipe.layers.iter().enumerate() {
        planner.links_and_dirs(at, layer)?;
    }
    for (at, layer) in recipe.layers.iter().enumerate() {
        for file in &layer.files {
            planner.file(at, file, beside)?;
        }
        for group in &layer.host_programs {
            planner.programs(at, group)?;
        }
    }
    for (at, layer) in recipe.layers.iter().enumerate() {
        planner.modules(at, layer)?;
        planner.terminfo(at, layer)?;
    }
    planner.drop_scripts_without_interpreter()?;
    Ok(planner.finish())
}

struct Planner<'a> {
    image: &'a str,
    host: &'a Host,
    layers: Vec<PlannedLayer>,
    /// The layer that the recipe set aside for libraries.
    library_layer: Option<usize>,
    links: Links,
    /// The modes of the directories that the recipe names.
    dirs: BTreeMap<String, u32>,
    /// Directories of the host that its loader searches in any case: those where the C library is.
    library_dirs: BTreeSet<PathBuf>,
    /// The programs that are in the image, by their names there.
    placed: BTreeSet<String>,
    /// Scripts: layer, path, interpreter, required.
    scripts: Vec<(usize, String, String, bool)>,
    inputs: Inputs,
    left_out: Vec<LeftOut>,
}

impl<'a> Planner<'a> {
    fn new(recipe: &'a Recipe, host: &'a Host) -> Planner<'a> {
        let empty = |l: &LayerRecipe| PlannedLayer { comment: l.comment.clone(), entries: BTreeMap::new() };
        Planner {
            image: &recipe.name,
            host,
            layers: recipe.layers.iter().map(empty).collect(),
            library_layer: recipe.layers.iter().position(|l| l.host_libraries),
            links: Links::default(),
            dirs: BTreeMap::new(),
            library_dirs: BTreeSet::new(),
            placed: BTreeSet::new(),
            scripts: Vec::new(),
            inputs: Inputs::default(),
            left_out: Vec::new(),
        }
    }

    fn links_and_dirs(&mut self, at: usize, layer: &LayerRecipe) -> Result<(), LabError> {
        for link in &layer.symlinks {
            let path = self.resolve_parent(&link.path)?;
            self.links.insert(&path, &link.target);
            self.add(at, path, Entry::Symlink { target: link.target.clone() })?;
        }
        for dir in &layer.dirs {
            let path = self.resolve(dir.path())?;
            self.dirs.insert(path.clone(), dir.mode());
            self.add(at, path, Entry::Dir { mode: dir.mode() })?;
        }
        Ok(())
    }

    fn file(&mut self, at: usize, file: &FileRecipe, beside: Beside<'_>) -> Result<(), LabError> {
        let text = match (&file.text, &file.from) {
            (Some(text), _) => text.as_bytes(),
            (None, from) => {
                let name = from.as_deref().unwrap_or_default();
                beside(name)
                    .ok_or_else(|| LabError::NotBeside { image: self.image.to_owned(), file: name.to_owned() })?
            }
        };
        let machine = || elf::Machine::of_host().ok_or(LabError::Machine(std::env::consts::ARCH));
        let bytes = match &file.generated {
            None => text.to_vec(),
            Some(Generated::Hello) => elf::hello(machine()?, text),
            Some(Generated::Server(server)) => super::server_program::server(machine()?, server, text),
        };
        let path = self.resolve_parent(&file.path)?;
        self.add(at, path, Entry::File { mode: file.mode, content: Content::Bytes(bytes) })
    }

    fn programs(&mut self, at: usize, group: &ProgramGroup) -> Result<(), LabError> {
        if let Some(other) = &group.unless
            && self.placed.contains(other)
        {
            return Ok(());
        }
        for name in &group.names {
            match self.program(at, group, name) {
                Ok(()) => {}
                Err(_) if group.optional => self.leave_out(name, packages(group)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn program(&mut self, at: usize, group: &ProgramGroup, name: &str) -> Result<(), LabError> {
        let own_name = [name.to_owned()];
        let candidates: &[String] = if group.from.is_empty() { &own_name } else { &group.from };
        let found = candidates.iter().find_map(|n| self.host.find_program(n));
        self.inputs.programs.extend(candidates.iter().map(|n| (n.clone(), self.host.find_program(n))));
        let path = found.ok_or_else(|| LabError::MissingProgram {
            image: self.image.to_owned(),
            program: name.to_owned(),
            packages: packages(group),
        })?;
        self.inputs.file(&path)?; // also when it turns out to be of no use: it may be replaced
        let program = self.host.examine(&path)?;
        let into = match &group.into {
            Some(dir) => dir.clone(),
            None if path.parent().is_some_and(|dir| dir.ends_with("sbin")) => "/usr/sbin".to_owned(),
            None => "/usr/bin".to_owned(),
        };
        if group.applets {
            self.applets(at, &program, &into, name)?;
        }
        let place = self.resolve_parent(&format!("{into}/{name}"))?;
        self.needs(at, &program, &place, !group.optional)?;
        self.host_file(at, place, &program.path)?;
        self.placed.insert(name.to_owned());
        Ok(())
    }

    /// Registers what the program needs: its libraries and loader, or the interpreter of a script.
    fn needs(&mut self, at: usize, program: &Program, place: &str, required: bool) -> Result<(), LabError> {
        let at_libraries = self.library_layer.unwrap_or(at);
        match &program.needs {
            Needs::Nothing => Ok(()),
            Needs::Interpreter(interpreter) => {
                self.scripts.push((at, place.to_owned(), interpreter.clone(), required));
                Ok(())
            }
            Needs::Libraries { loader, files } => {
                let Some(dir) = library_dir(loader.as_deref(), files) else {
                    return Ok(());
                };
                for (name, file) in files {
                    // A name with a slash is a path (ld.so(8)); any other is searched for.
                    let path = if name.starts_with('/') { name.clone() } else { format!("{dir}/{name}") };
                    let path = self.resolve_parent(&path)?;
                    self.host_file(at_libraries, path, file)?;
                }
                self.library_dirs.insert(PathBuf::from(&dir));
                match loader {
                    Some(loader) => {
                        let path = self.resolve_parent(loader)?;
                        self.host_file(at_libraries, path, Path::new(loader))
                    }
                    None => Ok(()),
                }
            }
        }
    }

    /// A symbolic link to a busybox for each name that it answers to.
    fn applets(&mut self, at: usize, busybox: &Program, into: &str, name: &str) -> Result<(), LabError> {
        let unusable =
            |problem| LabError::HostFile { path: busybox.path.clone(), source: std::io::Error::other(problem) };
        if busybox.needs != Needs::Nothing {
            return Err(unusable("is not statically linked"));
        }
        let bytes =
            std::fs::read(&busybox.path).map_err(|source| LabError::HostFile { path: busybox.path.clone(), source })?;
        let names = applets(&bytes).ok_or_else(|| unusable("has no table of applets"))?;
        for applet in names.iter().filter(|a| a.as_str() != name) {
            let path = self.resolve_parent(&format!("{into}/{applet}"))?;
            self.add(at, path, Entry::Symlink { target: name.to_owned() })?;
        }
        Ok(())
    }

    fn modules(&mut self, at: usize, layer: &LayerRecipe) -> Result<(), LabError> {
        for name in &layer.host_modules {
            let Some(file) = self.host.find_module(name, &self.library_dirs) else {
                self.leave_out(name, String::new());
                continue;
            };
            let Ok(module) = self.host.examine(&file) else {
                self.leave_out(name, String::new());
                continue;
            };
            let place = self.resolve_parent(&file.to_string_lossy())?;
            self.needs(at, &module, &place, false)?;
            self.host_file(self.library_layer.unwrap_or(at), place, &file)?;
        }
        Ok(())
    }

    fn terminfo(&mut self, at: usize, layer: &LayerRecipe) -> Result<(), LabError> {
        for terminal in &layer.host_terminfo {
            let found = self.host.find_terminfo(terminal);
            self.inputs.terminfo.insert(terminal.clone(), found.clone());
            match (found, terminal.chars().next()) {
                (Some(file), Some(letter)) => {
                    let path = self.resolve_parent(&format!("/usr/share/terminfo/{letter}/{terminal}"))?;
                    self.inputs.file(&file)?;
                    self.add(at, path, Entry::File { mode: 0o644, content: Content::Host(file) })?;
                }
                _ => self.leave_out(terminal, String::new()),
            }
        }
        Ok(())
    }

    /// A script is of no use where its interpreter is not.
    fn drop_scripts_without_interpreter(&mut self) -> Result<(), LabError> {
        for (at, path, interpreter, required) in std::mem::take(&mut self.scripts) {
            let place = self.resolve(&interpreter)?;
            if self.layers.iter().any(|l| l.entries.contains_key(&place)) {
                continue;
            }
            if required {
                return Err(LabError::NoInterpreter { image: self.image.to_owned(), script: path, interpreter });
            }
            self.layers[at].entries.remove(&path);
            self.leave_out(path.rsplit('/').next().unwrap_or_default(), String::new());
        }
        Ok(())
    }

    fn leave_out(&mut self, name: &str, packages: String) {
        self.left_out.push(LeftOut { name: name.to_owned(), packages });
    }

    fn host_file(&mut self, at: usize, path: String, file: &Path) -> Result<(), LabError> {
        self.inputs.file(file)?;
        self.add(at, path, Entry::File { mode: 0o755, content: Content::Host(file.to_owned()) })
    }

    /// Puts an entry into a layer. The same file twice is once (a library that many need; the first path
    /// to it wins, they are the same library); a file that a lower layer has already is not repeated.
    fn add(&mut self, at: usize, path: String, entry: Entry) -> Result<(), LabError> {
        let is_copy = |e: &Entry| matches!(e, Entry::File { content: Content::Host(_), .. });
        if is_copy(&entry) && self.layers.iter().any(|l| l.entries.get(&path).is_some_and(is_copy)) {
            return Ok(());
        }
        if self.layers[at].entries.insert(path.clone(), entry).is_some() {
            return Err(LabError::Twice { image: self.image.to_owned(), path });
        }
        Ok(())
    }

    fn resolve(&self, path: &str) -> Result<String, LabError> {
        self.links.resolve(path).ok_or_else(|| self.link_loop(path))
    }

    fn resolve_parent(&self, path: &str) -> Result<String, LabError> {
        self.links.resolve_parent(path).ok_or_else(|| self.link_loop(path))
    }

    fn link_loop(&self, path: &str) -> LabError {
        LabError::LinkLoop { image: self.image.to_owned(), path: path.to_owned() }
    }

    fn finish(mut self) -> Plan {
        for layer in &mut self.layers {
            layout::name_all_parents(layer, &self.dirs);
            layout::link_equal_files(layer);
        }
        self.left_out.sort();
        self.left_out.dedup();
        Plan { layers: self.layers, inputs: self.inputs, left_out: self.left_out }
    }
}

/// The directory for a program's libraries: that of the host's C library, for the loader (which is the
/// host's own) searches it without any configuration (ld.so(8)); musl's C library is its loader.
fn library_dir(loader: Option<&str>, files: &BTreeMap<String, PathBuf>) -> Option<String> {
    let libc = files.iter().find(|(name, _)| name.starts_with("libc.so."));
    let file = libc.map(|(_, file)| file.as_path()).or(loader.map(Path::new))?;
    Some(file.parent()?.to_string_lossy().into_owned())
}

fn packages(group: &ProgramGroup) -> String {
    let debian = group.debian.as_deref().map(|p| format!("Debian, Ubuntu: apt install {p}"));
    let fedora = group.fedora.as_deref().map(|p| format!("Fedora, RHEL: dnf install {p}"));
    let both: Vec<String> = debian.into_iter().chain(fedora).collect();
    both.join("; ")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
