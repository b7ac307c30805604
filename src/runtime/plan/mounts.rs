//! The mounts of the spec, the devices, and what is hidden.

use super::{PlanError, Request};
use crate::kernel::call::{Dev, NodeKind};
use crate::kernel::{Call, Fd};
use crate::runtime::facts::{Cgroups, Facts};
use crate::runtime::program::{Act, Place, Program, Step, slot};
use nix::fcntl::{OFlag, ResolveFlag};
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxDeviceType, Mount, Spec};
use std::path::{Path, PathBuf};

/// Before and after `pivot_root`.
pub(super) struct Mounts {
    pub while_host_is_visible: Program,
    pub inside: Program,
    /// Where the image decides what a path means (its symlinks are followed): only when nothing of the host is left,
    /// since until then `/..` is the old root, which lies on the new one.
    pub host_is_gone: Program,
}

/// The devices of every container (OCI runtime spec, Default Devices): name, major, minor.
const DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The links that go with them (OCI runtime spec, /dev symbolic links).
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
    ("pts/ptmx", "/dev/ptmx"),
];

pub(super) fn plan(request: &Request<'_>, facts: &Facts) -> Result<Mounts, PlanError> {
    let mut plan = Mounts { while_host_is_visible: vec![], inside: vec![], host_is_gone: vec![] };
    let own = |path: &Path| OWN_PLACES.iter().any(|place| path == Path::new(place));
    let list = request.spec.mounts().clone().unwrap_or_default();
    let mut next = slot::BINDS;
    for mount in &list {
        if is_bind(mount) {
            bind(&mut plan, request.bundle, mount, next)?;
            next += 1;
        } else if mount.typ().as_deref() == Some("tmpfs") && !own(mount.destination()) {
            in_memory(&mut plan, mount)?;
        } else {
            fresh(&mut plan, mount, facts)?;
        }
        if mount.destination() == Path::new("/dev") {
            devices(&mut plan, facts, &mut next);
        }
    }
    more_devices(&mut plan, request.spec, facts, &mut next);
    let max = slot::COUNT - usize::from(slot::BINDS);
    let count = usize::from(next - slot::BINDS);
    if count > max {
        return Err(PlanError::TooManyBinds { count, max });
    }
    if let Some(cwd) = request.spec.process().as_ref().map(|p| p.cwd().clone())
        && cwd != Path::new("/")
    {
        plan.host_is_gone.push(Step::new(
            "the working directory, made where the image has none",
            Act::MountPoint { path: cwd, kind: Place::Directory },
        ));
    }
    if request.spec.root().as_ref().and_then(|r| r.readonly()).unwrap_or(false) {
        plan.host_is_gone.push(remount(
            "/".into(),
            MsFlags::MS_RDONLY,
            "the root file system is read-only, as asked for",
        ));
    }
    Ok(plan)
}

fn is_bind(mount: &Mount) -> bool {
    let options = mount.options().as_deref().unwrap_or(&[]);
    mount.typ().as_deref() == Some("bind") || options.iter().any(|o| o == "bind" || o == "rbind")
}

/// Places that the engine mounts on of itself: where an image has a link there, it is refused.
const OWN_PLACES: [&str; 3] = ["/dev", "/dev/shm", "/sys/fs/cgroup"];

/// A file system in memory that was asked for. The image decides what its place means.
fn in_memory(plan: &mut Mounts, mount: &Mount) -> Result<(), PlanError> {
    let (flags, data) = options(mount)?;
    let target = mount.destination().clone();
    plan.host_is_gone.push(mount_point(target.clone(), Place::Directory));
    plan.host_is_gone.push(Step::call(
        "files in memory, gone with the container",
        Call::Mount {
            source: Some("tmpfs".into()),
            target,
            filesystemtype: Some("tmpfs"),
            mountflags: flags,
            data: (!data.is_empty()).then_some(data),
        },
    ));
    Ok(())
}

