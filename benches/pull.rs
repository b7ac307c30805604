//! What a pull of a big image costs, beside Docker: time, processor time, memory.
//!
//! `cargo bench --bench pull [-- --rounds N] [--megabytes N] [--tmpfs] [--enforce]`. Both pull the same image of four
//! layers from the same local registry, in turns, each time with a daemon of their own in a fresh file system, and the
//! time ends when everything is on the disk. The image is made of this machine's /usr, so two machines have two
//! images: only the ratios in one run count. Needs root, dockerd, docker-registry and skopeo.

// A benchmark starts processes and prints, as the tests do.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)]

mod arena;

use arena::fresh::{Fresh, Kind, keep_mounts_private};
use arena::layers::{Shape, from_usr};
use arena::registry::Registry;
use arena::{Dockerd, installed};
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

const RDOCK: &str = env!("CARGO_BIN_EXE_rdock");
/// Most that rdock's daemon may have in memory, and what would be good, in MiB.
const PEAK: (f64, f64) = (64.0, 32.0);

struct Options {
    rounds: usize,
    megabytes: u64,
    kind: Kind,
    enforce: bool,
}

/// What one pull took.
struct Pull {
    /// Until all is on the disk, in seconds.
    wall: f64,
    /// Of the daemon's processes and their children, in seconds.
    cpu: f64,
    /// Peak memory of the daemon itself, in MiB.
    peak: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| arguments.get(arguments.iter().position(|a| a == name)? + 1)?.parse::<u64>().ok();
    let flag = |name: &str| arguments.iter().any(|a| a == name);
    let options = Options {
        rounds: number("--rounds").map_or(5, |n| n as usize),
        megabytes: number("--megabytes").unwrap_or(100),
        kind: if flag("--tmpfs") { Kind::Tmpfs } else { Kind::Ext4 },
        enforce: flag("--enforce"),
    };
    let needed = ["dockerd", "docker", "containerd", "docker-registry", "skopeo"];
    if let Some(missing) = needed.iter().find(|name| !installed(name)) {
        println!("pull: {missing} is not installed; nothing measured");
        return ExitCode::from(u8::from(options.enforce));
    }
    match measure(&options) {
        Ok(met) => ExitCode::from(u8::from(options.enforce && !met)),
        Err(error) => {
            println!("pull: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> io::Result<bool> {
    keep_mounts_private()?;
    let dir = tempfile::Builder::new().prefix("rdbench").tempdir()?;
    let registry = Registry::start(&dir.path().join("registry"))?;
    let layout = dir.path().join("layout");
    let shape = from_usr(&layout, 4, options.megabytes * 1_000_000)?;
    let image = format!("{}/usr:1", registry.domain);
    run(Command::new("skopeo")
        .args(["copy", "--quiet", "--dest-tls-verify=false"])
        .arg(format!("oci:{}", layout.display()))
        .arg(format!("docker://{image}")))?;
    std::fs::remove_dir_all(&layout)?;
    // The blobs, the files made of them, and as much again for whoever keeps a copy meanwhile.
    let room = (2 << 30) + 2 * (shape.compressed + shape.unpacked);
    let fresh = |name: &str| Fresh::mount(dir.path(), name, options.kind, room);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        // Who comes first changes: the second finds other work of the kernel left to do than the first.
        for turn in [round % 2, (round + 1) % 2] {
            match turn {
                0 => ours.push(rdock(&fresh("ours")?, &image)?),
                _ => theirs.push(docker(&fresh("theirs")?, &image)?),
            }
        }
    }
    Ok(report(options, shape, &ours, &theirs))
}

fn rdock(on: &Fresh, image: &str) -> io::Result<Pull> {
    let command = |args: &[&str]| {
        let mut command = Command::new(RDOCK);
        command.args(args).env("RDOCK_HOME", on.path.join("home")).env("LANG", "C.UTF-8").stdin(Stdio::null());
        command
    };
    let _ended = Ended(&on.path);
    run(&mut command(&["ps"]))?;
    let pid = std::fs::read_to_string(on.path.join("home/run/daemon.pid"))?;
    let pid = pid.trim().parse().map_err(io::Error::other)?;
    pull(on, &|| vec![pid], &mut command(&["pull", "-q", image]))
}

fn docker(on: &Fresh, image: &str) -> io::Result<Pull> {
    let Some(dockerd) = Dockerd::alone(&on.path)? else {
        return Err(io::Error::other("dockerd does not start here: nothing to stand beside"));
    };
    let mut command = Command::new("docker");
    command.args(["-H", &dockerd.host, "pull", "-q", image]);
    pull(on, &|| dockerd.processes(), &mut command)
}

/// Stops rdock's daemon, also when something failed.
struct Ended<'a>(&'a Path);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let _ = Command::new(RDOCK).args(["daemon", "stop"]).env("RDOCK_HOME", self.0.join("home")).output();
    }
}

