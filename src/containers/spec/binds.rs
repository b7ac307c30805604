//! What of the host is shown in a container, and file systems in memory: `--volume`, `--mount`, `--tmpfs`.

use super::SpecError;
use bollard_stubs::models::{HostConfig, Mount as Asked, MountType};
use oci_spec::runtime::Mount;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// What all file systems in memory have unless something else is said (moby, oci/defaults).
const TMPFS: [&str; 3] = ["noexec", "nosuid", "nodev"];

/// One thing to mount, whichever option asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub source: PathBuf,
    pub target: PathBuf,
    pub read_only: bool,
    pub recursive: bool,
    pub propagation: String,
    /// `--volume` makes a source that is not there; `--mount` does not.
    pub make_source: bool,
    /// What stood behind the second colon, as `docker inspect` shows it.
    pub mode: String,
}

/// Without `.` and doubled slashes; `..` as Go's path.Clean takes it away.
fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}

fn refused<T>(words: impl Into<String>) -> Result<T, SpecError> {
    Err(SpecError::Refused(words.into()))
}

/// A place in the container: absolute, and not the root.
fn target(text: &str, whole: impl Fn(String) -> String) -> Result<PathBuf, SpecError> {
    if text.contains('\0') {
        return Err(SpecError::Nul(text.replace('\0', "\\0")));
    }
    if !text.starts_with('/') {
        return refused(whole(format!("invalid mount path: '{text}' mount path must be absolute")));
    }
    match clean(text) {
        root if root == Path::new("/") => refused(whole("invalid specification: destination can't be '/'".into())),
        path => Ok(path),
    }
}

/// All shares of the host, in the order of the options.
///
/// # Errors
/// [`SpecError`] in Docker's words.
pub fn shares(host: &HostConfig) -> Result<Vec<Share>, SpecError> {
    let binds = host.binds.iter().flatten().map(|spec| bind(spec));
    let mounts = host.mounts.iter().flatten().filter(|m| m.typ != Some(MountType::TMPFS)).map(mount);
    binds.chain(mounts).collect()
}

/// `SOURCE:TARGET[:OPTIONS]`
fn bind(spec: &str) -> Result<Share, SpecError> {
    let invalid = |why: String| format!("invalid volume specification: '{spec}': {why}");
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, place, mode) = match parts[..] {
        [source, place] if !source.is_empty() && !place.is_empty() => (source, place, ""),
        [source, place, mode] if !source.is_empty() && !place.is_empty() => (source, place, mode),
        _ => return refused(format!("invalid volume specification: '{spec}'")),
    };
    let mut share = Share {
        source: clean(source),
        target: PathBuf::new(),
        read_only: false,
        recursive: true,
        propagation: "rprivate".into(),
        make_source: true,
        mode: mode.into(),
    };
    for option in mode.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" | "readonly" => share.read_only = true,
            // Labels are SELinux's; consistency is for other systems; both say nothing here, as with Docker.
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" | "default" => {}
            "private" | "rprivate" | "slave" | "rslave" => share.propagation = option.into(),
            "shared" | "rshared" => return Err(SpecError::NotYet("mounts that show on the host (shared propagation)")),
            "nocopy" if !source.starts_with('/') => {}
            _ => return refused(format!("invalid mode: {mode}")),
        }
    }
    share.target = target(place, |why| invalid(format!("invalid mount config for type \"bind\": {why}")))?;
    if !source.starts_with('/') {
        return Err(SpecError::NotYet("named volumes"));
    }
    Ok(share)
}

fn mount(asked: &Asked) -> Result<Share, SpecError> {
    let kind = asked.typ.map(|t| t.to_string()).unwrap_or_default();
    let invalid = |why: String| format!("invalid mount config for type \"{kind}\": {why}");
    match asked.typ {
        Some(MountType::BIND) => {}
        Some(MountType::VOLUME) => return Err(SpecError::NotYet("volumes")),
        _ => return refused(invalid("mount type unknown".into())),
    }
    let source = asked.source.as_deref().unwrap_or("");
    let place = asked.target.as_deref().unwrap_or("");
    if place.is_empty() {
        return refused(invalid("field Target must not be empty".into()));
    }
    let target = target(place, invalid)?;
    if source.is_empty() {
        return refused(invalid("field Source must not be empty".into()));
    }
    if !source.starts_with('/') {
        return refused(invalid(format!("invalid mount path: '{source}' mount path must be absolute")));
    }
    let options = asked.bind_options.clone().unwrap_or_default();
    let propagation = options.propagation.map(|p| p.to_string()).filter(|p| !p.is_empty());
    if matches!(propagation.as_deref(), Some("shared" | "rshared")) {
        return Err(SpecError::NotYet("mounts that show on the host (shared propagation)"));
    }
    Ok(Share {
        source: clean(source),
        target,
        read_only: asked.read_only.unwrap_or(false),
        recursive: !options.non_recursive.unwrap_or(false),
        propagation: propagation.unwrap_or_else(|| "rprivate".into()),
        make_source: options.create_mountpoint.unwrap_or(false),
        mode: String::new(),
    })
}

