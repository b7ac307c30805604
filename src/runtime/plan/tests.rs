//! Plans are data: their laws are checked in memory.

use super::*;
use crate::kernel::call::Prctl;
use crate::runtime::facts::Hierarchy;
use oci_spec::runtime::Spec;
use proptest::prelude::*;
use serde_json::json;

pub(super) const CAPS: [&str; 6] =
    ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SYS_ADMIN", "CAP_SETPCAP", "CAP_CHECKPOINT_RESTORE"];

pub(super) fn facts(rootless: bool) -> Facts {
    let hierarchy = |name: &str| Hierarchy {
        controllers: name.into(),
        mount: format!("/sys/fs/cgroup/{name}").into(),
        own: format!("/sys/fs/cgroup/{name}").into(),
        cpuset: (name == "cpuset").then(|| ("0-1".into(), "0".into())),
    };
    let cgroups = if rootless {
        Cgroups::None("not delegated".into())
    } else {
        Cgroups::V1(["cpuset", "devices", "memory", "pids"].map(hierarchy).to_vec())
    };
    Facts {
        rootless,
        mapped_ids: if rootless { 1 } else { 4294967295 },
        setgroups_denied: rootless,
        cgroups,
        last_cap: 40,
    }
}

pub(super) fn unified() -> Facts {
    let own = "/sys/fs/cgroup/system.slice".into();
    Facts { cgroups: Cgroups::V2 { own, controllers: vec!["memory".into(), "pids".into()] }, ..facts(false) }
}

pub(super) fn spec(caps: &[&str], terminal: bool, uid: u32) -> Spec {
    let value = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": terminal, "consoleSize": {"height": 24, "width": 80},
            "user": {"uid": uid, "gid": uid}, "args": ["sh"], "env": ["PATH=/bin"], "cwd": "/work",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps}
        },
        "root": {"path": "merged"}, "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "gid=5"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
            {"destination": "/etc/hosts", "type": "bind", "source": "hosts", "options": ["rbind", "ro"]}
        ],
        "linux": {
            "resources": {"memory": {"limit": 1048576}, "pids": {"limit": 10}},
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"},
                           {"type": "cgroup"}],
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"]
        }
    });
    serde_json::from_value(value).unwrap()
}

fn planned(spec: &Spec, facts: &Facts) -> Plan {
    let overlay = Overlay {
        base: "/data/snapshots".into(),
        lower: vec!["b/diff".into(), "a/diff".into()],
        upper: "/data/c/upper".into(),
        work: "/data/c/work".into(),
        merged: "/data/c/merged".into(),
        volatile: false,
    };
    let request =
        Request { spec, bundle: Path::new("/data/c"), overlay: Some(overlay), cgroup: "rdock-x-1", prepared: None };
    plan(&request, facts).unwrap()
}

/// What a process may still do when it has given up its privileges.
pub(super) fn needs_no_privilege(act: &Act) -> bool {
    match act {
        Act::Exec { .. } => true,
        Act::Call(call) => matches!(
            call,
            Call::CloseRange { .. }
                | Call::Chdir { .. }
                | Call::Prctl(Prctl::SetNoNewPrivs | Prctl::SetPdeathsig { .. } | Prctl::CapAmbientRaise { .. })
        ),
        _ => false,
    }
}

pub(super) fn position(program: &[Step], which: impl Fn(&Call) -> bool) -> Option<usize> {
    program.iter().position(|s| matches!(&s.act, Act::Call(c) if which(c)))
}

