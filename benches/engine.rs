//! What an engine does all day, beside Docker: exec, the client's start, listing, starting, stopping, logs, memory.
//!
//! `cargo bench --bench engine [-- --rounds N] [--containers N] [--megabytes N] [--enforce]`. Both take turns on the same
//! machine in the same run; only the ratios count. Needs root, dockerd and the docker command.

// A benchmark starts processes and prints, as the tests do.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)]

mod arena;

use arena::Dockerd;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const RDOCK: &str = env!("CARGO_BIN_EXE_rdock");

/// One row: what was measured on both sides, and what `ours / theirs` may be.
struct Row {
    what: &'static str,
    unit: &'static str,
    ours: f64,
    theirs: f64,
    /// At most this; for rates (`at_least`) at least this.
    bar: f64,
    aim: f64,
    at_least: bool,
}

impl Row {
    fn time(what: &'static str, (ours, theirs): (f64, f64), bar: f64, aim: f64) -> Row {
        Row { what, unit: "ms", ours, theirs, bar, aim, at_least: false }
    }

    fn print(&self) -> bool {
        let ratio = self.ours / self.theirs;
        let met = if self.at_least { ratio >= self.bar } else { ratio <= self.bar };
        let (verdict, sign) = (if met { "met" } else { "MISSED" }, if self.at_least { "≥" } else { "≤" });
        println!(
            "{:<34}{:>10.2}{:>10.2} {:<4}{ratio:>9.3}   bar {sign} {:.3} {verdict}, aim {:.3}",
            self.what, self.ours, self.theirs, self.unit, self.bar, self.aim
        );
        met
    }
}

/// A command line tool and the daemon that it speaks to.
#[derive(Clone)]
struct Side {
    program: PathBuf,
    arguments: Vec<String>,
    home: PathBuf,
    image: &'static str,
}