/// A file system of the container's own: proc, tmpfs, devpts, sysfs, mqueue, cgroup.
fn fresh(plan: &mut Mounts, mount: &Mount, facts: &Facts) -> Result<(), PlanError> {
    let (flags, data) = options(mount)?;
    let destination = mount.destination().clone();
    let fstype = mount.typ().clone().unwrap_or_default();
    let (fstype, why): (&'static str, &'static str) = match fstype.as_str() {
        "proc" => ("proc", "/proc of the new pid namespace: ps and top see the container's processes only"),
        "tmpfs" if destination == Path::new("/dev") => ("tmpfs", "an empty /dev: only what is put there now is there"),
        "tmpfs" if destination == Path::new("/dev/shm") => ("tmpfs", "shared memory of the container's own"),
        "tmpfs" => ("tmpfs", "files in memory, gone with the container"),
        "devpts" => ("devpts", "terminals of the container's own, numbered from 0"),
        "sysfs" => ("sysfs", "/sys of the new network namespace, read-only"),
        "mqueue" => ("mqueue", "message queues of the new ipc namespace"),
        "cgroup" | "cgroup2" => return cgroup(plan, destination, flags, facts),
        _ => {
            return Err(PlanError::FileSystem { destination, fstype });
        }
    };
    plan.inside.push(mount_point(destination.clone(), Place::OwnDirectory));
    let data = if fstype == "devpts" { devpts_data(&data, facts) } else { data };
    plan.inside.push(Step::call(
        why,
        Call::Mount {
            source: Some(fstype.into()),
            target: destination,
            filesystemtype: Some(fstype),
            mountflags: flags,
            data: (!data.is_empty()).then_some(data),
        },
    ));
    Ok(())
}

/// Group 5 (tty) owns terminals; where only one id is mapped the kernel refuses a group it can't name.
fn devpts_data(data: &str, facts: &Facts) -> String {
    if facts.mapped_ids > 5 {
        return data.to_owned();
    }
    data.split(',').filter(|o| !o.starts_with("gid=")).collect::<Vec<_>>().join(",")
}

fn mount_point(path: PathBuf, kind: Place) -> Step {
    Step::new("a place to mount on", Act::MountPoint { path, kind })
}

/// The groups as the container sees them. Version 1 has one mount for each hierarchy below a tmpfs.
fn cgroup(plan: &mut Mounts, destination: PathBuf, flags: MsFlags, facts: &Facts) -> Result<(), PlanError> {
    let why = "the container's own control groups, read-only";
    let one = |target: PathBuf, fstype: &'static str, data: Option<String>| {
        let call = Call::Mount {
            source: Some("cgroup".into()),
            target,
            filesystemtype: Some(fstype),
            mountflags: flags,
            data,
        };
        Step::call(why, call).tolerate(&["EPERM", "EBUSY"])
    };
    match &facts.cgroups {
        Cgroups::None(_) => {}
        Cgroups::V2 { .. } => {
            plan.inside.push(mount_point(destination.clone(), Place::OwnDirectory));
            plan.inside.push(one(destination, "cgroup2", None));
        }
        Cgroups::V1(hierarchies) => {
            plan.inside.push(mount_point(destination.clone(), Place::OwnDirectory));
            let writable = flags - MsFlags::MS_RDONLY;
            plan.inside.push(Step::call(
                "one directory for each hierarchy of control groups",
                Call::Mount {
                    source: Some("tmpfs".into()),
                    target: destination.clone(),
                    filesystemtype: Some("tmpfs"),
                    mountflags: writable,
                    data: Some("mode=755".into()),
                },
            ));
            for hierarchy in hierarchies {
                let name = hierarchy.mount.file_name().map_or_else(PathBuf::new, PathBuf::from);
                let target = destination.join(name);
                plan.inside.push(mount_point(target.clone(), Place::OwnDirectory));
                plan.inside.push(one(target, "cgroup", Some(hierarchy_data(&hierarchy.controllers))));
            }
            if flags.contains(MsFlags::MS_RDONLY) {
                plan.inside.push(remount(destination, flags, why));
            }
        }
    }
    Ok(())
}

