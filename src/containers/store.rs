//! Where containers live between commands: `data/containers/<id>/`, one directory each, an OCI bundle besides.
//!
//! ```text
//! container.json   what rdock knows of it ([`Record`]); a directory without it is half-made and goes at the next start
//! config.json      the OCI runtime spec, written anew at each start
//! hostname  hosts  resolv.conf      bound over the files of the same name below /etc
//! <id>-json.log    output         exit.json    how it ended (the shim writes both)
//! upper/  work/    the writable layer            merged/  where the layers are joined
//! ```

use super::state::State;
use bollard_stubs::models::ContainerCreateBody;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Version of the record's layout.
const VERSION: u32 = 1;

/// All that rdock keeps of one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    /// 64 hex characters.
    pub id: String,
    /// Without the slash that the API puts before it.
    pub name: String,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// The image's id: `sha256:…`.
    pub image: String,
    pub state: State,
    pub layers: Layers,
    /// What the client asked for, joined with the image's own configuration.
    pub config: ContainerCreateBody,
}

/// The image's read-only layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Directory that the paths in `lower` start from.
    pub base: PathBuf,
    /// Topmost first.
    pub lower: Vec<PathBuf>,
}

impl Record {
    pub fn new(id: String, name: String, image: String, config: ContainerCreateBody) -> Record {
        Record {
            version: VERSION,
            id,
            name,
            created: super::clock::now(),
            image,
            state: State::default(),
            layers: Layers::default(),
            config,
        }
    }

    /// `82893955fb41`
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// `docker run --rm`: gone when it has ended, so nothing of it need survive a crash of the machine.
    pub fn auto_remove(&self) -> bool {
        let host = self.config.host_config.as_ref();
        host.and_then(|h| h.auto_remove).unwrap_or(false)
    }
}

/// The paths of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    pub dir: PathBuf,
    id: String,
}

impl Bundle {
    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
    pub fn config(&self) -> PathBuf {
        self.at("config.json")
    }
    pub fn hostname(&self) -> PathBuf {
        self.at("hostname")
    }
    pub fn hosts(&self) -> PathBuf {
        self.at("hosts")
    }
    pub fn resolv_conf(&self) -> PathBuf {
        self.at("resolv.conf")
    }
    pub fn log(&self) -> PathBuf {
        self.at(&format!("{}-json.log", self.id))
    }
    pub fn exit(&self) -> PathBuf {
        self.at("exit.json")
    }
    pub fn upper(&self) -> PathBuf {
        self.at("upper")
    }
    pub fn work(&self) -> PathBuf {
        self.at("work")
    }
    pub fn merged(&self) -> PathBuf {
        self.at("merged")
    }
}

/// A file of the store could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path}: {source}")]
pub struct StoreError {
    pub step: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

fn failed<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError { step, path: path.to_owned(), source }
}

/// What was found at the start.
#[derive(Debug, Default)]
pub struct Loaded {
    pub records: Vec<Record>,
    /// Names below the store's root that are no whole container: to be deleted.
    pub half_made: Vec<String>,
    /// Names below [`Store::removed`]: what a daemon had no time to delete.
    pub removed: Vec<String>,
    /// Records that can't be read; their directories are left alone, since they may hold somebody's files.
    pub unreadable: Vec<StoreError>,
}

/// The directory of all containers.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    removed: PathBuf,
}