impl Side {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(args).env("RDOCK_HOME", &self.home).env("LANG", "C.UTF-8");
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end; its output without the line feed.
    fn run(&self, args: &[&str]) -> io::Result<String> {
        let output = self.command(args).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
            false => Err(io::Error::other(format!("{args:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))),
        }
    }

    /// The same with its output thrown away; milliseconds.
    fn time(&self, args: &[&str]) -> io::Result<f64> {
        let mut command = self.command(args);
        let start = Instant::now();
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        let time = start.elapsed();
        if status.success() { Ok(ms(time)) } else { Err(io::Error::other(format!("{args:?}: {status}"))) }
    }

    fn start(&self, name: &str, script: &str) -> io::Result<String> {
        self.run(&["run", "-d", "--network", "none", "--name", name, self.image, "/bin/sh", "-c", script])
    }

    fn remove_all(&self) -> io::Result<()> {
        let ids = self.run(&["ps", "-aq"])?;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        for some in ids.chunks(100) {
            self.run(&[&["rm", "-f"], some].concat())?;
        }
        Ok(())
    }
}

/// Measures some rows on both sides.
type Measure = fn(&[&Side; 2], &Options) -> io::Result<Vec<Row>>;

struct Options {
    rounds: usize,
    containers: usize,
    megabytes: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, usual: usize| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(usual)
    };
    let options = Options {
        rounds: number("--rounds", 20),
        containers: number("--containers", 1000),
        megabytes: number("--megabytes", 100),
    };
    let enforce = arguments.iter().any(|a| a == "--enforce");
    match measure(&options) {
        Ok(met) => ExitCode::from(u8::from(enforce && !met)),
        Err(error) => {
            println!("engine: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> io::Result<bool> {
    let dir = tempfile::Builder::new().prefix("rdbench").tempdir()?;
    let home = dir.path().join("home");
    std::fs::create_dir_all(&home)?;
    let ours = Side { program: RDOCK.into(), arguments: vec![], home: home.clone(), image: "busybox" };
    ours.run(&["pull", "-q", "busybox"])?;
    let ended = Ended(&ours);
    let Some(dockerd) = Dockerd::start(dir.path(), &layer(&home)?)? else {
        return Err(io::Error::other("dockerd is not installed, or does not start here: nothing to stand beside"));
    };
    let arguments = vec!["-H".to_owned(), dockerd.host.clone()];
    let theirs = Side { program: "docker".into(), arguments, home, image: "noop" };
    let both = [&ours, &theirs];
    println!("{:<34}{:>10}{:>10}", "", "rdock", "docker");
    let mut met = true;
    let rows: [Measure; 6] = [client_start, exec, stop, start_rate, logs, listing];
    met &= idle(&ours, &dockerd)?.print();
    for rows in rows {
        for row in rows(&both, options)? {
            met &= row.print();
        }
        both.iter().try_for_each(|side| side.remove_all())?;
    }
    for row in container_memory(&both)? {
        met &= row.print();
    }
    both.iter().try_for_each(|side| side.remove_all())?;
    drop(dockerd);
    drop(ended);
    Ok(met)
}

/// Stops rdock's daemon, also when something failed.
struct Ended<'a>(&'a Side);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let _ = self.0.remove_all();
        let _ = self.0.command(&["daemon", "stop"]).output();
    }
}

/// The one layer of rdock's busybox, for Docker to import.
fn layer(home: &Path) -> io::Result<PathBuf> {
    let layers = std::fs::read_dir(home.join("data/snapshots"))?;
    let roots = layers.flatten().map(|l| l.path().join("diff")).filter(|d| d.join("bin/sh").exists());
    roots.last().ok_or_else(|| io::Error::other("busybox's layer has no /bin/sh"))
}

/// `action` on both sides in turns, one round more than counted; the medians.
fn in_turns(
    both: &[&Side; 2],
    rounds: usize,
    mut action: impl FnMut(&Side, usize) -> io::Result<f64>,
) -> io::Result<(f64, f64)> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for (side, times) in both.iter().zip(&mut times) {
            let time = action(side, round)?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    Ok((median(&mut times[0]), median(&mut times[1])))
}

fn client_start(both: &[&Side; 2], options: &Options) -> io::Result<Vec<Row>> {
    let pair = in_turns(both, options.rounds, |side, _| side.time(&["--version"]))?;
    Ok(vec![Row::time("client start (--version)", pair, 1.0 / 5.0, 2.0 / pair.1)])
}

fn exec(both: &[&Side; 2], options: &Options) -> io::Result<Vec<Row>> {
    for side in both {
        side.start("sleeper", "sleep 100000")?;
    }
    let pair = in_turns(both, options.rounds, |side, _| side.time(&["exec", "sleeper", "/bin/true"]))?;
    Ok(vec![Row::time("exec true", pair, 1.0 / 15.0, 1.0 / 27.0)])
}

/// A process that handles the signal.
const HANDLES: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait; done";

fn stop(both: &[&Side; 2], options: &Options) -> io::Result<Vec<Row>> {
    let rounds = options.rounds.min(10);
    let pair = in_turns(both, rounds, |side, round| {
        let name = format!("stop{round}");
        side.start(&name, HANDLES)?;
        until(|| Ok(side.run(&["logs", &name])? == "ready"))?;
        side.time(&["stop", &name])
    })?;
    Ok(vec![Row::time("stop", pair, 1.0 / 8.0, 1.0 / 22.0)])
}

fn start_rate(both: &[&Side; 2], options: &Options) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (what, at_once, bar, aim) in
        [("run -d, one after another", 1, 12.0, 25.0), ("run -d, four at once", 4, 12.0, 33.0)]
    {
        let mut rates = [0.0, 0.0];
        for (side, rate) in both.iter().zip(&mut rates) {
            // So many that each side works for about as long.
            let each = if side.image == "noop" { options.rounds.min(6) } else { options.rounds.max(20) * 2 };
            let start = Instant::now();
            std::thread::scope(|scope| {
                let runs = |_| {
                    let side = (*side).clone();
                    scope.spawn(move || {
                        (0..each).try_for_each(|_| {
                            side.time(&["run", "-d", "--network", "none", side.image, "/bin/true"]).map(drop)
                        })
                    })
                };
                let all: Vec<_> = (0..at_once).map(runs).collect();
                all.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| Err(io::Error::other("a thread ended"))))
            })?;
            *rate = (each * at_once) as f64 / start.elapsed().as_secs_f64();
            side.remove_all()?;
        }
        rows.push(Row { what, unit: "/s", ours: rates[0], theirs: rates[1], bar, aim, at_least: true });
    }
    Ok(rows)
}

