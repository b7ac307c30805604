//! HTTP to one address: connections, TLS, time limits, and why there was no answer.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::CertificateDer;
use tower::Service;

use super::roots;

type Tcp = HttpConnector<Resolver>;
type Pool<C> = legacy::Client<C, Empty<Bytes>>;

/// Time limits of one exchange.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the TCP connection.
    pub connect: Duration,
    /// From sending the request to the first line of the answer.
    pub answer: Duration,
    /// Between two pieces of a body.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { connect: Duration::from_secs(10), answer: Duration::from_secs(30), idle: Duration::from_secs(30) }
    }
}

/// Keeps connections open between exchanges. TLS is set up when it is first needed: reading the
/// certificates of the system takes longer than a whole pull from the lab hub.
pub(super) struct Transport {
    limits: Limits,
    extra_roots: Vec<CertificateDer<'static>>,
    plain: Pool<Tcp>,
    tls: OnceLock<Result<Pool<HttpsConnector<Tcp>>, String>>,
}

impl Transport {
    pub(super) fn new(limits: Limits, extra_roots: Vec<CertificateDer<'static>>) -> Transport {
        Transport { plain: pool().build(tcp(limits)), tls: OnceLock::new(), limits, extra_roots }
    }

    /// Sends the request; the answer's body is still to be read. An error is why there was no answer, in
    /// the words of Docker: `dial tcp: lookup registry-1.docker.io: no such host`.
    pub(super) async fn send(&self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, String> {
        let url = request.uri().clone();
        let answer = async {
            if url.scheme_str() == Some("https") {
                let client = self.tls.get_or_init(|| self.set_up_tls()).as_ref().map_err(Clone::clone)?;
                client.request(request).await.map_err(|e| reason(&e, &url))
            } else {
                self.plain.request(request).await.map_err(|e| reason(&e, &url))
            }
        };
        match tokio::time::timeout(self.limits.answer, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} seconds", self.limits.answer.as_secs())),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    fn set_up_tls(&self) -> Result<Pool<HttpsConnector<Tcp>>, String> {
        let roots = roots::load(&self.extra_roots)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("tls: {e}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(pool().build(HttpsConnector::from((tcp(self.limits), config))))
    }
}

fn pool() -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(Duration::from_secs(15)).pool_timer(TokioTimer::new());
    builder
}

fn tcp(limits: Limits) -> Tcp {
    let mut connector = HttpConnector::new_with_resolver(Resolver);
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(limits.connect));
    connector
}

/// The system's name lookup, with an error that can be told from a failed connection.
#[derive(Clone)]
struct Resolver;

#[derive(Debug, thiserror::Error)]
#[error("lookup {host}: {cause}")]
struct LookupError {
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
