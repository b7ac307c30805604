//! Options about the network of a container.

use super::values;
use super::{object, ports};
use serde_json::{Value, json};

/// Networks, names, ports.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Network {
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long, value_name = "list", value_parser = values::extra_host)]
    pub add_host: Vec<String>,
    /// Set custom DNS servers
    #[arg(long, value_name = "list", value_parser = values::ip)]
    pub dns: Vec<String>,
    /// Set DNS options
    #[arg(long, value_name = "list")]
    pub dns_option: Vec<String>,
    /// Set DNS options
    #[arg(long, value_name = "list", hide = true)]
    pub dns_opt: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long, value_name = "list", value_parser = values::dns_search)]
    pub dns_search: Vec<String>,
    /// Container NIS domain name
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub domainname: String,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "list")]
    pub expose: Vec<String>,
    /// IPv4 address (e.g., 172.30.100.104)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub ip: String,
    /// IPv6 address (e.g., 2001:db8::33)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub ip6: String,
    /// Add link to another container
    #[arg(long, value_name = "list", value_parser = values::link)]
    pub link: Vec<String>,
    /// Container IPv4/IPv6 link-local addresses
    #[arg(long, value_name = "list")]
    pub link_local_ip: Vec<String>,
    /// Container MAC address (e.g., 92:d0:c6:0a:29:33)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub mac_address: String,
    /// Connect a container to a network
    #[arg(long, value_name = "network")]
    pub network: Vec<String>,
    #[arg(long, value_name = "network", hide = true)]
    pub net: Vec<String>,
    /// Add network-scoped alias for the container
    #[arg(long, value_name = "list")]
    pub network_alias: Vec<String>,
    #[arg(long, value_name = "list", hide = true)]
    pub net_alias: Vec<String>,
    /// Publish a container's port(s) to the host
    #[arg(short = 'p', long, value_name = "list")]
    pub publish: Vec<String>,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long)]
    pub publish_all: bool,
}

/// One network and how to connect to it.
#[derive(Debug, Default)]
struct Connection {
    target: String,
    aliases: Vec<String>,
    links: Vec<String>,
    ip: String,
    ip6: String,
    link_local: Vec<String>,
    mac: String,
}

impl Network {
    /// `HostConfig.NetworkMode`
    pub fn mode(&self) -> Result<String, String> {
        let first = self.network.iter().chain(&self.net).next();
        first.map_or(Ok("default".to_owned()), |text| Ok(connection(text)?.target))
    }

    pub fn ports(&self) -> Result<ports::Ports, String> {
        ports::read(&self.publish, &self.expose)
    }

    /// `NetworkingConfig.EndpointsConfig`: networks with something to say about them.
    pub fn endpoints(&self) -> Result<Value, String> {
        let named: Vec<&String> = self.network.iter().chain(&self.net).collect();
        let mut endpoints = std::collections::BTreeMap::new();
        let mut list = match named.is_empty() {
            true => vec![Connection { target: "default".into(), ..Connection::default() }],
            false => named.iter().map(|text| connection(text)).collect::<Result<Vec<_>, _>>()?,
        };
        if let Some(first) = list.first_mut() {
            self.apply(first);
        }
        let own = list.iter().filter(|c| is_user_defined(&c.target)).count();
        for connection in &list {
            let endpoint = connection.json()?;
            let plain = connection.says_nothing() && named.len() == 1;
            if !plain && endpoints.insert(connection.target.clone(), endpoint).is_some() {
                return Err(format!("network {:?} is specified multiple times", connection.target));
            }
        }
        if own > 0 && own < list.len() {
            return Err(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes".into()
            );
        }
        Ok(json!(endpoints))
    }

    /// The options beside `--network` belong to the first network.
    fn apply(&self, first: &mut Connection) {
        first.aliases.extend(self.network_alias.iter().chain(&self.net_alias).cloned());
        if is_user_defined(&first.target) {
            first.links.extend(self.link.iter().cloned());
        }
        for (own, said) in [(&mut first.ip, &self.ip), (&mut first.ip6, &self.ip6), (&mut first.mac, &self.mac_address)]
        {
            if !said.is_empty() {
                own.clone_from(said);
            }
        }
        first.link_local.extend(self.link_local_ip.iter().cloned());
    }
}

fn is_user_defined(network: &str) -> bool {
    !matches!(network, "default" | "bridge" | "host" | "none") && !network.starts_with("container:")
}

/// `blue`, or `name=blue,alias=db,ip=…`
fn connection(text: &str) -> Result<Connection, String> {
    if !text.contains('=') {
        return Ok(Connection { target: text.into(), ..Connection::default() });
    }
    let mut connection = Connection::default();
    for field in text.split(',') {
        let (key, value) =
            field.split_once('=').ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
        let value = value.trim().to_owned();
        match key.trim() {
            "name" => connection.target = value,
            "alias" => connection.aliases.push(value),
            "ip" => connection.ip = value,
            "ip6" => connection.ip6 = value,
            "mac-address" => connection.mac = value,
            "link-local-ip" => connection.link_local.push(value),
            other => return Err(format!("invalid field key {other}")),
        }
    }
    Ok(connection)
}

impl Connection {
    fn says_nothing(&self) -> bool {
        let texts = [&self.ip, &self.ip6, &self.mac];
        let lists = [&self.aliases, &self.links, &self.link_local];
        texts.iter().all(|t| t.is_empty()) && lists.iter().all(|l| l.is_empty())
    }

    fn json(&self) -> Result<Value, String> {
        if self.target.trim().is_empty() {
            return Err("no name set for network".into());
        }
        if !is_user_defined(&self.target) {
            for (list, what) in [(&self.aliases, "network-scoped aliases"), (&self.links, "links")] {
                if !list.is_empty() {
                    return Err(format!("{what} are only supported for user-defined networks"));
                }
            }
        }
        let mac: Vec<&str> = self.mac.split([':', '-']).collect();
        let byte = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let is_mac = mac.len() == 6 && mac.iter().all(byte);
        if !(self.mac.is_empty() || is_mac) {
            return Err(format!("{} is not a valid mac address", self.mac));
        }
        let text = |t: &String| (!t.is_empty()).then(|| json!(t));
        let list = |l: &Vec<String>| (!l.is_empty()).then(|| json!(l));
        let ipam = object([
            ("IPv4Address", text(&self.ip)),
            ("IPv6Address", text(&self.ip6)),
            ("LinkLocalIPs", list(&self.link_local)),
        ]);
        let ipam = if ipam.as_object().is_some_and(serde_json::Map::is_empty) { Value::Null } else { ipam };
        Ok(json!({
            "IPAMConfig": ipam, "Links": list(&self.links), "Aliases": list(&self.aliases), "MacAddress": self.mac,
            "DriverOpts": null, "GwPriority": 0, "NetworkID": "", "EndpointID": "", "Gateway": "", "IPAddress": "",
            "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": null,
        }))
    }
}
