//! `rdock ps`: list containers.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::filter::{self, Condition};
use super::format::{Columns, LIST_HELP};
use super::short::{ago, ellipsis, moment, short_id};
use super::template::Record;
use super::verb::{Verb, print, tell};
use crate::client::wire::{ContainerLine, MountLine, Port};
use crate::ui::units;
use serde_json::json;

/// Lists containers.
#[derive(Debug, clap::Args)]
pub struct Ps {
    /// Show all containers (default shows just running)
    #[arg(short = 'a', long)]
    all: bool,
    /// Filter output based on conditions provided
    #[arg(short = 'f', long, value_name = "filter")]
    filter: Vec<Condition>,
    #[arg(long, value_name = "string", help = LIST_HELP)]
    format: Option<String>,
    /// Show n last created containers (includes all states) (default -1)
    #[arg(short = 'n', long, value_name = "int", default_value_t = -1, allow_negative_numbers = true)]
    last: i64,
    /// Show the latest created container (includes all states)
    #[arg(short = 'l', long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display container IDs
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Display total file sizes
    #[arg(short = 's', long)]
    size: bool,
}

impl Verb for Ps {
    const NAME: &'static str = "ps";
    const ALIASES: &'static [&'static str] = &["container ls", "container list", "container ps", "ps"];
    const ABOUT: &'static str = "List containers";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::None;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        if self.quiet && self.format.as_deref().is_some_and(|f| !f.is_empty()) {
            tell("WARNING: Ignoring custom format, because both --format and --quiet are set.");
        }
        let filters = filter::json(&self.filter);
        let last = if self.latest { 1 } else { self.last };
        cx.block_on(async {
            let client = cx.client().await?;
            let limit = (last > 0).then_some(last);
            let lines =
                client.container_list(self.all || limit.is_some(), limit, self.sized(), filters.as_deref()).await?;
            print(&self.draw(&lines)?)?;
            Ok(0)
        })
    }
}

pub(super) const COLUMNS: Columns = Columns {
    kind: "*formatter.ContainerContext",
    table: r"table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    quiet: "{{.ID}}",
    raw: "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{.State}}\n\
          status: {{.Status}}\nnames: {{.Names}}\nlabels: {{.Labels}}\nports: {{.Ports}}\n",
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Ports", "PORTS"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Size", "SIZE"),
        ("Names", "NAMES"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
    ],
};

impl Ps {
    /// The daemon adds sizes up only when they are shown.
    fn sized(&self) -> bool {
        self.size || self.format.as_deref().is_some_and(|f| f.contains(".Size") || f.contains("json ."))
    }

    fn draw(&self, lines: &[ContainerLine]) -> Result<String, Failure> {
        let rows = lines.iter().map(|line| record(line, self.no_trunc));
        let format = self.format.as_deref().filter(|f| !self.quiet && !f.is_empty()).unwrap_or("table");
        if !self.size || self.quiet {
            return COLUMNS.list(Some(format), self.quiet, rows);
        }
        let sized = match format {
            "table" => format!(r"{}\t{{{{.Size}}}}", COLUMNS.table),
            "raw" => format!("{}size: {{{{.Size}}}}\n", COLUMNS.raw),
            f if f.starts_with("table") && !f.contains("{{.Size}}") => format!(r"{f}\t{{{{.Size}}}}"),
            f => f.to_owned(),
        };
        COLUMNS.render(&sized, rows)
    }
}

/// What a template finds in a line.
pub(super) fn record(line: &ContainerLine, no_trunc: bool) -> Record {
    let labels: Vec<String> = line.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let networks: Vec<&str> = line.network_settings.networks.keys().map(String::as_str).collect();
    let record = COLUMNS.row(json!({
        "ID": if no_trunc { &line.id } else { short_id(&line.id) },
        "Names": names(&line.names),
        "Image": image(line, no_trunc),
        "Command": command(line, no_trunc),
        "CreatedAt": moment(line.created),
        "RunningFor": ago(line.created),
        "Ports": ports(&line.ports),
        "State": line.state,
        "Status": line.status,
        "Size": sizes(line),
        "Labels": labels.join(","),
        "Mounts": mounts(line, no_trunc),
        "LocalVolumes": line.mounts.iter().filter(|m| m.driver == "local").count().to_string(),
        "Networks": networks.join(","),
        "Platform": null,
    }));
    record.labels(&line.labels)
}

