//! `rdock system df`: how much room images, containers and volumes take.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::format::{self, Columns, LIST_HELP};
use super::template::{Record, Value as Data};
use super::verb::{Verb, print};
use super::{images, ps};
use crate::client::wire::{ContainerLine, DiskUsage, ImageLine};
use crate::ui::units;
use serde_json::{Value, json};
use std::rc::Rc;

/// Shows what takes room.
#[derive(Debug, clap::Args)]
pub struct SystemDf {
    #[arg(long, value_name = "string", help = LIST_HELP)]
    format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short = 'v', long)]
    verbose: bool,
}

impl Verb for SystemDf {
    const NAME: &'static str = "system df";
    const ABOUT: &'static str = "Show docker disk usage";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::None;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let usage = cx.client().await?.disk_usage().await?;
            let format = self.format.as_deref().filter(|f| !f.is_empty()).unwrap_or("table");
            match self.verbose {
                false => print(&SUMMARY.list(Some(format), false, summary(&usage))?)?,
                true => print(&verbose(&usage, format)?)?,
            }
            Ok(0)
        })
    }
}

const SUMMARY: Columns = Columns {
    kind: "*formatter.diskUsageImagesContext",
    table: r"table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "",
    raw: "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n",
    headings: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
};

/// One kind of thing: how many, how many in use, bytes, and how many of them can be had back.
fn row(kind: &str, total: usize, active: usize, size: i64, reclaimable: i64, percent: bool) -> Record {
    let bytes = |n: i64| units::size_exact(n.max(0) as u64);
    let free = match percent && size > 0 {
        true => format!("{} ({}%)", bytes(reclaimable), reclaimable * 100 / size),
        false => bytes(reclaimable),
    };
    SUMMARY.row(json!({
        "Type": kind, "TotalCount": total.to_string(), "Active": active.to_string(), "Size": bytes(size), "Reclaimable": free,
    }))
}

fn summary(usage: &DiskUsage) -> Vec<Record> {
    let used = usage.images.iter().filter(|i| i.containers > 0);
    let in_use: i64 = used.clone().map(|i| i.size - i.shared_size.max(0)).sum();
    let active = |state: &str| matches!(state, "running" | "paused" | "restarting");
    let written: i64 = usage.containers.iter().map(|c| c.size_rw).sum();
    let idle: i64 = usage.containers.iter().filter(|c| !active(&c.state)).map(|c| c.size_rw).sum();
    let number = |v: &Value, key: &str| v["UsageData"][key].as_i64().unwrap_or(0).max(0);
    let volumes: i64 = usage.volumes.iter().map(|v| number(v, "Size")).sum();
    let unlinked: i64 = usage.volumes.iter().filter(|v| number(v, "RefCount") == 0).map(|v| number(v, "Size")).sum();
    let linked = usage.volumes.iter().filter(|v| number(v, "RefCount") > 0).count();
    let running = usage.containers.iter().filter(|c| active(&c.state)).count();
    let cached: i64 = usage.build_cache.iter().filter_map(|c| c["Size"].as_i64()).sum();
    vec![
        row("Images", usage.images.len(), used.count(), usage.layers_size, usage.layers_size - in_use, true),
        row("Containers", usage.containers.len(), running, written, idle, true),
        row("Local Volumes", usage.volumes.len(), linked, volumes, unlinked, true),
        row("Build Cache", usage.build_cache.len(), 0, cached, cached, false),
    ]
}

/// Columns of the four tables of `-v`; rows are those of `images` and `ps`.
const IMAGES: Columns = Columns {
    table: r"table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
    ..images::COLUMNS
};
const CONTAINERS: Columns = Columns {
    table: r"table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    ..ps::COLUMNS
};
const VOLUMES: Columns = Columns {
    kind: "*formatter.volumeContext",
    table: r"table {{.Name}}\t{{.Links}}\t{{.Size}}",
    quiet: "{{.Name}}",
    raw: "",
    headings: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
};
const BUILD_CACHE: Columns = Columns {
    kind: "*formatter.buildCacheContext",
    table: r"table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
    quiet: "{{.ID}}",
    raw: "",
    headings: &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("UsageCount", "USAGE"),
        ("Shared", "SHARED"),
    ],
};

