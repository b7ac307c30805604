//! Proxies: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, and connections through one.
//!
//! What goes out encrypted is tunnelled (CONNECT, RFC 9110 section 9.3.6); a plain request is given to the proxy with
//! its whole address. This machine is never reached through a proxy.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::Service;

use super::config::{network, within};
use super::endpoint::is_loopback;
use super::transport::Resolver;

/// Which proxy leads where. Addresses are `http://[user:password@]host:port`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For plain HTTP.
    pub http: Option<String>,
    /// For HTTPS.
    pub https: Option<String>,
    /// Hosts to be reached without: `lan`, `.lan`, `10.0.0.0/8`, `*`, with commas between them.
    pub none_for: String,
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The addresses may hold a password.
        f.debug_struct("Proxies").field("none_for", &self.none_for).finish_non_exhaustive()
    }
}

impl Proxies {
    /// As the environment says, in capitals or not.
    pub fn from_env() -> Proxies {
        let var = |name: &str| {
            let named = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
            named(name).or_else(|| named(&name.to_ascii_lowercase()))
        };
        Proxies { http: var("HTTP_PROXY"), https: var("HTTPS_PROXY"), none_for: var("NO_PROXY").unwrap_or_default() }
    }

    /// The proxy on the way to `url`; `Err` when it is set and can't be used.
    pub(super) fn on_the_way_to(&self, url: &Uri) -> Result<Option<Proxy>, String> {
        let set = if url.scheme_str() == Some("https") { &self.https } else { &self.http };
        let (Some(address), Some(host)) = (set, url.host()) else { return Ok(None) };
        if is_loopback(host) || self.without(host, url.port_u16()) {
            return Ok(None);
        }
        Proxy::parse(address).map(Some)
    }

    fn without(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let ip: Option<IpAddr> = host.parse().ok();
        self.none_for.split(',').map(|e| e.trim().to_ascii_lowercase()).filter(|e| !e.is_empty()).any(|entry| {
            if let Some((net, length)) = network(&entry) {
                return ip.is_some_and(|ip| within(ip, net, length));
            }
            let (entry, wanted) = match entry.rsplit_once(':') {
                Some((name, number)) if number.parse::<u16>().is_ok() => (name.to_owned(), number.parse().ok()),
                _ => (entry, None),
            };
            let name = entry.trim_start_matches('*').trim_start_matches('.');
            let same =
                name.is_empty() || host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
            same && (wanted.is_none() || wanted == port)
        })
    }
}

/// One proxy.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// `http://host:port`, without the password.
    pub address: Uri,
    /// `Proxy-Authorization`.
    pub authorization: Option<HeaderValue>,
}

