//! `docker ps`: a line for each container, the youngest first. Pure.

use super::clock::{in_words, seconds_since, unix_seconds};
use super::error::ContainerError;
use super::inspect::network_name;
use super::names::LookupError;
use super::spec::argv;
use super::state::{State, Status};
use super::store::Record;
use bollard_stubs::models::{
    ContainerSummary, ContainerSummaryHostConfig, ContainerSummaryNetworkSettings, EndpointSettings,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Those that do not run too.
    pub all: bool,
    /// The youngest so many, whether they run or not.
    pub limit: Option<usize>,
    /// With the bytes that each takes.
    pub size: bool,
    /// See [`check`] for the keys: a container is listed if for each key one value fits
    /// (for `label`: all values).
    pub filters: BTreeMap<String, Vec<String>>,
}

/// The containers that `options` ask for.
///
/// # Errors
/// A filter that is not known, or has a value that can't be.
pub fn summaries(records: Vec<Arc<Record>>, options: &ListOptions) -> Result<Vec<ContainerSummary>, ContainerError> {
    for (key, values) in &options.filters {
        check(key, values)?;
    }
    let by_status = ["status", "exited"].iter().any(|key| options.filters.contains_key(*key));
    let mut records = records;
    records.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    let beside =
        Beside { before: moment_of(&records, options, "before")?, since: moment_of(&records, options, "since")? };
    let relative = beside.before.is_some() || beside.since.is_some();
    let all = options.all || options.limit.is_some() || by_status || relative;
    let limit = options.limit.unwrap_or(usize::MAX);
    Ok(records
        .iter()
        .filter(|r| all || r.state.status.is_up())
        .filter(|r| beside.fits(r))
        .filter(|r| options.filters.iter().all(|(key, values)| fits(r, key, values)))
        .take(limit)
        .map(|r| summary(r))
        .collect())
}

fn check(key: &str, values: &[String]) -> Result<(), ContainerError> {
    if !KEYS.contains(&key) {
        return Err(ContainerError::Filter(key.into()));
    }
    for value in values {
        match key {
            "status" if value.parse::<Status>().is_err() => {
                return Err(ContainerError::Filter(format!("{key}={value}")));
            }
            "exited" if value.parse::<i64>().is_err() => return Err(ContainerError::NoNumber(value.clone())),
            "health" if !HEALTH.contains(&value.as_str()) => return Err(ContainerError::NoHealth(value.clone())),
            "is-task" if !matches!(value.as_str(), "true" | "false" | "1" | "0") => {
                return Err(ContainerError::Filter(format!("{key}=[{value}]")));
            }
            _ => {}
        }
    }
    Ok(())
}

const KEYS: [&str; 16] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "label!",
];
const HEALTH: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// Created before or after another container.
struct Beside {
    before: Option<String>,
    since: Option<String>,
}

impl Beside {
    fn fits(&self, record: &Record) -> bool {
        self.before.as_ref().is_none_or(|at| record.created < *at)
            && self.since.as_ref().is_none_or(|at| record.created > *at)
    }
}

/// When the container that the filter names was created.
fn moment_of(records: &[Arc<Record>], options: &ListOptions, key: &str) -> Result<Option<String>, ContainerError> {
    let Some(name) = options.filters.get(key).and_then(|values| values.first()) else { return Ok(None) };
    let found = super::names::find(records.iter().map(|r| (r.id.as_str(), r.name.as_str())), name);
    let id = found.map_err(|error| match error {
        LookupError::NoSuch(name) => ContainerError::NoneBeside(name),
        error @ LookupError::Ambiguous(_) => error.into(),
    })?;
    Ok(records.iter().find(|r| r.id == id).map(|r| r.created.clone()))
}

fn fits(record: &Record, key: &str, values: &[String]) -> bool {
    let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|v| test(v));
    match key {
        "label" => values.iter().all(|wanted| label_fits(record, wanted)),
        "id" => any(&|v| record.id.starts_with(v)),
        "name" => any(&|v| name_fits(&record.name, v)),
        "status" => any(&|v| v == record.state.status.name()),
        "label!" => !values.iter().any(|wanted| label_fits(record, wanted)),
        "health" => any(&|v| v == record.state.health_word()),
        "network" => any(&|v| v == network_name(&record.config)),
        "expose" | "publish" => any(&|v| port_fits(record, key, v)),
        "volume" => any(&|v| volume_fits(record, v)),
        "is-task" => any(&|v| matches!(v, "false" | "0")),
        "before" | "since" | "isolation" => true,
        "exited" => any(&|v| {
            record.state.status == Status::Exited && v.parse::<i64>().is_ok_and(|code| code == record.state.exit_code)
        }),
        "ancestor" => any(&|v| {
            let image = record.config.image.as_deref().unwrap_or("");
            let id = record.image.strip_prefix("sha256:").unwrap_or(&record.image);
            image == v
                || image.strip_suffix(":latest") == Some(v)
                || v.strip_suffix(":latest") == Some(image)
                || record.image == v
                || (v.len() >= 4 && id.starts_with(v))
        }),
        _ => false,
    }
}

