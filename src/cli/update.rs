//! `rdock update`: other limits and another restart policy for containers.

use super::Context;
use super::args::Arity;
use super::config::life::policy;
use super::config::values;
use super::error::Failure;
use super::verb::{Verb, print};
use serde_json::{Value, json};

/// Changes the configuration of containers. What is not said stays as it is.
#[derive(Debug, clap::Args)]
pub struct Update {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_name = "uint16", value_parser = values::uint16)]
    blkio_weight: Option<u16>,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int", value_parser = values::int)]
    cpu_period: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int", value_parser = values::int)]
    cpu_quota: Option<i64>,
    /// Limit the CPU real-time period in microseconds
    #[arg(long, value_name = "int", value_parser = values::int)]
    cpu_rt_period: Option<i64>,
    /// Limit the CPU real-time runtime in microseconds
    #[arg(long, value_name = "int", value_parser = values::int)]
    cpu_rt_runtime: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short = 'c', long, value_name = "int", value_parser = values::int)]
    cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal", value_parser = values::cpus)]
    cpus: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Memory limit
    #[arg(short = 'm', long, value_name = "bytes", value_parser = values::bytes)]
    memory: Option<i64>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", value_parser = values::bytes)]
    memory_reservation: Option<i64>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_name = "bytes", value_parser = values::bytes_or_none)]
    memory_swap: Option<i64>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", value_parser = values::int)]
    pids_limit: Option<i64>,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Verb for Update {
    const NAME: &'static str = "update";
    const ALIASES: &'static [&'static str] = &["container update", "update"];
    const ABOUT: &'static str = "Update configuration of one or more containers";
    const USAGE: &'static str = "[OPTIONS] CONTAINER [CONTAINER...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn told(&self) -> String {
        format!("update {}", self.containers.join(" "))
    }

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        if self.says_nothing() {
            return Err(Failure::new("you must provide one or more flags when using this command"));
        }
        let body = self.body()?;
        cx.block_on(async {
            let client = cx.client().await?;
            let (mut warnings, mut failed) = (Vec::new(), Vec::new());
            for name in &self.containers {
                match client.container_update(name, body.clone()).await {
                    Ok(warned) => {
                        print(&format!("{name}\n"))?;
                        warnings.extend(warned);
                    }
                    Err(error) => failed.push(error.to_string()),
                }
            }
            if !warnings.is_empty() {
                print(&format!("{}\n", warnings.join("\n")))?;
            }
            if failed.is_empty() { Ok(0) } else { Err(Failure::new(failed.join("\n"))) }
        })
    }
}

impl Update {
    fn says_nothing(&self) -> bool {
        let numbers = [
            self.cpu_period,
            self.cpu_quota,
            self.cpu_rt_period,
            self.cpu_rt_runtime,
            self.cpu_shares,
            self.cpus,
            self.memory,
            self.memory_reservation,
            self.memory_swap,
            self.pids_limit,
        ];
        let texts = [&self.cpuset_cpus, &self.cpuset_mems, &self.restart];
        self.blkio_weight.is_none() && numbers.iter().all(Option::is_none) && texts.iter().all(|t| t.is_none())
    }

    /// The request as Docker's command sends it, in its order.
    fn body(&self) -> Result<Value, Failure> {
        let number = |n: Option<i64>| n.unwrap_or(0);
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let policy = match self.restart.as_deref() {
            None | Some("") => json!({"Name": "", "MaximumRetryCount": 0}),
            Some(said) => policy(said).map_err(Failure::new)?,
        };
        Ok(json!({
            "CpuShares": number(self.cpu_shares), "Memory": number(self.memory), "NanoCpus": number(self.cpus),
            "CgroupParent": "", "BlkioWeight": self.blkio_weight.unwrap_or(0), "BlkioWeightDevice": null,
            "BlkioDeviceReadBps": null, "BlkioDeviceWriteBps": null, "BlkioDeviceReadIOps": null,
            "BlkioDeviceWriteIOps": null, "CpuPeriod": number(self.cpu_period), "CpuQuota": number(self.cpu_quota),
            "CpuRealtimePeriod": number(self.cpu_rt_period), "CpuRealtimeRuntime": number(self.cpu_rt_runtime),
            "CpusetCpus": text(&self.cpuset_cpus), "CpusetMems": text(&self.cpuset_mems), "Devices": null,
            "DeviceCgroupRules": null, "DeviceRequests": null, "MemoryReservation": number(self.memory_reservation),
            "MemorySwap": number(self.memory_swap), "MemorySwappiness": null, "OomKillDisable": null,
            "PidsLimit": self.pids_limit.filter(|n| *n != 0), "Ulimits": null, "CpuCount": 0, "CpuPercent": 0,
            "IOMaximumIOps": 0, "IOMaximumBandwidth": 0, "RestartPolicy": policy,
        }))
    }
}