proptest! {
    #[test]
    fn no_privileged_step_after_capabilities_are_dropped(
        caps in prop::sample::subsequence(CAPS.to_vec(), 0..=CAPS.len()),
        terminal: bool, uid in prop_oneof![Just(0u32), 1u32..70000], rootless: bool,
    ) {
        let plan = planned(&spec(&caps, terminal, uid), &facts(rootless));
        let dropped = position(&plan.init, |c| matches!(c, Call::Capset { .. })).unwrap();
        for step in &plan.init[dropped + 1..] {
            prop_assert!(needs_no_privilege(&step.act), "{:?}", step);
        }
        let is_exec = |s: &Step| matches!(s.act, Act::Exec { .. });
        prop_assert!(plan.init.last().is_some_and(is_exec));
        prop_assert_eq!(plan.init.iter().filter(|s| is_exec(s)).count(), 1);
    }

    #[test]
    fn what_is_kept_and_what_is_dropped_are_all_capabilities(
        caps in prop::sample::subsequence(CAPS.to_vec(), 0..=CAPS.len()),
    ) {
        let plan = planned(&spec(&caps, false, 0), &facts(false));
        let mut mask = 0u64;
        for step in &plan.init {
            if let Act::Call(Call::Prctl(Prctl::CapbsetDrop { cap })) = step.act {
                mask |= 1 << cap;
            }
        }
        let kept = plan.init.iter().find_map(|s| match &s.act {
            Act::Call(Call::Capset { data }) => Some(data.permitted),
            _ => None,
        }).unwrap();
        prop_assert_eq!(kept & mask, 0);
        prop_assert_eq!(kept | mask, (1 << 41) - 1);
        prop_assert_eq!(kept.count_ones() as usize, caps.len());
    }

    /// From pivot_root on, no step names a file of the host: sources are kinds of file systems, paths inside, or
    /// descriptors opened before.
    #[test]
    fn the_host_is_named_only_before_pivot_root(terminal: bool, rootless: bool) {
        let plan = planned(&spec(&CAPS, terminal, 0), &facts(rootless));
        let pivot = position(&plan.init, |c| matches!(c, Call::PivotRoot { .. })).unwrap();
        let text = serde_json::to_string(&plan.init[pivot..]).unwrap();
        prop_assert!(!text.contains("/data/"), "{}", text);
        let opened = position(&plan.init, |c| matches!(c, Call::OpenTree { .. })).unwrap();
        prop_assert!(opened < pivot);
    }
}

/// Until the old root is let go of it lies on the new one, and `/..` leads to it.
#[test]
fn what_the_image_decides_comes_after_the_host_is_gone() {
    use crate::runtime::program::Place;
    for facts in [facts(false), facts(true), unified()] {
        let plan = planned(&spec(&CAPS, true, 0), &facts);
        let gone = position(&plan.init, |c| matches!(c, Call::Umount2 { .. })).unwrap();
        let theirs = |s: &Step| matches!(s.act, Act::MountPoint { kind: Place::Like(_) | Place::Directory, .. });
        assert!(!plan.init[..gone].iter().any(theirs));
        assert_eq!(plan.init[gone..].iter().filter(|s| theirs(s)).count(), 2);
    }
}

#[test]
fn groups_change_before_the_user_does() {
    let plan = planned(&spec(&CAPS, false, 1000), &facts(false));
    let at = |f: fn(&Call) -> bool| position(&plan.init, f).unwrap();
    assert!(at(|c| matches!(c, Call::Setgroups { .. })) < at(|c| matches!(c, Call::Setresgid { .. })));
    assert!(at(|c| matches!(c, Call::Setresgid { .. })) < at(|c| matches!(c, Call::Setresuid { .. })));
}

#[test]
fn what_is_made_in_the_shim_is_taken_away() {
    for facts in [facts(false), unified()] {
        let plan = planned(&spec(&CAPS, false, 0), &facts);
        let made = plan.before.iter().filter(|s| matches!(s.act, Act::Call(Call::Mkdirat { .. }))).count();
        let gone = plan.after.iter().filter(|s| matches!(s.act, Act::Call(Call::Unlinkat { .. }))).count();
        assert_eq!(made, gone);
        assert!(made > 0);
    }
}

