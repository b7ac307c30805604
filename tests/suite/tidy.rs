//! What the compiler does not see: which module may know which, sizes, words, places where nothing must creep in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One Rust file without comments, strings and `#[cfg(test)]` items.
struct Source {
    /// From the package's root: `src/kernel/mod.rs`.
    path: String,
    raw: String,
    code: String,
}

impl Source {
    fn new(path: &str, raw: String) -> Source {
        let code = without_tests(&blank(&raw));
        Source { path: path.to_owned(), raw, code }
    }

    /// The module that a file of `src/` belongs to; `main` and `lib` are themselves.
    fn module(&self) -> &str {
        let below = self.path.trim_start_matches("src/");
        let first = below.split('/').next().unwrap_or("");
        first.trim_end_matches(".rs")
    }

    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or("");
        name == "tests.rs"
            || name.ends_with("_tests.rs")
            || self.path.contains("/tests/")
            || !self.path.starts_with("src/")
    }
}

/// Tracked files; where there is no repository (a source archive), what is on disk.
fn tracked() -> Vec<String> {
    let git = std::process::Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    if let Ok(out) = git
        && out.status.success()
    {
        let list = String::from_utf8_lossy(&out.stdout).into_owned();
        let files = list.split('\0').filter(|f| !f.is_empty() && root().join(f).is_file());
        return files.map(str::to_owned).collect();
    }
    let mut files = Vec::new();
    let mut open = vec![root().to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
                open.push(path);
            } else if path.is_file() {
                files.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    files
}

fn sources(below: &str) -> Vec<Source> {
    let list: Vec<Source> = tracked()
        .into_iter()
        .filter(|f| f.starts_with(below) && f.ends_with(".rs"))
        .map(|f| Source::new(&f, std::fs::read_to_string(root().join(&f)).unwrap()))
        .collect();
    assert!(!list.is_empty());
    list
}

/// Replaces comments and the contents of strings by spaces; lines stay where they are.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let keep = |out: &mut String, from: usize, to: usize| {
        out.extend(text[from..to].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
    };
    while at < bytes.len() {
        let rest = &text[at..];
        let end = if rest.starts_with("//") {
            at + rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            at + rest.find("*/").map_or(rest.len(), |n| n + 2)
        } else if let Some(end) = raw_string(rest) {
            at + end
        } else if bytes[at] == b'"' {
            let mut end = at + 1;
            while end < bytes.len() && bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            (end + 1).min(bytes.len())
        } else if let Some(length) = character(rest) {
            at + length
        } else {
            let c = rest.chars().next().unwrap_or(' ');
            out.push(c);
            at += c.len_utf8();
            continue;
        };
        keep(&mut out, at, end);
        at = end;
    }
    out
}

/// Length of `r"…"`, `r#"…"#`, also with `b` or `c` before.
fn raw_string(rest: &str) -> Option<usize> {
    let after = ["r", "br", "cr"].iter().find_map(|p| rest.strip_prefix(p))?;
    let hashes = after.bytes().take_while(|b| *b == b'#').count();
    let body = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close)?;
    Some(rest.len() - body.len() + end + close.len())
}

/// Length of a character literal (not of a lifetime).
fn character(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('\'')?;
    let mut chars = after.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        let end = after[2..].find('\'')?;
        return Some(1 + 2 + end + 1);
    }
    match chars.next() {
        Some((at, '\'')) => Some(1 + at + 1),
        _ => None,
    }
}

/// Cuts out the items that follow `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        let open = rest.find(['{', ';']).unwrap_or(rest.len() - 1);
        let mut end = start + open + 1;
        if rest.as_bytes().get(open) == Some(&b'{') {
            let mut depth = 1;
            while depth > 0 && end < out.len() {
                match out.as_bytes()[end] {
                    b'{' => depth += 1,
                    b'}' => depth -= 1,
                    _ => {}
                }
                end += 1;
            }
        }
        let blanked: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blanked);
    }
    out
}

