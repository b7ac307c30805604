//! Unpacking against a model: the same entries, applied to a tree in memory that knows nothing of descriptors.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum What {
    File(u8),
    Dir(u32),
    Symlink(String),
    HardLink(String),
    Fifo,
    Whiteout,
    Opaque,
}

#[derive(Debug, Clone)]
pub(in crate::images) struct Step {
    path: String,
    what: What,
    mtime: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    File(u8),
    Symlink(String),
    Fifo,
    Whiteout,
    Dir { children: BTreeMap<String, usize>, opaque: bool, mode: u32, mtime: Option<u64> },
}

/// Nodes by number (so that hard links share one); 0 is the root.
struct Model {
    nodes: Vec<Node>,
}

/// The layer is refused; how is not the model's business.
#[derive(Debug)]
struct Refused;

fn directory(mode: u32, mtime: Option<u64>, opaque: bool) -> Node {
    Node::Dir { children: BTreeMap::new(), opaque, mode, mtime }
}

impl Model {
    fn new() -> Model {
        Model { nodes: vec![directory(0o755, None, false)] }
    }

    fn child(&self, dir: usize, name: &str) -> Option<usize> {
        match &self.nodes[dir] {
            Node::Dir { children, .. } => children.get(name).copied(),
            _ => None,
        }
    }

    fn put(&mut self, dir: usize, name: &str, node: Node) -> usize {
        self.nodes.push(node);
        self.link(dir, name, self.nodes.len() - 1)
    }

    fn link(&mut self, dir: usize, name: &str, node: usize) -> usize {
        if let Node::Dir { children, .. } = &mut self.nodes[dir] {
            children.insert(name.to_owned(), node);
        }
        node
    }

    /// Walks to a directory, links followed as if the layer were `/`. `None`: something on the way is missing.
    fn walk(&self, path: &str) -> Result<Option<usize>, Refused> {
        let mut stack = vec![0];
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    if stack.len() > 1 {
                        stack.pop();
                    }
                    continue;
                }
                _ => {}
            }
            let Some(next) = self.child(*stack.last().unwrap(), &name) else {
                return Ok(None);
            };
            match &self.nodes[next] {
                Node::Dir { .. } => stack.push(next),
                Node::Symlink(target) => {
                    links += 1;
                    if links > 40 {
                        return Err(Refused);
                    }
                    if target.starts_with('/') {
                        stack.truncate(1);
                    }
                    todo.extend(target.split('/').rev().map(str::to_owned));
                }
                _ => return Ok(None),
            }
        }
        Ok(stack.pop())
    }

    /// The same, making what is missing; only a whiteout gives way to a directory.
    fn enter(&mut self, path: &str) -> Result<usize, Refused> {
        if let Some(dir) = self.walk(path)? {
            return Ok(dir);
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.enter(parent)?;
        let opaque = match self.child(parent, name).map(|n| &self.nodes[n]) {
            None => false,
            Some(Node::Whiteout) => true,
            Some(_) => return Err(Refused),
        };
        Ok(self.put(parent, name, directory(0o755, None, opaque)))
    }

    fn apply(&mut self, step: &Step) -> Result<(), Refused> {
        let (parent, name) = step.path.rsplit_once('/').unwrap_or(("", &step.path));
        if let What::Opaque = step.what {
            let dir = self.enter(&step.path)?;
            return self.set_opaque(dir);
        }
        let parent = self.enter(parent)?;
        let before = self.child(parent, name);
        let node = match &step.what {
            What::Whiteout => {
                match before {
                    None => drop(self.put(parent, name, Node::Whiteout)),
                    Some(dir) if matches!(self.nodes[dir], Node::Dir { .. }) => self.set_opaque(dir)?,
                    Some(_) => {}
                }
                return Ok(());
            }
            What::HardLink(target) => {
                let (target_parent, target_name) = target.rsplit_once('/').unwrap_or(("", target));
                let from = self.walk(target_parent)?.ok_or(Refused)?;
                // What is at the new name goes first, even if the target is in it.
                if let (Some(_), Node::Dir { children, .. }) = (before, &mut self.nodes[parent]) {
                    let removed = children.remove(name);
                    let is_target = removed == self.child(from, target_name) && from == parent && target_name == name;
                    if is_target || self.is_below(removed, from) {
                        return Err(Refused);
                    }
                }
                let node = self.child(from, target_name).ok_or(Refused)?;
                if matches!(self.nodes[node], Node::Dir { .. }) {
                    return Err(Refused);
                }
                self.link(parent, name, node);
                return Ok(());
            }
            What::Dir(mode) => {
                if let Some(Node::Dir { mode: m, mtime, .. }) = before.map(|n| &mut self.nodes[n]) {
                    (*m, *mtime) = (*mode, Some(step.mtime));
                    return Ok(());
                }
                let hid = before.is_some_and(|n| self.nodes[n] == Node::Whiteout);
                directory(*mode, Some(step.mtime), hid)
            }
            What::File(content) => Node::File(*content),
            What::Symlink(target) => Node::Symlink(target.clone()),
            What::Fifo => Node::Fifo,
            What::Opaque => return Ok(()),
        };
        self.put(parent, name, node);
        Ok(())
    }

    fn is_below(&self, top: Option<usize>, wanted: usize) -> bool {
        let Some(top) = top else { return false };
        let mut todo = vec![top];
        while let Some(node) = todo.pop() {
            if let Node::Dir { children, .. } = &self.nodes[node] {
                if node == wanted {
                    return true;
                }
                todo.extend(children.values());
            }
        }
        false
    }

    fn set_opaque(&mut self, dir: usize) -> Result<(), Refused> {
        // The root's mark is in the report.
        if let Node::Dir { opaque, .. } = &mut self.nodes[dir] {
            *opaque = dir != 0;
        }
        Ok(())
    }

    /// Every path with what is there, as one line each.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut todo = vec![(String::new(), 0)];
        while let Some((path, node)) = todo.pop() {
            lines.push(match &self.nodes[node] {
                Node::File(content) => format!("{path} file {content}"),
                Node::Symlink(target) => format!("{path} -> {target}"),
                Node::Fifo => format!("{path} fifo"),
                Node::Whiteout => format!("{path} whiteout"),
                Node::Dir { children, opaque, mode, mtime } => {
                    todo.extend(children.iter().map(|(name, n)| (format!("{path}/{name}"), *n)));
                    let mtime = mtime.map_or("now".to_owned(), |t| t.to_string());
                    format!("{path} dir {mode:o} {mtime} opaque={opaque}")
                }
            });
        }
        lines.sort();
        lines
    }
}

