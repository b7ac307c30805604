//! Paths of `docker cp`, whose ends mean something: `dir/` is a directory, `dir/.` is what is in it. Pure, on text, for
//! both sides: the rules are those of Go's `path/filepath` and of Docker's archives.

/// The shortest path that means the same, without looking at any file (Go's `filepath.Clean`).
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            name => parts.push(name),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// The last part; `/` for the root, `.` for nothing (Go's `filepath.Base`).
pub fn base(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".",
        "" => "/",
        bare => bare.rsplit('/').next().unwrap_or(bare),
    }
}

/// All but the last part, cleaned (Go's `filepath.Dir`).
pub fn dir(path: &str) -> String {
    clean(&path[..path.rfind('/').map_or(0, |at| at + 1)])
}

/// `dir/`, or `dir/.`: it has to be a directory.
pub fn asserts_directory(path: &str) -> bool {
    has_trailing_slash(path) || is_contents(path)
}

fn has_trailing_slash(path: &str) -> bool {
    path.ends_with('/')
}

/// `dir/.`: not the directory, but what is in it.
pub fn is_contents(path: &str) -> bool {
    base(path) == "."
}

/// Gives a cleaned path back the end that it had.
pub fn keep_end(mut cleaned: String, original: &str) -> String {
    if is_contents(original) && !is_contents(&cleaned) {
        if !has_trailing_slash(&cleaned) {
            cleaned.push('/');
        }
        cleaned.push('.');
    }
    if has_trailing_slash(original) && !has_trailing_slash(&cleaned) {
        cleaned.push('/');
    }
    cleaned
}

/// A path of a container from its root, with the end that it had.
pub fn absolute(path: &str) -> String {
    keep_end(clean(&format!("/{path}")), path)
}

/// Directory and last part of a path of a container; the last part is empty after a slash (Go's `filepath.Split`).
pub fn split(absolute: &str) -> (&str, &str) {
    absolute.split_at(absolute.rfind('/').map_or(0, |at| at + 1))
}

/// Directory and entry that a path names; the entry of `dir/.` is `.`.
pub fn directory_and_entry(path: &str) -> (String, String) {
    let cleaned = match (is_contents(path), clean(path)) {
        (true, cleaned) => format!("{cleaned}/."),
        (false, cleaned) => cleaned,
    };
    (dir(&cleaned), base(&cleaned).to_owned())
}

/// A link was followed: the path to copy from, and the name that the copy gets where it is not the link's target's.
pub fn follow(path: &str, target: &str) -> (String, Option<String>) {
    let resolved = clean(target);
    let contents = is_contents(path);
    let resolved = match () {
        () if contents => format!("{resolved}/."),
        () if has_trailing_slash(path) => format!("{resolved}/"),
        () => resolved,
    };
    let renamed = !contents && base(path) != base(&resolved);
    (resolved, renamed.then(|| base(path).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for (path, cleaned) in [
            ("", "."),
            ("/", "/"),
            ("a//b/./c/..", "a/b"),
            ("/../a", "/a"),
            ("../../a", "../../a"),
            ("a/../..", ".."),
            ("./", "."),
        ] {
            assert_eq!(clean(path), cleaned, "{path:?}");
        }
        assert_eq!((base("/a/b/"), base("/"), base(""), base("a"), base("/a/.")), ("b", "/", ".", "a", "."));
        assert_eq!(
            (dir("/a/b"), dir("a"), dir("/a"), dir("/a/b/")),
            ("/a".into(), ".".into(), "/".into(), "/a/b".into())
        );
    }

    #[test]
    fn the_end_of_a_path_is_kept() {
        for (path, is) in
            [("etc/", "/etc/"), ("/etc/.", "/etc/."), (".", "/."), ("/", "/"), ("a/../b/", "/b/"), ("..", "/")]
        {
            assert_eq!(absolute(path), is, "{path:?}");
        }
        assert_eq!(split("/etc/passwd"), ("/etc/", "passwd"));
        assert_eq!((split("/etc/"), split("/etc/."), split("/")), (("/etc/", ""), ("/etc/", "."), ("/", "")));
        assert_eq!(directory_and_entry("/a/b/."), ("/a/b".into(), ".".into()));
        assert_eq!(directory_and_entry("/a/b/"), ("/a".into(), "b".into()));
    }

    #[test]
    fn a_copy_of_a_links_target_has_the_links_name() {
        assert_eq!(follow("/x/link", "/y/file"), ("/y/file".into(), Some("link".into())));
        assert_eq!(follow("/x/link/", "/y/dir"), ("/y/dir/".into(), Some("link".into())));
        assert_eq!(follow("/x/link/.", "/y/dir"), ("/y/dir/.".into(), None));
        assert_eq!(follow("/x/same", "/y/same"), ("/y/same".into(), None));
    }

    proptest! {
        #[test]
        fn cleaning_twice_is_cleaning_once(path in "[a./]{0,12}") {
            let cleaned = clean(&path);
            prop_assert_eq!(&clean(&cleaned), &cleaned);
            let rooted = clean(&format!("/{path}"));
            prop_assert!(rooted.split('/').all(|part| part != ".."));
        }
    }
}