/// Modules named after `crate::` or (in `main.rs`) `rdock::`: also those in braces, `use crate::{a, b::c}`.
fn named_modules(code: &str, root: &str) -> BTreeSet<(String, usize)> {
    let mut found = BTreeSet::new();
    let ident = |s: &str| -> String { s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    for (at, _) in code.match_indices(root) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = code[at + root.len()..].trim_start();
        let Some(group) = rest.strip_prefix('{') else {
            found.insert((ident(rest), line));
            continue;
        };
        let mut depth = 0;
        let mut item = String::new();
        for c in group.chars() {
            match c {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.insert((ident(item.trim()), line));
                    item.clear();
                }
                c => item.push(c),
            }
        }
        found.insert((ident(item.trim()), line));
    }
    found.retain(|(name, _)| !name.is_empty());
    found
}

/// The table of `src/lib.rs`: module → (what it may import, or `None` for everything), and what anyone may use.
fn law() -> (BTreeMap<String, Option<BTreeSet<String>>>, BTreeSet<String>) {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut rows = BTreeMap::new();
    let mut free = BTreeSet::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("//! |")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, _, may, ..] = cells[..] else { continue };
        let Some(name) = name.strip_prefix('`').and_then(|n| n.strip_suffix('`')) else {
            continue;
        };
        if may.contains("anyone may use") {
            free.insert(name.to_owned());
        }
        let named = may.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let allowed = match may {
            "everything" => None,
            may if may.starts_with("nothing") => Some(BTreeSet::new()),
            _ => Some(named),
        };
        rows.insert(name.to_owned(), allowed);
    }
    (rows, free)
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let (law, free) = law();
    assert!(law.len() > 10, "the table in src/lib.rs was not found");
    let mut wrong = Vec::new();
    for source in sources("src/") {
        let module = source.module();
        if matches!(module, "lib" | "main") || source.is_test() {
            continue;
        }
        let Some(allowed) = law.get(module) else {
            wrong.push(format!("{}: module `{module}` has no row in the table of src/lib.rs", source.path));
            continue;
        };
        let Some(allowed) = allowed else { continue };
        for (name, line) in named_modules(&source.code, "crate::") {
            let own = name == module || free.contains(&name) || allowed.contains(&name);
            if law.contains_key(&name) && !own {
                wrong.push(format!("{}:{line}: `{module}` may not import `{name}`", source.path));
            }
        }
    }
    assert_none(&wrong);
}

/// Which kernel it is, real or simulated, is for few to know: the composition root, the entry points of processes,
/// and the runtime's half that lives in the new process.
const NAME_A_KERNEL: [&str; 7] = [
    "src/app.rs",
    "src/main.rs",
    "src/kernel/",
    "src/runtime/init.rs",
    "src/runtime/interpret.rs",
    "src/runtime/lifecycle.rs",
    "src/runtime/rootless.rs",
];

#[test]
fn few_places_know_which_kernel_it_is() {
    let wrong: Vec<_> = sources("src/")
        .iter()
        .filter(|s| !NAME_A_KERNEL.iter().any(|p| s.path.starts_with(p)) && !s.is_test() && s.module() != "shim")
        .filter(|s| {
            s.code.contains("kernel::linux") || s.code.contains("LinuxKernel") || s.code.contains("kernel::sim")
        })
        .map(|s| s.path.clone())
        .collect();
    assert_none(&wrong);
}

#[test]
fn what_becomes_a_container_knows_no_async_runtime() {
    let wrong: Vec<_> = sources("src/")
        .iter()
        .filter(|s| matches!(s.module(), "kernel" | "runtime" | "shim"))
        .filter(|s| s.code.contains("tokio") || s.code.contains("async fn") || s.code.contains(".await"))
        .map(|s| s.path.clone())
        .collect();
    assert_none(&wrong);
}

#[test]
fn files_are_short() {
    let mut wrong = Vec::new();
    for source in sources("src/") {
        let lines = source.raw.lines().count();
        let limit = if source.path == "src/main.rs" { 60 } else { 800 };
        if lines > limit && !source.is_test() {
            wrong.push(format!("{}: {lines} lines, {limit} at most", source.path));
        }
    }
    assert_none(&wrong);
}

