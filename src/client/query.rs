//! Paths and queries of requests, escaped as RFC 3986 wants it.

use std::fmt::Write as _;

/// A query under construction, `?` included. Parameters with an empty value or `false` are left out by the callers.
#[derive(Debug, Default, Clone)]
pub struct Query(String);

impl Query {
    pub fn new() -> Query {
        Query::default()
    }

    /// Adds `key=value`.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Query {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        escape(key, "", &mut self.0);
        self.0.push('=');
        escape(value, "", &mut self.0);
        self
    }

    /// Adds `key=1` when `on`.
    #[must_use]
    pub fn flag(self, key: &str, on: bool) -> Query {
        if on { self.with(key, "1") } else { self }
    }

    /// Adds `key=value` when there is one.
    #[must_use]
    pub fn maybe(self, key: &str, value: Option<&str>) -> Query {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name as part of a path: `127.0.0.1:5001/lab/alpine` stays readable, everything odd is escaped.
pub fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    escape(name, "/:@", &mut out);
    out
}

fn escape(text: &str, also: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            other if also.as_bytes().contains(&other) => out.push(other as char),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_written_as_docker_writes_them() {
        let q = Query::new().with("fromImage", "docker.io/library/centos").with("tag", "latest");
        assert_eq!(q.as_str(), "?fromImage=docker.io%2Flibrary%2Fcentos&tag=latest");
        let q = Query::new().flag("all", true).flag("size", false).maybe("name", None);
        assert_eq!(q.as_str(), "?all=1");
    }

    #[test]
    fn names_keep_what_a_path_may_hold() {
        assert_eq!(segment("127.0.0.1:5001/lab/alpine"), "127.0.0.1:5001/lab/alpine");
        assert_eq!(segment("a b?c#d%"), "a%20b%3Fc%23d%25");
    }
}