/// The pull itself; the daemon (first of `processes`) is awake and has done nothing yet.
fn pull(on: &Fresh, processes: &dyn Fn() -> Vec<u32>, command: &mut Command) -> io::Result<Pull> {
    on.sync()?;
    let used = || processes().into_iter().map(cpu).sum::<f64>();
    let before = used();
    let start = Instant::now();
    run(command)?;
    on.sync()?;
    let wall = start.elapsed().as_secs_f64();
    let peak = processes().first().map_or(f64::NAN, |&daemon| status(daemon, "VmHWM:") / 1024.0);
    Ok(Pull { wall, cpu: used() - before, peak })
}

/// Seconds that a process and those children that it has waited for have run (proc(5), /proc/PID/stat, 14 to 17).
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or("").split_whitespace().skip(11).take(4);
    // A tick is a hundredth of a second wherever Linux tells ticks to programs (USER_HZ).
    fields.filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// A field of /proc/PID/status, kB.
fn status(pid: u32, key: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or("");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
}

/// Prints the figures; whether all bars were met.
fn report(options: &Options, shape: Shape, ours: &[Pull], theirs: &[Pull]) -> bool {
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let system = if options.kind == Kind::Tmpfs { "tmpfs" } else { "ext4" };
    println!(
        "a pull of {} layers, {:.0} MB compressed, {:.0} MB unpacked, {} entries, into a fresh {system}, {} rounds\n",
        shape.layers,
        mb(shape.compressed),
        mb(shape.unpacked),
        shape.entries,
        options.rounds
    );
    println!("{:<34}{:>10}{:>10}", "medians", "rdock", "docker");
    let mut met = true;
    for (what, of) in [
        ("until all is on the disk", (|p: &Pull| p.wall) as fn(&Pull) -> f64),
        ("processor time of the daemon", |p: &Pull| p.cpu),
    ] {
        let (ours, theirs) = (median(ours.iter().map(of)), median(theirs.iter().map(of)));
        let ratio = ours / theirs;
        met &= ratio <= 0.5;
        println!(
            "{what:<34}{ours:>10.2}{theirs:>10.2} s  {ratio:>9.3}   bar ≤ 0.500 {}, aim {:.3}",
            verdict(ratio <= 0.5),
            1.0 / 3.5
        );
    }
    // The most of all rounds: a bar for memory is one for the worst.
    let most = |pulls: &[Pull]| pulls.iter().map(|p| p.peak).fold(0.0, f64::max);
    let (ours, theirs) = (most(ours), most(theirs));
    println!(
        "{:<34}{ours:>10.1}{theirs:>10.1} MiB{:>8}   bar < {:.0} MiB {}, aim {:.0} MiB",
        "peak memory of the daemon",
        "",
        PEAK.0,
        verdict(ours < PEAK.0),
        PEAK.1
    );
    met && ours < PEAK.0
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn median(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    match times.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => times[n / 2],
        n => (times[n / 2 - 1] + times[n / 2]) / 2.0,
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))),
    }
}
