//! How paths of an image relate: its own symbolic links, the directories above a file, files that are one.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use super::plan::{Content, Entry, PlannedLayer};

/// The image's symbolic links, by path without a leading slash.
#[derive(Debug, Clone, Default)]
pub struct Links(BTreeMap<String, String>);

/// As many as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

impl Links {
    pub fn insert(&mut self, path: &str, target: &str) {
        self.0.insert(path.to_owned(), target.to_owned());
    }

    /// The path relative to the image's root with all links followed, as a process in the image would get
    /// there; `..` stays inside. None: the links go round in a circle.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let mut todo = parts(path);
        let mut done: Vec<String> = Vec::new();
        let mut followed = 0;
        while let Some(part) = todo.pop() {
            match part.as_str() {
                ".." => drop(done.pop()),
                "." => {}
                _ => done.push(part),
            }
            if let Some(target) = self.0.get(&done.join("/")) {
                followed += 1;
                if followed > MAX_LINKS {
                    return None;
                }
                if target.starts_with('/') {
                    done.clear();
                } else {
                    done.pop();
                }
                todo.extend(parts(target));
            }
        }
        Some(done.join("/"))
    }

    /// As [`Links::resolve`], but the last part itself is not followed.
    pub fn resolve_parent(&self, path: &str) -> Option<String> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = self.resolve(dir)?;
        Some(if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") })
    }
}

/// The parts of a path, last first, without empty ones.
fn parts(path: &str) -> Vec<String> {
    path.split('/').filter(|p| !p.is_empty()).rev().map(str::to_owned).collect()
}

/// A layer names the directories above its files: where a layer repeats a directory, the upper one's mode
/// counts (overlayfs), so it must be the same.
pub fn name_all_parents(layer: &mut PlannedLayer, dirs: &BTreeMap<String, u32>) {
    let paths: Vec<String> = layer.entries.keys().cloned().collect();
    for path in paths {
        for (end, _) in path.match_indices('/') {
            let dir = &path[..end];
            let mode = dirs.get(dir).copied().unwrap_or(0o755);
            layer.entries.entry(dir.to_owned()).or_insert(Entry::Dir { mode });
        }
    }
}

/// A program with many names (a host whose coreutils are one file) is stored once, with hard links.
pub fn link_equal_files(layer: &mut PlannedLayer) {
    let mut first: BTreeMap<(u64, u64, u32), String> = BTreeMap::new();
    for (path, entry) in &mut layer.entries {
        let Entry::File { mode, content: Content::Host(file) } = entry else {
            continue;
        };
        let Ok(meta) = std::fs::metadata(file) else {
            continue;
        };
        let (key, mode) = ((meta.dev(), meta.ino(), *mode), *mode);
        match first.get(&key) {
            Some(to) => *entry = Entry::HardLink { to: to.clone(), mode },
            None => drop(first.insert(key, path.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged_usr() -> Links {
        let mut links = Links::default();
        for (path, target) in
            [("bin", "usr/bin"), ("lib64", "/usr/lib64"), ("usr/bin/sh", "bash"), ("var/run", "../run")]
        {
            links.insert(path, target);
        }
        links
    }

    #[test]
    fn links_are_followed_as_a_process_in_the_image_would() {
        let links = merged_usr();
        assert_eq!(links.resolve("/bin/ls").unwrap(), "usr/bin/ls");
        assert_eq!(links.resolve("/bin/sh").unwrap(), "usr/bin/bash");
        assert_eq!(links.resolve_parent("/bin/sh").unwrap(), "usr/bin/sh");
        assert_eq!(links.resolve("/var/run/lock").unwrap(), "run/lock");
        assert_eq!(links.resolve_parent("/lib64/ld.so").unwrap(), "usr/lib64/ld.so");
        assert_eq!(links.resolve_parent("/hello").unwrap(), "hello");
    }

    #[test]
    fn a_circle_of_links_is_noticed() {
        let mut links = Links::default();
        links.insert("a", "b");
        links.insert("b", "a");
        assert_eq!(links.resolve("/a/x"), None);
    }

    proptest! {
        #[test]
        fn no_path_resolves_to_outside(path in "(/|\\.\\.|\\.|bin|var|run|x){0,12}") {
            let resolved = merged_usr().resolve(&path).unwrap();
            prop_assert!(!resolved.starts_with('/'));
            prop_assert!(resolved.split('/').all(|p| p != ".." && p != "."));
        }
    }
}
