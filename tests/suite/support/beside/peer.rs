//! A real dockerd, started once for a test run, that rdock is compared with.
//!
//! Its supervisor is a shell script (`peer.sh`) that waits for the end of a pipe whose other end this process holds.
//! However a test run ends (also killed), the pipe ends with it, and the supervisor ends dockerd with all that it made.

use super::super::hub::HubStore;
use super::super::lab::{Answer, PATH, run};
use super::super::{Lab, eventually};
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Images of the lab that can be had in a peer.
pub const IMAGES: [&str; 3] = ["busybox", "centos", "hello-world"];

/// A start takes two seconds on a machine at rest.
const START: Duration = Duration::from_secs(90);

/// A dockerd of its own, below a temporary directory.
pub struct Peer {
    dir: PathBuf,
    bridge: String,
    group: String,
    supervisor: Child,
}

impl Peer {
    /// Starts one; it ends when this value goes. The error is why it can't be had here, with the end of its log.
    pub fn start() -> Result<Peer, String> {
        let mut random = [0; 4];
        let mut source = std::fs::File::open("/dev/urandom").map_err(|e| e.to_string())?;
        source.read_exact(&mut random).map_err(|e| e.to_string())?;
        let tag: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let dir = std::env::temp_dir().join(format!("rdpeer{tag}"));
        std::fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let (bridge, group) = (format!("rdpeer{tag}"), format!("rdpeer-{tag}"));
        // 198.18.0.0/15 is for benchmarks (RFC 2544): nobody routes there.
        let subnet = format!("198.18.{}.1/24", random[0]);
        let mut command = Command::new("setsid");
        command.args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
        command.arg(include_str!("peer.sh")).env_clear().env("PATH", PATH).current_dir("/");
        command.env("PEER", &dir).env("BRIDGE", &bridge).env("GROUP", &group).env("SUBNET", subnet);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let supervisor = command.spawn().map_err(|e| format!("setsid: {e}"))?;
        let mut peer = Peer { dir, bridge, group, supervisor };
        let socket = peer.socket();
        let answers = || UnixStream::connect(&socket).is_ok() && peer_answers(&socket);
        let mut ended = false;
        let _ = eventually(START, || {
            ended = peer.supervisor.try_wait().is_ok_and(|s| s.is_some());
            ended || answers()
        });
        if ended || !answers() {
            let log = std::fs::read_to_string(peer.dir.join("dockerd.log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            return Err(format!("dockerd does not start here: {}", last.join(" / ")));
        }
        Ok(peer)
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Where all its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `docker ARGS…` on this daemon.
    #[must_use]
    pub fn docker(&self, args: &[&str]) -> Answer {
        let mut command = Command::new("docker");
        command.env_clear().env("PATH", PATH).env("HOME", &self.dir).env("DOCKER_HOST", self.host());
        command.args(args).stdin(Stdio::null());
        run(command, b"")
    }

    /// Makes it hold no container, no volume, and of images exactly those of the lab that are named.
    pub fn reset(&self, images: &[&str]) {
        let lines =
            |args: &[&str]| -> Vec<String> { self.docker(args).ok().stdout.lines().map(str::to_owned).collect() };
        let remove = |verb: &[&str], what: Vec<String>| {
            if !what.is_empty() {
                let args = verb.iter().copied().chain(what.iter().map(String::as_str)).collect::<Vec<_>>();
                let _ = self.docker(&args).ok();
            }
        };
        remove(&["rm", "-f", "-v"], lines(&["ps", "-aq"]));
        remove(&["volume", "rm", "-f"], lines(&["volume", "ls", "-q"]));
        let kept: Vec<String> = images.iter().map(|i| format!("{i}:latest")).collect();
        let there = lines(&["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
        let (good, others): (Vec<_>, Vec<_>) =
            there.into_iter().partition(|l| kept.iter().any(|k| l.starts_with(&format!("{k} "))));
        let id = |line: &String| line.rsplit(' ').next().unwrap_or_default().to_owned();
        let mut ids: Vec<String> = others.iter().map(id).collect();
        ids.sort();
        ids.dedup();
        remove(&["rmi", "-f"], ids);
        for image in images {
            assert!(IMAGES.contains(image), "{image} is not one of {IMAGES:?}");
            if !good.iter().any(|l| l.starts_with(&format!("{image}:latest "))) || !others.is_empty() {
                let archive = self.dir.join(format!("{image}.tar"));
                let _ = self.docker(&["load", "-q", "-i", &archive.display().to_string()]).ok();
            }
        }
    }

    /// What it would leave on the machine: for the test that nothing is left.
    fn traces(&self) -> Vec<PathBuf> {
        let mut all = vec![self.dir.clone(), Path::new("/sys/class/net").join(&self.bridge)];
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            all.push(hierarchy.path().join(&self.group));
        }
        all
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

fn peer_answers(socket: &Path) -> bool {
    use std::io::Write as _;
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut answer = [0; 12];
    stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer.ends_with(b" 200")
}

/// The peer of this test run and the turn on it: one test at a time, since all see the same containers and images.
/// It is started by the first test that asks. The error is why there is none.
pub fn shared() -> Result<(&'static Peer, MutexGuard<'static, ()>), String> {
    static PEER: OnceLock<Result<Peer, String>> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has left nothing half-made in here: whoever is next resets the daemon.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let peer = PEER.get_or_init(|| {
        let peer = Peer::start()?;
        archive_images(peer.dir());
        Ok(peer)
    });
    Ok((peer.as_ref().map_err(Clone::clone)?, turn))
}

/// The lab's images as `docker save` would write them, one file each. Their configs are the hub's own, byte for byte,
/// so the ids are the same on both sides.
fn archive_images(dir: &Path) {
    let lab = Lab::new();
    for image in IMAGES {
        lab.rdock(["pull", "-q", image]).ok();
    }
    let hub = HubStore::of(&lab);
    for name in IMAGES {
        let (config, config_bytes) = hub.config(name);
        let config = format!("{}.json", config.trim_start_matches("sha256:"));
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, bytes).unwrap();
        };
        let mut layers = Vec::new();
        for (digest, _) in &hub.image(name).layers {
            let path = format!("{}/layer.tar", digest.trim_start_matches("sha256:"));
            add(&path, &hub.blob(digest));
            layers.push(path);
        }
        add(&config, &config_bytes);
        let manifest = serde_json::json!([
            {"Config": config, "RepoTags": [format!("{name}:latest")], "Layers": layers}
        ]);
        add("manifest.json", manifest.to_string().as_bytes());
        std::fs::write(dir.join(format!("{name}.tar")), tar.into_inner().unwrap()).unwrap();
    }
}

#[test]
fn a_peer_leaves_nothing_behind() {
    use super::super::need::{Need, need, skipped};
    if !need(&[Need::Root, Need::Dockerd]) {
        return;
    }
    let peer = match Peer::start() {
        Ok(peer) => peer,
        Err(why) => return skipped(&why),
    };
    archive_images(peer.dir());
    peer.reset(&["busybox"]);
    let _ = peer.docker(&["run", "-d", "--name", "left", "busybox", "sleep", "1000"]).ok();
    assert_eq!(peer.docker(&["ps", "--format", "{{.Names}} {{.Image}}"]).ok().stdout, "left busybox\n");
    let traces = peer.traces();
    assert!(traces.iter().filter(|t| t.exists()).count() > 2, "{traces:?}");
    drop(peer);
    let left: Vec<_> = traces.iter().filter(|t| t.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}
