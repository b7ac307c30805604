//! What a container uses, in the shape of `GET /containers/{id}/stats`: the kernel's own counts, converted.
//!
//! Clients compute percentages from two answers, and by different rules for the two versions of control groups: fields
//! that belong to one version are there only on that one (`percpu_usage`, `max_usage`, `total_inactive_file`: version 1).

use super::clock::now;
use super::state::NEVER;
use crate::shim::groups::Groups;
use serde_json::{Map, Value, json};
use std::fs;

/// Nanoseconds in a tick of /proc/stat (USER_HZ is 100).
const TICK: u64 = 10_000_000;

/// One look.
#[derive(Debug, Clone)]
pub struct Sample {
    read: String,
    cpu: Value,
    memory: Value,
    pids: Value,
    blkio: Value,
    networks: Option<Value>,
    /// The files that were read, for the explanation.
    pub sources: Vec<String>,
}

/// Reads files and remembers which.
struct Files<'a> {
    groups: &'a Groups,
    read: Vec<String>,
}

impl Files<'_> {
    fn text(&mut self, controller: &str, file: &str) -> Option<String> {
        let text = self.groups.read(controller, file)?;
        self.read.push(file.to_owned());
        Some(text)
    }

    fn number(&mut self, controller: &str, file: &str) -> Option<u64> {
        self.text(controller, file)?.trim().parse().ok()
    }

    fn pairs(&mut self, controller: &str, file: &str) -> Map<String, Value> {
        pairs(&self.text(controller, file).unwrap_or_default())
    }
}

/// `name number` lines.
fn pairs(text: &str) -> Map<String, Value> {
    let pair = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), json!(number.trim().parse::<u64>().ok()?)))
    };
    text.lines().filter_map(pair).collect()
}

fn number(map: &Map<String, Value>, key: &str) -> u64 {
    map.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// Looks at the groups, and at the network of the container's first process. `limited`: the container was given a
/// limit of memory; without one the machine's memory is the limit that is told.
pub fn sample(groups: &Groups, pid: i32, limited: bool) -> Sample {
    let mut files = Files { groups, read: vec![] };
    let system = system_usage(&fs::read_to_string("/proc/stat").unwrap_or_default());
    let unified = matches!(groups, Groups::V2(_));
    let cpu = if unified { cpu_v2(&mut files) } else { cpu_v1(&mut files) };
    let cpu = with(cpu, [("system_cpu_usage", json!(system.0)), ("online_cpus", json!(system.1))]);
    let memory = if unified { memory_v2(&mut files, limited) } else { memory_v1(&mut files, limited) };
    let pids = pids(&mut files);
    let blkio = if unified { blkio_v2(&mut files) } else { blkio_v1(&mut files) };
    let networks = networks(&fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default());
    Sample { read: now(), cpu, memory, pids, blkio, networks, sources: files.read }
}

fn with<const N: usize>(mut value: Value, more: [(&str, Value); N]) -> Value {
    if let Value::Object(map) = &mut value {
        map.extend(more.map(|(key, value)| (key.to_owned(), value)));
    }
    value
}

/// All processors' time so far in nanoseconds, and how many processors there are.
fn system_usage(stat: &str) -> (u64, usize) {
    let mut lines = stat.lines();
    let all = lines.next().unwrap_or_default().split_whitespace().skip(1).take(7);
    let ticks: u64 = all.filter_map(|n| n.parse::<u64>().ok()).sum();
    let count = lines.filter(|l| l.starts_with("cpu")).count();
    (ticks * TICK, count)
}

fn cpu_v1(files: &mut Files<'_>) -> Value {
    let total = files.number("cpuacct", "cpuacct.usage").unwrap_or(0);
    let each = files.text("cpuacct", "cpuacct.usage_percpu").unwrap_or_default();
    let each: Vec<u64> = each.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let split = files.pairs("cpuacct", "cpuacct.stat");
    let throttled = files.pairs("cpu", "cpu.stat");
    json!({
        "cpu_usage": {
            "total_usage": total, "percpu_usage": each,
            "usage_in_kernelmode": number(&split, "system") * TICK, "usage_in_usermode": number(&split, "user") * TICK,
        },
        "throttling_data": {
            "periods": number(&throttled, "nr_periods"), "throttled_periods": number(&throttled, "nr_throttled"),
            "throttled_time": number(&throttled, "throttled_time"),
        },
    })
}

fn cpu_v2(files: &mut Files<'_>) -> Value {
    let stat = files.pairs("cpu", "cpu.stat");
    let nanos = |key| number(&stat, key) * 1000;
    json!({
        "cpu_usage": {
            "total_usage": nanos("usage_usec"),
            "usage_in_kernelmode": nanos("system_usec"), "usage_in_usermode": nanos("user_usec"),
        },
        "throttling_data": {
            "periods": number(&stat, "nr_periods"), "throttled_periods": number(&stat, "nr_throttled"),
            "throttled_time": nanos("throttled_usec"),
        },
    })
}

/// The limit that is told: the group's own where one was asked for, else the machine's memory.
fn limit(own: Option<u64>, limited: bool) -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let machine = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let machine = machine.unwrap_or(0u64) * 1024;
    own.filter(|_| limited).map_or(machine, |own| own.min(machine))
}

