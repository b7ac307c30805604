//! The mounts of every container, in the order they are made: `/dev` before what lies below it.

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

pub(super) fn defaults(shm_size: Option<i64>) -> Vec<Mount> {
    let owned = |options: &[&str]| options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>();
    let mut mounts: Vec<Mount> = DEFAULTS
        .into_iter()
        .map(|(destination, kind, source, options)| mount(destination, kind, source, owned(options)))
        .collect();
    let size = shm_size.filter(|s| *s > 0).unwrap_or(SHM_SIZE);
    let mut options = owned(&["nosuid", "noexec", "nodev", "mode=1777"]);
    options.push(format!("size={size}"));
    mounts.push(mount("/dev/shm", "tmpfs", "shm", options));
    mounts.extend(FILES.into_iter().map(|(source, at)| mount(at, "bind", source, owned(&["rbind", "rprivate"]))));
    mounts
}
