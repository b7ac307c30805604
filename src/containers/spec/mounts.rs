//! The mounts of every container, in the order they are made: `/dev` before what lies below it.

use super::{Facts, binds, isolation};
use bollard_stubs::models::ContainerCreateBody;
use oci_spec::runtime::Mount;

/// Size of `/dev/shm` when nobody says: 64 MiB.
const SHM_SIZE: i64 = 64 << 20;

/// Destination, type, source, options.
const DEFAULTS: [(&str, &str, &str, &[&str]); 6] = [
    ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
];

/// Files that the engine writes, beside `config.json` in the bundle, and where the container finds them.
const FILES: [(&str, &str); 3] =
    [("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"), ("hosts", "/etc/hosts")];

fn mount(destination: &str, kind: &str, source: &str, options: Vec<String>) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination.into())
        .set_typ(Some(kind.into()))
        .set_source(Some(source.into()))
        .set_options(Some(options));
    mount
}

/// Everything that is mounted, in this order: the engine's own, then what was asked for. What was asked for at a place of
/// the engine's own takes its place.
pub(super) fn all(config: &ContainerCreateBody, facts: &Facts<'_>) -> Vec<Mount> {
    let host = config.host_config.as_ref();
    let asked = host.map(binds::mounts).unwrap_or_default();
    let mut mounts = defaults(config, facts);
    mounts.retain(|own| !asked.iter().any(|a| a.destination() == own.destination()));
    mounts.extend(asked);
    mounts
}

fn defaults(config: &ContainerCreateBody, facts: &Facts<'_>) -> Vec<Mount> {
    let host = config.host_config.as_ref();
    let owned = |options: &[&str]| options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>();
    let writable = isolation::privileged(config);
    let mut mounts: Vec<Mount> = DEFAULTS
        .into_iter()
        .map(|(destination, kind, source, options)| {
            let options: Vec<&str> = options.iter().copied().filter(|o| !(writable && *o == "ro")).collect();
            mount(destination, kind, source, owned(&options))
        })
        .collect();
    let size = host.and_then(|h| h.shm_size).filter(|s| *s > 0).unwrap_or(SHM_SIZE);
    let mut options = owned(&["nosuid", "noexec", "nodev", "mode=1777"]);
    options.push(format!("size={size}"));
    match (isolation::ipc_mode(config), facts.ipc_of) {
        ("none", _) => {}
        ("host", _) => {
            mounts.push(mount("/dev/shm", "bind", "/dev/shm", owned(&["rbind", "nosuid", "noexec", "nodev"])))
        }
        (_, Some(pid)) => {
            let source = format!("/proc/{pid}/root/dev/shm");
            mounts.push(mount("/dev/shm", "bind", &source, owned(&["rbind", "nosuid", "noexec", "nodev"])));
        }
        _ => mounts.push(mount("/dev/shm", "tmpfs", "shm", options)),
    }
    let closed = host.and_then(|h| h.readonly_rootfs).unwrap_or(false);
    let options: &[&str] = if closed { &["rbind", "rprivate", "ro"] } else { &["rbind", "rprivate"] };
    mounts.extend(FILES.into_iter().map(|(source, at)| mount(at, "bind", source, owned(options))));
    mounts
}
