//! The processes of a container as ps(1) shows them.
//!
//! The columns of `ps -ef`, which is what is shown when nothing is asked for, are read from /proc here: `top` works where
//! no ps is installed, as in many small images' hosts. Other options are for the host's ps, as with Docker, whose output
//! is then filtered; whatever it prints must name the processes (a column PID).

use crate::shim::groups::Groups;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use time::OffsetDateTime;

/// Columns and rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub titles: Vec<String>,
    pub processes: Vec<Vec<String>>,
}

const TITLES: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

/// Who belongs to the container whose first process is `init`. Without groups: who shares its pid namespace.
pub fn of_container(groups: &Groups, init: i32) -> BTreeSet<i32> {
    if *groups != Groups::None {
        return groups.processes();
    }
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(own) = namespace(init) else { return BTreeSet::new() };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| namespace(*pid).as_ref() == Some(&own)).collect()
}

/// The table of these processes.
///
/// # Errors
/// What there is to say about the options, in moby's words.
pub fn table(pids: &BTreeSet<i32>, options: &str) -> Result<Table, String> {
    match options.trim() {
        "" | "-ef" => Ok(of_proc(pids)),
        options => of_ps(pids, options),
    }
}

fn of_proc(pids: &BTreeSet<i32>) -> Table {
    let host = Host::read();
    let processes = pids.iter().filter_map(|pid| row(*pid, &host)).collect();
    Table { titles: TITLES.map(str::to_owned).to_vec(), processes }
}

/// What rows need of the host.
struct Host {
    passwd: String,
    /// Seconds since the epoch.
    boot: i64,
    now: i64,
}

impl Host {
    fn read() -> Host {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let stat = text("/proc/stat");
        let boot = stat.lines().find_map(|l| l.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or(0);
        Host { passwd: text("/etc/passwd"), boot, now: OffsetDateTime::now_utc().unix_timestamp() }
    }
}

/// Clock ticks a second of /proc: the kernel's USER_HZ, 100 on all machines that Rust runs on.
const HZ: i64 = 100;

fn row(pid: i32, host: &Host) -> Option<Vec<String>> {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
    let text = |name: &str| read(name).map(|b| String::from_utf8_lossy(&b).into_owned());
    describe(pid, &text("stat")?, &text("status")?, &read("cmdline")?, host)
}

/// One row, from `/proc/PID/stat`, `status` and `cmdline` (proc_pid_stat(5)).
fn describe(pid: i32, stat: &str, status: &str, cmdline: &[u8], host: &Host) -> Option<Vec<String>> {
    // The name may hold spaces and parentheses: the fields come after the last one.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |n: usize| fields.get(n - 3).and_then(|f| f.parse::<i64>().ok());
    let (parent, terminal) = (number(4)?, number(7)?);
    let (used, start) = ((number(14)? + number(15)?) / HZ, host.boot + number(22)? / HZ);
    let elapsed = (host.now - start).max(1);
    let uid = status.lines().find_map(|l| l.strip_prefix("Uid:")?.split_whitespace().next())?;
    Some(vec![
        user(uid, &host.passwd),
        pid.to_string(),
        parent.to_string(),
        (used * 100 / elapsed).min(99).to_string(),
        started(start, host.now),
        terminal_name(terminal),
        format!("{:02}:{:02}:{:02}", used / 3600, used / 60 % 60, used % 60),
        command(cmdline, name, fields.first() == Some(&"Z")),
    ])
}

/// The name that the host has for a user, else the number.
fn user(uid: &str, passwd: &str) -> String {
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(uid)).then_some(name)
    });
    found.unwrap_or(uid).to_owned()
}

/// The time of a day, or the day of what is older.
fn started(start: i64, now: i64) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp(start) else { return "?".into() };
    if now - start < 24 * 3600 {
        return format!("{:02}:{:02}", at.hour(), at.minute());
    }
    let month = at.month().to_string();
    format!("{}{:02}", month.get(..3).unwrap_or(&month), at.day())
}

/// `pts/0`; devices 136 to 143 are pseudo-terminals (Documentation/admin-guide/devices.txt).
fn terminal_name(device: i64) -> String {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        _ => "?".into(),
    }
}

