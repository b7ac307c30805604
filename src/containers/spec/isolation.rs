//! What keeps a container apart: capabilities, namespaces, devices, hidden and read-only files of the kernel.

use super::{Facts, limits, security};
use bollard_stubs::models::{ContainerCreateBody, HostConfig};
use oci_spec::runtime::{
    Capabilities, Capability, Linux, LinuxCapabilities, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType,
    LinuxNamespace, LinuxNamespaceType, LinuxSeccomp,
};
use std::path::PathBuf;

/// What root may do in a container, by default: `CapEff: 00000000a80425fb` (capabilities(7)).
pub const DEFAULT_CAPABILITIES: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::SysChroot,
    Capability::Mknod,
    Capability::AuditWrite,
    Capability::Setfcap,
];

/// Hidden: they tell of the host's hardware and kernel.
pub const MASKED_PATHS: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// To be looked at, not changed.
pub const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The devices of every container (OCI runtime spec, Default Devices).
const DEVICES: [(&str, i64, i64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

pub(super) fn shares_network(config: &ContainerCreateBody) -> bool {
    let host = config.host_config.as_ref();
    host.and_then(|h| h.network_mode.as_deref()) == Some("host")
}

/// `--uts host`: the host's name is the container's.
pub(super) fn shares_name(config: &ContainerCreateBody) -> bool {
    let host = config.host_config.as_ref();
    host.and_then(|h| h.uts_mode.as_deref()) == Some("host")
}

/// `--pid host` and `--pid container:…`: its first process is not number 1.
pub(super) fn shares_processes(config: &ContainerCreateBody) -> bool {
    let mode = config.host_config.as_ref().and_then(|h| h.pid_mode.as_deref()).unwrap_or("");
    mode == "host" || mode.starts_with("container:")
}

/// How messages and shared memory are shared: `host`, `container:…`, `none`, or not (the rest).
pub(super) fn ipc_mode(config: &ContainerCreateBody) -> &str {
    config.host_config.as_ref().and_then(|h| h.ipc_mode.as_deref()).unwrap_or("")
}

pub(super) fn privileged(config: &ContainerCreateBody) -> bool {
    config.host_config.as_ref().and_then(|h| h.privileged).unwrap_or(false)
}

/// `--security-opt no-new-privileges`
pub(super) fn no_new_privileges(config: &ContainerCreateBody) -> bool {
    config.host_config.as_ref().is_some_and(|h| security::options(h).is_ok_and(|o| o.no_new_privileges))
}

/// Root has the whole set. Anybody else has it as the bound of what a set-user-ID program may get, and no more:
/// effective, permitted and inheritable are empty, as current Docker has it.
pub(super) fn capabilities(config: &ContainerCreateBody, uid: u32) -> LinuxCapabilities {
    let kept = security::bounding(config.host_config.as_ref(), &DEFAULT_CAPABILITIES);
    let own = if uid == 0 { kept.clone() } else { Capabilities::new() };
    let mut capabilities = LinuxCapabilities::default();
    capabilities.set_bounding(Some(kept));
    capabilities.set_effective(Some(own.clone()));
    capabilities.set_permitted(Some(own));
    capabilities.set_inheritable(None);
    capabilities.set_ambient(None);
    capabilities
}

/// All that there are: `--privileged`.
pub(super) fn all_capabilities() -> LinuxCapabilities {
    let all: Capabilities = security::all();
    let mut capabilities = LinuxCapabilities::default();
    capabilities.set_bounding(Some(all.clone()));
    capabilities.set_effective(Some(all.clone()));
    capabilities.set_permitted(Some(all));
    capabilities.set_inheritable(None);
    capabilities.set_ambient(None);
    capabilities
}

pub(super) fn linux(config: &ContainerCreateBody, facts: &Facts<'_>) -> Linux {
    let host = config.host_config.as_ref();
    let paths = |own: Option<&Vec<String>>, default: &[&str]| {
        own.cloned().unwrap_or_else(|| default.iter().map(|p| (*p).to_owned()).collect())
    };
    let mut resources = limits::of_group(config);
    resources.set_devices(Some(device_rules(config, facts.devices)));
    let mut linux = Linux::default();
    linux.set_namespaces(Some(namespaces(config, facts)));
    linux.set_resources(Some(resources));
    linux.set_cgroups_path(Some(format!("/{}", facts.cgroup).into()));
    linux.set_devices(Some(devices().into_iter().chain(facts.devices.iter().map(Device::node)).collect()));
    linux.set_masked_paths(Some(paths(host.and_then(|h| h.masked_paths.as_ref()), &MASKED_PATHS)));
    linux.set_readonly_paths(Some(paths(host.and_then(|h| h.readonly_paths.as_ref()), &READONLY_PATHS)));
    linux.set_sysctl(host.and_then(|h| h.sysctls.clone()).filter(|s| !s.is_empty()));
    linux.set_seccomp(host.and_then(own_filter));
    linux
}

/// A profile of the client's; it was read once before, when the container was made.
fn own_filter(host: &HostConfig) -> Option<LinuxSeccomp> {
    match security::options(host).ok()?.filter {
        security::Filter::Own(profile) => {
            security::resolve(&profile, &security::bounding(Some(host), &DEFAULT_CAPABILITIES)).ok()
        }
        _ => None,
    }
}

/// New ones, those of another container (by its first process), or the host's (left out).
fn namespaces(config: &ContainerCreateBody, facts: &Facts<'_>) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let host = config.host_config.as_ref();
    let shares_groups = host.and_then(|h| h.cgroupns_mode).is_some_and(|m| m.to_string() == "host");
    let shared = |kind| match kind {
        Network => shares_network(config),
        Uts => shares_name(config),
        Pid => shares_processes(config) && facts.pid_of.is_none(),
        Ipc => ipc_mode(config) == "host",
        Cgroup => shares_groups,
        _ => false,
    };
    [Pid, Mount, Uts, Ipc, Network, Cgroup]
        .into_iter()
        .filter(|kind| !shared(*kind))
        .map(|kind| {
            let of = match kind {
                Pid => facts.pid_of,
                Ipc => facts.ipc_of,
                _ => None,
            };
            let file = if kind == Pid { "pid" } else { "ipc" };
            let mut namespace = LinuxNamespace::default();
            namespace.set_typ(kind);
            namespace.set_path(of.map(|pid| format!("/proc/{pid}/ns/{file}").into()));
            namespace
        })
        .collect()
}

/// A device of the host, as a container is to have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// In the container.
    pub path: PathBuf,
    pub block: bool,
    pub major: i64,
    pub minor: i64,
    /// Permission bits of the host's node.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// `rwm`, for the device controller.
    pub access: String,
}

impl Device {
    fn node(&self) -> LinuxDevice {
        let mut device = LinuxDevice::default();
        device
            .set_path(self.path.clone())
            .set_typ(if self.block { LinuxDeviceType::B } else { LinuxDeviceType::C })
            .set_major(self.major)
            .set_minor(self.minor)
            .set_file_mode(Some(self.mode))
            .set_uid(Some(self.uid))
            .set_gid(Some(self.gid));
        device
    }
}

fn devices() -> Vec<LinuxDevice> {
    let device = |(path, major, minor): (&str, i64, i64)| {
        let mut device = LinuxDevice::default();
        device
            .set_path(path.into())
            .set_typ(LinuxDeviceType::C)
            .set_major(major)
            .set_minor(minor)
            .set_file_mode(Some(0o666))
            .set_uid(Some(0))
            .set_gid(Some(0));
        device
    };
    DEVICES.into_iter().map(device).collect()
}

/// Nothing at first; then nodes may be made (not used), and the default devices, terminals and what was asked for may
/// be used. With `--privileged` everything.
fn device_rules(config: &ContainerCreateBody, asked: &[Device]) -> Vec<LinuxDeviceCgroup> {
    use LinuxDeviceType::{A, B, C};
    let rule = |allow, kind, major, minor, access: &str| {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(allow).set_typ(Some(kind)).set_major(major).set_minor(minor).set_access(Some(access.into()));
        rule
    };
    if privileged(config) {
        return vec![rule(true, A, None, None, "rwm")];
    }
    let mut rules =
        vec![rule(false, A, None, None, "rwm"), rule(true, C, None, None, "m"), rule(true, B, None, None, "m")];
    let own = DEVICES.into_iter().map(|(_, major, minor)| (major, Some(minor)));
    // Terminals: /dev/pts/* (136), /dev/ptmx (5:2), /dev/console (5:1).
    let terminals = [(136, None), (5, Some(2)), (5, Some(1))];
    rules.extend(own.chain(terminals).map(|(major, minor)| rule(true, C, Some(major), minor, "rwm")));
    for device in asked {
        let kind = if device.block { B } else { C };
        rules.push(rule(true, kind, Some(device.major), Some(device.minor), &device.access));
    }
    let said = config.host_config.iter().flat_map(|h| h.device_cgroup_rules.iter().flatten());
    for text in said {
        let words: Vec<&str> = text.split([' ', ':']).collect();
        if let [kind, major, minor, access] = words[..] {
            let kind = match kind {
                "a" => A,
                "b" => B,
                _ => C,
            };
            rules.push(rule(true, kind, major.parse().ok(), minor.parse().ok(), access));
        }
    }
    rules
}
