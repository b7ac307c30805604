//! Where a registry is: base addresses, the rule for plain HTTP, and addresses that may be shown.

use std::net::IpAddr;

use http::Uri;

use super::config::Insecure;

/// A registry that stands in for another one and is asked first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// `http://127.0.0.1:5050`; plain HTTP for loopback addresses, and for those that [`super::Insecure`] has.
    pub url: String,
    /// The domain of the references it serves: `docker.io`.
    pub for_domain: String,
}

/// One place that was asked: what follows (child manifests, blobs) is taken from the same place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Scheme and authority, without a slash at the end: `https://registry-1.docker.io`.
    pub(super) base: String,
    /// The domain of the references it serves.
    pub(super) domain: String,
    pub(super) mirror: bool,
}

impl Endpoint {
    pub(super) fn mirror(mirror: &Mirror) -> Endpoint {
        Endpoint { base: mirror.url.trim_end_matches('/').to_owned(), domain: mirror.for_domain.clone(), mirror: true }
    }

    /// The usual address of a domain: Docker's registry has a name of its own, and a registry on this
    /// machine speaks plain HTTP.
    #[cfg(test)]
    pub(super) fn usual(domain: &str) -> Endpoint {
        Endpoint::candidates(domain, &super::Config::default()).remove(0)
    }

    /// Where the registry of a domain may be, to be tried in this order. There are two for a registry that the
    /// administrator called insecure: with TLS, then without. A registry on this machine speaks plain HTTP unless
    /// it has a directory of certificates.
    pub(super) fn candidates(domain: &str, config: &super::Config) -> Vec<Endpoint> {
        let at = |base: String| Endpoint::at(domain, &base);
        if let Some(base) = config.upstreams.get(domain) {
            return vec![at(base.clone())];
        }
        let has_certificates = super::tls::directory(config.certs_d.as_deref(), domain).is_some();
        match domain {
            crate::oci::DOCKER_DOMAIN => vec![at("https://registry-1.docker.io".to_owned())],
            _ if config.insecure.covers(domain) => {
                vec![at(format!("https://{domain}")), at(format!("http://{domain}"))]
            }
            _ if is_loopback(host_of(domain)) && !has_certificates => vec![at(format!("http://{domain}"))],
            _ => vec![at(format!("https://{domain}"))],
        }
    }

    pub(super) fn at(domain: &str, base: &str) -> Endpoint {
        Endpoint { base: base.trim_end_matches('/').to_owned(), domain: domain.to_owned(), mirror: false }
    }

    /// The base address: `http://127.0.0.1:5050`.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Whether it stands in for the registry that the reference names.
    pub fn is_mirror(&self) -> bool {
        self.mirror
    }
}

/// The host of `host`, `host:port`, `[v6]:port`.
pub(super) fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// 127.0.0.0/8, ::1 and `localhost`.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Why this address must not be asked; `None` if it may. Anything that leaves the machine is encrypted, unless the
/// administrator said otherwise.
pub(super) fn refusal(url: &Uri, insecure: &Insecure) -> Option<String> {
    // Of host and port, never of `user:password@`.
    let authority = url.host().map(|host| match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    });
    match (url.scheme_str(), authority) {
        (Some("https"), Some(_)) => None,
        (Some("http"), Some(authority)) if insecure.allows_plain(&authority) => None,
        (Some("http"), Some(_)) => Some("plain HTTP is only for registries on this machine".to_owned()),
        _ => Some("not an http or https address".to_owned()),
    }
}

/// Scheme, host and port: what a token or password may be sent to.
pub(super) fn origin(url: &Uri) -> (String, String, u16) {
    let scheme = url.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let usual = if scheme == "http" { 80 } else { 443 };
    let host = url.host().unwrap_or_default().to_ascii_lowercase();
    (scheme, host, url.port_u16().unwrap_or(usual))
}

/// An address for explanations and errors: without the query, which may carry a signature.
pub(super) fn shown(url: &Uri) -> String {
    match (url.scheme_str(), url.authority()) {
        (Some(scheme), Some(authority)) => {
            // never `user:password@`
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            let more = if url.query().is_some() { "?…" } else { "" };
            format!("{scheme}://{host}{}{more}", url.path())
        }
        _ => url.path().to_owned(),
    }
}

/// The address that `location` means, seen from `base` (RFC 3986 section 5.2).
pub(super) fn join(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    if location.contains("://") {
        return location.parse().ok();
    }
    if let Some(rest) = location.strip_prefix("//") {
        return format!("{scheme}://{rest}").parse().ok();
    }
    if location.starts_with('/') {
        return format!("{scheme}://{authority}{location}").parse().ok();
    }
    let dir = base.path().rsplit_once('/').map_or("", |(dir, _)| dir);
    format!("{scheme}://{authority}{dir}/{location}").parse().ok()
}

/// Percent-encodes a value of a query (RFC 3986 section 2.3: all but the unreserved characters; `:` and
/// `/` are allowed in a query and make scopes readable).
pub(super) fn encode(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn only_this_machine_is_asked_in_plain_text() {
        for (domain, base) in [
            ("docker.io", "https://registry-1.docker.io"),
            ("quay.io", "https://quay.io"),
            ("localhost:5000", "http://localhost:5000"),
            ("127.3.2.1:5000", "http://127.3.2.1:5000"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("127.evil.example:80", "https://127.evil.example:80"),
            ("192.168.0.1:5000", "https://192.168.0.1:5000"),
        ] {
            assert_eq!(Endpoint::usual(domain).url(), base);
        }
        let secure = Insecure::default();
        assert_eq!(refusal(&uri("http://[::1]:5000/v2/"), &secure), None);
        assert!(refusal(&uri("http://example.com/"), &secure).is_some());
        assert!(refusal(&uri("ftp://localhost/"), &secure).is_some());
        assert!(refusal(&uri("/v2/"), &secure).is_some());
        assert!(refusal(&uri("http://127.0.0.1:80@example.com/"), &secure).is_some());
        let told = Insecure::parse(&["example.com"]).unwrap();
        assert_eq!(refusal(&uri("http://example.com/"), &told), None);
        assert!(refusal(&uri("http://example.org/"), &told).is_some());
    }

    #[test]
    fn redirects_lead_where_the_specification_says() {
        let base = uri("https://r.io/v2/a/blobs/x");
        for (location, target) in [
            ("https://cdn.io/y?sig=1", "https://cdn.io/y?sig=1"),
            ("//cdn.io/y", "https://cdn.io/y"),
            ("/y", "https://r.io/y"),
            ("y", "https://r.io/v2/a/blobs/y"),
        ] {
            assert_eq!(join(&base, location).unwrap(), uri(target));
        }
    }

    #[test]
    fn shown_addresses_carry_no_secret() {
        assert_eq!(shown(&uri("https://cdn.io/y?sig=secret")), "https://cdn.io/y?…");
        assert_eq!(shown(&uri("https://me:secret@r.io/y")), "https://r.io/y");
    }

    #[test]
    fn query_values_are_encoded() {
        assert_eq!(encode("repository:library/a:pull"), "repository:library/a:pull");
        assert_eq!(encode("a b&c=ä"), "a%20b%26c%3D%C3%A4");
    }

    #[test]
    fn origins_compare_with_the_usual_port() {
        assert_eq!(origin(&uri("https://A.io/x")), origin(&uri("https://a.io:443/y")));
        assert_ne!(origin(&uri("https://a.io/x")), origin(&uri("http://a.io/x")));
    }
}
