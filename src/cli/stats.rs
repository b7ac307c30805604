//! `rdock stats`: what containers use, again and again.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::format::{Columns, LIST_HELP};
use super::short::short_id;
use super::template::Record;
use super::verb::{Verb, print};
use crate::client::{Client, ClientError, StatsStream};
use crate::ui::units;
use futures_util::future::join_all;
use serde_json::{Value, json};

/// Watches containers.
#[derive(Debug, clap::Args)]
pub struct Stats {
    /// Show all containers (default shows just running)
    #[arg(short = 'a', long)]
    all: bool,
    #[arg(long, value_name = "string", help = LIST_HELP)]
    format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    containers: Vec<String>,
}

const COLUMNS: Columns = Columns {
    kind: "*container.statsContext",
    table: r"table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "{{.ID}}",
    raw: "raw",
    headings: &[
        ("Container", "CONTAINER"),
        ("Name", "NAME"),
        ("ID", "CONTAINER ID"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
};

/// The picture over the last one: from the first line of the screen on, what is left of each line and below is erased
/// (console_codes(4)).
fn over(text: &str) -> String {
    let lines: String = text.split('\n').map(|line| format!("{line} \x1b[K\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}

impl Verb for Stats {
    const NAME: &'static str = "stats";
    const ALIASES: &'static [&'static str] = &["container stats", "stats"];
    const ABOUT: &'static str = "Display a live stream of container(s) resource usage statistics";
    const USAGE: &'static str = "[OPTIONS] [CONTAINER...]";
    const ARITY: Arity = Arity::AtLeast(0);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        // A template that can't be is told before anything is asked for.
        self.draw(&[])?;
        cx.block_on(async {
            let client = cx.client().await?;
            match self.no_stream {
                true => {
                    let names = self.names(&client).await?;
                    let looks = join_all(names.iter().map(|name| client.container_stats(name))).await;
                    let looks: Result<Vec<Value>, ClientError> = looks.into_iter().collect();
                    let rows: Vec<(String, Value)> = names.into_iter().zip(looks?).collect();
                    print(&self.draw(&rows)?)?;
                }
                false => self.follow(&client).await?,
            }
            Ok(0)
        })
    }
}

impl Stats {
    async fn names(&self, client: &Client) -> Result<Vec<String>, ClientError> {
        if !self.containers.is_empty() {
            return Ok(self.containers.clone());
        }
        let lines = client.container_list(self.all, None, false, None).await?;
        Ok(lines.into_iter().map(|line| line.id).collect())
    }

    /// A picture a second. Containers that come join in when no names were given; those that are removed leave.
    async fn follow(&self, client: &Client) -> Result<(), Failure> {
        let mut watched: Vec<(String, StatsStream)> = vec![];
        loop {
            if watched.is_empty() || self.containers.is_empty() {
                for name in self.names(client).await? {
                    if !watched.iter().any(|(known, _)| *known == name) {
                        let stream = client.container_stats_stream(&name).await?;
                        watched.push((name, stream));
                    }
                }
            }
            let looks = join_all(watched.iter_mut().map(|(_, stream)| stream.next())).await;
            let mut rows = vec![];
            let mut kept = vec![];
            for ((name, stream), look) in watched.into_iter().zip(looks) {
                if let Some(look) = look? {
                    rows.push((name.clone(), look));
                    kept.push((name, stream));
                }
            }
            watched = kept;
            print(&over(&self.draw(&rows)?))?;
            if watched.is_empty() && !self.containers.is_empty() {
                return Ok(());
            }
            if watched.is_empty() {
                // Nobody is there whose next look could be waited for.
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }

    fn draw(&self, rows: &[(String, Value)]) -> Result<String, Failure> {
        COLUMNS.list(self.format.as_deref(), false, rows.iter().map(|(name, look)| self.row(name, look)))
    }

    fn row(&self, asked: &str, look: &Value) -> Record {
        let (used, limit) = (memory_used(&look["memory_stats"]), count(&look["memory_stats"]["limit"]));
        let share = if limit > 0 { used as f64 / limit as f64 * 100.0 } else { 0.0 };
        let (received, sent) = network(&look["networks"]);
        let (read, written) = blocks(&look["blkio_stats"]["io_service_bytes_recursive"]);
        let id = look["id"].as_str().unwrap_or_default();
        let pair = |a: String, b: String| format!("{a} / {b}");
        COLUMNS.row(json!({
            "BlockIO": pair(units::size(read), units::size(written)),
            "CPUPerc": format!("{:.2}%", processors(look)),
            "Container": asked,
            "ID": if self.no_trunc { id } else { short_id(id) },
            "MemPerc": format!("{share:.2}%"),
            "MemUsage": pair(units::size_binary(used), units::size_binary(limit)),
            "Name": look["name"].as_str().unwrap_or_default().trim_start_matches('/'),
            "NetIO": pair(units::size(received), units::size(sent)),
            "PIDs": count(&look["pids_stats"]["current"]).to_string(),
        }))
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Share of one processor in percent: 200 is two of them.
fn processors(look: &Value) -> f64 {
    let (now, before) = (&look["cpu_stats"], &look["precpu_stats"]);
    let delta = |a: &Value, b: &Value| count(a) as f64 - count(b) as f64;
    let own = delta(&now["cpu_usage"]["total_usage"], &before["cpu_usage"]["total_usage"]);
    let system = delta(&now["system_cpu_usage"], &before["system_cpu_usage"]);
    let each = now["cpu_usage"]["percpu_usage"].as_array().map_or(0, Vec::len) as f64;
    let online = Some(count(&now["online_cpus"]) as f64).filter(|n| *n > 0.0).unwrap_or(each);
    if own > 0.0 && system > 0.0 { own / system * online * 100.0 } else { 0.0 }
}

/// Without what the kernel can take back at once: the files that nobody has used lately.
fn memory_used(memory: &Value) -> u64 {
    let (usage, stats) = (count(&memory["usage"]), &memory["stats"]);
    let idle =
        if stats["total_inactive_file"].is_null() { &stats["inactive_file"] } else { &stats["total_inactive_file"] };
    let idle = count(idle);
    if idle < usage { usage - idle } else { usage }
}

fn network(networks: &Value) -> (u64, u64) {
    let all = networks.as_object().into_iter().flatten();
    all.fold((0, 0), |(rx, tx), (_, n)| (rx + count(&n["rx_bytes"]), tx + count(&n["tx_bytes"])))
}

fn blocks(entries: &Value) -> (u64, u64) {
    let all = entries.as_array().into_iter().flatten();
    all.fold((0, 0), |(read, written), entry| match entry["op"].as_str().and_then(|op| op.chars().next()) {
        Some('r' | 'R') => (read + count(&entry["value"]), written),
        Some('w' | 'W') => (read, written + count(&entry["value"])),
        _ => (read, written),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(format: Option<&str>) -> Stats {
        Stats { all: false, format: format.map(str::to_owned), no_stream: true, no_trunc: false, containers: vec![] }
    }

    #[test]
    fn figures_are_those_that_docker_computes() {
        let look = json!({
            "id": "85e0bba632ef943720d4", "name": "/web",
            "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 2},
            "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
            "memory_stats": {"usage": 3 << 20, "limit": 4 << 20, "stats": {"total_inactive_file": 1 << 20}},
            "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 2}, "eth1": {"rx_bytes": 500, "tx_bytes": 0}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 5}, {"op": "write", "value": 7}, {"op": "Total", "value": 12}]},
            "pids_stats": {"current": 3},
        });
        let text = stats(None).draw(&[("web".into(), look)]).unwrap();
        assert_eq!(
            text,
            "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O      BLOCK I/O   PIDS\n\
             85e0bba632ef   web       40.00%    2MiB / 4MiB         50.00%    1.5kB / 2B   5B / 7B     3\n"
        );
        let unified = json!({"usage": 10, "stats": {"inactive_file": 4}});
        assert_eq!(memory_used(&unified), 6);
    }

    #[test]
    fn what_does_not_run_uses_nothing() {
        let text = stats(Some("{{json .}}")).draw(&[("web".into(), json!({"id": "85e0", "name": "/web"}))]).unwrap();
        assert_eq!(
            text,
            "{\"BlockIO\":\"0B / 0B\",\"CPUPerc\":\"0.00%\",\"Container\":\"web\",\"ID\":\"85e0\",\"MemPerc\":\"0.00%\",\"MemUsage\":\"0B / 0B\",\"Name\":\"web\",\"NetIO\":\"0B / 0B\",\"PIDs\":\"0\"}\n"
        );
    }
}
