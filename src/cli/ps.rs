//! `rdock ps`: list containers.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::images::filters;
use super::short::{ago, ellipsis, short_id};
use super::verb::{Verb, print};
use crate::client::wire::{ContainerLine, Port};
use crate::ui::{Table, units};

/// Lists containers.
#[derive(Debug, clap::Args)]
pub struct Ps {
    /// Show all containers (default shows just running)
    #[arg(short = 'a', long)]
    all: bool,
    /// Filter output based on conditions provided
    #[arg(short = 'f', long, value_name = "filter")]
    filter: Vec<String>,
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
    const ABOUT: &'static str = "List containers";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::None;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let filters = filters(&self.filter)?;
        let last = if self.latest { 1 } else { self.last };
        cx.block_on(async {
            let client = cx.client().await?;
            let limit = (last > 0).then_some(last);
            let lines =
                client.container_list(self.all || limit.is_some(), limit, self.size, filters.as_deref()).await?;
            print(&self.draw(&lines))?;
            Ok(0)
        })
    }
}

impl Ps {
    fn draw(&self, lines: &[ContainerLine]) -> String {
        let id = |line: &ContainerLine| if self.no_trunc { line.id.clone() } else { short_id(&line.id).to_owned() };
        if self.quiet {
            return lines.iter().map(|l| format!("{}\n", id(l))).collect();
        }
        let head = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
        let mut table = Table::new(head.into_iter().chain(self.size.then_some("SIZE")));
        for line in lines {
            let mut row = vec![
                id(line),
                self.image(line),
                self.command(line),
                ago(line.created),
                line.status.clone(),
                ports(&line.ports),
                names(&line.names),
            ];
            row.extend(self.size.then(|| sizes(line)));
            table.row(row);
        }
        table.to_string()
    }

    fn image(&self, line: &ContainerLine) -> String {
        match line.image.as_str() {
            "" => "<no image>".into(),
            // An image without a name is shown by its short id.
            image if !self.no_trunc && image.starts_with("sha256:") => short_id(image).to_owned(),
            image => image.to_owned(),
        }
    }

    fn command(&self, line: &ContainerLine) -> String {
        let command = if self.no_trunc { line.command.clone() } else { ellipsis(&line.command, 20) };
        format!("\"{}\"", command.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    }
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
        Ps { all: false, filter: vec![], last: -1, latest: false, no_trunc: false, quiet: false, size: false }
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
        assert_eq!(ps().draw(&[]), "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n");
    }

    #[test]
    fn a_line_is_cut_as_docker_cuts_it() {
        let text = ps().draw(&[line()]);
        assert!(text.contains("\n6e6a189160bf   127.0.0.1:5055/mysql   \"sh -c 'i=0; while t…\"   "), "{text}");
        assert!(text.ends_with("Up 1 second             bg\n"), "{text}");
        assert_eq!(Ps { quiet: true, ..ps() }.draw(&[line()]), "6e6a189160bf\n");
    }

    #[test]
    fn ports_are_written_as_docker_writes_them() {
        let port = |ip: &str| Port { ip: ip.into(), private_port: 80, public_port: 18080, kind: "tcp".into() };
        assert_eq!(ports(&[port("::"), port("0.0.0.0")]), "0.0.0.0:18080->80/tcp, [::]:18080->80/tcp");
        assert_eq!(ports(&[Port { private_port: 80, kind: "tcp".into(), ..Port::default() }]), "80/tcp");
    }
}