#[test]
fn a_learner_never_sees_a_backtrace() {
    // Strings are blanks here: `.expect( ` is one with a message, not a method that happens to have the name.
    let signs = [".unwrap()", ".expect( ", "panic!(", "todo!(", "unimplemented!("];
    let mut wrong = Vec::new();
    for source in sources("src/").iter().filter(|s| !s.is_test()) {
        for (n, line) in source.code.lines().enumerate() {
            if let Some(sign) = signs.iter().find(|s| line.contains(**s)) {
                wrong.push(format!("{}:{}: {sign}", source.path, n + 1));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn unsafe_code_is_in_one_place() {
    let wrong: Vec<_> = sources("")
        .iter()
        .filter(|s| !s.path.starts_with("src/kernel/linux"))
        .filter(|s| {
            let words = |code: &str| code.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|w| w == "unsafe");
            words(&s.code)
        })
        .map(|s| s.path.clone())
        .collect();
    assert_none(&wrong);
}

/// What changes processes, mounts or names, as the crates call it. Types (`MsFlags`, `CloneFlags`, `Mode`) and reads
/// are not meant.
const EFFECTS: [&str; 26] = [
    "nix::mount::mount",
    "nix::mount::umount",
    "nix::sched::clone",
    "nix::sched::unshare",
    "nix::sched::setns",
    "unistd::chroot",
    "unistd::pivot_root",
    "unistd::sethostname",
    "unistd::setuid",
    "unistd::setgid",
    "unistd::setgroups",
    "unistd::setresuid",
    "unistd::setresgid",
    "unistd::fork",
    "unistd::execv",
    "sys::stat::mknod",
    "sys::prctl",
    "libc::mount",
    "libc::umount",
    "libc::unshare",
    "libc::setns",
    "libc::clone",
    "libc::fork",
    "libc::syscall",
    "libc::prctl",
    "libc::chroot",
];

/// Programs that would do the kernel's work unseen.
const PROGRAMS: [&str; 10] =
    ["mount", "umount", "ip", "nft", "iptables", "unshare", "nsenter", "tar", "chroot", "mknod"];

#[test]
fn the_kernel_seam_has_no_side_doors() {
    let mut wrong = Vec::new();
    for source in sources("src/").iter().filter(|s| !s.is_test() && s.module() != "kernel") {
        for (n, line) in source.code.lines().enumerate() {
            if let Some(effect) = EFFECTS.iter().find(|e| calls(line, e)) {
                wrong.push(format!("{}:{}: {effect}", source.path, n + 1));
            }
        }
        for program in PROGRAMS {
            if source.raw.contains(&format!("Command::new(\"{program}\")")) {
                wrong.push(format!("{}: runs {program}", source.path));
            }
        }
    }
    assert_none(&wrong);
}

/// Whether `line` has the path as a whole: `nix::mount::mount` is not in `nix::mount::MsFlags`, `umount2` counts as
/// `umount`, and `libc::clone_args` (a type) not as `libc::clone`.
fn calls(line: &str, effect: &str) -> bool {
    line.match_indices(effect).any(|(at, _)| {
        let rest = line[at + effect.len()..].trim_start_matches(|c: char| c.is_ascii_digit() || c == 'a' || c == 't');
        rest.starts_with(['(', ';', ',', '}']) || rest.starts_with("::") || rest.is_empty()
    })
}

#[test]
fn the_engine_prints_only_where_it_speaks_to_a_person() {
    let mut wrong = Vec::new();
    for source in sources("src/") {
        if source.is_test() || matches!(source.module(), "ui" | "cli" | "main") {
            continue;
        }
        // Standard error of the daemon's processes is its log.
        let log = matches!(source.module(), "shim" | "daemon" | "app");
        for (n, line) in source.code.lines().enumerate() {
            let line = if log { line.replace("eprintln!", "") } else { line.to_owned() };
            if ["println!", "print!(", "dbg!("].iter().any(|p| line.contains(p)) {
                wrong.push(format!("{}:{}", source.path, n + 1));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn no_module_is_a_dumping_ground() {
    let banned = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
    let wrong: Vec<_> = sources("src/")
        .iter()
        .filter(|s| s.path.split('/').any(|part| banned.contains(&part.trim_end_matches(".rs"))))
        .map(|s| s.path.clone())
        .collect();
    assert_none(&wrong);
}

#[test]
fn no_test_file_is_forgotten() {
    let suite = std::fs::read_to_string(root().join("tests/suite.rs")).unwrap();
    let mut wrong = Vec::new();
    for source in sources("tests/") {
        // `a/b.rs` and `a/b/mod.rs` are taken in by `a/mod.rs`; at the top that is `suite.rs`.
        let below = source.path.trim_start_matches("tests/").trim_end_matches(".rs").trim_end_matches("/mod");
        let Some((dir, file)) = below.rsplit_once('/') else { continue };
        let mother = match dir {
            "suite" => suite.clone(),
            _ => std::fs::read_to_string(root().join("tests").join(dir).join("mod.rs")).unwrap_or_default(),
        };
        if !mother.contains(&format!("mod {file};")) {
            wrong.push(format!("{}: no module takes it in", source.path));
        }
    }
    assert_none(&wrong);
}

#[test]
fn no_snapshot_is_forgotten() {
    let wrong: Vec<_> =
        tracked().into_iter().filter(|f| f.ends_with(".snap.new") || f.ends_with(".pending-snap")).collect();
    assert_none(&wrong);
}

/// Nothing of the machine that a file was written on.
#[test]
fn no_file_knows_this_machine() {
    // Put together here, or this file would be the first to be found.
    let mut places = vec![["/wo", "rk/"].concat(), ["/root/", ".cargo"].concat(), ["/root/", ".rustup"].concat()];
    places.push(format!("{}/", root().display()));
    places.extend(std::env::var("HOME").ok().filter(|h| h.len() > "/root".len()).map(|h| format!("{h}/")));
    let hosts = [
        ["index.", "crates.io"].concat(),
        ["static.", "crates.io"].concat(),
        ["registry.", "npmjs.org"].concat(),
        ["pypi", ".org"].concat(),
        ["proxy.", "golang.org"].concat(),
    ];
    let mut wrong = Vec::new();
    for file in tracked() {
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        for (n, line) in text.lines().enumerate() {
            let place = places.iter().find(|p| line.contains(p.as_str()));
            if let Some(what) = place.or_else(|| hosts.iter().find(|h| line.contains(h.as_str()))) {
                wrong.push(format!("{file}:{}: {what}", n + 1));
            }
        }
    }
    assert_none(&wrong);
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

#[test]
fn comments_strings_and_tests_are_not_code() {
    let source = Source::new(
        "src/a/b.rs",
        "use crate::one; // crate::two\nlet s = \"crate::three \\\" crate::four\"; let r = r#\"crate::five\"#;\n\
         let c = '\"'; let l: &'static str = x; use crate::{six::{a, b}, seven};\n\
         #[cfg(test)]\nmod tests { use crate::eight; fn f() { x.unwrap() } }\nuse crate::nine;\n"
            .to_owned(),
    );
    let names: Vec<String> = named_modules(&source.code, "crate::").into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["nine", "one", "seven", "six"]);
    assert_eq!(source.module(), "a");
    assert!(!source.code.contains("unwrap"));
    assert_eq!(source.code.lines().count(), source.raw.lines().count());
}

#[test]
fn types_are_not_effects() {
    assert!(calls("nix::mount::mount(a)", "nix::mount::mount"));
    assert!(calls("nix::mount::umount2(a)", "nix::mount::umount"));
    assert!(calls("use nix::unistd::fork;", "unistd::fork"));
    assert!(!calls("use nix::mount::MsFlags;", "nix::mount::mount"));
    assert!(!calls("libc::clone_args { }", "libc::clone"));
    assert!(!calls("libc::mount_attr { }", "libc::mount"));
}

#[test]
fn the_table_is_read_as_it_is_meant() {
    let (law, free) = law();
    assert_eq!(free, BTreeSet::from(["events".to_owned(), "oci".to_owned(), "trace".to_owned()]));
    assert_eq!(law["app"], None);
    assert_eq!(law["kernel"], Some(BTreeSet::from(["trace".to_owned()])));
    assert_eq!(law["ui"], Some(BTreeSet::new()));
    assert!(law["shim"].as_ref().unwrap().contains("kernel"));
}

/// The directory that test data is made in exists, so that a path below it is no accident.
#[test]
fn the_packages_root_is_where_it_is_thought_to_be() {
    assert!(PathBuf::from(root()).join("src/lib.rs").is_file());
}