fn logs(both: &[&Side; 2], options: &Options) -> io::Result<Vec<Row>> {
    let script = format!(
        "yes 'a line of a log that has about sixty four characters in it, or so' | head -c {}",
        options.megabytes * 1_000_000
    );
    let (mut writes, mut reads) = ([0.0, 0.0], [0.0, 0.0]);
    for (at, side) in both.iter().enumerate() {
        let start = Instant::now();
        side.start("writer", &script)?;
        side.run(&["wait", "writer"])?;
        writes[at] = ms(start.elapsed());
        reads[at] = side.time(&["logs", "writer"])?;
    }
    Ok(vec![
        Row::time("100 MB through the log", (writes[0], writes[1]), 1.0 / 2.0, 1.0 / 3.3),
        Row::time("100 MB read back with logs", (reads[0], reads[1]), 1.0 / 8.0, 1.0 / 22.0),
    ])
}

fn listing(both: &[&Side; 2], options: &Options) -> io::Result<Vec<Row>> {
    for side in both {
        std::thread::scope(|scope| {
            let makers = (0..4).map(|_| {
                scope.spawn(|| {
                    (0..options.containers / 4)
                        .try_for_each(|_| side.run(&["create", side.image, "/bin/true"]).map(drop))
                })
            });
            let makers: Vec<_> = makers.collect();
            makers.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| Err(io::Error::other("a thread ended"))))
        })?;
    }
    let pair = in_turns(both, options.rounds, |side, _| side.time(&["ps", "-a"]))?;
    Ok(vec![Row::time("ps -a", pair, 1.0 / 10.0, 1.0 / 30.0)])
}

fn idle(ours: &Side, dockerd: &Dockerd) -> io::Result<Row> {
    let pid = std::fs::read_to_string(ours.home.join("run/daemon.pid"))?;
    let ours = status(pid.trim().parse().map_err(io::Error::other)?, "VmRSS:");
    let theirs: f64 = dockerd.processes().into_iter().map(|pid| status(pid, "VmRSS:")).sum();
    Ok(Row {
        what: "idle daemon, resident",
        unit: "MiB",
        ours: ours / 1024.0,
        theirs: theirs / 1024.0,
        bar: 1.0 / 6.0,
        aim: 8.0 * 1024.0 / theirs,
        at_least: false,
    })
}

/// What one running container adds: the private memory of its shim.
fn container_memory(both: &[&Side; 2]) -> io::Result<Vec<Row>> {
    let mut pair = [0.0, 0.0];
    for (side, private) in both.iter().zip(&mut pair) {
        let id = side.start("memory", "sleep 100000")?;
        let pid: u32 = side
            .run(&["inspect", "-f", "{{.State.Pid}}", &id])?
            .parse()
            .map_err(|e| io::Error::other(format!("{e}")))?;
        let shim = parent(pid).ok_or_else(|| io::Error::other("the container has no parent"))?;
        *private = rollup(shim);
    }
    Ok(vec![Row {
        what: "a running container, private",
        unit: "MiB",
        ours: pair[0] / 1024.0,
        theirs: pair[1] / 1024.0,
        bar: 1.0 / 3.0,
        aim: 0.3 * 1024.0 / pair[1],
        at_least: false,
    }])
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

/// A field of /proc/PID/status, kB.
fn status(pid: u32, key: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or("");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
}

/// Private memory of a process, kB (proc(5), smaps_rollup).
fn rollup(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let private = text.lines().filter(|l| l.starts_with("Private_"));
    private.filter_map(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok()).sum()
}

/// Looks again until it is so: the container tells nobody but its log.
fn until(mut so: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so()? {
        if Instant::now() > deadline {
            return Err(io::Error::other("waited for 20 s in vain"));
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    match times.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => times[n / 2],
        n => (times[n / 2 - 1] + times[n / 2]) / 2.0,
    }
}
