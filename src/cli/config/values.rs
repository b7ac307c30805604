//! Values of options, read as Docker's command reads them and refused in its words (docker/cli `opts`, go-units).

use std::net::IpAddr;

/// `64m`, `1.5g`, `10kib` → bytes (go-units, RAMInBytes): units are powers of 1024.
pub fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let at = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(invalid)?;
    let (number, unit) = (text[..=at].trim_end_matches(' '), text[at + 1..].to_ascii_lowercase());
    let not_a_number = || format!("strconv.ParseFloat: parsing {number:?}: invalid syntax");
    let size: f64 = number.parse().map_err(|_| not_a_number())?;
    if size < 0.0 {
        return Err(invalid());
    }
    let power = match unit.as_str() {
        "" | "b" => 0,
        _ => 1 + "kmgtp".find(|c| unit.starts_with(c)).ok_or_else(|| format!("invalid suffix: '{unit}'"))?,
    };
    if !matches!(unit.get(1..), None | Some("" | "b" | "ib")) {
        return Err(format!("invalid suffix: '{unit}'"));
    }
    Ok((size * 1024f64.powi(power as i32)) as i64)
}

/// As [`bytes`]; `-1` means no limit.
pub fn bytes_or_none(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// Go's words for a number that is none.
fn not_int(function: &str, text: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {text:?}: {why}")
}

pub fn int(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|e| not_int("ParseInt", text, &e))
}

pub fn uint16(text: &str) -> Result<u16, String> {
    text.parse::<u16>().map_err(|e| not_int("ParseUint", text, &e))
}

/// `1.5` processors → billionths.
pub fn cpus(text: &str) -> Result<i64, String> {
    let wrong = || format!("failed to parse {text} as a rational number");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !all_digits(whole) || !all_digits(part) {
        return Err(wrong());
    }
    let part = part.trim_end_matches('0');
    if part.len() > 9 {
        return Err("value is too precise".into());
    }
    let number = format!("{whole}{part:0<9}").parse::<i64>().map_err(|_| wrong())?;
    Ok(if negative { -number } else { number })
}

/// `1m30s`, `100ms`, `1.5h` → nanoseconds (Go, time.ParseDuration).
pub fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let value: f64 = rest[..number].parse().map_err(|_| invalid())?;
        rest = &rest[number..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let scale = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            unit => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        total += value * scale;
        rest = &rest[end..];
    }
    Ok((sign * total) as i64)
}

/// Names of limits as `--ulimit` takes them (getrlimit(2), without `RLIMIT_`).
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One `--ulimit`: `nofile=1024:2048`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

pub fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, values) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = match values.split(':').collect::<Vec<_>>()[..] {
        [one] => (int(one)?, int(one)?),
        [soft, hard] => {
            let hard = int(hard)?;
            (int(soft)?, hard)
        }
        _ => {
            return Err(format!("too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"));
        }
    };
    const ORDER: &str = "ulimit soft limit must be less than or equal to hard limit";
    match (soft, hard) {
        (_, -1) => {}
        (-1, hard) => return Err(format!("{ORDER}: soft: -1 (unlimited), hard: {hard}")),
        (soft, hard) if soft > hard => return Err(format!("{ORDER}: {soft} > {hard}")),
        _ => {}
    }
    Ok(Ulimit { name: name.into(), soft, hard })
}

/// Settings of the kernel that a namespace has for itself (sysctl(8)); all others are the host's.
pub fn sysctl(text: &str) -> Result<String, String> {
    const OWN: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let allowed = |name: &str| OWN.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.");
    match text.split_once('=') {
        Some((name, _)) if allowed(name) => Ok(text.into()),
        _ => Err(format!("sysctl '{text}' is not allowed")),
    }
}

/// `c 1:3 rwm`
pub fn device_rule(text: &str) -> Result<String, String> {
    let number = |n: &str| n == "*" || (!n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let good = match text.split(' ').collect::<Vec<_>>()[..] {
        ["a" | "b" | "c", device, access] => {
            device.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
                && (1..=3).contains(&access.len())
                && access.bytes().all(|b| b"rwm".contains(&b))
        }
        _ => false,
    };
    if good { Ok(text.into()) } else { Err(format!("invalid device cgroup format '{text}'")) }
}

/// A device of the host and a number for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerDevice {
    pub path: String,
    pub number: u64,
}