/// `80`, `80/tcp`, `80-90/udp`: a port that the container exposes, or that the host passes on to it.
fn port_fits(record: &Record, key: &str, wanted: &str) -> bool {
    let (range, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { return false };
    let fits = |port: &str| {
        let (number, own) = port.split_once('/').unwrap_or((port, "tcp"));
        own == protocol && number.parse().is_ok_and(|n: u16| (first..=last).contains(&n))
    };
    let host = record.config.host_config.as_ref();
    match key {
        "publish" => host.and_then(|h| h.port_bindings.as_ref()).into_iter().flatten().any(|(port, _)| fits(port)),
        _ => record.config.exposed_ports.iter().flatten().any(|port| fits(port)),
    }
}

/// The name of a volume, or a place in the container or on the host.
fn volume_fits(record: &Record, wanted: &str) -> bool {
    let host = record.config.host_config.as_ref();
    let binds =
        host.and_then(|h| h.binds.as_ref()).into_iter().flatten().any(|b| b.split(':').take(2).any(|p| p == wanted));
    let mounts = host.and_then(|h| h.mounts.as_ref()).into_iter().flatten();
    let named = |value: &Option<String>| value.as_deref() == Some(wanted);
    binds || mounts.into_iter().any(|m| named(&m.source) || named(&m.target))
}

/// `key` or `key=value`
pub fn label_fits(record: &Record, wanted: &str) -> bool {
    let (name, value) = wanted.split_once('=').map_or((wanted, None), |(n, v)| (n, Some(v)));
    let own = record.config.labels.as_ref().and_then(|labels| labels.get(name));
    own.is_some_and(|own| value.is_none_or(|v| v == own))
}

/// Part of the name; `^` before it and `$` behind it hold it to the beginning and the end.
fn name_fits(name: &str, wanted: &str) -> bool {
    let (wanted, from_start) = wanted.strip_prefix('^').map_or((wanted, false), |w| (w, true));
    let (wanted, to_end) = wanted.strip_suffix('$').map_or((wanted, false), |w| (w, true));
    let slashed = wanted.strip_prefix('/');
    let (wanted, from_start) = (slashed.unwrap_or(wanted), from_start || slashed.is_some());
    match (from_start, to_end) {
        (true, true) => name == wanted,
        (true, false) => name.starts_with(wanted),
        (false, true) => name.ends_with(wanted),
        (false, false) => name.contains(wanted),
    }
}

fn summary(record: &Record) -> ContainerSummary {
    let host = record.config.host_config.as_ref();
    let mode = host.and_then(|h| h.network_mode.clone()).filter(|m| !m.is_empty());
    let network = (network_name(&record.config).to_owned(), EndpointSettings::default());
    ContainerSummary {
        id: Some(record.id.clone()),
        names: Some(vec![format!("/{}", record.name)]),
        image: Some(record.config.image.clone().unwrap_or_default()),
        image_id: Some(record.image.clone()),
        command: Some(command(&argv(&record.config))),
        created: Some(unix_seconds(&record.created)),
        ports: Some(vec![]),
        labels: Some(record.config.labels.clone().unwrap_or_default()),
        state: record.state.status.name().parse().ok(),
        status: Some(status(&record.state)),
        host_config: Some(ContainerSummaryHostConfig {
            network_mode: Some(mode.unwrap_or_else(|| "default".into())),
            ..Default::default()
        }),
        network_settings: Some(ContainerSummaryNetworkSettings { networks: Some([network].into()) }),
        mounts: Some(vec![]),
        ..Default::default()
    }
}

/// Arguments with spaces are shown in quotes.
fn command(argv: &[String]) -> String {
    let shown = argv.iter().enumerate().map(|(at, a)| match at > 0 && a.contains(' ') {
        true => format!("'{a}'"),
        false => a.clone(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// `Up 3 minutes`, `Exited (0) 2 seconds ago`
pub fn status(state: &State) -> String {
    use super::health::Status::Starting;
    let since = |at: &str| in_words(seconds_since(at));
    match state.status {
        Status::Created => "Created".into(),
        Status::Running => {
            let health = state.health.as_ref().map(|health| match health.status {
                Starting => " (health: starting)".to_owned(),
                other => format!(" ({})", other.name()),
            });
            format!("Up {}{}", since(&state.started_at), health.unwrap_or_default())
        }
        Status::Paused => format!("Up {} (Paused)", since(&state.started_at)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(&state.finished_at)),
        Status::Removing => "Removal In Progress".into(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(&state.finished_at)),
        Status::Dead => "Dead".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard_stubs::models::ContainerCreateBody;

    fn record(id: &str, name: &str, created: &str) -> Record {
        let config = ContainerCreateBody {
            cmd: Some(vec!["sh".into(), "-c".into(), "echo hi".into()]),
            image: Some("centos".into()),
            labels: Some([("k".to_owned(), "v".to_owned())].into()),
            ..Default::default()
        };
        let mut record = Record::new(id.into(), name.into(), "sha256:5d0da3dc".into(), config);
        record.created = created.into();
        record
    }

    fn three() -> Vec<Arc<Record>> {
        let mut old = record("aa11", "web", "2026-01-01T00:00:00Z");
        old.state.started(7, &super::super::clock::now()).unwrap();
        let mut middle = record("bb22", "web2", "2026-01-02T00:00:00Z");
        middle.state.started(8, "2026-01-02T00:00:00Z").unwrap();
        middle.state.exited(3, false, "2026-01-02T00:00:01Z").unwrap();
        let young = record("cc33", "db", "2026-01-03T00:00:00Z");
        [old, middle, young].map(Arc::new).to_vec()
    }

    fn names(options: ListOptions) -> Vec<String> {
        let list = summaries(three(), &options).unwrap();
        list.into_iter().map(|s| s.names.unwrap().remove(0)).collect()
    }

    fn filtered(key: &str, value: &str) -> Vec<String> {
        let filters = [(key.to_owned(), vec![value.to_owned()])].into();
        names(ListOptions { all: true, filters, ..Default::default() })
    }

    #[test]
    fn running_ones_by_default_all_on_request_youngest_first() {
        assert_eq!(names(ListOptions::default()), ["/web"]);
        let all = ListOptions { all: true, ..Default::default() };
        assert_eq!(names(all), ["/db", "/web2", "/web"]);
        let two = ListOptions { limit: Some(2), ..Default::default() };
        assert_eq!(names(two), ["/db", "/web2"]);
    }

    #[test]
    fn filters_choose() {
        assert_eq!(filtered("name", "web"), ["/web2", "/web"]);
        assert_eq!(filtered("name", "^/web$"), ["/web"]);
        assert_eq!(filtered("id", "bb"), ["/web2"]);
        assert_eq!(filtered("status", "exited"), ["/web2"]);
        assert_eq!(filtered("exited", "3"), ["/web2"]);
        assert_eq!(filtered("label", "k=v").len(), 3);
        assert!(filtered("label", "k=w").is_empty());
        assert_eq!(filtered("ancestor", "centos:latest").len(), 3);
        assert_eq!(filtered("ancestor", "5d0d").len(), 3);
        let by_status = [("status".to_owned(), vec!["created".to_owned()])].into();
        assert_eq!(names(ListOptions { filters: by_status, ..Default::default() }), ["/db"]);
    }

    #[test]
    fn unknown_filters_are_refused() {
        for (key, value, words) in [
            ("colour", "red", "invalid filter 'colour'"),
            ("status", "up", "invalid filter 'status=up'"),
            ("exited", "x", "strconv.Atoi: parsing \"x\": invalid syntax"),
            ("before", "nosuch", "no such container nosuch"),
        ] {
            let filters = [(key.to_owned(), vec![value.to_owned()])].into();
            let options = ListOptions { filters, ..Default::default() };
            assert_eq!(summaries(vec![], &options).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn a_line_reads_as_dockers() {
        let list = summaries(three(), &ListOptions { all: true, ..Default::default() }).unwrap();
        assert_eq!(list[0].command.as_deref(), Some("sh -c 'echo hi'"));
        assert_eq!(list[0].status.as_deref(), Some("Created"));
        assert!(list[1].status.as_deref().unwrap().starts_with("Exited (3) "));
        assert_eq!(list[2].status.as_deref(), Some("Up Less than a second"));
        let json = serde_json::to_value(&list[2]).unwrap();
        assert_eq!(json["HostConfig"]["NetworkMode"], "default");
        assert_eq!((&json["State"], &json["Ports"]), (&"running".into(), &serde_json::json!([])));
    }
}