fn image_rows(usage: &DiskUsage, whole: bool) -> Vec<Record> {
    let of = |line: &ImageLine| {
        let first = line.repo_tags.first().and_then(|tag| tag.rsplit_once(':'));
        let (repository, tag) = first.unwrap_or(("<none>", "<none>"));
        images::record(line, &images::Named { repository, tag, digest: "" }, whole)
    };
    usage.images.iter().map(of).collect()
}

fn container_rows(usage: &DiskUsage, whole: bool) -> Vec<Record> {
    let of = |line: &ContainerLine| {
        // Here only what the container has written counts.
        let line = ContainerLine { size_root_fs: 0, ..line.clone() };
        ps::record(&line, whole)
    };
    usage.containers.iter().map(of).collect()
}

fn volume_rows(usage: &DiskUsage) -> Vec<Record> {
    let of = |v: &Value| {
        let number = |key: &str| v["UsageData"][key].as_i64().unwrap_or(-1);
        let size = if number("Size") < 0 { "N/A".to_owned() } else { units::size_exact(number("Size") as u64) };
        VOLUMES.row(json!({"Name": v["Name"], "Links": number("RefCount").to_string(), "Size": size}))
    };
    usage.volumes.iter().map(of).collect()
}

fn verbose(usage: &DiskUsage, format: &str) -> Result<String, Failure> {
    if format != "table" {
        let list = |rows: Vec<Record>| -> Vec<Value> { rows.into_iter().map(|r| Value::Object(r.fields)).collect() };
        let all = json!({
            "Images": list(image_rows(usage, true)), "Containers": list(container_rows(usage, true)),
            "Volumes": list(volume_rows(usage)), "BuildCache": [],
        });
        let all = Data::Record(Rc::new(Record::whole("*formatter.diskUsageContext", all)));
        let text = format::whole("", format, &all).map_err(Failure::new)?;
        return Ok(text.trim_end_matches('\n').to_owned());
    }
    let none = std::iter::empty::<Record>;
    let cached: i64 = usage.build_cache.iter().filter_map(|c| c["Size"].as_i64()).sum();
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\nBuild cache usage: {}\n\n{}",
        IMAGES.list(None, false, image_rows(usage, false))?,
        CONTAINERS.list(None, false, container_rows(usage, false))?,
        VOLUMES.list(None, false, volume_rows(usage))?,
        units::size_exact(cached.max(0) as u64),
        BUILD_CACHE.list(None, false, none())?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> DiskUsage {
        let image = |size, shared, containers| ImageLine {
            id: "sha256:a7c6a63166c76ba011b60df67c20c674dba67824253edfd5eb4d08f939affb6b".into(),
            repo_tags: vec!["bb:latest".into()],
            size,
            shared_size: shared,
            containers,
            ..ImageLine::default()
        };
        let container =
            ContainerLine { state: "exited".into(), size_rw: 21, size_root_fs: 99, ..ContainerLine::default() };
        DiskUsage {
            layers_size: 3_000_000,
            images: vec![image(2_000_000, 500_000, 1), image(1_500_000, 500_000, 0)],
            containers: vec![container],
            ..DiskUsage::default()
        }
    }

    #[test]
    fn the_summary_counts_as_docker_counts() {
        let text = SUMMARY.list(None, false, summary(&usage())).unwrap();
        assert_eq!(
            text,
            "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
             Images          2         1         3MB       1.5MB (50%)\n\
             Containers      1         0         21B       21B (100%)\n\
             Local Volumes   0         0         0B        0B\n\
             Build Cache     0         0         0B        0B\n"
        );
    }

    #[test]
    fn the_long_form_has_a_table_for_each_kind() {
        let text = verbose(&usage(), "table").unwrap();
        assert!(text.starts_with("Images space usage:\n\nREPOSITORY   TAG       IMAGE ID       CREATED"), "{text}");
        assert!(text.contains("   2MB       500kB         1.5MB         1\n"), "{text}");
        assert!(text.contains("\nContainers space usage:\n\nCONTAINER ID   IMAGE "), "{text}");
        assert!(text.ends_with(
            "Build cache usage: 0B\n\nCACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED\n"
        ));
        assert_eq!(verbose(&usage(), "{{len .Images}}").unwrap(), "2");
    }
}
