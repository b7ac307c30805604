//! What this machine has: programs, the libraries that their ELF headers name, terminal descriptions.
//!
//! Everything here only reads. Nothing of the host is executed: the libraries come out of the headers
//! (the `lddtree` crate) and a busybox's applets out of the table of names in its file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::LabError;

/// Where to look on this machine.
#[derive(Debug, Clone)]
pub struct Host {
    programs: Vec<PathBuf>,
    terminfo: Vec<PathBuf>,
}

/// A program of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// As it was found: `/usr/bin/awk`. It may be a symbolic link; its content is what the link leads to.
    pub path: PathBuf,
    pub needs: Needs,
}

/// What a program needs besides itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// A script: the program of its first line (`/bin/sh`).
    Interpreter(String),
    /// The loader's path as the ELF header has it (a library has none), and each library's file by the name
    /// that is looked for.
    Libraries {
        loader: Option<String>,
        files: BTreeMap<String, PathBuf>,
    },
}

impl Host {
    /// The usual directories first, so that what a user put in front of `$PATH` is not taken for the
    /// system's program; then `$PATH`, for systems that have theirs elsewhere.
    pub fn this_machine() -> Host {
        let usual = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&path).filter(|p| p.is_absolute());
        let mut seen = BTreeSet::new();
        let programs = usual.into_iter().chain(path).filter(|dir| seen.insert(dir.clone())).collect();
        let terminfo = ["/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo"];
        Host { programs, terminfo: terminfo.map(PathBuf::from).to_vec() }
    }

    /// A host that has programs in these directories only, and no terminal descriptions.
    pub fn with_program_dirs(programs: Vec<PathBuf>) -> Host {
        Host { programs, terminfo: Vec::new() }
    }

    /// The program's file, if this machine has it.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let runs =
            |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        self.programs.iter().map(|dir| dir.join(name)).find(runs)
    }

    /// A terminal description, by the two layouts of the directory: `x/xterm` or `78/xterm` (terminfo(5)).
    pub fn find_terminfo(&self, terminal: &str) -> Option<PathBuf> {
        let first = *terminal.as_bytes().first()?;
        let letter = char::from(first).to_string();
        let both = self.terminfo.iter().flat_map(|dir| [dir.join(&letter), dir.join(format!("{first:x}"))]);
        both.map(|dir| dir.join(terminal)).find(|path| path.is_file())
    }

    /// A library that programs open at run time, looked for beside the libraries they are linked with.
    pub fn find_module(&self, name: &str, beside: &BTreeSet<PathBuf>) -> Option<PathBuf> {
        beside.iter().map(|dir| dir.join(name)).find(|path| path.is_file())
    }

    /// Reads what the program at `path` needs.
    pub fn examine(&self, path: &Path) -> Result<Program, LabError> {
        let unreadable = |source| LabError::HostFile { path: path.to_owned(), source };
        let mut start = Vec::new();
        File::open(path).and_then(|f| f.take(256).read_to_end(&mut start)).map_err(unreadable)?;
        let needs = match start.strip_prefix(b"#!") {
            Some(line) => Needs::Interpreter(script_interpreter(line)),
            None => libraries(path)?,
        };
        Ok(Program { path: path.to_owned(), needs })
    }
}

/// The program that a script names in its first line (execve(2)).
fn script_interpreter(line: &[u8]) -> String {
    let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).split_whitespace().next().unwrap_or("/bin/sh").to_owned()
}

fn libraries(path: &Path) -> Result<Needs, LabError> {
    let not_elf =
        |e: lddtree::Error| LabError::HostFile { path: path.to_owned(), source: io::Error::other(e.to_string()) };
    let tree = lddtree::DependencyAnalyzer::default().analyze(path).map_err(not_elf)?;
    let loader = tree.interpreter;
    if loader.is_none() && tree.needed.is_empty() {
        return Ok(Needs::Nothing);
    }
    let loader_name = loader.as_deref().and_then(|l| Path::new(l).file_name()).map(|n| n.to_os_string());
    let mut files = BTreeMap::new();
    for (name, library) in tree.libraries {
        // The C library names the loader as a library of its own: it is placed once, at its own path.
        if loader_name.as_deref() == Some(name.as_ref()) {
            continue;
        }
        if !library.found() {
            return Err(LabError::MissingLibrary { program: path.to_owned(), library: name });
        }
        files.insert(name, library.path);
    }
    Ok(Needs::Libraries { loader, files })
}

/// The names that a busybox answers to, out of the table in its file: sorted names, each ended by a zero
/// byte, that begin with `[` and `[[`. None when there is no such table.
pub fn applets(busybox: &[u8]) -> Option<Vec<String>> {
    const START: &[u8] = b"\0[\0[[\0";
    let start = busybox.windows(START.len()).position(|w| w == START)? + 1;
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"[-_.".contains(b);
    let mut names: Vec<String> = Vec::new();
    for name in busybox[start..].split(|b| *b == 0) {
        let name = match std::str::from_utf8(name) {
            Ok(name) if !name.is_empty() && name.len() < 32 && name.bytes().all(|b| plain(&b)) => name,
            _ => break,
        };
        if names.last().is_some_and(|last| last.as_str() >= name) {
            break;
        }
        names.push(name.to_owned());
    }
    (names.len() > 10).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_needs_a_loader_and_a_c_library() {
        let host = Host::this_machine();
        let bash = host.examine(&host.find_program("bash").unwrap()).unwrap();
        let Needs::Libraries { loader, files } = bash.needs else { panic!("{bash:?}") };
        let loader = loader.unwrap();
        assert!(loader.starts_with('/') && Path::new(&loader).exists());
        assert!(files.values().all(|f| f.is_file()));
        assert!(!files.keys().any(|name| loader.ends_with(name.as_str())));
    }

    #[test]
    fn a_script_needs_the_program_of_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("s");
        fs::write(&script, "#! /bin/sh -e\nexit 0\n").unwrap();
        let needs = Host::this_machine().examine(&script).unwrap().needs;
        assert_eq!(needs, Needs::Interpreter("/bin/sh".into()));
    }

    #[test]
    fn what_is_neither_script_nor_elf_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("text");
        fs::write(&file, "only text\n").unwrap();
        let error = Host::this_machine().examine(&file).unwrap_err().to_string();
        assert!(error.contains(file.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_program_that_is_not_executable_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tool"), "x").unwrap();
        assert_eq!(Host::with_program_dirs(vec![dir.path().into()]).find_program("tool"), None);
    }

    #[test]
    fn the_applet_table_ends_where_the_order_ends() {
        let names = ["[", "[[", "ar", "ash", "awk", "cat", "cp", "ls", "mv", "rm", "sh", "wc"];
        let mut file = b"code\0".to_vec();
        names.iter().for_each(|n| file.extend([n.as_bytes(), b"\0"].concat()));
        file.extend(b"another\0string\0");
        assert_eq!(applets(&file).unwrap(), names);
        assert_eq!(applets(b"\0[\0[[\0ar\0\0"), None);
    }
}
