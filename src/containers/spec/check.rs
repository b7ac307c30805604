//! What a configuration may not ask for, in the words of Docker's daemon (daemon_unix.go, runconfig, volume/mounts).

use super::{SpecError, binds, security};
use bollard_stubs::models::{ContainerCreateBody, HostConfig};

/// Least memory that a container can be given.
const MIN_MEMORY: i64 = 6 << 20;

/// What this machine has, as far as a configuration may ask for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Processors that may be used; 0: not known.
    pub processors: i64,
    /// `0-1`, as `/sys/devices/system/cpu/online` has it; empty: not known.
    pub cpus: String,
    /// `0`, memory nodes.
    pub nodes: String,
}

impl Machine {
    /// This one.
    pub fn read() -> Machine {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Machine {
            processors: std::thread::available_parallelism().map_or(0, |n| n.get() as i64),
            cpus: text("/sys/devices/system/cpu/online"),
            nodes: text("/sys/devices/system/node/online"),
        }
    }
}

fn bad(words: impl Into<String>) -> Result<(), SpecError> {
    Err(SpecError::Refused(words.into()))
}

/// Checks the part about the host.
///
/// # Errors
/// [`SpecError::Refused`] in Docker's words, [`SpecError::NotYet`] where leaving it out would break a promise.
pub(super) fn host(body: &ContainerCreateBody, host: &HostConfig, machine: &Machine) -> Result<(), SpecError> {
    network(body, host)?;
    modes(host)?;
    limits(host, machine)?;
    if host.memory.unwrap_or(0) == 0 && host.memory_swap.unwrap_or(0) > 0 {
        return bad("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    life(body, host)?;
    security::check(host)?;
    binds::check(host)?;
    not_yet(host)
}

/// What a container may use, be it when it is made or later.
pub(super) fn limits(host: &HostConfig, machine: &Machine) -> Result<(), SpecError> {
    memory(host)?;
    processors(host, machine)
}

fn network(body: &ContainerCreateBody, host: &HostConfig) -> Result<(), SpecError> {
    let network = host.network_mode.as_deref().unwrap_or("");
    if !matches!(network, "" | "default" | "bridge" | "none" | "host") {
        return Err(match network.split_once(':') {
            Some(("container", _)) => SpecError::NotYet("--network container:NAME"),
            _ => SpecError::Network(network.into()),
        });
    }
    let named = body.hostname.as_deref().is_some_and(|h| !h.is_empty());
    if host.uts_mode.as_deref() == Some("host") && named {
        return bad("conflicting options: hostname and the UTS mode");
    }
    let published = host.port_bindings.as_ref().is_some_and(|p| !p.is_empty()) || host.publish_all_ports == Some(true);
    if published && !matches!(network, "none" | "host") {
        return Err(SpecError::NotYet("--publish"));
    }
    Ok(())
}

fn modes(host: &HostConfig) -> Result<(), SpecError> {
    let joins = |mode: &str| mode.strip_prefix("container:").is_some_and(|c| !c.is_empty());
    let mode = |m: &Option<String>| m.clone().unwrap_or_default();
    let (pid, ipc, uts, user) =
        (mode(&host.pid_mode), mode(&host.ipc_mode), mode(&host.uts_mode), mode(&host.userns_mode));
    if !(matches!(pid.as_str(), "" | "host" | "private") || joins(&pid)) {
        return bad("--pid: invalid PID mode");
    }
    if !(matches!(ipc.as_str(), "" | "host" | "private" | "shareable" | "none") || joins(&ipc)) {
        return bad(format!("Invalid IPC mode: {ipc}"));
    }
    if !matches!(uts.as_str(), "" | "host") {
        return bad("--uts: invalid UTS mode");
    }
    if !matches!(user.as_str(), "" | "host") {
        return bad("--userns: invalid USER mode");
    }
    if !matches!(host.runtime.as_deref().unwrap_or(""), "" | "rdock" | "runc" | "io.containerd.runc.v2") {
        let runtime = host.runtime.as_deref().unwrap_or("");
        return bad(format!("unknown or invalid runtime name: {runtime}"));
    }
    if let Some(isolation) = host.isolation.map(|i| i.to_string())
        && !matches!(isolation.as_str(), "" | "default")
    {
        return bad(format!("Invalid isolation: {isolation:?} - linux only supports 'default'"));
    }
    Ok(())
}

fn memory(host: &HostConfig) -> Result<(), SpecError> {
    let [limit, swap, reserved] = [host.memory, host.memory_swap, host.memory_reservation].map(|n| n.unwrap_or(0));
    if limit > 0 && limit < MIN_MEMORY {
        return bad("Minimum memory limit allowed is 6MB");
    }
    if limit > 0 && swap > 0 && swap < limit {
        return bad("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if let Some(swappiness) = host.memory_swappiness
        && !(-1..=100).contains(&swappiness)
    {
        return bad(format!("Invalid value: {swappiness}, valid memory swappiness range is 0-100"));
    }
    if reserved > 0 && reserved < MIN_MEMORY {
        return bad("Minimum memory reservation allowed is 6MB");
    }
    if limit > 0 && reserved > limit {
        return bad("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if host.shm_size.is_some_and(|n| n < 0) {
        return bad("SHM size can not be less than 0");
    }
    match host.oom_score_adj.unwrap_or(0) {
        -1000..=1000 => Ok(()),
        n => bad(format!("Invalid value {n}, range for oom score adj is [-1000, 1000]")),
    }
}

fn processors(host: &HostConfig, machine: &Machine) -> Result<(), SpecError> {
    let [nano, period, quota] = [host.nano_cpus, host.cpu_period, host.cpu_quota].map(|n| n.unwrap_or(0));
    if nano != 0 && period != 0 {
        return bad("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if nano != 0 && quota != 0 {
        return bad("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    let count = machine.processors;
    if nano < 0 || (count > 0 && nano > count * 1_000_000_000) {
        return bad(format!("Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"));
    }
    if period != 0 && !(1000..=1_000_000).contains(&period) {
        return bad("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    }
    if quota > 0 && quota < 1000 {
        return bad("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    let sets = [
        (&host.cpuset_cpus, &machine.cpus, "cpus", "CPUs"),
        (&host.cpuset_mems, &machine.nodes, "mems", "memory nodes"),
    ];
    for (asked, there, name, words) in sets {
        let Some(asked) = asked.as_deref().filter(|a| !a.is_empty()) else { continue };
        let Some(wanted) = numbers(asked) else {
            return bad(format!("Invalid value {asked} for cpuset {name}"));
        };
        if let Some(available) = numbers(there).filter(|a| !a.is_empty())
            && wanted.iter().any(|n| !available.contains(n))
        {
            return bad(format!("Requested {words} are not available - requested {asked}, available: {there}"));
        }
    }
    match host.blkio_weight.unwrap_or(0) {
        0 | 10..=1000 => Ok(()),
        _ => bad("Range of blkio weight is from 10 to 1000"),
    }
}

/// `0-2,5` (cpuset(7), List format).
fn numbers(list: &str) -> Option<Vec<u32>> {
    let mut all = vec![];
    for part in list.split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?);
        if last < first || last > 8192 {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

pub(super) fn life(body: &ContainerCreateBody, host: &HostConfig) -> Result<(), SpecError> {
    if let Some(policy) = &host.restart_policy {
        let name = policy.name.map(|n| n.to_string()).unwrap_or_default();
        let count = policy.maximum_retry_count.unwrap_or(0);
        if count != 0 && matches!(name.as_str(), "always" | "unless-stopped" | "no") {
            return bad(format!(
                "invalid restart policy: maximum retry count cannot be used with restart policy '{name}'"
            ));
        }
        if count < 0 {
            return bad("invalid restart policy: maximum retry count cannot be negative");
        }
        if host.auto_remove == Some(true) && !matches!(name.as_str(), "" | "no") {
            return bad("can't create 'AutoRemove' container with restart policy");
        }
    }
    let Some(health) = &body.healthcheck else { return Ok(()) };
    let times = [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ];
    for (name, time) in times {
        if time.is_some_and(|t| t != 0 && t < 1_000_000) {
            return bad(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    match health.retries.unwrap_or(0) {
        0.. => Ok(()),
        _ => bad("Retries in Healthcheck cannot be negative"),
    }
}

/// What is not built yet is refused when leaving it out would break a promise (isolation, data).
fn not_yet(host: &HostConfig) -> Result<(), SpecError> {
    if host.volumes_from.as_ref().is_some_and(|l| !l.is_empty()) {
        return Err(SpecError::NotYet("--volumes-from"));
    }
    if host.links.as_ref().is_some_and(|l| !l.is_empty()) {
        return Err(SpecError::NotYet("--link"));
    }
    if host.device_requests.as_ref().is_some_and(|l| !l.is_empty()) {
        return Err(SpecError::NotYet("--gpus and devices of a vendor's description"));
    }
    if host.storage_opt.as_ref().is_some_and(|l| !l.is_empty()) {
        return bad("--storage-opt is supported only for overlay over xfs with 'pquota' mount option");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(numbers("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!((numbers("x"), numbers("3-1"), numbers("")), (None, None, Some(vec![])));
    }

    #[test]
    fn what_a_machine_has_not_got_is_refused() {
        let machine = Machine { processors: 2, cpus: "0-1".into(), nodes: "0".into() };
        let said = |change: fn(&mut HostConfig)| {
            let mut config = HostConfig::default();
            change(&mut config);
            host(&ContainerCreateBody::default(), &config, &machine).map_err(|e| e.to_string())
        };
        assert_eq!(said(|_| ()), Ok(()));
        assert_eq!(said(|h| h.nano_cpus = Some(2_000_000_000)), Ok(()));
        for (change, words) in [
            (
                (|h: &mut HostConfig| h.nano_cpus = Some(3_000_000_000)) as fn(&mut HostConfig),
                "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
            ),
            (|h| h.cpuset_cpus = Some("5".into()), "Requested CPUs are not available - requested 5, available: 0-1"),
            (|h| h.memory = Some(1 << 20), "Minimum memory limit allowed is 6MB"),
            (
                |h| h.memory_swap = Some(1 << 30),
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (|h| h.oom_score_adj = Some(1001), "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
            (|h| h.cap_add = Some(vec!["CAP_FOO".into()]), "invalid CapAdd: unknown capability: \"CAP_FOO\""),
            (|h| h.security_opt = Some(vec!["foo=bar".into()]), "invalid --security-opt 2: \"foo=bar\""),
            (|h| h.binds = Some(vec!["/tmp:/b:xx".into()]), "invalid mode: xx"),
            (|h| h.binds = Some(vec!["/tmp:/b".into(), "/etc:/b".into()]), "Duplicate mount point: /b"),
            (|h| h.ipc_mode = Some("foo".into()), "Invalid IPC mode: foo"),
            (|h| h.runtime = Some("foo".into()), "unknown or invalid runtime name: foo"),
        ] {
            assert_eq!(said(change), Err(words.to_owned()));
        }
    }
}
