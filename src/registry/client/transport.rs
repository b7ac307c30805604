//! HTTP to one address: connections, TLS, time limits, and why there was no answer.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

use super::proxy::{Dial, Proxies, ProxyError};
use super::{Config, tls};

/// What is sent along: nothing, a small document, or a blob that is read as it goes.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;
type Pool<C> = legacy::Client<C, Body>;
type TlsPool = Pool<HttpsConnector<Dial>>;

/// Time limits of one exchange.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the TCP connection.
    pub connect: Duration,
    /// From sending the request to the first line of the answer.
    pub answer: Duration,
    /// Between two pieces of a body.
    pub idle: Duration,
    /// From the last byte of an upload to the answer: a registry may have much to put away.
    pub commit: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let seconds = Duration::from_secs;
        Limits { connect: seconds(10), answer: seconds(30), idle: seconds(30), commit: seconds(120) }
    }
}

/// Keeps connections open between exchanges. TLS is set up when it is first needed: reading the
/// certificates of the system takes longer than a whole pull from the lab hub.
pub(super) struct Transport {
    limits: Limits,
    plain: Pool<Dial>,
    dial: Dial,
    /// By `host:port` and the age of its certificates, or under an empty name for all that have nothing of their own.
    tls: Mutex<HashMap<String, TlsPool>>,
}

impl Transport {
    pub(super) fn new(limits: Limits, proxies: Proxies) -> Transport {
        let dial = Dial { tcp: tcp(limits), proxies: Arc::new(proxies) };
        Transport { plain: pool().build(dial.clone()), tls: Mutex::default(), dial, limits }
    }

    /// Sends the request; the answer's body is still to be read. An error is why there was no answer, in
    /// the words of Docker: `dial tcp: lookup registry-1.docker.io: no such host`. `sent` counts the bytes of a long
    /// body: as long as it grows, the answer may wait.
    pub(super) async fn send(
        &self,
        config: &Config,
        mut request: Request<Body>,
        sent: Option<&AtomicU64>,
    ) -> Result<Response<Incoming>, String> {
        let url = request.uri().clone();
        let answer = async {
            let answer = if url.scheme_str() == Some("https") {
                self.tls_for(config, &url)?.request(request).await
            } else {
                let proxy = self.dial.proxies.on_the_way_to(&url)?;
                if let Some(value) = proxy.and_then(|p| p.authorization) {
                    request.headers_mut().insert(PROXY_AUTHORIZATION, value);
                }
                self.plain.request(request).await
            };
            answer.map_err(|e| reason(&e, &url))
        };
        let limit = if sent.is_some() { self.limits.commit } else { self.limits.answer };
        let mut answer = std::pin::pin!(answer);
        let mut before = 0;
        loop {
            if let Ok(answer) = tokio::time::timeout(limit, &mut answer).await {
                return answer;
            }
            let now = sent.map_or(0, |s| s.load(Ordering::Relaxed));
            if now == before {
                return Err(format!("no answer within {} seconds", limit.as_secs()));
            }
            before = now;
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// The proxy on the way to `url`, for explanations.
    pub(super) fn proxy(&self, url: &Uri) -> Option<String> {
        self.dial.proxies.on_the_way_to(url).ok().flatten().map(|p| p.name())
    }

    fn tls_for(&self, config: &Config, url: &Uri) -> Result<TlsPool, String> {
        let (_, host, port) = super::endpoint::origin(url);
        let authority = match url.port() {
            Some(_) => format!("{host}:{port}"),
            None => host,
        };
        let directory = tls::directory(config.certs_d.as_deref(), &authority);
        let key = match (&directory, config.insecure.covers(&authority)) {
            (None, false) => String::new(),
            // Certificates that were put there since count at once.
            (Some(directory), _) => format!("{authority} {}", tls::stamp(directory)),
            (None, true) => authority.clone(),
        };
        let mut pools = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = pools.get(&key) {
            return Ok(made.clone());
        }
        let made = pool().build(HttpsConnector::from((self.dial.clone(), tls::config(config, &authority)?)));
        pools.retain(|other, _| other.split(' ').next() != key.split(' ').next());
        pools.insert(key, made.clone());
        Ok(made)
    }
}

fn pool() -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(Duration::from_secs(15)).pool_timer(TokioTimer::new());
    builder
}

fn tcp(limits: Limits) -> HttpConnector<Resolver> {
    let mut connector = HttpConnector::new_with_resolver(Resolver);
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(limits.connect));
    connector
}

/// The system's name lookup, with an error that can be told from a failed connection.
#[derive(Clone)]
pub(super) struct Resolver;

#[derive(Debug, thiserror::Error)]
#[error("lookup {host}: {cause}")]
pub(super) struct LookupError {
    host: String,
    cause: String,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = LookupError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, LookupError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LookupError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(found) => Ok(found.collect::<Vec<_>>().into_iter()),
                Err(e) => Err(LookupError { cause: lookup_failure(&e), host: name.as_str().to_owned() }),
            }
        })
    }
}

/// getaddrinfo(3) failures as Go's resolver says them.
fn lookup_failure(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit(": ").next().unwrap_or(&text);
    match text {
        "Name or service not known" | "No address associated with hostname" => "no such host".to_owned(),
        other => lower_first(other),
    }
}

/// Why a request got no answer: `dial tcp 127.0.0.1:1: connect: connection refused`.
fn reason(error: &legacy::Error, url: &Uri) -> String {
    let mut chain: Vec<&(dyn StdError + 'static)> = Vec::new();
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(e) = next {
        chain.push(e);
        next = e.source();
    }
    if let Some(proxy) = chain.iter().find_map(|e| e.downcast_ref::<ProxyError>()) {
        return proxy.to_string();
    }
    if let Some(lookup) = chain.iter().find_map(|e| e.downcast_ref::<LookupError>()) {
        return format!("dial tcp: {lookup}");
    }
    let tls = chain.iter().find_map(|e| {
        // rustls' errors come wrapped in io errors, which show their inner one only by `get_ref`
        e.downcast_ref::<rustls::Error>().or_else(|| {
            e.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
        })
    });
    if let Some(tls) = tls {
        return format!("tls: {}", lower_first(&tls.to_string()));
    }
    let io = chain.iter().rev().find_map(|e| e.downcast_ref::<io::Error>());
    let cause = match (io, chain.last()) {
        (Some(io), _) => io_reason(io),
        (None, Some(last)) => last.to_string(),
        (None, None) => error.to_string(),
    };
    if error.is_connect() {
        let (host, port) = (url.host().unwrap_or_default(), super::endpoint::origin(url).2);
        return format!("dial tcp {host}:{port}: connect: {cause}");
    }
    cause
}

pub(super) fn io_reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_lowercase(),
        None if error.kind() == io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        None => lower_first(&error.to_string()),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
