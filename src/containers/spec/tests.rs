use super::*;
use bollard_stubs::models::HostConfig;
use oci_spec::runtime::{Capability, LinuxNamespaceType};
use proptest::prelude::*;
use std::collections::HashSet;

const ID: &str = "82893955fb41aaaabbbbccccddddeeeeffff00001111222233334444555566667";

fn root() -> Account {
    Account { uid: 0, gid: 0, additional_gids: vec![0], home: "/root".into() }
}

fn config(cmd: &[&str]) -> ContainerCreateBody {
    ContainerCreateBody { cmd: Some(cmd.iter().map(|s| (*s).to_owned()).collect()), ..Default::default() }
}

fn built(config: &ContainerCreateBody, account: &Account) -> Spec {
    let facts =
        Facts { id: ID, account, host_name: "lab", cgroup: "rdock-1-x", devices: &[], pid_of: None, ipc_of: None };
    build(config, &facts)
}

/// The bit of each capability (capabilities(7), linux/capability.h).
fn bits(set: &Option<HashSet<Capability>>) -> u64 {
    let number = |cap: &Capability| match cap.to_string().as_str() {
        "CHOWN" => 0,
        "DAC_OVERRIDE" => 1,
        "FOWNER" => 3,
        "FSETID" => 4,
        "KILL" => 5,
        "SETGID" => 6,
        "SETUID" => 7,
        "SETPCAP" => 8,
        "NET_BIND_SERVICE" => 10,
        "NET_RAW" => 13,
        "SYS_CHROOT" => 18,
        "MKNOD" => 27,
        "AUDIT_WRITE" => 29,
        "SETFCAP" => 31,
        other => panic!("{other} is not one of Docker's"),
    };
    set.iter().flatten().fold(0, |bits, cap| bits | 1 << number(cap))
}

#[test]
fn root_has_dockers_capabilities_and_others_have_none() {
    let spec = built(&config(&["true"]), &root());
    let caps = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
    assert_eq!(bits(caps.effective()), 0xa804_25fb);
    assert_eq!(bits(caps.permitted()), 0xa804_25fb);
    assert_eq!(bits(caps.bounding()), 0xa804_25fb);
    let ann = Account { uid: 1000, ..root() };
    let spec = built(&config(&["true"]), &ann);
    let caps = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
    assert_eq!(bits(caps.effective()) | bits(caps.permitted()), 0);
    assert_eq!(bits(caps.inheritable()) | bits(caps.ambient()), 0);
    assert_eq!(bits(caps.bounding()), 0xa804_25fb);
}

#[test]
fn a_plain_container_has_dockers_process() {
    let spec = built(&config(&["sleep", "1"]), &root());
    let process = spec.process().as_ref().unwrap();
    assert_eq!(process.args().as_deref().unwrap(), ["sleep", "1"]);
    assert_eq!(process.env().as_deref().unwrap(), [DEFAULT_PATH, "HOSTNAME=82893955fb41", "HOME=/root"]);
    assert_eq!(process.cwd().to_str(), Some("/"));
    assert_eq!(process.terminal(), Some(false));
    assert!(process.rlimits().is_none());
    assert_eq!(spec.hostname().as_deref(), Some("82893955fb41"));
    assert_eq!(spec.root().as_ref().unwrap().path().to_str(), Some("merged"));
}

#[test]
fn a_terminal_brings_term_and_its_size() {
    let mut config = config(&["sh"]);
    config.tty = Some(true);
    config.host_config = Some(HostConfig { console_size: Some(vec![46, 150]), ..Default::default() });
    let spec = built(&config, &root());
    let process = spec.process().as_ref().unwrap();
    let size = process.console_size().unwrap();
    assert_eq!((size.height(), size.width()), (46, 150));
    assert!(process.env().as_ref().unwrap().contains(&"TERM=xterm".to_owned()));
    config.tty = Some(false);
    assert!(built(&config, &root()).process().as_ref().unwrap().console_size().is_none());
}

#[test]
fn the_configurations_variables_win() {
    let mut config = config(&["sh"]);
    let env = ["PATH=/bin", "HOME=/x", "HOSTNAME", "A=b"];
    config.env = Some(env.map(str::to_owned).to_vec());
    let spec = built(&config, &root());
    let env = spec.process().as_ref().unwrap().env().clone().unwrap();
    assert_eq!(env, ["PATH=/bin", "HOME=/x", "A=b"]);
}