fn per_device(text: &str) -> Result<(&str, &str), String> {
    let (path, value) = text.split_once(':').filter(|(p, _)| !p.is_empty()).ok_or(format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

/// `/dev/sda:500`
pub fn weight_device(text: &str) -> Result<PerDevice, String> {
    let (path, value) = per_device(text)?;
    let weight = value.parse::<u16>().ok().filter(|w| *w == 0 || (10..=1000).contains(w));
    let number = weight.ok_or_else(|| format!("invalid weight for device: {text}"))?.into();
    Ok(PerDevice { path: path.into(), number })
}

/// `/dev/sda:1mb`, bytes a second.
pub fn bps_device(text: &str) -> Result<PerDevice, String> {
    let (path, value) = per_device(text)?;
    let number = bytes(value).ok().and_then(|n| u64::try_from(n).ok()).ok_or_else(|| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        )
    })?;
    Ok(PerDevice { path: path.into(), number })
}

/// `/dev/sda:1000`, operations a second.
pub fn iops_device(text: &str) -> Result<PerDevice, String> {
    let (path, value) = per_device(text)?;
    let number = value.parse().map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer"
        )
    })?;
    Ok(PerDevice { path: path.into(), number })
}

pub fn ip(text: &str) -> Result<String, String> {
    let address = text.trim().parse::<IpAddr>();
    address.map(|a| a.to_string()).map_err(|_| format!("IP address is not correctly formatted: {text}"))
}

/// `name:1.2.3.4`, `name=::1`, `name:host-gateway`
pub fn extra_host(text: &str) -> Result<String, String> {
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or(("", ""));
    if name.is_empty() || name.contains(':') {
        return Err(format!("bad format for add-host: {text:?}"));
    }
    if address == "host-gateway" {
        return Ok(format!("{name}:{address}"));
    }
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).filter(|a| !a.is_empty());
    let bare = bare.unwrap_or(address);
    ip(bare).map_err(|_| format!("invalid IP address in add-host: {bare:?}"))?;
    Ok(format!("{name}:{bare}"))
}

/// A domain to search names in; `.` for none.
pub fn dns_search(text: &str) -> Result<String, String> {
    let text = text.trim();
    let label = |l: &str| {
        let bytes = l.as_bytes();
        !l.is_empty()
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            && bytes[0] != b'-'
            && bytes[bytes.len() - 1] != b'-'
    };
    let whole = text.strip_suffix('.').unwrap_or(text);
    if text == "." || (text.bytes().any(|b| b.is_ascii_alphabetic()) && whole.split('.').all(label)) {
        return Ok(text.into());
    }
    Err(format!("{text} is not a valid domain"))
}

/// `container` or `container:alias`
pub fn link(text: &str) -> Result<String, String> {
    match text.split(':').count() {
        _ if text.is_empty() => Err("empty string specified for links".into()),
        1 | 2 => Ok(text.into()),
        _ => Err(format!("bad format for links: {text}")),
    }
}

pub fn label(text: &str) -> Result<String, String> {
    let name = text.split('=').next().unwrap_or_default();
    if name.trim().is_empty() {
        return Err(format!("invalid label '{text}': empty name"));
    }
    Ok(text.into())
}

pub fn stream(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "stdin" | "stdout" | "stderr" => Ok(lower),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".into()),
    }
}

pub fn env(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid environment variable: {text}"));
    }
    Ok(text.to_owned())
}

/// `all`, a number of devices, or `count=`, `device=`, `capabilities=`.
pub fn gpus(text: &str) -> Result<i64, String> {
    match text {
        "all" => Ok(-1),
        _ if text.contains('=') => {
            let key = text.split('=').next().unwrap_or_default();
            Err(format!("unexpected key '{key}' in '{text}'"))
        }
        _ => int(text).map_err(|_| format!("invalid count ({text}): value must be either \"all\" or an integer: strconv.Atoi: parsing {text:?}: invalid syntax")),
    }
}
