//! What `update` changes of a configuration, by Docker's rules (moby, UpdateContainer). Pure.

use super::{Machine, SpecError, check, limits};
use bollard_stubs::models::{ContainerCreateBody, HostConfig, RestartPolicyNameEnum};
use oci_spec::runtime::LinuxResources;

/// What comes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The part about the host, as it is from now on.
    pub host: HostConfig,
    /// Limits that a container that runs is given now: those that were said, and what they are written together with.
    pub limits: LinuxResources,
}

/// Checks what was asked for by itself, whatever the container is.
///
/// # Errors
/// [`SpecError::Refused`] in Docker's words.
pub fn check_update(asked: &HostConfig, machine: &Machine) -> Result<(), SpecError> {
    check::limits(asked, machine)?;
    check::life(&ContainerCreateBody::default(), asked)
}

/// Joins it with what the container has. Zero, an empty text and nothing say nothing.
///
/// # Errors
/// What can't go with what there is, in Docker's words.
pub fn update(now: &HostConfig, asked: &HostConfig) -> Result<Update, &'static str> {
    conflicts(now, asked)?;
    let mut host = now.clone();
    let numbers: [(&mut Option<i64>, Option<i64>); 10] = [
        (&mut host.cpu_shares, asked.cpu_shares),
        (&mut host.nano_cpus, asked.nano_cpus),
        (&mut host.cpu_period, asked.cpu_period),
        (&mut host.cpu_quota, asked.cpu_quota),
        (&mut host.cpu_realtime_period, asked.cpu_realtime_period),
        (&mut host.cpu_realtime_runtime, asked.cpu_realtime_runtime),
        (&mut host.memory, asked.memory),
        (&mut host.memory_swap, asked.memory_swap),
        (&mut host.memory_reservation, asked.memory_reservation),
        // Whatever is not above zero is no limit.
        (&mut host.pids_limit, None),
    ];
    for (own, asked) in numbers {
        *own = asked.filter(|n| *n != 0).or(*own);
    }
    for (own, asked) in [(&mut host.cpuset_cpus, &asked.cpuset_cpus), (&mut host.cpuset_mems, &asked.cpuset_mems)] {
        if asked.as_deref().is_some_and(|a| !a.is_empty()) {
            own.clone_from(asked);
        }
    }
    host.blkio_weight = asked.blkio_weight.filter(|w| *w != 0).or(host.blkio_weight);
    host.pids_limit = asked.pids_limit.map(|n| n.max(0)).or(host.pids_limit);
    if asks_for_policy(asked) {
        host.restart_policy.clone_from(&asked.restart_policy);
    }
    let limits = limits(&host, asked);
    Ok(Update { host, limits })
}

/// A policy without a name is none that was said.
fn asks_for_policy(asked: &HostConfig) -> bool {
    let name = asked.restart_policy.as_ref().and_then(|p| p.name);
    name.is_some_and(|name| name != RestartPolicyNameEnum::EMPTY)
}