#[test]
fn the_hosts_network_brings_the_hosts_name() {
    let mut config = config(&["sh"]);
    config.host_config = Some(HostConfig { network_mode: Some("host".into()), ..Default::default() });
    let spec = built(&config, &root());
    assert_eq!(spec.hostname().as_deref(), Some("lab"));
    let linux = spec.linux().as_ref().unwrap();
    let kinds: Vec<_> = linux.namespaces().iter().flatten().map(|n| n.typ()).collect();
    assert!(!kinds.contains(&LinuxNamespaceType::Network));
    assert!(kinds.contains(&LinuxNamespaceType::Uts));
}

#[test]
fn json_is_the_same_every_time() {
    let json = || to_json(&built(&config(&["sh"]), &root())).unwrap().to_string();
    assert_eq!(json(), json());
    let back: Spec = serde_json::from_str(&json()).unwrap();
    assert_eq!(back, built(&config(&["sh"]), &root()));
}

/// Every text that a client may send, and every switch that the spec looks at.
fn any_config() -> impl Strategy<Value = ContainerCreateBody> {
    let word = "[a-zA-Z0-9/_=.-]{0,12}";
    let words = || prop::option::of(prop::collection::vec(word, 0..4));
    let cap = prop::sample::select(vec!["ALL", "CHOWN", "CAP_KILL", "setuid", "SYS_ADMIN", "x"]);
    let host = (
        prop::option::of(prop::collection::vec(cap.prop_map(str::to_owned), 0..4)),
        prop::option::of(prop::sample::select(vec!["none", "bridge", "host", "default"])),
        prop::option::of(any::<i64>()),
        any::<Option<bool>>(),
    )
        .prop_map(|(cap_drop, network, shm_size, readonly_rootfs)| HostConfig {
            cap_drop,
            network_mode: network.map(str::to_owned),
            shm_size,
            readonly_rootfs,
            ..Default::default()
        });
    (words(), words(), words(), prop::option::of(host), any::<Option<bool>>()).prop_map(
        |(cmd, entrypoint, env, host_config, tty)| ContainerCreateBody {
            cmd,
            entrypoint,
            env,
            host_config,
            tty,
            ..Default::default()
        },
    )
}

proptest! {
    #[test]
    fn capabilities_are_never_more_than_dockers(config in any_config(), uid in 0u32..3) {
        let spec = built(&config, &Account { uid, ..root() });
        let caps = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        let default: HashSet<_> = DEFAULT_CAPABILITIES.into_iter().collect();
        for set in [caps.bounding(), caps.effective(), caps.permitted(), caps.inheritable(), caps.ambient()] {
            prop_assert!(set.clone().unwrap_or_default().is_subset(&default));
        }
        let bounding = caps.bounding().clone().unwrap();
        prop_assert!(caps.effective().clone().unwrap().is_subset(&bounding));
        prop_assert!(uid == 0 || caps.effective().clone().unwrap().is_empty());
    }

    #[test]
    fn a_directory_is_mounted_before_what_lies_below_it(config in any_config()) {
        let spec = built(&config, &root());
        let places: Vec<_> = spec.mounts().iter().flatten().map(|m| m.destination().clone()).collect();
        prop_assert_eq!(places.iter().collect::<HashSet<_>>().len(), places.len());
        for (at, place) in places.iter().enumerate() {
            prop_assert!(places[at + 1..].iter().all(|later| !place.starts_with(later)), "{:?}", place);
        }
        let position = |p: &str| places.iter().position(|x| x.to_str() == Some(p)).unwrap();
        prop_assert!(position("/dev") < position("/dev/pts"));
        prop_assert!(position("/sys") < position("/sys/fs/cgroup"));
    }

    #[test]
    fn no_variable_comes_twice(config in any_config()) {
        let spec = built(&config, &root());
        let env = spec.process().as_ref().unwrap().env().clone().unwrap();
        let names: Vec<_> = env.iter().map(|v| v.split('=').next().unwrap()).collect();
        prop_assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn what_is_merged_has_a_command(config in any_config()) {
        if let Ok(merged) = merge(config, None, &Machine::default()) {
            prop_assert!(!argv(&merged)[0].is_empty());
            prop_assert_eq!(merge(merged.clone(), None, &Machine::default()), Ok(merged));
        }
    }

    #[test]
    fn every_namespace_is_the_containers_own_unless_it_asked(config in any_config()) {
        let linux = built(&config, &root()).linux().clone().unwrap();
        let shared = usize::from(isolation::shares_network(&config));
        prop_assert_eq!(linux.namespaces().as_ref().unwrap().len(), 6 - shared);
    }
}