fn memory_v1(files: &mut Files<'_>, limited: bool) -> Value {
    let Some(usage) = files.number("memory", "memory.usage_in_bytes") else { return json!({}) };
    let max = files.number("memory", "memory.max_usage_in_bytes").unwrap_or(0);
    let failed = files.number("memory", "memory.failcnt").unwrap_or(0);
    let stats = files.pairs("memory", "memory.stat");
    let own = files.number("memory", "memory.limit_in_bytes");
    let mut memory = json!({"usage": usage, "max_usage": max, "stats": stats});
    if failed > 0 {
        memory = with(memory, [("failcnt", json!(failed))]);
    }
    with(memory, [("limit", json!(limit(own, limited)))])
}

fn memory_v2(files: &mut Files<'_>, limited: bool) -> Value {
    let Some(usage) = files.number("memory", "memory.current") else { return json!({}) };
    let stats = files.pairs("memory", "memory.stat");
    let own = files.number("memory", "memory.max");
    json!({"usage": usage, "stats": stats, "limit": limit(own, limited)})
}

fn pids(files: &mut Files<'_>) -> Value {
    let Some(current) = files.number("pids", "pids.current") else { return json!({}) };
    // `max` is told as Docker tells it: the largest number.
    let most = files.number("pids", "pids.max").unwrap_or(u64::MAX);
    json!({"current": current, "limit": most})
}

fn empty_blkio() -> Value {
    json!({
        "io_service_bytes_recursive": null, "io_serviced_recursive": null, "io_queue_recursive": null,
        "io_service_time_recursive": null, "io_wait_time_recursive": null, "io_merged_recursive": null,
        "io_time_recursive": null, "sectors_recursive": null,
    })
}

fn entry(device: &str, op: &str, value: u64) -> Option<Value> {
    let (major, minor) = device.split_once(':')?;
    let number = |n: &str| n.parse::<u64>().ok();
    Some(json!({"major": number(major)?, "minor": number(minor)?, "op": op, "value": value}))
}

