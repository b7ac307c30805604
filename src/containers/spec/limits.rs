//! What a container may use: limits of its group, and of each of its processes.

use bollard_stubs::models::{ContainerCreateBody, HostConfig};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDeviceBuilder, PosixRlimit,
    PosixRlimitBuilder, PosixRlimitType,
};
use std::os::unix::fs::MetadataExt as _;

/// The period of a quota, in microseconds, where only processors are said (`--cpus`).
const PERIOD: u64 = 100_000;

/// A number that was said: zero says nothing.
fn said(n: Option<i64>) -> Option<i64> {
    n.filter(|n| *n != 0)
}

/// Limits of the control group. Devices are not among them.
pub(super) fn of_group(config: &ContainerCreateBody) -> LinuxResources {
    let mut resources = LinuxResources::default();
    resources.set_devices(None);
    let Some(host) = &config.host_config else { return resources };
    resources.set_memory(memory(host));
    resources.set_cpu(processors(host));
    resources.set_block_io(disks(host));
    resources.set_pids(said(host.pids_limit).map(|limit| {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        pids
    }));
    resources
}

fn memory(host: &HostConfig) -> Option<LinuxMemory> {
    let mut memory = LinuxMemory::default();
    memory.set_limit(said(host.memory));
    memory.set_swap(said(host.memory_swap));
    memory.set_reservation(said(host.memory_reservation));
    memory.set_swappiness(host.memory_swappiness.and_then(|n| u64::try_from(n).ok()));
    memory.set_disable_oom_killer(host.oom_kill_disable.filter(|off| *off));
    (memory != LinuxMemory::default()).then_some(memory)
}

fn processors(host: &HostConfig) -> Option<LinuxCpu> {
    let positive = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let text = |t: &Option<String>| t.clone().filter(|t| !t.is_empty());
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(positive(host.cpu_shares));
    cpu.set_period(positive(host.cpu_period));
    cpu.set_quota(said(host.cpu_quota));
    if let Some(nano) = positive(host.nano_cpus) {
        cpu.set_period(Some(PERIOD));
        cpu.set_quota(i64::try_from(u128::from(nano) * u128::from(PERIOD) / 1_000_000_000).ok());
    }
    cpu.set_realtime_period(positive(host.cpu_realtime_period));
    cpu.set_realtime_runtime(said(host.cpu_realtime_runtime));
    cpu.set_cpus(text(&host.cpuset_cpus));
    cpu.set_mems(text(&host.cpuset_mems));
    (cpu != LinuxCpu::default()).then_some(cpu)
}

/// A device that is not there is left out: the limit would be for nothing.
fn disks(host: &HostConfig) -> Option<LinuxBlockIo> {
    let rates = |list: &Option<Vec<bollard_stubs::models::ThrottleDevice>>| {
        let all: Vec<_> = list
            .iter()
            .flatten()
            .filter_map(|device| {
                let number = std::fs::metadata(device.path.as_deref()?).ok()?.rdev();
                LinuxThrottleDeviceBuilder::default()
                    .major(libc::major(number))
                    .minor(libc::minor(number))
                    .rate(u64::try_from(device.rate?).ok()?)
                    .build()
                    .ok()
            })
            .collect();
        (!all.is_empty()).then_some(all)
    };
    let mut io = LinuxBlockIo::default();
    io.set_weight(host.blkio_weight.filter(|w| *w != 0));
    io.set_throttle_read_bps_device(rates(&host.blkio_device_read_bps));
    io.set_throttle_write_bps_device(rates(&host.blkio_device_write_bps));
    io.set_throttle_read_iops_device(rates(&host.blkio_device_read_iops));
    io.set_throttle_write_iops_device(rates(&host.blkio_device_write_iops));
    (io != LinuxBlockIo::default()).then_some(io)
}

/// `--oom-score-adj`
pub(super) fn oom_score(config: &ContainerCreateBody) -> Option<i32> {
    let adjust = config.host_config.as_ref()?.oom_score_adj.filter(|n| *n != 0)?;
    i32::try_from(adjust).ok()
}

/// `--ulimit`; -1 is no limit.
pub(super) fn of_processes(config: &ContainerCreateBody) -> Option<Vec<PosixRlimit>> {
    let all: Vec<PosixRlimit> = config
        .host_config
        .iter()
        .flat_map(|h| h.ulimits.iter().flatten())
        .filter_map(|limit| {
            let name = format!("RLIMIT_{}", limit.name.as_deref()?.to_ascii_uppercase());
            let number = |n: Option<i64>| u64::try_from(n.unwrap_or(0)).unwrap_or(u64::MAX);
            PosixRlimitBuilder::default()
                .typ(name.parse::<PosixRlimitType>().ok()?)
                .soft(number(limit.soft))
                .hard(number(limit.hard))
                .build()
                .ok()
        })
        .collect();
    (!all.is_empty()).then_some(all)
}
