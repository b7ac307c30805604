//! The finished book: does every link lead somewhere, and does it open without a network?

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Everything that is wrong with the pages in a directory, one sentence each.
///
/// # Errors
/// A file that can't be read.
pub fn faults(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    let mut files = BTreeSet::new();
    collect(directory, Path::new(""), &mut files)?;
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "html")) {
        let text = std::fs::read_to_string(directory.join(file))?;
        pages.insert(file.clone(), text);
    }
    let ids: BTreeMap<&Path, BTreeSet<&str>> = pages.iter().map(|(page, text)| (page.as_path(), ids(text))).collect();
    let mut faults = vec![];
    for (page, text) in &pages {
        for link in links(text) {
            if let Some(fault) = fault(page, &link, &files, &ids) {
                faults.push(format!("{}: {fault}", page.display()));
            }
        }
    }
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "css")) {
        let text = std::fs::read_to_string(directory.join(file))?;
        if ["url(http", "url(\"http", "url('http", "url(//", "@import"].iter().any(|sign| text.contains(sign)) {
            faults.push(format!("{}: fetches something from elsewhere", file.display()));
        }
    }
    Ok(faults)
}

fn collect(root: &Path, below: &Path, files: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

/// One `href` or `src`.
#[derive(Debug, PartialEq, Eq)]
struct Link<'t> {
    element: &'t str,
    target: &'t str,
}

/// The links of a page. mdBook writes attributes in double quotes, and no `<` inside of them.
fn links(html: &str) -> Vec<Link<'_>> {
    let mut links = vec![];
    for tag in tags(html) {
        let element = tag.split(|c: char| c.is_whitespace()).next().unwrap_or("");
        for name in ["href", "src"] {
            if let Some(target) = attribute(tag, name) {
                links.push(Link { element, target });
            }
        }
    }
    links
}

fn ids(html: &str) -> BTreeSet<&str> {
    tags(html).filter_map(|tag| attribute(tag, "id")).collect()
}

/// The inside of each `<…>` that begins an element.
fn tags(html: &str) -> impl Iterator<Item = &str> {
    html.split('<').skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic())).map(|rest| {
        let mut quoted = false;
        let end = rest.find(|c| {
            quoted ^= c == '"';
            c == '>' && !quoted
        });
        &rest[..end.unwrap_or(rest.len())]
    })
}

fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let start = tag.find(&format!(" {name}=\"")).or_else(|| tag.find(&format!("\n{name}=\"")))? + name.len() + 3;
    tag[start..].split('"').next()
}

fn fault(
    page: &Path,
    link: &Link<'_>,
    files: &BTreeSet<PathBuf>,
    ids: &BTreeMap<&Path, BTreeSet<&str>>,
) -> Option<String> {
    let Link { element, target } = *link;
    if target.starts_with("data:") || target.starts_with("mailto:") || target == "javascript:void(0)" {
        return None;
    }
    if target.contains("://") || target.starts_with("//") {
        // A reader may follow a link; a page may not need one.
        return (element != "a").then(|| format!("<{element}> fetches {target} from elsewhere"));
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = path.split('?').next().unwrap_or("");
    let file = if path.is_empty() { page.to_path_buf() } else { resolve(page, path) };
    if !files.contains(&file) {
        return Some(format!("{target} leads nowhere"));
    }
    let known = ids.get(file.as_path()).is_none_or(|ids| ids.contains(anchor));
    (!anchor.is_empty() && !known).then(|| format!("{target}: there is no such place in that page"))
}

/// Where a relative path leads, seen from a page; outside of the book for what climbs too high.
fn resolve(page: &Path, path: &str) -> PathBuf {
    let mut place = page.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir if !place.pop() => place.push(".."),
            Component::Normal(name) => place.push(name),
            _ => {}
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(files: &[(&str, &str)]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        faults(directory.path()).unwrap()
    }

    #[test]
    fn links_that_lead_somewhere_are_no_faults() {
        let one = "<p id=\"top\"><a href=\"a/two.html#x\">2</a><a class=\"b\" href=\"#top\">t</a>\
                   <script src=\"s.js?v=1\"></script><a href=\"https://example.org/\">out</a>";
        let two = "<h1 id=\"x\">x</h1><a href=\"../one.html\">1</a><code>&lt;a href=\"gone.html\"&gt;</code>";
        assert_eq!(faults_of(&[("one.html", one), ("a/two.html", two), ("s.js", "")]), Vec::<String>::new());
    }

    #[test]
    fn a_dead_link_names_its_page() {
        let page = "<a href=\"gone.html\">x</a><a href=\"#nowhere\">y</a><a href=\"../../README.md\">z</a>";
        let said = faults_of(&[("a/one.html", page)]);
        assert_eq!(
            said,
            [
                "a/one.html: gone.html leads nowhere",
                "a/one.html: #nowhere: there is no such place in that page",
                "a/one.html: ../../README.md leads nowhere"
            ]
        );
    }

    #[test]
    fn a_page_that_needs_the_network_is_a_fault() {
        let page = "<link rel=\"stylesheet\" href=\"https://example.org/f.css\"><img src=\"//example.org/i.png\">";
        let said = faults_of(&[("one.html", page), ("f.css", "@import 'x.css';")]);
        assert_eq!(said.len(), 3, "{said:?}");
    }
}
