//! What a container has written, read from the json-file log that its shim keeps (`src/shim/log.rs`).
//!
//! - `files`: the file that is written to and those that rotation has left, in order;
//! - `tail`: where the last lines begin, found from the end;
//! - `record`: one record of the log as a client gets it;
//! - [`Watcher`]: who follows is woken by inotify(7).
//!
//! The daemon only reads. A reader holds the files that it reads open, and rotation never truncates one, so nothing
//! is missed and nothing comes twice.

pub(super) mod files;
mod record;
pub(super) mod tail;
mod watch;

pub(super) use files::Reader;
pub(super) use record::Form;
pub(super) use watch::Watcher;

use super::error::ContainerError;
use crate::shim::protocol::LogLimit;
use bollard_stubs::models::ContainerCreateBody;
use std::collections::HashMap;

/// What of a log is wanted, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub stdout: bool,
    pub stderr: bool,
    /// Go on with what is written from now on, until the container ends.
    pub follow: bool,
    /// Nanoseconds since 1970.
    pub since: Option<i64>,
    pub until: Option<i64>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Each line begins with the labels and variables that `--log-opt` names.
    pub details: bool,
    /// The last so many lines.
    pub tail: Option<u64>,
}

/// What moby's json-file driver knows.
const OPTIONS: [&str; 10] = [
    "max-size",
    "max-file",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
];

/// The log driver and its options, checked as moby checks them.
///
/// # Errors
/// A driver or an option that is not known, a size that is none.
pub(super) fn check(driver: &str, options: &HashMap<String, String>) -> Result<(), ContainerError> {
    let wrong = |words: String| Err(ContainerError::LogOption(words));
    match driver {
        "" | "json-file" => {}
        "none" => return Ok(()),
        other => return wrong(format!("logger: no log driver named '{other}' is registered")),
    }
    let mut names: Vec<_> = options.keys().collect();
    names.sort();
    if let Some(unknown) = names.into_iter().find(|name| !OPTIONS.contains(&name.as_str())) {
        return wrong(format!("unknown log opt '{unknown}' for json-file log driver"));
    }
    if let Some(size) = options.get("max-size")
        && size_in_bytes(size).is_none_or(|bytes| bytes == 0)
    {
        return wrong(format!("invalid value for max-size: {size}: must be a positive number, like 10m"));
    }
    if let Some(files) = options.get("max-file") {
        match files.parse::<i64>() {
            Err(_) => return wrong(format!("strconv.Atoi: parsing {files:?}: invalid syntax")),
            Ok(..1) => return wrong("max-file cannot be less than 1".into()),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// What the shim must know of a container's log.
pub(super) fn limit(config: &ContainerCreateBody) -> LogLimit {
    let log = config.host_config.as_ref().and_then(|h| h.log_config.as_ref());
    let Some(options) = log.and_then(|l| l.config.as_ref()) else { return LogLimit::default() };
    let names = |key: &str| options.get(key).map(|list| list.split(',').collect::<Vec<_>>()).unwrap_or_default();
    let labels = config.labels.clone().unwrap_or_default();
    let env: HashMap<&str, &str> = config.env.iter().flatten().filter_map(|e| e.split_once('=')).collect();
    let labels = names("labels").into_iter().filter_map(|name| labels.get(name).map(|v| (name.to_owned(), v.clone())));
    let variables =
        names("env").into_iter().filter_map(|name| env.get(name).map(|v| (name.to_owned(), (*v).to_owned())));
    LogLimit {
        max_size: options.get("max-size").and_then(|size| size_in_bytes(size)),
        max_files: options.get("max-file").and_then(|n| n.parse().ok()).unwrap_or(1),
        attrs: labels.chain(variables).collect(),
    }
}

/// `10m`, `512k`, `1.5gb`: binary steps, as Docker reads sizes.
fn size_in_bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let exponent = match lower[number.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    let value = number.trim().parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0)?;
    Some((value * 1024f64.powi(exponent)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn wrong_options_are_refused_in_dockers_words() {
        for (driver, pairs, words) in [
            ("json-file", &[("colour", "red")][..], "unknown log opt 'colour' for json-file log driver"),
            ("", &[("max-file", "0")], "max-file cannot be less than 1"),
            ("", &[("max-file", "x")], "strconv.Atoi: parsing \"x\": invalid syntax"),
            ("", &[("max-size", "lots")], "invalid value for max-size: lots: must be a positive number, like 10m"),
            ("nosuch", &[], "logger: no log driver named 'nosuch' is registered"),
        ] {
            let error = check(driver, &options(pairs)).unwrap_err();
            assert_eq!(error.to_string(), words);
            assert_eq!(error.kind(), crate::oci::ErrorKind::BadParameter);
        }
        assert!(check("json-file", &options(&[("max-size", "10m"), ("max-file", "3")])).is_ok());
        assert!(check("none", &options(&[])).is_ok());
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in
            [("10", 10), ("1k", 1024), ("10m", 10 << 20), ("1.5g", 3 << 29), ("2KiB", 2048), ("1MB", 1 << 20)]
        {
            assert_eq!(size_in_bytes(text), Some(bytes), "{text}");
        }
        assert_eq!((size_in_bytes("-1"), size_in_bytes("m"), size_in_bytes("")), (None, None, None));
    }
}
