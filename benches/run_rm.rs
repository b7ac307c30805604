//! How long a whole `run --rm` of a program that does nothing takes: rdock beside what else runs containers here.
//!
//! `cargo bench --bench run_rm [-- --rounds N] [--pause MS] [--enforce]`. With a pause each run meets a machine at rest,
//! as the command of somebody who types does; without one, what a contestant's daemon still does (rdock prepares its
//! next shims, which keeps the kernel's cgroup lock in a state that helps runc too) falls on the next. All contestants
//! take turns, round by round, so that whatever else the machine does hits all of them alike; only ratios in one run
//! count. Needs root. What is not installed is left out, and said.

// A benchmark starts processes and prints, as the tests do.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)]

mod arena;

use arena::{Dockerd, installed};
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const RDOCK: &str = env!("CARGO_BIN_EXE_rdock");

/// One figure that must not be missed: `ours` divided by `theirs` is at most `bar`; `aim` is where it should be.
struct Bar {
    ours: &'static str,
    theirs: &'static str,
    bar: f64,
    aim: f64,
}

const BARS: [Bar; 3] = [
    Bar { ours: "rdock run --rm", theirs: "docker run --rm", bar: 1.0 / 15.0, aim: 1.0 / 33.0 },
    Bar { ours: "rdock run --rm", theirs: "runc run", bar: 0.6, aim: 0.25 },
    Bar { ours: "rdock --explain=json", theirs: "rdock run --rm", bar: 1.10, aim: 1.05 },
];

