//! `rdock port`: where a container's ports are published.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::verb::{Verb, print};
use serde_json::Value;

/// Lists published ports.
#[derive(Debug, clap::Args)]
pub struct Port {
    #[arg(required = true)]
    container: String,
    port: Option<String>,
}

impl Verb for Port {
    const NAME: &'static str = "port";
    const ALIASES: &'static [&'static str] = &["container port", "port"];
    const ABOUT: &'static str = "List port mappings or a specific mapping for the container";
    const USAGE: &'static str = "CONTAINER [PRIVATE_PORT[/PROTO]]";
    const ARITY: Arity = Arity::Between(1, 2);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        cx.block_on(async {
            let client = cx.client().await?;
            let container = client.container_inspect(&self.container, false).await?;
            let ports = &container["NetworkSettings"]["Ports"];
            let mut lines = match &self.port {
                Some(port) => self.one(ports, port)?,
                None => all(ports),
            };
            lines.sort();
            print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
            Ok(0)
        })
    }
}

impl Port {
    fn one(&self, ports: &Value, asked: &str) -> Result<Vec<String>, Failure> {
        let (port, proto) = asked.split_once('/').unwrap_or((asked, "tcp"));
        let proto = if proto.is_empty() { "tcp" } else { proto };
        if port.parse::<u16>().is_err() {
            let why = match port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() {
                true => "value out of range",
                false => "invalid syntax",
            };
            return Err(Failure::new(format!(
                "Error: invalid port ({port}): strconv.ParseUint: parsing {port:?}: {why}"
            )));
        }
        let found = places(&ports[format!("{port}/{proto}")]);
        match found.is_empty() {
            true => Err(Failure::new(format!("Error: No public port '{asked}' published for {}", self.container))),
            false => Ok(found),
        }
    }
}

fn all(ports: &Value) -> Vec<String> {
    let of = |(port, bindings): (&String, &Value)| {
        places(bindings).into_iter().map(|place| format!("{port} -> {place}")).collect::<Vec<_>>()
    };
    ports.as_object().into_iter().flatten().flat_map(of).collect()
}

/// `0.0.0.0:32768`, `[::]:32768`
fn places(bindings: &Value) -> Vec<String> {
    let place = |binding: &Value| {
        let text = |key: &str| binding[key].as_str().unwrap_or_default().to_owned();
        let (ip, port) = (text("HostIp"), text("HostPort"));
        if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
    };
    bindings.as_array().into_iter().flatten().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mappings_are_listed_as_docker_lists_them() {
        let ports = json!({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}], "53/udp": null});
        assert_eq!(all(&ports), ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]);
        let one =
            |port: &str| Port { container: "web".into(), port: None }.one(&ports, port).map_err(|f| f.to_string());
        assert_eq!(one("80"), Ok(vec!["0.0.0.0:8080".into(), "[::]:8080".into()]));
        assert_eq!(one("53/udp"), Err("Error: No public port '53/udp' published for web".into()));
        assert_eq!(
            one("abc"),
            Err("Error: invalid port (abc): strconv.ParseUint: parsing \"abc\": invalid syntax".into())
        );
        assert_eq!(
            one("70000"),
            Err("Error: invalid port (70000): strconv.ParseUint: parsing \"70000\": value out of range".into())
        );
    }
}
