//! Options about what a container may use.

use super::values::{self, PerDevice, Ulimit};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Memory, processors, processes, disks.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Limits {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_name = "uint16", value_parser = values::uint16, default_value = "0", hide_default_value = true)]
    pub blkio_weight: u16,
    /// Block IO weight (relative device weight) (default [])
    #[arg(long, value_name = "list", value_parser = values::weight_device)]
    pub blkio_weight_device: Vec<PerDevice>,
    /// Optional parent cgroup for the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub cgroup_parent: String,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub cpu_period: i64,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub cpu_quota: i64,
    /// Limit CPU real-time period in microseconds
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub cpu_rt_period: i64,
    /// Limit CPU real-time runtime in microseconds
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub cpu_rt_runtime: i64,
    /// CPU shares (relative weight)
    #[arg(short = 'c', long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub cpu_shares: i64,
    /// Number of CPUs
    #[arg(long, value_name = "decimal", value_parser = values::cpus, default_value = "0", hide_default_value = true)]
    pub cpus: i64,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub cpuset_cpus: String,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub cpuset_mems: String,
    /// Limit read rate (bytes per second) from a device (default [])
    #[arg(long, value_name = "list", value_parser = values::bps_device)]
    pub device_read_bps: Vec<PerDevice>,
    /// Limit read rate (IO per second) from a device (default [])
    #[arg(long, value_name = "list", value_parser = values::iops_device)]
    pub device_read_iops: Vec<PerDevice>,
    /// Limit write rate (bytes per second) to a device (default [])
    #[arg(long, value_name = "list", value_parser = values::bps_device)]
    pub device_write_bps: Vec<PerDevice>,
    /// Limit write rate (IO per second) to a device (default [])
    #[arg(long, value_name = "list", value_parser = values::iops_device)]
    pub device_write_iops: Vec<PerDevice>,
    /// Kernel memory limit (read and not sent: current kernels have none)
    #[arg(long, value_name = "bytes", value_parser = values::bytes, default_value = "0", hide_default_value = true, help = "Kernel memory limit")]
    pub kernel_memory: i64,
    /// Memory limit
    #[arg(short = 'm', long, value_name = "bytes", value_parser = values::bytes, default_value = "0", hide_default_value = true)]
    pub memory: i64,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", value_parser = values::bytes, default_value = "0", hide_default_value = true)]
    pub memory_reservation: i64,
    /// Swap limit equal to memory plus swap: '-1' to enable unlimited swap
    #[arg(long, value_name = "bytes", value_parser = values::bytes_or_none, default_value = "0", hide_default_value = true)]
    pub memory_swap: i64,
    /// Tune container memory swappiness (0 to 100) (default -1)
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "-1", hide_default_value = true)]
    pub memory_swappiness: i64,
    /// Disable OOM Killer
    #[arg(long)]
    pub oom_kill_disable: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub oom_score_adj: i64,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub pids_limit: i64,
    /// Size of /dev/shm
    #[arg(long, value_name = "bytes", value_parser = values::bytes, default_value = "0", hide_default_value = true)]
    pub shm_size: i64,
    /// Ulimit options (default [])
    #[arg(long, value_name = "ulimit", value_parser = values::ulimit)]
    pub ulimit: Vec<Ulimit>,
}

impl Limits {
    pub fn check(&self) -> Result<(), String> {
        match self.memory_swappiness {
            -1..=100 => Ok(()),
            n => Err(format!("invalid value: {n}. Valid memory swappiness range is 0-100")),
        }
    }

    /// The last one of each name counts; sorted, as Docker sends them.
    pub fn ulimits(&self) -> Vec<Value> {
        let named: BTreeMap<&str, &Ulimit> = self.ulimit.iter().map(|u| (u.name.as_str(), u)).collect();
        named.values().map(|u| json!({"Name": u.name, "Hard": u.hard, "Soft": u.soft})).collect()
    }

    /// The fields of the request from `CpuShares` to `BlkioDeviceWriteIOps`.
    pub fn shares(&self) -> Vec<(&'static str, Option<Value>)> {
        let rates = |list: &[PerDevice], what: &str| {
            Some(list.iter().map(|d| json!({"Path": d.path, what: d.number})).collect::<Value>())
        };
        vec![
            ("CpuShares", Some(json!(self.cpu_shares))),
            ("Memory", Some(json!(self.memory))),
            ("NanoCpus", Some(json!(self.cpus))),
            ("CgroupParent", Some(json!(self.cgroup_parent))),
            ("BlkioWeight", Some(json!(self.blkio_weight))),
            ("BlkioWeightDevice", rates(&self.blkio_weight_device, "Weight")),
            ("BlkioDeviceReadBps", rates(&self.device_read_bps, "Rate")),
            ("BlkioDeviceWriteBps", rates(&self.device_write_bps, "Rate")),
            ("BlkioDeviceReadIOps", rates(&self.device_read_iops, "Rate")),
            ("BlkioDeviceWriteIOps", rates(&self.device_write_iops, "Rate")),
            ("CpuPeriod", Some(json!(self.cpu_period))),
            ("CpuQuota", Some(json!(self.cpu_quota))),
            ("CpuRealtimePeriod", Some(json!(self.cpu_rt_period))),
            ("CpuRealtimeRuntime", Some(json!(self.cpu_rt_runtime))),
            ("CpusetCpus", Some(json!(self.cpuset_cpus))),
            ("CpusetMems", Some(json!(self.cpuset_mems))),
        ]
    }

    /// The fields from `MemoryReservation` to `Ulimits`.
    pub fn sizes(&self) -> Vec<(&'static str, Option<Value>)> {
        vec![
            ("MemoryReservation", Some(json!(self.memory_reservation))),
            ("MemorySwap", Some(json!(self.memory_swap))),
            ("MemorySwappiness", Some(json!(self.memory_swappiness))),
            ("OomKillDisable", Some(json!(self.oom_kill_disable))),
            ("PidsLimit", Some(json!(self.pids_limit))),
            ("Ulimits", Some(json!(self.ulimits()))),
        ]
    }
}