impl Store {
    /// Opens `root`, and `removed` beside it, making them if need be (readable for their owner only).
    ///
    /// # Errors
    /// What mkdir(2) answers.
    pub fn open(root: PathBuf) -> Result<Store, StoreError> {
        let removed = root.with_file_name("removed");
        for dir in [&root, &removed] {
            make_dir(dir).map_err(failed("make", dir))?;
        }
        Ok(Store { root, removed })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the directories of removed containers are until they are deleted; on the same file system.
    pub fn removed(&self) -> &Path {
        &self.removed
    }

    pub fn bundle(&self, id: &str) -> Bundle {
        Bundle { dir: self.root.join(id), id: id.into() }
    }

    /// Makes the directory of a new container and its network files. It is no container until [`Store::save`].
    ///
    /// # Errors
    /// What the system answers; what was made so far is half-made and goes at the next start at the latest.
    pub fn make(&self, id: &str, hostname: &str, domain: &str, network: &NetworkFiles) -> Result<Bundle, StoreError> {
        let bundle = self.bundle(id);
        make_dir(&bundle.dir).map_err(failed("make", &bundle.dir))?;
        let hosts = hosts(hostname, domain, &network.hosts);
        let files = [
            (bundle.hostname(), format!("{hostname}\n").into_bytes()),
            (bundle.hosts(), hosts.into_bytes()),
            (bundle.resolv_conf(), network.resolv_conf()),
        ];
        for (path, bytes) in files {
            // Every user of the container reads them: the mode must not depend on the daemon's umask.
            write(&path, &bytes, Durability::Process, 0o644).map_err(failed("write", &path))?;
        }
        Ok(bundle)
    }

    /// Writes the record, atomically: a reader sees the old one or the new one. It survives a crash of the machine,
    /// unless the container need not.
    ///
    /// # Errors
    /// What the system answers; the old record is then still there.
    pub fn save(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.root.join(&record.id).join("container.json");
        let durability = if record.auto_remove() { Durability::Process } else { Durability::Machine };
        serde_json::to_vec_pretty(record)
            .map_err(io::Error::from)
            .and_then(|bytes| write(&path, &bytes, durability, 0o600))
            .map_err(failed("write", &path))
    }

    /// Writes the OCI runtime spec. It is made anew at each start, so it need not survive a crash.
    ///
    /// # Errors
    /// What the system answers.
    pub fn save_spec(&self, id: &str, spec: &serde_json::Value) -> Result<(), StoreError> {
        let path = self.bundle(id).config();
        serde_json::to_vec_pretty(spec)
            .map_err(io::Error::from)
            .and_then(|bytes| write(&path, &bytes, Durability::Process, 0o600))
            .map_err(failed("write", &path))
    }

    /// Reads all containers.
    ///
    /// # Errors
    /// Only when the root itself can't be read.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        let aside = fs::read_dir(&self.removed).map_err(failed("read", &self.removed))?;
        loaded.removed.extend(aside.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()));
        let entries = fs::read_dir(&self.root).map_err(failed("read", &self.root))?;
        for entry in entries {
            let entry = entry.map_err(failed("read", &self.root))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path().join("container.json");
            match fs::read(&path) {
                // Empty: the machine crashed while it was written for the first time.
                Ok(bytes) if bytes.is_empty() => loaded.half_made.push(name),
                Ok(bytes) => match parse(&bytes, &name) {
                    Ok(record) => loaded.records.push(record),
                    Err(error) => loaded.unreadable.push(failed("read", &path)(error)),
                },
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    loaded.half_made.push(name);
                }
                Err(error) => loaded.unreadable.push(failed("read", &path)(error)),
            }
        }
        loaded.records.sort_by(|a, b| a.created.cmp(&b.created));
        Ok(loaded)
    }
}

fn parse(bytes: &[u8], directory: &str) -> io::Result<Record> {
    let record: Record = serde_json::from_slice(bytes)?;
    let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    if record.version != VERSION {
        return wrong(format!("version {} is not known", record.version));
    }
    if record.id != directory {
        return wrong(format!("it is of container {}", record.id));
    }
    Ok(record)
}

/// What a file survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// The end of this process at any moment: rename(2) alone.
    Process,
    /// A crash of the machine: fsync(2) of the file and of its directory.
    Machine,
}

fn make_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o711).create(path)
}

