//! Other limits for a container that runs.

use super::{BOTH, hand_on, needs, v1_limits, v2_limits, write};
use crate::kernel::{Call, Errno};
use crate::runtime::interpret::StepError;
use crate::runtime::program::{Act, Program, Step};
use oci_spec::runtime::LinuxResources;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a file says.
type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// There is no such controller for the container.
pub(crate) fn no_controller(name: &str) -> StepError {
    crate::runtime::lifecycle::failed(&format!("no {name} controller for this container"), Errno::EOPNOTSUPP)
}

/// Other limits for a container that runs: what `limits` says and no more. `dirs` are its groups by controller.
///
/// # Errors
/// [`no_controller`]
pub(crate) fn change_v1(
    dirs: &BTreeMap<String, PathBuf>,
    limits: &LinuxResources,
    read: Read<'_>,
) -> Result<Program, StepError> {
    let mut program = vec![];
    for (name, needed) in needs(limits) {
        let name = if name == "io" { "blkio" } else { name };
        if !needed {
            continue;
        }
        let dir = dirs.get(name).ok_or_else(|| no_controller(name))?;
        let mut steps = v1_limits(dir, &|controller| controller == name, limits);
        if name == "memory" {
            grow_first(&mut steps, limits, read);
        }
        program.extend(steps);
    }
    Ok(program)
}

/// At each moment the limit of memory may not be more than that of both: who grows, grows both first.
fn grow_first(steps: &mut Vec<Step>, limits: &LinuxResources, read: Read<'_>) {
    let is_both = |step: &Step| written(step).is_some_and(|path| path.ends_with(BOTH));
    let Some(at) = steps.iter().position(is_both) else { return };
    let now = written(&steps[at]).and_then(read).and_then(|text| text.trim().parse::<i64>().ok());
    let next = limits.memory().as_ref().and_then(|m| m.swap());
    if next.zip(now).is_some_and(|(next, now)| next < 0 || next > now) {
        let both = steps.remove(at);
        steps.insert(0, both);
    }
}

/// As [`change_v1`], where one group has all controllers; those that it lacks are handed on to it.
pub(crate) fn change_v2(dir: &Path, limits: &LinuxResources, read: Read<'_>) -> Program {
    let list = |path: PathBuf| -> Vec<String> {
        read(&path).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let own = dir.parent().unwrap_or(dir);
    let (there, enabled) = (list(own.join("cgroup.controllers")), list(own.join("cgroup.subtree_control")));
    let mut program: Program = hand_on(own, &there, &enabled, Some(limits)).into_iter().collect();
    // A controller that can't be had fails at its first file: that is told, and not left out.
    let asked: Vec<String> = needs(limits).into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect();
    program.extend(v2_limits(dir, &asked, limits));
    program
}

/// What brings back the limits that a program changes, the last one first.
pub(crate) fn undo(program: &[Step], read: Read<'_>) -> Program {
    let limits = program.iter().rev().filter_map(written).filter(|path| !path.ends_with("cgroup.subtree_control"));
    let back = |path: &Path| {
        let now = read(path)?.trim().to_owned();
        Some(write("a limit that comes with it was refused: it is as it was", path.to_owned(), now))
    };
    limits.filter_map(back).collect()
}

fn written(step: &Step) -> Option<&Path> {
    match &step.act {
        Act::Call(Call::Write { path, .. }) => Some(path),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{LinuxMemory, LinuxPids};

    fn limits(memory: Option<(i64, i64)>, pids: Option<i64>) -> LinuxResources {
        let mut all = LinuxResources::default();
        all.set_memory(memory.map(|(limit, swap)| {
            let mut memory = LinuxMemory::default();
            memory.set_limit(Some(limit));
            memory.set_swap(Some(swap));
            memory
        }));
        all.set_pids(pids.map(|limit| {
            let mut pids = LinuxPids::default();
            pids.set_limit(limit);
            pids
        }));
        all
    }

    /// `file=value` of each write, in order.
    fn told(program: &[Step]) -> Vec<String> {
        let one = |step: &Step| match &step.act {
            Act::Call(Call::Write { path, data }) => {
                Some(format!("{}={}", path.display(), String::from_utf8_lossy(data)))
            }
            _ => None,
        };
        program.iter().filter_map(one).collect()
    }

    #[test]
    fn version_1_raises_both_first_and_lowers_memory_first() {
        let dirs = BTreeMap::from([("memory".to_owned(), PathBuf::from("/m")), ("pids".to_owned(), "/p".into())]);
        let now = |path: &Path| path.ends_with(BOTH).then(|| "1000\n".to_owned());
        let program = |memory, pids| told(&change_v1(&dirs, &limits(memory, pids), &now).unwrap());
        let (memory, both) = ("/m/memory.limit_in_bytes=", "/m/memory.memsw.limit_in_bytes=");
        assert_eq!(program(Some((500, 900)), None), [format!("{memory}500"), format!("{both}900")]);
        assert_eq!(program(Some((1500, 2000)), None), [format!("{both}2000"), format!("{memory}1500")]);
        assert_eq!(
            program(Some((1500, -1)), Some(-1)),
            [format!("{both}-1"), format!("{memory}1500"), "/p/pids.max=max".to_owned()]
        );
        let error = change_v1(&BTreeMap::new(), &limits(None, Some(1)), &now).unwrap_err();
        assert_eq!(
            error.message,
            "no pids controller for this container: operation not supported on transport endpoint"
        );
    }

    #[test]
    fn version_2_is_handed_what_it_lacks_and_what_was_there_comes_back() {
        let now = |path: &Path| match path.to_str().unwrap() {
            "/top/cgroup.controllers" => Some("memory pids\n".to_owned()),
            "/top/cgroup.subtree_control" => Some("memory\n".to_owned()),
            "/top/c/memory.max" => Some("max\n".to_owned()),
            "/top/c/pids.max" => Some("7\n".to_owned()),
            _ => None,
        };
        let program = change_v2(Path::new("/top/c"), &limits(Some((100, 300)), Some(9)), &now);
        let expected = [
            "/top/cgroup.subtree_control=+pids",
            "/top/c/memory.max=100",
            "/top/c/memory.swap.max=200",
            "/top/c/pids.max=9",
        ];
        assert_eq!(told(&program), expected);
        assert_eq!(told(&undo(&program, &now)), ["/top/c/pids.max=7", "/top/c/memory.max=max"]);
    }
}
