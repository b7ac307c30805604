//! `rdock images`: list images.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::short::{ago, short_id};
use super::verb::{Verb, print};
use crate::client::wire::ImageLine;
use crate::ui::{Table, units};
use std::collections::BTreeMap;

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
    filter: Vec<String>,
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
    const ABOUT: &'static str = "List images";
    const USAGE: &'static str = "[OPTIONS] [REPOSITORY[:TAG]]";
    const ARITY: Arity = Arity::AtMost(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let mut conditions = self.filter.clone();
        conditions.extend(self.repository.as_ref().map(|r| format!("reference={r}")));
        let filters = filters(&conditions)?;
        cx.block_on(async {
            let client = cx.client().await?;
            let lines = client.image_list(self.all, filters.as_deref()).await?;
            print(&self.draw(&lines))?;
            Ok(0)
        })
    }
}

/// `key=value` conditions as the API wants them: `{"status":{"exited":true}}`.
pub(super) fn filters(conditions: &[String]) -> Result<Option<String>, Failure> {
    let mut by_key: BTreeMap<String, BTreeMap<&str, bool>> = BTreeMap::new();
    for condition in conditions {
        let Some((key, value)) = condition.split_once('=') else {
            return Err(Failure::new(format!("invalid filter '{condition}': must be in the form key=value")));
        };
        by_key.entry(key.trim().to_ascii_lowercase()).or_default().insert(value.trim(), true);
    }
    let json = || serde_json::to_string(&by_key).map_err(Failure::new);
    if by_key.is_empty() { Ok(None) } else { json().map(Some) }
}

/// One line of the table: an image has one for each of its names.
struct Named<'a> {
    repository: &'a str,
    tag: &'a str,
    digest: &'a str,
}

impl Images {
    fn draw(&self, lines: &[ImageLine]) -> String {
        let id = |line: &ImageLine| if self.no_trunc { line.id.clone() } else { short_id(&line.id).to_owned() };
        let mut table = Table::new(self.head());
        let mut ids = Vec::new();
        for line in lines {
            for name in self.names(line) {
                let mut row = vec![name.repository.to_owned(), name.tag.to_owned()];
                if self.digests {
                    row.push(name.digest.to_owned());
                }
                row.extend([id(line), ago(line.created), units::size(line.size.max(0) as u64)]);
                table.row(row);
                ids.push(id(line));
            }
        }
        if self.quiet {
            return ids.iter().map(|id| format!("{id}\n")).collect();
        }
        table.to_string()
    }

    fn head(&self) -> Vec<String> {
        let mut head = vec!["REPOSITORY", "TAG"];
        if self.digests {
            head.push("DIGEST");
        }
        head.extend(["IMAGE ID", "CREATED", "SIZE"]);
        head.into_iter().map(str::to_owned).collect()
    }

    fn names<'a>(&self, line: &'a ImageLine) -> Vec<Named<'a>> {
        const NONE: &str = "<none>";
        let digest_of = |repository: &str| {
            let own = line.repo_digests.iter().filter_map(|d| d.split_once('@'));
            own.filter(|(r, _)| *r == repository).map(|(_, d)| d).next().unwrap_or(NONE)
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
        Images { all: false, digests: false, filter: vec![], no_trunc: false, quiet: false, repository: None }
    }

    fn line(tags: &[&str]) -> ImageLine {
        ImageLine {
            id: "sha256:dfb09d2d86fae33e39243cbc32db1e2ed0858b4bec538e16425f6f5e4f822bb0".into(),
            repo_tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            repo_digests: vec!["127.0.0.1:5055/mysql@sha256:62e9".into()],
            created: 0,
            size: 1_984_186,
        }
    }

    #[test]
    fn empty_list_has_dockers_head() {
        assert_eq!(images().draw(&[]), "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n");
    }

    #[test]
    fn every_name_has_its_line() {
        let lines = [line(&["127.0.0.1:5055/mysql:latest", "127.0.0.1:5055/mysql:5.7"])];
        let text = Images { digests: true, ..images() }.draw(&lines);
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("127.0.0.1:5055/mysql   5.7       sha256:62e9   dfb09d2d86fa   "), "{text}");
        assert!(text.ends_with("1.98MB\n"));
        assert_eq!(Images { quiet: true, ..images() }.draw(&lines), "dfb09d2d86fa\ndfb09d2d86fa\n");
        assert!(images().draw(&[line(&[])]).contains("127.0.0.1:5055/mysql   <none>    dfb09d2d86fa"));
    }

    #[test]
    fn conditions_become_the_apis_json() {
        let text = |list: &[&str]| filters(&list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(text(&[]), Ok(None));
        assert_eq!(
            text(&["status=exited", "status=created"]),
            Ok(Some(r#"{"status":{"created":true,"exited":true}}"#.into()))
        );
        assert!(text(&["nonsense"]).is_err());
    }
}
