//! What keeps a container apart: capabilities, namespaces, devices, hidden and read-only files of the kernel.

use bollard_stubs::models::ContainerCreateBody;
use oci_spec::runtime::{
    Capabilities, Capability, Linux, LinuxCapabilities, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType,
    LinuxNamespace, LinuxNamespaceType, LinuxResources,
};

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

/// All that the kernel has, in the order of their numbers.
const ALL_CAPABILITIES: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
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

/// `--security-opt no-new-privileges`
pub(super) fn no_new_privileges(config: &ContainerCreateBody) -> bool {
    let options = config.host_config.as_ref().and_then(|h| h.security_opt.as_ref());
    options.into_iter().flatten().any(|o| {
        let value = o.strip_prefix("no-new-privileges").map(|v| v.trim_start_matches([':', '=']));
        matches!(value, Some("" | "true"))
    })
}

/// Root has the default set. Anybody else has it as the bound of what a set-user-ID program may get, and no more:
/// effective, permitted and inheritable are empty, as current Docker has it.
pub(super) fn capabilities(config: &ContainerCreateBody, uid: u32) -> LinuxCapabilities {
    let dropped: Vec<String> = config
        .host_config
        .iter()
        .flat_map(|h| h.cap_drop.iter().flatten())
        .map(|name| name.to_ascii_uppercase().trim_start_matches("CAP_").to_owned())
        .collect();
    let kept: Capabilities = DEFAULT_CAPABILITIES
        .into_iter()
        .filter(|cap| !dropped.iter().any(|d| *d == "ALL" || *d == cap.to_string()))
        .collect();
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
    let all: Capabilities = ALL_CAPABILITIES.into_iter().collect();
    let mut capabilities = LinuxCapabilities::default();
    capabilities.set_bounding(Some(all.clone()));
    capabilities.set_effective(Some(all.clone()));
    capabilities.set_permitted(Some(all));
    capabilities.set_inheritable(None);
    capabilities.set_ambient(None);
    capabilities
}

pub(super) fn linux(config: &ContainerCreateBody, cgroup: &str) -> Linux {
    let host = config.host_config.as_ref();
    let paths = |own: Option<&Vec<String>>, default: &[&str]| {
        own.cloned().unwrap_or_else(|| default.iter().map(|p| (*p).to_owned()).collect())
    };
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(device_rules()));
    let mut linux = Linux::default();
    linux.set_namespaces(Some(namespaces(config)));
    linux.set_resources(Some(resources));
    linux.set_cgroups_path(Some(format!("/{cgroup}").into()));
    linux.set_devices(Some(devices()));
    linux.set_masked_paths(Some(paths(host.and_then(|h| h.masked_paths.as_ref()), &MASKED_PATHS)));
    linux.set_readonly_paths(Some(paths(host.and_then(|h| h.readonly_paths.as_ref()), &READONLY_PATHS)));
    linux
}

fn namespaces(config: &ContainerCreateBody) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    [Pid, Mount, Uts, Ipc, Network, Cgroup]
        .into_iter()
        .filter(|kind| match kind {
            Network => !shares_network(config),
            Uts => !shares_name(config),
            _ => true,
        })
        .map(|kind| {
            let mut namespace = LinuxNamespace::default();
            namespace.set_typ(kind);
            namespace
        })
        .collect()
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

/// Nothing at first; then nodes may be made (not used), and the default devices and terminals may be used.
fn device_rules() -> Vec<LinuxDeviceCgroup> {
    use LinuxDeviceType::{A, B, C};
    let rule = |allow, kind, major, minor, access: &str| {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(allow).set_typ(Some(kind)).set_major(major).set_minor(minor).set_access(Some(access.into()));
        rule
    };
    let mut rules =
        vec![rule(false, A, None, None, "rwm"), rule(true, C, None, None, "m"), rule(true, B, None, None, "m")];
    let own = DEVICES.into_iter().map(|(_, major, minor)| (major, Some(minor)));
    // Terminals: /dev/pts/* (136), /dev/ptmx (5:2), /dev/console (5:1).
    let terminals = [(136, None), (5, Some(2)), (5, Some(1))];
    rules.extend(own.chain(terminals).map(|(major, minor)| rule(true, C, Some(major), minor, "rwm")));
    rules
}