#[test]
fn on_version_2_the_process_is_born_in_its_group() {
    let plan = planned(&spec(&CAPS, false, 0), &unified());
    let Act::Call(Call::Clone3 { flags, cgroup, .. }) = plan.clone.act else { panic!("no clone") };
    assert!(flags.contains(CloneFlags::CLONE_NEWCGROUP));
    assert_eq!(cgroup, Some(Fd::Slot(slot::CGROUP)));
    assert!(plan.before.iter().any(|s| s.save == Some(slot::CGROUP)));
    let limit = |s: &Step| matches!(&s.act, Act::Call(Call::Write { path, .. }) if path.ends_with("memory.max"));
    assert!(plan.before.iter().any(limit));
}

#[test]
fn a_prepared_container_is_born_in_its_groups() {
    let facts = facts(false);
    let spec = spec(&CAPS, false, 0);
    let request = Request {
        spec: &spec,
        bundle: Path::new("/data/c"),
        overlay: None,
        cgroup: "rdock-x-1",
        prepared: Some("rdock-x-spare"),
    };
    let plan = plan(&request, &facts).unwrap();
    let joins = |c: &Call| matches!(c, Call::Write { path, .. } if path.ends_with("cgroup.procs"));
    assert_eq!(position(&plan.init, joins), None);
    assert_eq!(position(&plan.init, |c| matches!(c, Call::Unshare { .. })), None);
    let Act::Call(Call::Clone3 { flags, .. }) = plan.clone.act else { panic!("no clone") };
    assert!(flags.contains(CloneFlags::CLONE_NEWCGROUP | CloneFlags::CLONE_PARENT));
    let made = prepare("rdock-x-spare", &facts).unwrap();
    let renamed = plan.before.iter().filter(|s| matches!(s.act, Act::Call(Call::Renameat { .. }))).count();
    assert_eq!(renamed, made.join.len());
    // The default device rules are there already: only the limits are written.
    assert!(!serde_json::to_string(&plan.before).unwrap().contains("devices.allow"));
}

#[test]
fn the_same_request_gives_the_same_plan() {
    let spec = spec(&CAPS, true, 5);
    assert_eq!(planned(&spec, &facts(false)), planned(&spec, &facts(false)));
}

#[test]
fn an_unknown_mount_option_or_file_system_is_refused() {
    let mut value = serde_json::to_value(spec(&CAPS, false, 0)).unwrap();
    value["mounts"][0]["options"] = json!(["sideways"]);
    let request = |spec: &Spec| {
        let request = Request { spec, bundle: Path::new("/b"), overlay: None, cgroup: "x", prepared: None };
        plan(&request, &facts(false)).unwrap_err().to_string()
    };
    let error = request(&serde_json::from_value(value.clone()).unwrap());
    assert_eq!(error, "mount option 'sideways' of /proc is not known");
    value["mounts"][0]["options"] = json!([]);
    value["mounts"][0]["type"] = json!("ext4");
    let error = request(&serde_json::from_value(value).unwrap());
    assert_eq!(error, "file system type 'ext4' of /proc is not one that a container may mount");
}

/// The plan of an ordinary container, whole: read it before accepting a change.
#[test]
fn plan_of_an_ordinary_container() {
    let plan = planned(&spec(&["CAP_CHOWN", "CAP_KILL"], true, 0), &facts(false));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../tests/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    let line = |s: &Step| {
        let act = serde_json::to_string(&s.act).unwrap();
        format!("{act}\n        {}", s.why)
    };
    let part = |name: &str, steps: &[Step]| {
        format!("{name}:\n{}\n", steps.iter().map(|s| format!("    {}\n", line(s))).collect::<String>())
    };
    let text = part("before", &plan.before)
        + &part("clone", std::slice::from_ref(&plan.clone))
        + &part("init", &plan.init)
        + &part("after", &plan.after);
    settings.bind(|| insta::assert_snapshot!("plan_of_an_ordinary_container", text));
}
