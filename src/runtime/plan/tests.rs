//! Plans are data: their laws are checked in memory.

use super::*;
use crate::kernel::call::Prctl;
use crate::runtime::facts::Hierarchy;
use crate::runtime::program::Place;
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
        held: u64::MAX,
        last_cap: 40,
    }
}

pub(super) fn unified() -> Facts {
    let own = "/sys/fs/cgroup/system.slice".into();
    Facts {
        cgroups: Cgroups::V2 {
            own,
            controllers: ["cpu", "memory", "pids"].map(str::to_owned).to_vec(),
            enabled: vec!["pids".into()],
        },
        ..facts(false)
    }
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

/// A spec with everything that options can ask for.
fn rich() -> Spec {
    let mut value = serde_json::to_value(spec(&["CAP_CHOWN"], false, 1000)).unwrap();
    value["annotations"] = json!({"org.rdock.seccomp": "builtin", "org.rdock.init": "true"});
    value["process"]["oomScoreAdj"] = json!(-5);
    value["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.1/forwarding": "1"});
    value["linux"]["devices"] = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600,
                                        "uid": 3, "gid": 4}, {"path": "/dev/null", "type": "c", "major": 1, "minor": 3}]);
    value["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid", "path": "/proc/7/ns/pid"},
                                          {"type": "ipc", "path": "/proc/7/ns/ipc"}]);
    value["linux"]["resources"] = json!({
        "memory": {"limit": 1048576, "swap": 3145728, "reservation": 4096, "swappiness": 10, "disableOOMKiller": true},
        "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 10},
        "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}]},
    });
    let mounts = value["mounts"].as_array_mut().unwrap();
    mounts.push(json!({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=1m"]}));
    mounts.push(json!({"destination": "/data", "type": "bind", "source": "/host", "options": ["rbind", "ro"]}));
    mounts.push(
        json!({"destination": "/dev/shm", "type": "bind", "source": "/proc/7/root/dev/shm", "options": ["rbind"]}),
    );
    serde_json::from_value(value).unwrap()
}

/// Where a write to this file is, with what.
fn written(program: &[Step], file: &str) -> Option<(usize, String)> {
    program.iter().enumerate().find_map(|(at, step)| match &step.act {
        Act::Call(Call::Write { path, data }) if path.ends_with(file) => {
            Some((at, String::from_utf8(data.clone()).unwrap()))
        }
        _ => None,
    })
}

#[test]
fn limits_are_written_for_both_versions() {
    let old = planned(&rich(), &facts(false));
    for (file, value) in [
        ("memory.limit_in_bytes", "1048576"),
        ("memory.memsw.limit_in_bytes", "3145728"),
        ("memory.soft_limit_in_bytes", "4096"),
        ("memory.swappiness", "10"),
        ("memory.oom_control", "1"),
        ("pids.max", "10"),
    ] {
        assert_eq!(written(&old.before, file).unwrap().1, value, "{file}");
    }
    let at = |file: &str| written(&old.before, file).unwrap().0;
    assert!(at("memory.limit_in_bytes") < at("memory.memsw.limit_in_bytes"));
    let new = planned(&rich(), &unified());
    for (file, value) in [
        ("memory.max", "1048576"),
        ("memory.swap.max", "2097152"),
        ("memory.low", "4096"),
        ("pids.max", "10"),
        ("cpu.weight", "39"),
        ("cpu.max", "50000 100000"),
    ] {
        assert_eq!(written(&new.before, file).unwrap().1, value, "{file}");
    }
    assert_eq!(written(&new.before, "io.max"), None, "a controller that is not there");
}

/// Without it the files of the limits are not there (cgroups(7)).
#[test]
fn on_version_2_controllers_are_handed_on_before_they_limit() {
    let plan = planned(&rich(), &unified());
    let (first, what) = written(&plan.before, "cgroup.subtree_control").unwrap();
    assert_eq!(what, "+memory +cpu", "pids is handed on already");
    let makes = plan.before.iter().position(|s| matches!(s.act, Act::Call(Call::Mkdirat { .. }))).unwrap();
    assert!(first < makes && makes < written(&plan.before, "memory.max").unwrap().0);
    let plain = planned(&spec(&CAPS, false, 0), &unified());
    assert_eq!(written(&plain.before, "cgroup.subtree_control").unwrap().1, "+memory");
}

/// What an image or a shared directory could lead elsewhere comes after the kernel's settings were written and hidden
/// (CVE-2025-31133, CVE-2025-52881).
#[test]
fn the_kernels_files_are_written_and_hidden_before_anybody_elses_path_is_used() {
    let plan = planned(&rich(), &facts(false));
    let theirs = |s: &Step| {
        matches!(s.act, Act::MountPoint { kind: Place::Like(_) | Place::Directory, .. } | Act::Device { .. })
    };
    let first = plan.init.iter().position(theirs).unwrap();
    let ours = |s: &Step| match &s.act {
        Act::Mask { .. } | Act::ReadOnly { .. } | Act::Genuine { .. } => true,
        Act::Call(Call::Write { path, .. }) => path.starts_with("/proc/sys"),
        _ => false,
    };
    let last = plan.init.iter().rposition(ours).unwrap();
    assert!(last < first, "step {last} is not before step {first}");
    let genuine = plan.init.iter().position(|s| matches!(s.act, Act::Genuine { .. })).unwrap();
    assert!(genuine < written(&plan.init, "ip_forward").unwrap().0);
    let odd = written(&plan.init, "/proc/sys/net/ipv4/conf/eth0.1/forwarding");
    assert!(odd.is_some(), "dots behind slashes belong to names");
}

#[test]
fn the_filter_is_loaded_with_the_privilege_for_it_or_as_the_very_last() {
    let filter = |c: &Call| matches!(c, Call::Seccomp { .. });
    let plan = planned(&rich(), &facts(false));
    let user = position(&plan.init, |c| matches!(c, Call::Setresuid { .. })).unwrap();
    assert!(position(&plan.init, filter).unwrap() < user, "who has become an ordinary user may not load it");
    let mut quiet = serde_json::to_value(rich()).unwrap();
    quiet["process"]["noNewPrivileges"] = json!(true);
    let plan = planned(&serde_json::from_value(quiet).unwrap(), &facts(false));
    assert_eq!(position(&plan.init, filter), Some(plan.init.len() - 2), "only the command comes after");
    assert!(position(&plan.init, |c| matches!(c, Call::Prctl(Prctl::SetNoNewPrivs))).is_some());
}

#[test]
fn the_engine_gives_no_privilege_that_it_has_not_got() {
    let confined = Facts { held: !(1 << 21), ..facts(false) };
    let plan = planned(&spec(&CAPS, false, 0), &confined);
    let admin = position(&plan.init, |c| matches!(c, Call::Prctl(Prctl::CapbsetDrop { cap: 21 })));
    assert!(admin.is_some(), "dropped, and not asked for in vain");
}

#[test]
fn the_shims_death_is_watched_from_the_first_step_on_and_again_behind_the_change_of_user() {
    let plan = planned(&spec(&CAPS, false, 1000), &facts(false));
    let watches = |s: &Step| matches!(s.act, Act::Call(Call::Prctl(Prctl::SetPdeathsig { sig: libc::SIGKILL })));
    assert!(watches(&plan.init[0]));
    let user = position(&plan.init, |c| matches!(c, Call::Setresuid { .. })).unwrap();
    assert!(plan.init[user..].iter().any(watches));
}

#[test]
fn namespaces_of_another_container_are_joined_by_who_can() {
    let plan = planned(&rich(), &facts(false));
    let joins =
        |program: &[Step], kind| position(program, |c| matches!(c, Call::Setns { nstype, .. } if *nstype == kind));
    assert!(joins(&plan.enter, CloneFlags::CLONE_NEWPID).is_some(), "a pid namespace is for children only");
    let ipc = joins(&plan.init, CloneFlags::CLONE_NEWIPC).unwrap();
    let pivot = position(&plan.init, |c| matches!(c, Call::PivotRoot { .. })).unwrap();
    assert!(ipc < pivot);
    assert!(!plan.has_own_processes());
    // Its shared memory is taken hold of where it is mounted: there and back.
    let there = joins(&plan.init, CloneFlags::CLONE_NEWNS).unwrap();
    let shm =
        position(&plan.init, |c| matches!(c, Call::OpenTree { filename, .. } if filename == Path::new("/dev/shm")));
    let back = plan
        .init
        .iter()
        .rposition(|s| matches!(&s.act, Act::Call(Call::Setns { nstype, .. }) if *nstype == CloneFlags::CLONE_NEWNS));
    assert!(there < shm.unwrap() && shm.unwrap() < back.unwrap() && back.unwrap() < pivot);
}

#[test]
fn what_is_shared_has_its_options_before_anybody_can_see_it() {
    let plan = planned(&rich(), &facts(false));
    let set = position(
        &plan.init,
        |c| matches!(c, Call::MountSetattr { attr_set, recursive: true, .. } if attr_set == &["MOUNT_ATTR_RDONLY"]),
    );
    let shown =
        position(&plan.init, |c| matches!(c, Call::MoveMount { to_pathname, .. } if to_pathname == Path::new("/data")));
    assert!(set.unwrap() < shown.unwrap());
    let device = plan.init.iter().filter(|s| matches!(&s.act, Act::Device { .. })).count();
    assert_eq!(device, 1, "those of every container are made elsewhere");
}