/// Mount options that select a hierarchy: a named one without controllers says `none`.
fn hierarchy_data(controllers: &str) -> String {
    if controllers.starts_with("name=") { format!("none,{controllers}") } else { controllers.to_owned() }
}

/// A bind mount: a detached copy of the source while it can still be named, put in its place from inside.
fn bind(plan: &mut Mounts, bundle: &Path, mount: &Mount, at: u16) -> Result<(), PlanError> {
    let source = bundle.join(mount.source().clone().ok_or(PlanError::Missing("mounts[].source"))?);
    let (flags, _) = options(mount)?;
    let recursive = mount.options().as_deref().unwrap_or(&[]).iter().any(|o| o == "rbind");
    let destination = mount.destination().clone();
    let donor = of_container(&source);
    if let Some((pid, _)) = &donor {
        plan.while_host_is_visible.extend(into_mounts_of(pid));
    }
    let filename = donor.as_ref().map_or(source, |(_, path)| path.clone());
    plan.while_host_is_visible.push(
        Step::call(
            "keeps a hand on what is shared with the container, before it goes out of sight",
            Call::OpenTree { dfd: Fd::Cwd, filename, recursive },
        )
        .save(at),
    );
    if donor.is_some() {
        plan.while_host_is_visible.extend(back_to_own_mounts());
    }
    let attr_set = attributes(flags);
    if !attr_set.is_empty() {
        plan.while_host_is_visible.push(Step::call(
            "with the options that were asked for, on all that is mounted below it too, before anybody can see it",
            Call::MountSetattr { dfd: Fd::Slot(at), recursive, attr_set },
        ));
    }
    plan.host_is_gone.push(mount_point(destination.clone(), Place::Like(at)));
    plan.host_is_gone.push(Step::call(
        "what is shared, seen from inside the container",
        Call::MoveMount { from_dfd: Fd::Slot(at), to_dfd: Fd::Cwd, to_pathname: destination },
    ));
    Ok(())
}

/// `MOUNT_ATTR_…` of the flags that a bind mount can have.
fn attributes(flags: MsFlags) -> Vec<&'static str> {
    [
        (MsFlags::MS_RDONLY, "MOUNT_ATTR_RDONLY"),
        (MsFlags::MS_NOSUID, "MOUNT_ATTR_NOSUID"),
        (MsFlags::MS_NODEV, "MOUNT_ATTR_NODEV"),
        (MsFlags::MS_NOEXEC, "MOUNT_ATTR_NOEXEC"),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .map(|(_, name)| name)
    .collect()
}

/// `/proc/PID/root/PATH`: a mount of another container, which lives in that container's mount namespace.
fn of_container(source: &Path) -> Option<(String, PathBuf)> {
    let mut parts = source.strip_prefix("/proc").ok()?.components();
    let pid = parts.next()?.as_os_str().to_str()?.to_owned();
    let root = parts.next()?.as_os_str() == "root";
    (root && pid.bytes().all(|b| b.is_ascii_digit())).then(|| (pid, Path::new("/").join(parts.as_path())))
}

fn open_namespace(path: String, why: &'static str, save: u16) -> Step {
    let call = Call::Openat2 {
        dirfd: Fd::Cwd,
        pathname: path.into(),
        flags: OFlag::O_RDONLY,
        mode: 0,
        resolve: ResolveFlag::empty(),
    };
    Step::call(why, call).save(save)
}

/// A mount can be copied only in its own mount namespace (open_tree(2)): goes there, and back.
fn into_mounts_of(pid: &str) -> Program {
    vec![
        open_namespace("/proc/self/ns/mnt".into(), "the way back", slot::OWN_MOUNTS),
        open_namespace(format!("/proc/{pid}/ns/mnt"), "the mounts of the container that shares", slot::JOIN),
        Step::call(
            "goes to the mounts of the container that shares: only there its own can be taken hold of",
            Call::Setns { fd: Fd::Slot(slot::JOIN), nstype: CloneFlags::CLONE_NEWNS },
        ),
    ]
}

