//! What a client of registries is told: where they are, whom to believe, how long to wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::auth::Credentials;
use super::endpoint::{Mirror, host_of, is_loopback};
use super::proxy::Proxies;
use super::transport::Limits;

/// How to reach registries.
#[derive(Debug, Clone)]
pub struct Config {
    /// Asked first, in this order, for references of their domain.
    pub mirrors: Vec<Mirror>,
    /// Domains whose registry is not at the usual address: domain → base address.
    pub upstreams: HashMap<String, String>,
    /// By domain.
    pub credentials: HashMap<String, Credentials>,
    /// Certificate authorities to believe besides the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Certificates of single registries: `<host:port>/*.crt`, `client.cert` with `client.key`.
    pub certs_d: Option<PathBuf>,
    pub insecure: Insecure,
    pub proxies: Proxies,
    /// How often a blob that makes no progress is asked for again, and a registry that says "not now".
    pub retries: u32,
    /// The wait before the first of these; doubles each time.
    pub backoff: Duration,
    /// The longest wait that a registry may ask for (`Retry-After`); who asks for more is given up at once.
    pub longest_wait: Duration,
    /// A larger blob is uploaded in pieces of so many bytes, so that a cut costs one piece.
    pub upload_piece: u64,
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            mirrors: Vec::new(),
            upstreams: HashMap::new(),
            credentials: HashMap::new(),
            extra_roots: Vec::new(),
            certs_d: None,
            insecure: Insecure::default(),
            proxies: Proxies::default(),
            retries: 3,
            backoff: Duration::from_millis(100),
            longest_wait: Duration::from_secs(60),
            upload_piece: 16 * 1024 * 1024,
            limits: Limits::default(),
        }
    }
}

/// Registries that the administrator lets us ask without a checked certificate, and in plain HTTP when they do
/// not speak TLS (`insecure-registries` of the daemon's file).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Insecure {
    /// `host` or `host:port`.
    hosts: Vec<String>,
    /// Address and length of the prefix.
    networks: Vec<(IpAddr, u8)>,
}

impl Insecure {
    /// `registry.lan:5000`, `10.1.0.0/16`, in any order. A network counts for registries that are named by address.
    ///
    /// # Errors
    /// The entry that is neither.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Insecure, String> {
        let mut insecure = Insecure::default();
        for entry in entries.iter().map(|e| e.as_ref().trim()) {
            match network(entry) {
                Some(network) => insecure.networks.push(network),
                None if entry.is_empty() || entry.contains('/') => {
                    return Err(format!(
                        "insecure registry {entry:?} is neither host[:port] nor a network like 10.0.0.0/8"
                    ));
                }
                None => insecure.hosts.push(entry.to_ascii_lowercase()),
            }
        }
        Ok(insecure)
    }

    /// Adds the host and port of an address, if it is a plain one: who writes `http://` has said it.
    #[must_use]
    pub fn and_plain(mut self, url: &str) -> Insecure {
        if let Some(authority) = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()) {
            self.hosts.push(authority.to_ascii_lowercase());
        }
        self
    }

    /// Whether `host:port` is one of them.
    pub(super) fn covers(&self, authority: &str) -> bool {
        let authority = authority.to_ascii_lowercase();
        let host = host_of(&authority);
        let ip = host.parse::<IpAddr>().ok();
        self.hosts.iter().any(|h| *h == authority || h == host)
            || ip.is_some_and(|ip| self.networks.iter().any(|(net, length)| within(ip, *net, *length)))
    }

    /// Whether plain HTTP may go there.
    pub(super) fn allows_plain(&self, authority: &str) -> bool {
        is_loopback(host_of(authority)) || self.covers(authority)
    }
}

/// `10.0.0.0/8`; a bare address is no network.
pub(super) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let (address, length): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

/// Whether the first `length` bits are the same.
pub(super) fn within(ip: IpAddr, net: IpAddr, length: u8) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    };
    ip.is_ipv4() == net.is_ipv4() && (bits(ip) ^ bits(net)).checked_shr(128 - u32::from(length)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insecure_registries_are_the_ones_that_are_named() {
        let insecure = Insecure::parse(&["registry.lan:5000", "Bare.lan", "10.1.0.0/16", "fd00::/8"]).unwrap();
        for (authority, covered) in [
            ("registry.lan:5000", true),
            ("registry.lan:5001", false),
            ("bare.lan:1", true),
            ("10.1.2.3:80", true),
            ("10.2.2.3", false),
            ("[fd00::1]:5000", true),
            ("[fe00::1]:5000", false),
            ("evil-registry.lan:5000", false),
        ] {
            assert_eq!(insecure.covers(authority), covered, "{authority}");
        }
        assert!(insecure.allows_plain("127.0.0.1:5000") && !insecure.covers("127.0.0.1:5000"));
        assert!(Insecure::parse(&["https://registry.lan"]).is_err());
        assert!(Insecure::default().and_plain("http://m.lan:1/").covers("m.lan:1"));
        assert!(!Insecure::default().and_plain("https://m.lan:1/").covers("m.lan:1"));
    }
}