fn mounts(line: &ContainerLine, no_trunc: bool) -> String {
    let name = |m: &MountLine| if m.name.is_empty() { m.source.clone() } else { m.name.clone() };
    let names = line.mounts.iter().map(|m| if no_trunc { name(m) } else { ellipsis(&name(m), 15) });
    names.collect::<Vec<_>>().join(",")
}

fn image(line: &ContainerLine, no_trunc: bool) -> String {
    match line.image.as_str() {
        "" => "<no image>".into(),
        // An image without a name is shown by its short id.
        image if !no_trunc && image.starts_with("sha256:") => short_id(image).to_owned(),
        image => image.to_owned(),
    }
}

fn command(line: &ContainerLine, no_trunc: bool) -> String {
    let command = if no_trunc { line.command.clone() } else { ellipsis(&line.command, 20) };
    format!("\"{}\"", command.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// The container's own names, without those that links give it.
fn names(names: &[String]) -> String {
    let own: Vec<&str> = names.iter().map(|n| n.trim_start_matches('/')).filter(|n| !n.contains('/')).collect();
    own.join(",")
}

fn sizes(line: &ContainerLine) -> String {
    let size = |n: i64| units::size(n.max(0) as u64);
    match line.size_root_fs {
        n if n > 0 => format!("{} (virtual {})", size(line.size_rw), size(n)),
        _ => size(line.size_rw),
    }
}

/// `0.0.0.0:18080->80/tcp, [::]:18080->80/tcp`
fn ports(ports: &[Port]) -> String {
    let mut sorted = ports.to_vec();
    sorted.sort_by(|a, b| (a.private_port, &a.kind, &a.ip).cmp(&(b.private_port, &b.kind, &b.ip)));
    let text = |p: &Port| match (p.ip.as_str(), p.public_port) {
        (_, 0) => format!("{}/{}", p.private_port, p.kind),
        ("", public) => format!("{public}->{}/{}", p.private_port, p.kind),
        (ip, public) if ip.contains(':') => format!("[{ip}]:{public}->{}/{}", p.private_port, p.kind),
        (ip, public) => format!("{ip}:{public}->{}/{}", p.private_port, p.kind),
    };
    sorted.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ps() -> Ps {
        Ps {
            all: false,
            filter: vec![],
            format: None,
            last: -1,
            latest: false,
            no_trunc: false,
            quiet: false,
            size: false,
        }
    }

    fn line() -> ContainerLine {
        ContainerLine {
            id: "6e6a189160bf91d9117aacc7dcf0c8c59eb20421bb48abdac5e0f5d6322d52a1".into(),
            names: vec!["/bg".into()],
            image: "127.0.0.1:5055/mysql".into(),
            command: "sh -c 'i=0; while true; do echo'".into(),
            status: "Up 1 second".into(),
            ..ContainerLine::default()
        }
    }

    #[test]
    fn empty_list_has_dockers_head() {
        assert_eq!(ps().draw(&[]).unwrap(), "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n");
    }

    #[test]
    fn a_line_is_cut_as_docker_cuts_it() {
        let text = ps().draw(&[line()]).unwrap();
        assert!(text.contains("\n6e6a189160bf   127.0.0.1:5055/mysql   \"sh -c 'i=0; while t…\"   "), "{text}");
        assert!(text.ends_with("Up 1 second             bg\n"), "{text}");
        assert_eq!(Ps { quiet: true, ..ps() }.draw(&[line()]).unwrap(), "6e6a189160bf\n");
    }

    #[test]
    fn a_format_shows_what_it_names() {
        let format = |text: &str, size| Ps { format: Some(text.into()), size, ..ps() }.draw(&[line()]).unwrap();
        assert_eq!(format("{{.Names}}: {{.Status}}", false), "bg: Up 1 second\n");
        assert_eq!(
            format(r"table {{.Names}}\t{{.ID}}", true),
            "NAMES     CONTAINER ID   SIZE\nbg        6e6a189160bf   0B\n"
        );
        assert!(
            format("json", false)
                .starts_with(r#"{"Command":"\"sh -c 'i=0; while t…\"","CreatedAt":"1970-01-01 00:00:00 +0000 UTC","#)
        );
    }

    #[test]
    fn ports_are_written_as_docker_writes_them() {
        let port = |ip: &str| Port { ip: ip.into(), private_port: 80, public_port: 18080, kind: "tcp".into() };
        assert_eq!(ports(&[port("::"), port("0.0.0.0")]), "0.0.0.0:18080->80/tcp, [::]:18080->80/tcp");
        assert_eq!(ports(&[Port { private_port: 80, kind: "tcp".into(), ..Port::default() }]), "80/tcp");
    }
}