fn back_to_own_mounts() -> Program {
    let close = |fd| Step::call("no way is left open", Call::Close { fd: Fd::Slot(fd) });
    vec![
        Step::call(
            "and back to its own",
            Call::Setns { fd: Fd::Slot(slot::OWN_MOUNTS), nstype: CloneFlags::CLONE_NEWNS },
        ),
        close(slot::JOIN),
        close(slot::OWN_MOUNTS),
    ]
}

fn remount(target: PathBuf, flags: MsFlags, why: &'static str) -> Step {
    Step::call(
        why,
        Call::Mount {
            source: None,
            target,
            filesystemtype: None,
            mountflags: flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND,
            data: None,
        },
    )
}

/// Real root makes the nodes; root of a user namespace may not, so there the host's own are shared.
fn devices(plan: &mut Mounts, facts: &Facts, next: &mut u16) {
    for (name, major, minor) in DEVICES {
        let path = Path::new("/dev").join(name);
        if facts.rootless {
            plan.while_host_is_visible.push(
                Step::call(
                    "a user namespace may not make device nodes: shares the host's",
                    Call::OpenTree { dfd: Fd::Cwd, filename: path.clone(), recursive: false },
                )
                .save(*next),
            );
            plan.inside.push(mount_point(path.clone(), Place::OwnFile));
            plan.inside.push(Step::call(
                "a device that every program expects",
                Call::MoveMount { from_dfd: Fd::Slot(*next), to_dfd: Fd::Cwd, to_pathname: path },
            ));
            *next += 1;
        } else {
            plan.inside.push(Step::call(
                "a device that every program expects",
                Call::Mknodat {
                    dirfd: Fd::Cwd,
                    pathname: path,
                    kind: NodeKind::Char,
                    mode: 0o666,
                    dev: Dev { major, minor },
                },
            ));
        }
    }
    for (target, link) in LINKS {
        plan.inside.push(Step::call(
            "a name that every program expects in /dev",
            Call::Symlinkat { target: target.into(), newdirfd: Fd::Cwd, linkpath: link.into() },
        ));
    }
}

/// Devices that were asked for, beyond those of every container.
fn more_devices(plan: &mut Mounts, spec: &Spec, facts: &Facts, next: &mut u16) {
    let all = spec.linux().as_ref().and_then(|l| l.devices().clone()).unwrap_or_default();
    let own = |path: &Path| DEVICES.iter().any(|(name, ..)| path == Path::new("/dev").join(name));
    for device in all.into_iter().filter(|d| !own(d.path())) {
        let path = device.path().clone();
        if facts.rootless {
            let open = Call::OpenTree { dfd: Fd::Cwd, filename: path.clone(), recursive: false };
            plan.while_host_is_visible
                .push(Step::call("a user namespace may not make device nodes: shares the host's", open).save(*next));
            plan.host_is_gone.push(mount_point(path.clone(), Place::Like(*next)));
            plan.host_is_gone.push(Step::call(
                "a device of the host that was asked for",
                Call::MoveMount { from_dfd: Fd::Slot(*next), to_dfd: Fd::Cwd, to_pathname: path },
            ));
            *next += 1;
            continue;
        }
        let kind = match device.typ() {
            LinuxDeviceType::B => NodeKind::Block,
            LinuxDeviceType::P => NodeKind::Fifo,
            _ => NodeKind::Char,
        };
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let dev = Dev { major: number(device.major()), minor: number(device.minor()) };
        let owner = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
        let mode = device.file_mode().unwrap_or(0o666) & 0o7777;
        plan.host_is_gone
            .push(Step::new("a device of the host that was asked for", Act::Device { path, kind, mode, dev, owner }));
    }
}

