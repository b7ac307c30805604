//! The laws of one more process.

use super::*;
use crate::runtime::plan::tests::{CAPS, facts, needs_no_privilege, position, spec, unified};
use proptest::prelude::*;

fn planned(terminal: bool, uid: u32, facts: &Facts) -> ExecPlan {
    let spec = spec(&CAPS, terminal, uid);
    let process = spec.process().clone().unwrap();
    plan_exec(&ExecRequest { spec: &spec, process: &process, cgroup: "rdock-x-1" }, facts).unwrap()
}

fn hosts() -> impl Strategy<Value = Facts> {
    prop_oneof![Just(facts(false)), Just(facts(true)), Just(unified())]
}

proptest! {
    #[test]
    fn it_is_out_of_sight_and_holds_nothing_before_it_joins(terminal: bool, uid in 0u32..70000, facts in hosts()) {
        let plan = planned(terminal, uid, &facts);
        let hidden = position(&plan.init, |c| *c == Call::Prctl(Prctl::SetDumpable { on: false }));
        prop_assert_eq!(hidden, Some(0));
        let closed = plan.init.iter().position(|s| matches!(s.act, Act::CloseOthers { .. })).unwrap();
        let joined = position(&plan.init, |c| matches!(c, Call::Setns { .. })).unwrap();
        prop_assert!(closed < joined);
    }

    /// After setns each path is the container's: nothing before it looks at one, nothing after it names the host.
    #[test]
    fn the_host_is_named_only_before_it_joins(terminal: bool, facts in hosts()) {
        let plan = planned(terminal, 0, &facts);
        let joined = position(&plan.init, |c| matches!(c, Call::Setns { .. })).unwrap();
        let before = serde_json::to_string(&plan.init[..joined]).unwrap();
        prop_assert!(!before.contains("/work") && !before.contains("\"Exec\""), "{}", before);
        let after = serde_json::to_string(&plan.init[joined..]).unwrap();
        prop_assert!(!after.contains("/sys/fs/cgroup"), "{}", after);
        let moved = position(&plan.init, |c| matches!(c, Call::Chdir { .. })).unwrap();
        prop_assert!(moved > joined);
    }

    #[test]
    fn what_it_may_do_is_what_the_container_may(terminal: bool, uid in 0u32..70000, facts in hosts()) {
        let plan = planned(terminal, uid, &facts);
        let dropped = position(&plan.init, |c| matches!(c, Call::Capset { .. })).unwrap();
        for step in &plan.init[dropped + 1..] {
            prop_assert!(needs_no_privilege(&step.act), "{:?}", step);
        }
        let ends = matches!(plan.init.last().unwrap().act, Act::Exec { .. });
        prop_assert!(ends);
        let user = position(&plan.init, |c| matches!(c, Call::Setresuid { ruid, .. } if *ruid == uid));
        prop_assert!(user.is_some_and(|at| at < dropped));
    }
}

/// No wait for all processors: `tasks`, or born in the group.
#[test]
fn it_joins_each_group_of_the_container() {
    let joins = |plan: &ExecPlan| {
        let paths = plan.init.iter().filter_map(|s| match &s.act {
            Act::Call(Call::Write { path, .. }) => Some(path.display().to_string()),
            _ => None,
        });
        paths.collect::<Vec<_>>()
    };
    let v1 = planned(false, 0, &facts(false));
    let tasks = |c| format!("/sys/fs/cgroup/{c}/rdock-x-1/tasks");
    assert_eq!(joins(&v1), ["cpuset", "devices", "memory", "pids"].map(tasks));
    assert!(matches!(v1.clone.act, Act::Call(Call::Clone3 { cgroup: None, .. })));
    let v2 = planned(false, 0, &unified());
    assert!(joins(&v2).is_empty());
    assert!(matches!(v2.clone.act, Act::Call(Call::Clone3 { cgroup: Some(Fd::Slot(slot::CGROUP)), .. })));
    assert!(joins(&planned(false, 0, &facts(true))).is_empty());
}

#[test]
fn a_namespace_that_is_the_hosts_is_not_joined() {
    let mut value = serde_json::to_value(spec(&CAPS, false, 0)).unwrap();
    value["linux"]["namespaces"] = serde_json::json!([{"type": "mount"}, {"type": "uts"}]);
    let spec: Spec = serde_json::from_value(value).unwrap();
    let process = spec.process().clone().unwrap();
    let plan = plan_exec(&ExecRequest { spec: &spec, process: &process, cgroup: "rdock-x-1" }, &facts(false)).unwrap();
    assert!(plan.before.is_empty(), "the pid namespace is the host's: {:?}", plan.before);
    let flags = plan.init.iter().find_map(|s| match &s.act {
        Act::Call(Call::Setns { nstype, .. }) => Some(*nstype),
        _ => None,
    });
    assert_eq!(flags, Some(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS));
}

/// As the container's first process: with the privilege for it, or, where nothing may be gained, as the very last.
#[test]
fn it_has_the_filter_of_the_container() {
    let mut value = serde_json::to_value(spec(&CAPS, false, 0)).unwrap();
    let planned = |value: &serde_json::Value| {
        let spec: Spec = serde_json::from_value(value.clone()).unwrap();
        let process = spec.process().clone().unwrap();
        plan_exec(&ExecRequest { spec: &spec, process: &process, cgroup: "rdock-x-1" }, &facts(false)).unwrap().init
    };
    let filter = |c: &Call| matches!(c, Call::Seccomp { .. });
    assert_eq!(position(&planned(&value), filter), None, "unconfined");
    value["annotations"] = serde_json::json!({"org.rdock.seccomp": "builtin"});
    let init = planned(&value);
    assert!(position(&init, filter).unwrap() < position(&init, |c| matches!(c, Call::Setresuid { .. })).unwrap());
    value["process"]["noNewPrivileges"] = true.into();
    let init = planned(&value);
    assert_eq!(position(&init, filter), Some(init.len() - 2), "the command alone comes after it");
    value["annotations"] = serde_json::json!({});
    value["linux"]["seccomp"] = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW"});
    assert!(position(&planned(&value), filter).is_some(), "a profile of one's own");
}