/// The same lines, from the disk.
pub(in crate::images) fn lines(bench: &Bench) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![(String::new(), bench.root())];
    while let Some((path, at)) = todo.pop() {
        let meta = at.symlink_metadata().unwrap();
        let kind = meta.file_type();
        lines.push(if kind.is_symlink() {
            format!("{path} -> {}", std::fs::read_link(&at).unwrap().display())
        } else if kind.is_fifo() {
            format!("{path} fifo")
        } else if kind.is_char_device() {
            format!("{path} whiteout")
        } else if kind.is_file() {
            format!("{path} file {}", std::fs::read(&at).unwrap()[0])
        } else {
            for entry in std::fs::read_dir(&at).unwrap() {
                let entry = entry.unwrap();
                todo.push((format!("{path}/{}", entry.file_name().to_str().unwrap()), entry.path()));
            }
            let opaque = bench.opaque(&at).is_some();
            // All times of the entries lie in the past century.
            let mtime = if meta.mtime() > 1_000_000 { "now".into() } else { meta.mtime().to_string() };
            format!("{path} dir {:o} {mtime} opaque={opaque}", meta.mode() & 0o7777)
        });
    }
    lines.sort();
    lines
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|parts| parts.join("/"))
}

fn targets() -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["", "/", "../", "../../../../", "./"]), paths())
        .prop_map(|(start, path)| format!("{start}{path}"))
}

pub(in crate::images) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what = prop_oneof![
        3 => any::<u8>().prop_map(What::File),
        3 => prop::sample::select(vec![0o755, 0o700, 0o1777, 0o2755]).prop_map(What::Dir),
        3 => targets().prop_map(What::Symlink),
        2 => paths().prop_map(What::HardLink),
        1 => Just(What::Fifo),
        2 => Just(What::Whiteout),
        1 => Just(What::Opaque),
    ];
    let step = (paths(), what, 1u64..1_000_000).prop_map(|(path, what, mtime)| Step { path, what, mtime });
    prop::collection::vec(step, 0..14)
}

pub(in crate::images) fn tar_of(steps: &[Step]) -> Vec<u8> {
    let mut tar = Tar::new();
    for Step { path, what, mtime } in steps {
        let (parent, name) = path.rsplit_once('/').map_or(("", path.as_str()), |(p, n)| (p, n));
        match what {
            What::File(content) => tar.file(path, &[*content]),
            What::Dir(mode) => tar.dir(path, *mode),
            What::Symlink(target) => tar.symlink(path, target),
            What::HardLink(target) => tar.hard_link(path, target),
            What::Fifo => tar.node(b'6', path, (0, 0)),
            What::Whiteout => tar.file(&format!("{parent}/.wh.{name}"), b""),
            What::Opaque => tar.file(&format!("{path}/.wh..wh..opq"), b""),
        };
        tar.mtime(*mtime);
    }
    tar.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn unpacking_makes_what_the_model_says(steps in steps()) {
        let mut model = Model::new();
        let modelled = steps.iter().try_for_each(|step| model.apply(step));
        let bench = Bench::new();
        let unpacked = bench.unpack(&tar_of(&steps));
        bench.assert_canary();
        prop_assert_eq!(unpacked.is_ok(), modelled.is_ok(), "{:?} {:?}", unpacked, modelled);
        if modelled.is_ok() {
            prop_assert_eq!(lines(&bench), model.lines());
        }
    }
}