/// Settings of the kernel that the container's namespaces have for themselves (sysctl(8), namespaces(7)).
pub(super) fn settings(spec: &Spec) -> Program {
    let all = spec.linux().as_ref().and_then(|l| l.sysctl().clone()).unwrap_or_default();
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort();
    if all.is_empty() {
        return vec![];
    }
    let mut program = vec![genuine("/proc", PROC_SUPER_MAGIC)];
    program.extend(all.into_iter().map(|(name, value)| {
        // A slash before any dot says that the dots belong to names: net/ipv4/conf/eth0.1/forwarding.
        let slashes = name.find('/').is_some_and(|slash| name.find('.').is_none_or(|dot| slash < dot));
        let path = if slashes { name } else { name.replace('.', "/") };
        Step::call(
            "a setting of the kernel that this container has for itself",
            Call::Write { path: Path::new("/proc/sys").join(path.trim_start_matches('/')), data: value.into_bytes() },
        )
    }));
    program
}

/// `f_type` of /proc (statfs(2)).
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

fn genuine(path: &str, magic: i64) -> Step {
    Step::new(
        "what is written there must reach the kernel's own files, and not what somebody has put in their place",
        Act::Genuine { path: path.into(), magic },
    )
}

/// Masked and read-only paths: files of the kernel that would tell of the host, or change it.
pub(super) fn hide(spec: &Spec) -> Program {
    let Some(linux) = spec.linux() else {
        return vec![];
    };
    let read_only = linux.readonly_paths().clone().unwrap_or_default().into_iter().map(|path| {
        Step::new("the container may look but not change the kernel's settings", Act::ReadOnly { path: path.into() })
    });
    let masked = linux.masked_paths().clone().unwrap_or_default().into_iter().map(|path| {
        Step::new("hides what would tell of the host's hardware and kernel", Act::Mask { path: path.into() })
    });
    let mut program: Program = masked.chain(read_only).collect();
    if !program.is_empty() {
        program.insert(0, genuine("/proc", PROC_SUPER_MAGIC));
    }
    program
}

/// Splits the spec's options into flags and what is left for the file system (mount(8), OCI runtime spec, Mounts).
fn options(mount: &Mount) -> Result<(MsFlags, String), PlanError> {
    let mut flags = MsFlags::empty();
    let mut data: Vec<&str> = vec![];
    for option in mount.options().as_deref().unwrap_or(&[]) {
        match option.as_str() {
            "ro" => flags |= MsFlags::MS_RDONLY,
            "rw" | "defaults" | "suid" | "dev" | "exec" => {}
            "nosuid" => flags |= MsFlags::MS_NOSUID,
            "nodev" => flags |= MsFlags::MS_NODEV,
            "noexec" => flags |= MsFlags::MS_NOEXEC,
            "relatime" => flags |= MsFlags::MS_RELATIME,
            "noatime" => flags |= MsFlags::MS_NOATIME,
            "nodiratime" => flags |= MsFlags::MS_NODIRATIME,
            "strictatime" => flags |= MsFlags::MS_STRICTATIME,
            "nosymfollow" => flags |= MsFlags::from_bits_retain(libc::MS_NOSYMFOLLOW),
            "sync" => flags |= MsFlags::MS_SYNCHRONOUS,
            "bind" => flags |= MsFlags::MS_BIND,
            "rbind" => flags |= MsFlags::MS_BIND | MsFlags::MS_REC,
            // Propagation: everything is private inside the container; these ask for no more than that.
            "private" | "rprivate" | "slave" | "rslave" => {}
            other if other.contains('=') || matches!(other, "newinstance") => data.push(other),
            other => {
                return Err(PlanError::MountOption {
                    destination: mount.destination().clone(),
                    option: other.to_owned(),
                });
            }
        }
    }
    Ok((flags, data.join(",")))
}
