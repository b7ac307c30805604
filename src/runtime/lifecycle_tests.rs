//! Whatever step fails, what was made is undone: on a kernel that only remembers.

use super::*;
use crate::kernel::Call;
use crate::kernel::faulty::Faulty;
use crate::runtime::program::{Act, Step};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;

/// Remembers the directories that were made and not taken away; makes no process.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeSet<PathBuf>>);

impl Kernel for Memory {
    fn call(&self, call: &Call) -> Result<Ret, Errno> {
        let mut there = self.0.lock().unwrap();
        match call {
            Call::Mkdirat { pathname, .. } => {
                if there.insert(pathname.clone()) {
                    Ok(Ret::DONE)
                } else {
                    Err(Errno::EEXIST)
                }
            }
            Call::Unlinkat { pathname, .. } => {
                if there.remove(pathname) {
                    Ok(Ret::DONE)
                } else {
                    Err(Errno::ENOENT)
                }
            }
            Call::Clone3 { .. } => Err(Errno::EAGAIN),
            _ => Ok(Ret::DONE),
        }
    }

    fn write_all(&self, _: i32, _: &[u8]) -> Result<(), Errno> {
        Ok(())
    }
}

fn plan() -> Plan {
    let make = |name: &str| {
        let pathname = PathBuf::from(name);
        Step::call("a group", Call::Mkdirat { dirfd: crate::kernel::Fd::Cwd, pathname, mode: 0o755 })
    };
    let remove = |name: &str| {
        let pathname = PathBuf::from(name);
        let call = Call::Unlinkat { dirfd: crate::kernel::Fd::Cwd, pathname, remove_dir: true };
        Step::call("gone", call).tolerate(&["ENOENT"])
    };
    let names = ["/cg/cpu/x", "/cg/memory/x", "/cg/pids/x"];
    let write = Step::call("a limit", Call::Write { path: "/cg/pids/x/pids.max".into(), data: b"1".to_vec() });
    Plan {
        enter: vec![],
        before: names.iter().map(|n| make(n)).chain([write]).collect(),
        clone: Step::call(
            "a process",
            Call::Clone3 { flags: nix::sched::CloneFlags::empty(), exit_signal: "SIGCHLD", cgroup: None },
        ),
        init: vec![Step::new("becomes", Act::Exec { argv: vec!["x".into()], envp: vec![] })],
        after: names.iter().map(|n| remove(n)).collect(),
    }
}

fn streams() -> [OwnedFd; 3] {
    [0; 3].map(|_| std::fs::File::open("/dev/null").unwrap().into())
}

#[test]
fn whatever_call_fails_nothing_is_left() {
    let plan = plan();
    for at in 0..=plan.before.len() {
        let kernel = Faulty::new(Memory::default(), at, Errno::ENOSPC);
        let error = launch(&kernel, &plan, streams(), None).unwrap_err();
        let expected = if at < plan.before.len() { Errno::ENOSPC } else { kernel.errno() };
        assert_eq!(error.errno, expected, "call {at}: {error}");
        assert_eq!(kernel.inner().0.lock().unwrap().len(), 0, "call {at} failed and left something behind");
    }
}

#[test]
fn the_error_names_the_call_and_its_target() {
    let kernel = Faulty::new(Memory::default(), 1, Errno::EACCES);
    let error = launch(&kernel, &plan(), streams(), None).unwrap_err();
    assert_eq!(error.to_string(), "mkdirat /cg/memory/x: permission denied (EACCES)");
    assert_eq!(error.exit_code, 125);
}