/// Something that runs a no-op in namespaces of its own.
struct Contestant {
    name: &'static str,
    command: Box<dyn Fn() -> Command>,
    times: Vec<Duration>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = arguments
        .iter()
        .position(|a| a == "--rounds")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(30usize);
    let pause = arguments
        .iter()
        .position(|a| a == "--pause")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .map_or(Duration::ZERO, Duration::from_millis);
    let enforce = arguments.iter().any(|a| a == "--enforce");
    if !nix::unistd::geteuid().is_root() {
        println!("run_rm: needs root; nothing measured");
        return ExitCode::from(u8::from(enforce));
    }
    match measure(rounds, pause) {
        Ok(contestants) => {
            let met = report(&contestants, rounds, pause);
            ExitCode::from(u8::from(enforce && !met))
        }
        Err(error) => {
            println!("run_rm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(rounds: usize, pause: Duration) -> io::Result<Vec<Contestant>> {
    let arena = Arena::new()?;
    let mut contestants = arena.contestants()?;
    for contestant in &mut contestants {
        // Caches warm, daemons awake; and a contestant that fails is told before anything is measured.
        for _ in 0..2 {
            once(contestant)?;
        }
    }
    let mut order: Vec<usize> = (0..contestants.len()).collect();
    let mut seed = 1;
    for _ in 0..rounds {
        shuffle(&mut order, &mut seed);
        for &turn in &order {
            // No synchronisation: the machine is to come to rest, whatever the one before has left to do.
            std::thread::sleep(pause);
            let time = once(&contestants[turn])?;
            contestants[turn].times.push(time);
        }
    }
    Ok(contestants)
}

/// Another order each round: what a contestant still has to do when it has answered (daemons tidy up later) must not
/// always fall on the same other.
fn shuffle(order: &mut [usize], seed: &mut u64) {
    for last in (1..order.len()).rev() {
        // Knuth's MMIX generator; the same rounds in every run.
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(last, (*seed >> 33) as usize % (last + 1));
    }
}

fn once(contestant: &Contestant) -> io::Result<Duration> {
    let mut command = (contestant.command)();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let output = command.output()?;
    let time = start.elapsed();
    if output.status.success() {
        return Ok(time);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{}: {}: {}", contestant.name, output.status, said.trim())))
}

fn median(times: &[Duration]) -> f64 {
    let mut times: Vec<f64> = times.iter().map(|t| t.as_secs_f64() * 1000.0).collect();
    times.sort_by(f64::total_cmp);
    match times.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => times[n / 2],
        n => (times[n / 2 - 1] + times[n / 2]) / 2.0,
    }
}

/// Prints the figures; whether all bars that could be measured were met.
fn report(contestants: &[Contestant], rounds: usize, pause: Duration) -> bool {
    println!("a whole run of a no-op, start to end, {rounds} rounds in turns, {pause:?} between two (ms)\n");
    println!("{:<24}{:>9}{:>9}{:>9}", "", "median", "least", "most");
    for c in contestants {
        let ms = |t: Option<&Duration>| t.map_or(f64::NAN, |t| t.as_secs_f64() * 1000.0);
        println!(
            "{:<24}{:>9.2}{:>9.2}{:>9.2}",
            c.name,
            median(&c.times),
            ms(c.times.iter().min()),
            ms(c.times.iter().max())
        );
    }
    println!();
    let mut all_met = true;
    for bar in BARS {
        let of = |name: &str| contestants.iter().find(|c| c.name == name).map(|c| median(&c.times));
        let label = format!("{} : {}", bar.ours, bar.theirs);
        match (of(bar.ours), of(bar.theirs)) {
            (Some(ours), Some(theirs)) => {
                let ratio = ours / theirs;
                let met = ratio <= bar.bar;
                all_met &= met;
                let verdict = if met { "met" } else { "MISSED" };
                println!("{label:<42}{ratio:>8.3}   bar {:.3} {verdict}, aim {:.3}", bar.bar, bar.aim);
            }
            _ => println!("{label:<42}{:>8}   not measured: not installed, or it does not run here", "-"),
        }
    }
    all_met
}

/// All that is needed for the contest, in one directory; ended and removed when it goes.
struct Arena {
    dir: tempfile::TempDir,
    dockerd: Option<Dockerd>,
}

impl Arena {
    fn new() -> io::Result<Arena> {
        let dir = tempfile::Builder::new().prefix("rdbench").tempdir()?;
        std::fs::create_dir_all(dir.path().join("home"))?;
        let mut arena = Arena { dir, dockerd: None };
        let pulled = arena.rdock(&["pull", "-q", "hello-world"]).output()?;
        if !pulled.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&pulled.stderr).into_owned()));
        }
        arena.make_root()?;
        arena.dockerd = Dockerd::start(arena.dir.path(), &arena.root())?;
        Ok(arena)
    }

    fn rdock(&self, args: &[&str]) -> Command {
        let mut command = Command::new(RDOCK);
        command.args(args).env("RDOCK_HOME", self.dir.path().join("home")).env("LANG", "C.UTF-8");
        command
    }

    /// The same no-op for all: a root directory with the one program of hello-world's layer.
    fn root(&self) -> PathBuf {
        self.dir.path().join("bundle/rootfs")
    }

    fn make_root(&self) -> io::Result<()> {
        std::fs::create_dir_all(self.root())?;
        let layers = std::fs::read_dir(self.dir.path().join("home/data/snapshots"))?;
        for layer in layers {
            let program = layer?.path().join("diff/hello");
            if program.exists() {
                std::fs::copy(program, self.root().join("hello"))?;
                for dir in ["proc", "dev", "sys"] {
                    std::fs::create_dir_all(self.root().join(dir))?;
                }
                return Ok(());
            }
        }
        Err(io::Error::other("hello-world's layer has no /hello"))
    }

    fn contestants(&self) -> io::Result<Vec<Contestant>> {
        let mut all = Vec::new();
        let mut add = |name, command: Box<dyn Fn() -> Command>| {
            all.push(Contestant { name, command, times: Vec::new() });
        };
        let home = self.dir.path().join("home");
        let rdock = move |args: &[&str]| {
            let mut command = Command::new(RDOCK);
            command.args(args).env("RDOCK_HOME", &home).env("LANG", "C.UTF-8");
            command
        };
        let explaining = rdock.clone();
        add("rdock run --rm", Box::new(move || rdock(&["run", "--rm", "--network", "none", "hello-world"])));
        add(
            "rdock --explain=json",
            Box::new(move || {
                explaining(&["--explain=json:/dev/null", "run", "--rm", "--network", "none", "hello-world"])
            }),
        );
        let root = self.root();
        if installed("unshare") {
            add(
                "unshare + chroot",
                Box::new(move || {
                    let mut command = Command::new("unshare");
                    command.args(["--fork", "--pid", "--mount", "--uts", "--ipc", "--net", "chroot"]);
                    command.arg(&root).arg("/hello");
                    command
                }),
            );
        }
        if installed("runc") {
            let bundle = self.make_bundle()?;
            let state = self.dir.path().join("runc");
            add(
                "runc run",
                Box::new(move || {
                    let mut command = Command::new("runc");
                    command.arg("--root").arg(&state).args(["run", "--bundle"]).arg(&bundle).arg("rdock-bench");
                    command
                }),
            );
        } else {
            println!("runc is not installed: left out");
        }
        match &self.dockerd {
            Some(dockerd) => {
                let host = dockerd.host.clone();
                add(
                    "docker run --rm",
                    Box::new(move || {
                        let mut command = Command::new("docker");
                        command.args(["-H", &host, "run", "--rm", "--net", "none", "noop", "/hello"]);
                        command
                    }),
                );
            }
            None => println!("docker is not installed, or its daemon does not start here: left out"),
        }
        Ok(all)
    }

    /// An OCI bundle around the root directory, as `runc spec` makes it.
    fn make_bundle(&self) -> io::Result<PathBuf> {
        let bundle = self.dir.path().join("bundle");
        let made = Command::new("runc").arg("spec").current_dir(&bundle).status()?;
        if !made.success() {
            return Err(io::Error::other("runc spec failed"));
        }
        let path = bundle.join("config.json");
        let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = vec!["/hello"].into();
        std::fs::write(path, serde_json::to_vec(&spec)?)?;
        Ok(bundle)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let _ = self.rdock(&["daemon", "stop"]).output();
        drop(self.dockerd.take());
    }
}
