//! `--publish` and `--expose` (go-connections, nat).

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What the options say: ports of the container, and where on the host they are published.
#[derive(Debug, Default)]
pub struct Ports {
    /// `80/tcp`
    pub exposed: BTreeMap<String, Value>,
    pub bindings: BTreeMap<String, Vec<Value>>,
}

/// Reads all `--publish` and `--expose`.
pub fn read(publish: &[String], expose: &[String]) -> Result<Ports, String> {
    let mut ports = Ports::default();
    for spec in publish {
        ports.publish(&short(spec)?)?;
    }
    for spec in expose {
        if spec.contains(':') {
            return Err(format!("invalid port format for --expose: {spec}"));
        }
        let (range, protocol) = spec.split_once('/').unwrap_or((spec, "tcp"));
        let wrong = |e: String| format!("invalid range format for --expose: {spec}, error: {e}");
        let (first, last) = port_range(range).map_err(wrong)?;
        for port in first..=last {
            ports.exposed.insert(format!("{port}/{}", protocol.to_ascii_lowercase()), json!({}));
        }
    }
    Ok(ports)
}

/// The long form, `published=8080,target=80,protocol=udp`, as a short one.
fn short(spec: &str) -> Result<String, String> {
    if !spec.contains('=') {
        return Ok(spec.to_owned());
    }
    let (mut target, mut published, mut protocol) = ("", "", "tcp");
    for field in spec.split(',') {
        match field.split_once('=') {
            Some(("target", value)) => target = value,
            Some(("published", value)) => published = value,
            Some(("protocol", value)) => protocol = value,
            Some(("mode", "host" | "ingress")) => {}
            _ => return Err(format!("invalid field {field}")),
        }
    }
    let colon = if published.is_empty() { "" } else { ":" };
    Ok(format!("{published}{colon}{target}/{protocol}"))
}

impl Ports {
    /// `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, each port a number or a range.
    fn publish(&mut self, spec: &str) -> Result<(), String> {
        let (ip, rest) = match spec.strip_prefix('[').and_then(|s| s.split_once("]:")) {
            Some((ip, rest)) => (ip, rest),
            None => match spec.rsplitn(3, ':').collect::<Vec<_>>()[..] {
                [_, _, ip] => (ip, &spec[ip.len() + 1..]),
                _ => ("", spec),
            },
        };
        let (host, container) = rest.rsplit_once(':').unwrap_or(("", rest));
        let (range, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
        if range.is_empty() {
            return Err(format!("no port specified: {spec}<empty>"));
        }
        if !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err() {
            return Err(format!("invalid IP address: {ip}"));
        }
        let (first, last) = port_range(range).map_err(|_| format!("invalid containerPort: {range}"))?;
        let host_range = if host.is_empty() {
            None
        } else {
            Some(port_range(host).map_err(|_| format!("invalid hostPort: {host}"))?)
        };
        if let Some((from, to)) = host_range
            && to - from != last - first
            && first != last
        {
            return Err(format!("invalid ranges specified for container and host Ports: {range} and {host}"));
        }
        let protocol = protocol.to_ascii_lowercase();
        if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
            return Err(format!("invalid proto: {protocol}"));
        }
        for port in first..=last {
            let host_port = match host_range {
                None => String::new(),
                Some((from, to)) if first == last && from != to => format!("{from}-{to}"),
                Some((from, _)) => (from + port - first).to_string(),
            };
            let name = format!("{port}/{protocol}");
            self.exposed.insert(name.clone(), json!({}));
            let binding = json!({"HostIp": ip, "HostPort": host_port});
            self.bindings.entry(name).or_default().push(binding);
        }
        Ok(())
    }
}

fn port_range(text: &str) -> Result<(u32, u32), String> {
    if text.is_empty() {
        return Err("empty string specified for ports".into());
    }
    let number = |n: &str| {
        n.parse::<u16>().map(u32::from).map_err(|e| {
            let why = if matches!(e.kind(), std::num::IntErrorKind::PosOverflow) {
                "value out of range"
            } else {
                "invalid syntax"
            };
            format!("strconv.ParseUint: parsing {n:?}: {why}")
        })
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if last < first { Err(format!("invalid range specified for port: {text}")) } else { Ok((first, last)) }
}