/// `8:0 Read 4096` lines.
fn blkio_v1(files: &mut Files<'_>) -> Value {
    let mut list = |file: &str| -> Vec<Value> {
        let text = files.text("blkio", file).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let (device, op, value) = (words.next()?, words.next()?, words.next()?);
            entry(device, op, value.parse().ok()?)
        };
        text.lines().filter_map(line).collect()
    };
    let (bytes, times) =
        (list("blkio.throttle.io_service_bytes_recursive"), list("blkio.throttle.io_serviced_recursive"));
    with(empty_blkio(), [("io_service_bytes_recursive", json!(bytes)), ("io_serviced_recursive", json!(times))])
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 …` lines.
fn blkio_v2(files: &mut Files<'_>) -> Value {
    let text = files.text("io", "io.stat").unwrap_or_default();
    let list = |keys: [(&str, &str); 2]| -> Vec<Value> {
        let of_line = |line: &str| {
            let mut words = line.split_whitespace();
            let device = words.next().unwrap_or_default().to_owned();
            let values: Vec<(String, u64)> = words
                .filter_map(|w| w.split_once('='))
                .filter_map(|(k, v)| Some((k.into(), v.parse().ok()?)))
                .collect();
            keys.iter()
                .filter_map(|(key, op)| entry(&device, op, values.iter().find(|(k, _)| k == key)?.1))
                .collect::<Vec<_>>()
        };
        text.lines().flat_map(of_line).collect()
    };
    let bytes = list([("rbytes", "read"), ("wbytes", "write")]);
    let times = list([("rios", "read"), ("wios", "write")]);
    with(empty_blkio(), [("io_service_bytes_recursive", json!(bytes)), ("io_serviced_recursive", json!(times))])
}

/// /proc/PID/net/dev (proc_pid_net(5)), without loopback; none where there is nothing else.
fn networks(dev: &str) -> Option<Value> {
    let interface = |line: &str| {
        let (name, counts) = line.split_once(':')?;
        let n: Vec<u64> = counts.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let at = |i: usize| n.get(i).copied().unwrap_or(0);
        let counts = json!({
            "rx_bytes": at(0), "rx_packets": at(1), "rx_errors": at(2), "rx_dropped": at(3),
            "tx_bytes": at(8), "tx_packets": at(9), "tx_errors": at(10), "tx_dropped": at(11),
        });
        Some((name.trim().to_owned(), counts)).filter(|(name, _)| name != "lo")
    };
    let all: Map<String, Value> = dev.lines().skip(2).filter_map(interface).collect();
    (!all.is_empty()).then_some(Value::Object(all))
}

/// The answer, with what was read the time before.
pub fn document(id: &str, name: &str, sample: &Sample, before: Option<&Value>) -> Value {
    let zero = zero_cpu();
    let preread = before.and_then(|b| b.get("read")).cloned().unwrap_or_else(|| json!(NEVER));
    let precpu = before.and_then(|b| b.get("cpu_stats")).cloned().unwrap_or(zero);
    let mut document = json!({
        "read": sample.read, "preread": preread, "pids_stats": sample.pids, "blkio_stats": sample.blkio,
        "num_procs": 0, "storage_stats": {}, "cpu_stats": sample.cpu, "precpu_stats": precpu,
        "memory_stats": sample.memory, "name": format!("/{name}"), "id": id,
    });
    if let Some(networks) = &sample.networks {
        document = with(document, [("networks", networks.clone())]);
    }
    document
}

fn zero_cpu() -> Value {
    json!({
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    })
}

/// The answer for a container that does not run.
pub fn nothing(id: &str, name: &str) -> Value {
    json!({
        "read": NEVER, "preread": NEVER, "pids_stats": {}, "blkio_stats": empty_blkio(), "num_procs": 0,
        "storage_stats": {}, "cpu_stats": zero_cpu(), "precpu_stats": zero_cpu(), "memory_stats": {},
        "name": format!("/{name}"), "id": id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
    }

    #[test]
    fn version_one_is_counted_as_clients_expect_it() {
        let home = tempfile::tempdir().unwrap();
        write(
            home.path(),
            &[
                ("cpuacct.usage", "5000\n"),
                ("cpuacct.usage_percpu", "2000 3000 \n"),
                ("cpuacct.stat", "user 3\nsystem 1\n"),
                ("cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 9\n"),
                ("memory.usage_in_bytes", "4096\n"),
                ("memory.max_usage_in_bytes", "8192\n"),
                ("memory.stat", "cache 1\ntotal_inactive_file 1024\n"),
                ("memory.limit_in_bytes", "65536\n"),
                ("pids.current", "3\n"),
                ("pids.max", "max\n"),
                ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 512\n8:0 Total 512\nTotal 512\n"),
            ],
        );
        let kinds = ["cpu", "cpuacct", "memory", "pids", "blkio"];
        let groups =
            Groups::V1(kinds.map(|k| (k.to_owned(), home.path().to_owned())).into_iter().collect::<BTreeMap<_, _>>());
        let sample = sample(&groups, 1, true);
        assert_eq!(sample.cpu["cpu_usage"]["percpu_usage"], json!([2000, 3000]));
        assert_eq!(sample.cpu["cpu_usage"]["usage_in_usermode"], json!(30_000_000));
        assert_eq!(sample.cpu["throttling_data"]["throttled_periods"], json!(2));
        assert!(sample.cpu["online_cpus"].as_u64().unwrap() > 0);
        assert_eq!(sample.memory["stats"]["total_inactive_file"], json!(1024));
        assert_eq!(sample.memory["limit"], json!(65536));
        assert_eq!(sample.pids, json!({"current": 3, "limit": u64::MAX}));
        let bytes = &sample.blkio["io_service_bytes_recursive"];
        assert_eq!(bytes[0], json!({"major": 8, "minor": 0, "op": "Read", "value": 512}));
        let first = document("ab", "web", &sample, None);
        let second = document("ab", "web", &sample, Some(&first));
        assert_eq!(second["precpu_stats"], first["cpu_stats"]);
        assert_eq!((&second["preread"], &first["preread"]), (&first["read"], &json!(NEVER)));
    }

    #[test]
    fn version_two_has_other_files_and_fewer_fields() {
        let home = tempfile::tempdir().unwrap();
        write(
            home.path(),
            &[
                ("cpu.stat", "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 1\nthrottled_usec 4\n"),
                ("memory.current", "4096\n"),
                ("memory.max", "max\n"),
                ("memory.stat", "inactive_file 1024\n"),
                ("io.stat", "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0\n"),
                ("pids.current", "1\n"),
                ("pids.max", "10\n"),
            ],
        );
        let sample = sample(&Groups::V2(home.path().to_owned()), 1, true);
        assert_eq!(
            sample.cpu["cpu_usage"],
            json!({"total_usage": 5000, "usage_in_kernelmode": 2000, "usage_in_usermode": 3000})
        );
        assert_eq!(sample.cpu["throttling_data"]["throttled_time"], json!(4000));
        assert_eq!(sample.memory["stats"], json!({"inactive_file": 1024}));
        assert!(sample.memory["limit"].as_u64().unwrap() > 4096, "the machine's memory");
        assert_eq!(sample.pids, json!({"current": 1, "limit": 10}));
        let ops = |list: &Value| {
            list.as_array().unwrap().iter().map(|e| (e["op"].clone(), e["value"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(
            ops(&sample.blkio["io_serviced_recursive"]),
            [(json!("read"), json!(3)), (json!("write"), json!(4))]
        );
        assert_eq!(sample.sources.len(), 7);
    }

    #[test]
    fn loopback_is_no_network_and_time_is_in_nanoseconds() {
        let dev = "Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 20 5 6 7 0 0 0 0\n";
        let eth0 = json!({"rx_bytes": 10, "rx_packets": 2, "rx_errors": 3, "rx_dropped": 4, "tx_bytes": 20, "tx_packets": 5, "tx_errors": 6, "tx_dropped": 7});
        assert_eq!(networks(dev), Some(json!({"eth0": eth0})));
        assert_eq!(networks(dev.split("  eth0").next().unwrap()), None);
        assert_eq!(system_usage("cpu  1 2 3 4 5 6 7 8 9\ncpu0 1\ncpu1 1\nintr 5\n"), (28 * TICK, 2));
    }
}