fn write(path: &Path, bytes: &[u8], durability: Durability, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    if durability == Durability::Machine {
        file.as_file().sync_all()?;
    }
    file.persist(path)?;
    if durability == Durability::Machine {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// hosts(5) of a container that has no network but loopback.
fn hosts(hostname: &str, domain: &str, more: &[String]) -> String {
    let own = if domain.is_empty() { hostname.to_owned() } else { format!("{hostname}.{domain} {hostname}") };
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    // What was asked for comes before the container's own name, as Docker writes it.
    for (name, address) in more.iter().filter_map(|entry| entry.split_once(':')) {
        let address = if address == "host-gateway" { "127.0.0.1" } else { address };
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text.push_str(&format!("127.0.0.1\t{own}\n"));
    text
}

/// What a container is to know of names and addresses besides its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkFiles {
    /// `name:address`
    pub hosts: Vec<String>,
    pub servers: Vec<String>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

impl NetworkFiles {
    /// `--add-host`, `--dns`, `--dns-search`, `--dns-option`
    pub fn of(config: &ContainerCreateBody) -> NetworkFiles {
        let Some(host) = &config.host_config else { return NetworkFiles::default() };
        let list = |l: &Option<Vec<String>>| l.clone().unwrap_or_default();
        NetworkFiles {
            hosts: list(&host.extra_hosts),
            servers: list(&host.dns),
            search: list(&host.dns_search),
            options: list(&host.dns_options),
        }
    }

    /// The host's resolv.conf(5), with what was asked for in place of its own lines of that kind.
    fn resolv_conf(&self) -> Vec<u8> {
        let host = fs::read("/etc/resolv.conf").unwrap_or_default();
        if self.servers.is_empty() && self.search.is_empty() && self.options.is_empty() {
            return host;
        }
        let replaced = [
            ("nameserver", !self.servers.is_empty()),
            ("search", !self.search.is_empty()),
            ("domain", !self.search.is_empty()),
            ("options", !self.options.is_empty()),
        ];
        let host = String::from_utf8_lossy(&host).into_owned();
        let kept = host.lines().filter(|line| {
            let word = line.split_whitespace().next().unwrap_or("#");
            !word.starts_with(['#', ';']) && !replaced.iter().any(|(name, on)| *on && *name == word)
        });
        let mut lines: Vec<String> = kept.map(str::to_owned).collect();
        lines.extend(self.servers.iter().map(|server| format!("nameserver {server}")));
        // A single dot asks for no search at all.
        let search: Vec<&str> = self.search.iter().map(String::as_str).filter(|s| *s != ".").collect();
        if !search.is_empty() {
            lines.push(format!("search {}", search.join(" ")));
        }
        if !self.options.is_empty() {
            lines.push(format!("options {}", self.options.join(" ")));
        }
        lines.push(String::new());
        lines.join("\n").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record {
        Record::new(id.into(), "bold_carver".into(), "sha256:00".into(), ContainerCreateBody::default())
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("containers")).unwrap();
        (dir, store)
    }

    #[test]
    fn a_saved_record_is_loaded_again() {
        let (_dir, store) = store();
        let mut record = record("aa11");
        store.make("aa11", "aa11", "", &NetworkFiles::default()).unwrap();
        store.save(&record).unwrap();
        record.state.started(7, "2026-11-23T20:09:44Z").unwrap();
        store.save(&record).unwrap();
        let loaded = store.load().unwrap();
        assert_eq!(loaded.records, [record]);
        assert!(loaded.half_made.is_empty() && loaded.unreadable.is_empty());
        let names: Vec<_> = fs::read_dir(store.root().join("aa11")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 4, "no temporary file stays: {names:?}");
    }

    #[test]
    fn a_directory_without_a_record_is_half_made() {
        let (_dir, store) = store();
        store.make("bb22", "bb22", "", &NetworkFiles::default()).unwrap();
        store.make("cc33", "cc33", "", &NetworkFiles::default()).unwrap();
        fs::write(store.root().join("cc33/container.json"), "").unwrap();
        fs::write(store.root().join(".deleting-x-0"), "").unwrap();
        let mut half_made = store.load().unwrap().half_made;
        half_made.sort();
        assert_eq!(half_made, [".deleting-x-0", "bb22", "cc33"]);
    }

    #[test]
    fn a_record_that_cant_be_read_is_told_and_left_alone() {
        let (_dir, store) = store();
        store.make("dd44", "dd44", "", &NetworkFiles::default()).unwrap();
        fs::write(store.root().join("dd44/container.json"), "{").unwrap();
        store.make("ee55", "ee55", "", &NetworkFiles::default()).unwrap();
        let other = record("ff66");
        fs::write(store.root().join("ee55/container.json"), serde_json::to_vec(&other).unwrap()).unwrap();
        let loaded = store.load().unwrap();
        assert_eq!(loaded.unreadable.len(), 2);
        assert!(loaded.half_made.is_empty() && loaded.records.is_empty());
    }

    #[test]
    fn network_files_name_the_container() {
        let (_dir, store) = store();
        let bundle = store.make("ab12", "web", "lab", &NetworkFiles::default()).unwrap();
        assert_eq!(fs::read_to_string(bundle.hostname()).unwrap(), "web\n");
        let hosts = fs::read_to_string(bundle.hosts()).unwrap();
        assert!(hosts.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(hosts.ends_with("127.0.0.1\tweb.lab web\n"));
        assert!(bundle.resolv_conf().exists());
        assert!(bundle.log().ends_with("ab12/ab12-json.log"));
    }
}