/// File systems in memory: where, and with which options.
///
/// # Errors
/// [`SpecError`] in Docker's words.
pub fn in_memory(host: &HostConfig) -> Result<Vec<(PathBuf, Vec<String>)>, SpecError> {
    let mut all = vec![];
    let mut places: Vec<_> = host.tmpfs.iter().flatten().collect();
    places.sort();
    for (place, options) in places {
        all.push((target(place, |why| why)?, tmpfs_options(options)?));
    }
    for asked in host.mounts.iter().flatten().filter(|m| m.typ == Some(MountType::TMPFS)) {
        let invalid = |why: String| format!("invalid mount config for type \"tmpfs\": {why}");
        if asked.source.as_deref().is_some_and(|s| !s.is_empty()) {
            return refused(invalid("field Source must not be specified".into()));
        }
        let place = target(asked.target.as_deref().unwrap_or(""), invalid)?;
        let mut options: Vec<String> = TMPFS.map(str::to_owned).to_vec();
        let said = asked.tmpfs_options.clone().unwrap_or_default();
        options.extend(said.mode.filter(|m| *m != 0).map(|mode| format!("mode={mode:o}")));
        options.extend(said.size_bytes.filter(|s| *s != 0).map(|size| format!("size={size}")));
        options.extend(asked.read_only.unwrap_or(false).then(|| "ro".to_owned()));
        all.push((place, options));
    }
    Ok(all)
}

/// Docker's own options, then what was said; of two that exclude each other the later one counts.
fn tmpfs_options(said: &str) -> Result<Vec<String>, SpecError> {
    const OPPOSITES: [(&str, &str); 7] = [
        ("ro", "rw"),
        ("noexec", "exec"),
        ("nosuid", "suid"),
        ("nodev", "dev"),
        ("sync", "async"),
        ("noatime", "atime"),
        ("nodiratime", "diratime"),
    ];
    const PROPAGATION: [&str; 4] = ["private", "rprivate", "slave", "rslave"];
    const DATA: [&str; 6] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];
    let mut options: Vec<String> = TMPFS.map(str::to_owned).to_vec();
    for option in said.split(',').filter(|o| !o.is_empty()) {
        let name = option.split('=').next().unwrap_or_default();
        let other = OPPOSITES.iter().find_map(|(a, b)| match () {
            () if *a == option => Some(*b),
            () if *b == option => Some(*a),
            () => None,
        });
        let known = other.is_some()
            || matches!(option, "defaults" | "relatime" | "strictatime" | "norelatime")
            || PROPAGATION.contains(&option)
            || (option.contains('=') && DATA.contains(&name));
        if !known {
            return refused(format!("invalid tmpfs option [{option:?}]"));
        }
        options.retain(|o| Some(o.as_str()) != other && !(option.contains('=') && o.starts_with(&format!("{name}="))));
        options.push(option.to_owned());
    }
    Ok(options.into_iter().filter(|o| !matches!(o.as_str(), "async" | "atime" | "diratime" | "norelatime")).collect())
}

/// Nothing twice at one place.
pub(super) fn check(host: &HostConfig) -> Result<(), SpecError> {
    let mut seen = BTreeSet::new();
    let shares = shares(host)?.into_iter().map(|s| s.target);
    for place in shares.chain(in_memory(host)?.into_iter().map(|(place, _)| place)) {
        if !seen.insert(place.clone()) {
            return refused(format!("Duplicate mount point: {}", place.display()));
        }
    }
    Ok(())
}

/// As mounts of the spec, a directory before what lies below it.
pub(super) fn mounts(host: &HostConfig) -> Vec<Mount> {
    let mut all: Vec<Mount> = vec![];
    for share in shares(host).unwrap_or_default() {
        let mut options = vec![if share.recursive { "rbind" } else { "bind" }.to_owned(), share.propagation];
        options.extend(share.read_only.then(|| "ro".to_owned()));
        let mut mount = Mount::default();
        mount.set_destination(share.target).set_typ(Some("bind".into())).set_source(Some(share.source));
        mount.set_options(Some(options));
        all.push(mount);
    }
    for (place, options) in in_memory(host).unwrap_or_default() {
        let mut mount = Mount::default();
        mount.set_destination(place).set_typ(Some("tmpfs".into())).set_source(Some("tmpfs".into()));
        mount.set_options(Some(options));
        all.push(mount);
    }
    all.sort_by_key(|mount| mount.destination().components().count());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_tmpfs_are_joined_with_dockers() {
        let with = |said: &str| tmpfs_options(said).unwrap().join(",");
        assert_eq!(with(""), "noexec,nosuid,nodev");
        assert_eq!(with("exec,size=1m,size=2m,ro"), "nosuid,nodev,exec,size=2m,ro");
        assert_eq!(tmpfs_options("foo").unwrap_err().to_string(), "invalid tmpfs option [\"foo\"]");
    }

    #[test]
    fn binds_are_read_and_refused_in_dockers_words() {
        let share = bind("/a//b/../c:/d/./e:ro,z").unwrap();
        assert_eq!((share.source.to_str(), share.target.to_str(), share.read_only), (Some("/a/c"), Some("/d/e"), true));
        for (spec, words) in [
            (
                "/a:b",
                "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
            ),
            (
                "/a:/",
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
            ("/a:/b:ro:z", "invalid volume specification: '/a:/b:ro:z'"),
            (":/b", "invalid volume specification: ':/b'"),
            ("/a:/b:bogus", "invalid mode: bogus"),
        ] {
            assert_eq!(bind(spec).unwrap_err().to_string(), words);
        }
    }
}
