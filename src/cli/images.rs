//! `rdock images`: list images.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::filter::{self, Condition};
use super::format::{Columns, LIST_HELP};
use super::short::{ago, moment, short_id};
use super::template::Record;
use super::verb::{Verb, print};
use crate::client::wire::ImageLine;
use crate::ui::units;
use serde_json::json;

/// Lists images.
#[derive(Debug, clap::Args)]
pub struct Images {
    /// Show all images (default hides intermediate images)
    #[arg(short = 'a', long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided
    #[arg(short = 'f', long, value_name = "filter")]
    filter: Vec<Condition>,
    #[arg(long, value_name = "string", help = LIST_HELP)]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short = 'q', long)]
    quiet: bool,
    repository: Option<String>,
}

impl Verb for Images {
    const NAME: &'static str = "images";
    const ALIASES: &'static [&'static str] = &["image ls", "image list", "images"];
    const ABOUT: &'static str = "List images";
    const USAGE: &'static str = "[OPTIONS] [REPOSITORY[:TAG]]";
    const ARITY: Arity = Arity::AtMost(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let mut conditions = self.filter.clone();
        conditions.extend(self.repository.as_ref().map(|r| Condition::new("reference", r)));
        cx.block_on(async {
            let client = cx.client().await?;
            let lines = client.image_list(self.all, filter::json(&conditions).as_deref()).await?;
            print(&self.draw(&lines)?)?;
            Ok(0)
        })
    }
}

pub(super) const COLUMNS: Columns = Columns {
    kind: "*formatter.imageContext",
    table: r"table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}",
    quiet: "{{.ID}}",
    raw: "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n",
    headings: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("VirtualSize", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
    ],
};

/// One line of the table: an image has one for each of its names.
pub(super) struct Named<'a> {
    pub repository: &'a str,
    pub tag: &'a str,
    pub digest: &'a str,
}

/// What a template finds in a line.
pub(super) fn record(line: &ImageLine, name: &Named<'_>, no_trunc: bool) -> Record {
    let number = |n: i64, text: String| if n < 0 { "N/A".to_owned() } else { text };
    let exact = |n: i64| units::size_exact(n.max(0) as u64);
    COLUMNS.row(json!({
        "ID": if no_trunc { &line.id } else { short_id(&line.id) },
        "Repository": name.repository,
        "Tag": name.tag,
        "Digest": name.digest,
        "CreatedSince": ago(line.created),
        "CreatedAt": moment(line.created),
        "Size": units::size(line.size.max(0) as u64),
        "Containers": number(line.containers, line.containers.to_string()),
        "VirtualSize": exact(line.size),
        "SharedSize": number(line.shared_size, exact(line.shared_size)),
        "UniqueSize": number(line.shared_size, exact(line.size - line.shared_size)),
    }))
}

impl Images {
    fn draw(&self, lines: &[ImageLine]) -> Result<String, Failure> {
        let rows =
            lines.iter().flat_map(|line| self.names(line).into_iter().map(|name| record(line, &name, self.no_trunc)));
        let format = self.format.as_deref().filter(|f| !f.is_empty()).unwrap_or("table");
        if !self.digests {
            return COLUMNS.list(Some(format), self.quiet, rows);
        }
        match format {
            "table" | "raw" if self.quiet => COLUMNS.render(COLUMNS.quiet, rows),
            "table" => COLUMNS.render(&COLUMNS.table.replace(r"{{.Tag}}", r"{{.Tag}}\t{{.Digest}}"), rows),
            "raw" => COLUMNS.render(&COLUMNS.raw.replace("image_id", "digest: {{.Digest}}\nimage_id"), rows),
            f if f.starts_with("table") && !f.contains("{{.Digest}}") => {
                COLUMNS.render(&format!(r"{f}\t{{{{.Digest}}}}"), rows)
            }
            f => COLUMNS.render(f, rows),
        }
    }

    /// Whether digests are asked for; a digest makes no line of its own for an image that has tags.
    fn wants_digests(&self) -> bool {
        self.digests || self.format.as_deref().is_some_and(|f| f.contains("{{.Digest}}"))
    }

    fn names<'a>(&self, line: &'a ImageLine) -> Vec<Named<'a>> {
        const NONE: &str = "<none>";
        let digest_of = |repository: &str| {
            let own = line.repo_digests.iter().filter_map(|d| d.split_once('@'));
            own.filter(|(r, _)| *r == repository && self.wants_digests()).map(|(_, d)| d).next().unwrap_or(NONE)
        };
        let tagged = line.repo_tags.iter().filter(|t| *t != "<none>:<none>").filter_map(|t| t.rsplit_once(':'));
        let mut names: Vec<Named<'a>> =
            tagged.map(|(repository, tag)| Named { repository, tag, digest: digest_of(repository) }).collect();
        if names.is_empty() {
            let digests = line.repo_digests.iter().filter_map(|d| d.split_once('@'));
            let digests = digests.filter(|(r, _)| *r != NONE);
            names.extend(digests.map(|(repository, digest)| Named { repository, tag: NONE, digest }).take(1));
        }
        if names.is_empty() {
            names.push(Named { repository: NONE, tag: NONE, digest: NONE });
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> Images {
        Images {
            all: false,
            digests: false,
            filter: vec![],
            format: None,
            no_trunc: false,
            quiet: false,
            repository: None,
        }
    }

    fn line(tags: &[&str]) -> ImageLine {
        ImageLine {
            id: "sha256:dfb09d2d86fae33e39243cbc32db1e2ed0858b4bec538e16425f6f5e4f822bb0".into(),
            repo_tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            repo_digests: vec!["127.0.0.1:5055/mysql@sha256:62e9".into()],
            created: 0,
            size: 1_984_186,
            ..ImageLine::default()
        }
    }

    #[test]
    fn empty_list_has_dockers_head() {
        assert_eq!(images().draw(&[]).unwrap(), "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n");
    }

    #[test]
    fn every_name_has_its_line() {
        let lines = [line(&["127.0.0.1:5055/mysql:latest", "127.0.0.1:5055/mysql:5.7"])];
        let text = Images { digests: true, ..images() }.draw(&lines).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("127.0.0.1:5055/mysql   5.7       sha256:62e9   dfb09d2d86fa   "), "{text}");
        assert!(text.ends_with("1.98MB\n"));
        assert_eq!(Images { quiet: true, ..images() }.draw(&lines).unwrap(), "dfb09d2d86fa\ndfb09d2d86fa\n");
        assert!(images().draw(&[line(&[])]).unwrap().contains("127.0.0.1:5055/mysql   <none>    dfb09d2d86fa"));
    }

    #[test]
    fn a_format_shows_what_it_names() {
        let lines = [line(&["bb:latest"])];
        let format = |text: &str| Images { format: Some(text.into()), ..images() }.draw(&lines);
        assert_eq!(format("{{.Repository}}:{{.Tag}}").unwrap(), "bb:latest\n");
        assert_eq!(
            format(r"table {{.ID}}\t{{.Repository | upper}}").unwrap(),
            "IMAGE ID       REPOSITORY\ndfb09d2d86fa   BB\n"
        );
        let said = format("{{.Foo}}").unwrap_err().to_string();
        let expected = r#"template parsing error: template: :1:2: executing "" at <.Foo>: can't evaluate field Foo in type *formatter.imageContext"#;
        assert_eq!(said, expected);
    }
}