impl Proxy {
    fn parse(text: &str) -> Result<Proxy, String> {
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url: Uri = text.parse().map_err(|_| "the proxy's address can't be understood".to_owned())?;
        if url.scheme_str() != Some("http") {
            return Err(
                "the proxy's address must begin with http:// (what is encrypted stays so on its way through it)".into(),
            );
        }
        let authority = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let (who, host) = authority.rsplit_once('@').map_or((None, authority), |(who, host)| (Some(who), host));
        let address = format!("http://{host}/").parse().map_err(|_| "the proxy's address names no host".to_owned())?;
        let authorization = who.and_then(|who| {
            let pair = base64::engine::general_purpose::STANDARD.encode(decoded(who));
            let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Ok(Proxy { address, authorization })
    }

    /// For explanations: `proxy.lan:3128`.
    pub fn name(&self) -> String {
        self.address.authority().map(ToString::to_string).unwrap_or_default()
    }
}

/// `%40` → `@` (RFC 3986 section 2.1).
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(code.unwrap_or(byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    out
}

/// Connects to the host of an address, or to the proxy on the way to it.
#[derive(Clone)]
pub(super) struct Dial {
    pub tcp: HttpConnector<Resolver>,
    pub proxies: std::sync::Arc<Proxies>,
}

/// A connection that was made by [`Dial`].
pub(super) struct Link {
    io: TokioIo<TcpStream>,
    /// At its end is a proxy that reads whole addresses.
    to_proxy: bool,
}

/// There is no way through the proxy; in Docker's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ProxyError(String);

/// The innermost reason.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    match (error.source(), error.downcast_ref::<io::Error>()) {
        (Some(inner), _) => reason(inner),
        (None, Some(io)) => super::transport::io_reason(io),
        (None, None) => error.to_string(),
    }
}

type DialError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Dial {
    type Response = Link;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, DialError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        let proxies = self.proxies.clone();
        Box::pin(async move {
            let Some(proxy) = proxies.on_the_way_to(&url).map_err(ProxyError)? else {
                return Ok(Link { io: tcp.call(url).await?, to_proxy: false });
            };
            let failed = |cause: String| ProxyError(format!("proxyconnect tcp: {}: {cause}", proxy.name()));
            let io = tcp.call(proxy.address.clone()).await.map_err(|e| failed(reason(&e)))?;
            if url.scheme_str() != Some("https") {
                return Ok(Link { io, to_proxy: true });
            }
            let io = tunnel(io.into_inner(), &url, &proxy).await.map_err(|e| failed(reason(&e)))?;
            Ok(Link { io: TokioIo::new(io), to_proxy: false })
        })
    }
}

/// The longest answer to a CONNECT that is read, in bytes.
const MAX_CONNECT_ANSWER: usize = 8192;

/// Asks the proxy for a connection to the host of `url`.
async fn tunnel(mut io: TcpStream, url: &Uri, proxy: &Proxy) -> Result<TcpStream, io::Error> {
    let target = format!("{}:{}", url.host().unwrap_or_default(), url.port_u16().unwrap_or(443));
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(value) = &proxy.authorization {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    io.write_all(&head).await?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the empty line belongs to the host behind.
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < MAX_CONNECT_ANSWER {
        answer.push(io.read_u8().await?);
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).unwrap_or_default();
    match status.starts_with('2') {
        true => Ok(io),
        false => {
            let line = super::error::printable(answer.lines().next().unwrap_or_default());
            Err(io::Error::other(format!("it does not connect to {target}: {line}")))
        }
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.to_proxy)
    }
}

impl Read for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.on_the_way_to(&url.parse().unwrap()).unwrap().map(|p| p.name())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_this_machine_has_none() {
        let proxies = Proxies {
            http: Some("plain.lan:1".into()),
            https: Some("http://me:p%40ss@secret.lan:2/".into()),
            none_for: "near.lan,.sub.lan, 10.0.0.0/8,odd.lan:5000".into(),
        };
        for (url, proxy) in [
            ("http://r.io/v2/", Some("plain.lan:1")),
            ("https://r.io/v2/", Some("secret.lan:2")),
            ("https://near.lan/", None),
            ("https://x.near.lan/", None),
            ("https://nearer-near.lan/", Some("secret.lan:2")),
            ("https://a.sub.lan/", None),
            ("https://10.2.3.4:5000/", None),
            ("https://odd.lan:5000/", None),
            ("https://odd.lan/", Some("secret.lan:2")),
            ("http://127.0.0.1:5000/", None),
            ("http://localhost/", None),
        ] {
            assert_eq!(way(&proxies, url).as_deref(), proxy, "{url}");
        }
        let proxy = proxies.on_the_way_to(&"https://r.io/".parse().unwrap()).unwrap().unwrap();
        assert_eq!(proxy.authorization.unwrap(), "Basic bWU6cEBzcw==");
        assert!(!format!("{proxies:?}").contains("ss@"));
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_told() {
        let proxies = Proxies { https: Some("socks5://x:1".into()), ..Proxies::default() };
        assert!(proxies.on_the_way_to(&"https://r.io/".parse().unwrap()).is_err());
        let all = Proxies { none_for: "*".into(), ..proxies };
        assert_eq!(way(&all, "https://r.io/"), None);
    }
}