/// As it was typed; the name in brackets where there is nothing to read (a process that has ended).
fn command(cmdline: &[u8], name: &str, ended: bool) -> String {
    let words: Vec<_> = cmdline.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
    match (words.join(" ").trim_end(), ended) {
        (_, true) => format!("[{name}] <defunct>"),
        ("", false) => format!("[{name}]"),
        (text, false) => text.to_owned(),
    }
}

/// The host's ps with these options.
fn of_ps(pids: &BTreeSet<i32>, options: &str) -> Result<Table, String> {
    let words: Vec<&str> = options.split_whitespace().collect();
    check(options)?;
    let list = pids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let run = |more: Option<String>| Command::new("ps").args(&words).args(more).env("LC_ALL", "C").output();
    let missing = |e: std::io::Error| format!("ps: {e}");
    let mut output = run(Some(format!("-q{list}"))).map_err(missing)?;
    if !output.status.success() {
        // Some options can't be used together with a list.
        output = run(None).map_err(missing)?;
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let why = said.lines().next().filter(|line| !line.is_empty());
        return Err(why.map_or_else(
            || format!("ps: {}", output.status),
            |why| format!("ps: {}", why.trim_start_matches("ps: ")),
        ));
    }
    filtered(&String::from_utf8_lossy(&output.stdout), pids)
}

/// A column that is called PID and is none would make a host's process one of the container.
fn check(options: &str) -> Result<(), String> {
    for word in options.split([' ', ',']).filter(|word| word.contains('=')) {
        let (column, title) = word.split_once('=').unwrap_or((word, ""));
        if title.starts_with("PID") && column != "pid" {
            return Err(format!("specifying \"{column}={title}\" is not allowed"));
        }
    }
    Ok(())
}

/// The rows of the container's processes.
fn filtered(output: &str, pids: &BTreeSet<i32>) -> Result<Table, String> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let at = titles.iter().position(|t| t == "PID").ok_or("Couldn't find PID field in ps output")?;
    let mut processes = vec![];
    let mut ours = false;
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let pid = words.get(at).copied().unwrap_or_default();
        if pid != "-" {
            let pid: i32 = pid.parse().map_err(|e| format!("Unexpected pid '{pid}': {e}"))?;
            ours = pids.contains(&pid);
        }
        if ours {
            let last = titles.len().saturating_sub(1).min(words.len());
            let (cells, rest) = words.split_at(last);
            processes.push(cells.iter().map(|c| (*c).to_owned()).chain([rest.join(" ")]).collect());
        }
    }
    Ok(Table { titles, processes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_columns_of_ps_ef() {
        let host =
            Host { passwd: "root:x:0:0::/:\nann:x:1000:1::/:\n".into(), boot: 1_700_000_000, now: 1_700_007_200 };
        let stat = "42 (a (b) c) S 7 42 42 34817 42 4194560 1 2 3 4 36000 1000 5 6 20 0 1 0 360000 1 1";
        let row = describe(42, stat, "Name:\tx\nUid:\t1000\t1000\t1000\t1000\n", b"sh\0-c\0x y\0", &host).unwrap();
        assert_eq!(row, ["ann", "42", "7", "10", "23:13", "pts/1", "00:06:10", "sh -c x y"]);
        let gone = describe(42, &stat.replace(") S", ") Z"), "Uid:\t7 7\n", b"", &host).unwrap();
        assert_eq!((gone[0].as_str(), gone[7].as_str()), ("7", "[a (b) c] <defunct>"));
    }

    #[test]
    fn what_is_old_shows_its_day() {
        assert_eq!(started(1_700_000_000, 1_700_000_000 + 3 * 24 * 3600), "Nov14");
    }

    #[test]
    fn the_output_of_ps_is_filtered_by_its_pid_column() {
        let output = "USER   PID COMMAND\nroot     1 init\nroot   42 sleep 1000\nroot    - thread of it\nroot  7 x\n";
        let table = filtered(output, &BTreeSet::from([42])).unwrap();
        assert_eq!(table.titles, ["USER", "PID", "COMMAND"]);
        assert_eq!(table.processes, [["root", "42", "sleep 1000"], ["root", "-", "thread of it"]]);
        assert_eq!(filtered("COMMAND\nx\n", &BTreeSet::new()).unwrap_err(), "Couldn't find PID field in ps output");
        assert_eq!(check("-o comm=PID").unwrap_err(), "specifying \"comm=PID\" is not allowed");
        assert_eq!(check("-o pid=PID,comm"), Ok(()));
    }
}