fn conflicts(now: &HostConfig, asked: &HostConfig) -> Result<(), &'static str> {
    let set = |n: Option<i64>| n.unwrap_or(0) > 0;
    if set(asked.nano_cpus) && set(now.cpu_period) {
        return Err("Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set");
    }
    if set(asked.nano_cpus) && set(now.cpu_quota) {
        return Err("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set");
    }
    if set(asked.cpu_period) && set(now.nano_cpus) {
        return Err("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set");
    }
    if set(asked.cpu_quota) && set(now.nano_cpus) {
        return Err("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
    }
    let (memory, swap) = (asked.memory.unwrap_or(0), asked.memory_swap.unwrap_or(0));
    if memory != 0 && swap == 0 && memory > now.memory_swap.unwrap_or(0) {
        return Err(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
    }
    let policy = asked.restart_policy.as_ref().and_then(|p| p.name);
    if now.auto_remove == Some(true) && asks_for_policy(asked) && policy != Some(RestartPolicyNameEnum::NO) {
        return Err("Restart policy cannot be updated because AutoRemove is enabled for the container");
    }
    Ok(())
}

/// Swap is written beside memory (version 2 counts swap alone), and a quota beside its period.
fn limits(next: &HostConfig, asked: &HostConfig) -> LinuxResources {
    let said = |list: &[Option<i64>]| list.iter().any(|n| n.is_some_and(|n| n != 0));
    let mut touched = HostConfig::default();
    if said(&[asked.memory, asked.memory_swap]) {
        (touched.memory, touched.memory_swap) = (next.memory, next.memory_swap);
    }
    if said(&[asked.nano_cpus, asked.cpu_period, asked.cpu_quota]) {
        touched.nano_cpus = next.nano_cpus;
        (touched.cpu_period, touched.cpu_quota) = (next.cpu_period, next.cpu_quota);
    }
    touched.memory_reservation = asked.memory_reservation;
    touched.cpu_shares = asked.cpu_shares;
    touched.cpu_realtime_period = asked.cpu_realtime_period;
    touched.cpu_realtime_runtime = asked.cpu_realtime_runtime;
    touched.cpuset_cpus.clone_from(&asked.cpuset_cpus);
    touched.cpuset_mems.clone_from(&asked.cpuset_mems);
    touched.blkio_weight = asked.blkio_weight;
    touched.pids_limit = asked.pids_limit.map(|n| if n > 0 { n } else { -1 });
    limits::of_group(&ContainerCreateBody { host_config: Some(touched), ..ContainerCreateBody::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard_stubs::models::RestartPolicy;

    fn policy(name: RestartPolicyNameEnum) -> Option<RestartPolicy> {
        Some(RestartPolicy { name: Some(name), maximum_retry_count: None })
    }

    #[test]
    fn what_was_said_counts_and_all_else_stays() {
        let now = HostConfig {
            memory: Some(64 << 20),
            memory_swap: Some(128 << 20),
            cpu_shares: Some(512),
            restart_policy: policy(RestartPolicyNameEnum::ALWAYS),
            ..HostConfig::default()
        };
        let asked = HostConfig {
            memory: Some(32 << 20),
            memory_swap: Some(0),
            cpuset_cpus: Some(String::new()),
            pids_limit: Some(-1),
            restart_policy: policy(RestartPolicyNameEnum::EMPTY),
            ..HostConfig::default()
        };
        let done = update(&now, &asked).unwrap();
        let expected = HostConfig { memory: Some(32 << 20), pids_limit: Some(0), ..now.clone() };
        assert_eq!(done.host, expected);
        let memory = done.limits.memory().unwrap();
        assert_eq!((memory.limit(), memory.swap()), (Some(32 << 20), Some(128 << 20)));
        assert_eq!(done.limits.pids().unwrap().limit(), -1);
        assert!(done.limits.cpu().is_none() && done.limits.block_io().is_none());
        let nothing = update(&now, &HostConfig::default()).unwrap();
        assert_eq!(nothing.host, now);
        assert!(nothing.limits.memory().is_none() && nothing.limits.pids().is_none());
        let asked = HostConfig { nano_cpus: Some(500_000_000), ..HostConfig::default() };
        let cpu = update(&now, &asked).unwrap().limits.cpu().clone().unwrap();
        assert_eq!((cpu.period(), cpu.quota(), cpu.shares()), (Some(100_000), Some(50_000), None));
    }

    #[test]
    fn what_can_not_go_with_what_there_is_is_refused() {
        let none = HostConfig::default();
        let nano = HostConfig { nano_cpus: Some(1), ..none.clone() };
        let period = HostConfig { cpu_period: Some(1000), ..none.clone() };
        let quota = HostConfig { cpu_quota: Some(1000), ..none.clone() };
        let memory = HostConfig { memory: Some(64 << 20), ..none.clone() };
        let gone = HostConfig { auto_remove: Some(true), ..none.clone() };
        let always = HostConfig { restart_policy: policy(RestartPolicyNameEnum::ALWAYS), ..none.clone() };
        let no = HostConfig { restart_policy: policy(RestartPolicyNameEnum::NO), ..none.clone() };
        for (now, asked, word) in [
            (&period, &nano, "CPU Period has"),
            (&quota, &nano, "CPU Quota has"),
            (&nano, &period, "CPU Period cannot"),
            (&nano, &quota, "CPU Quota cannot"),
            (&none, &memory, "already set memoryswap limit"),
            (&gone, &always, "AutoRemove is enabled"),
        ] {
            let refused = update(now, asked).unwrap_err();
            assert!(refused.contains(word), "{refused}");
        }
        assert!(update(&gone, &no).is_ok());
    }
}
