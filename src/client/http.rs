//! One request, one answer, over HTTP/1.1 on a unix socket.

use super::hijack::Hijacked;
use super::query::Query;
use super::{ClientError, Endpoint, trace};
use crate::api::error::ErrorBody;
use crate::api::version::{self, ApiVersion};
use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::io;
use tokio::net::UnixStream;

pub(super) type Sender = http1::SendRequest<Body>;
/// What a request brings: a document, or an archive as it comes.
pub(super) type Body = Either<Full<Bytes>, StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>>;

/// A daemon that answered `/_ping`. Keeps one idle connection for the next call.
pub struct Client {
    endpoint: Endpoint,
    version: Cell<ApiVersion>,
    idle: RefCell<Option<Sender>>,
}

/// One call as it is sent; the path has no version prefix.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    path: String,
    query: Query,
    body: Option<Value>,
    /// The body is no part of the explanation.
    secret: bool,
    headers: Vec<(&'static str, String)>,
}

impl Call {
    pub fn new(method: Method, path: impl Into<String>) -> Call {
        Call { method, path: path.into(), query: Query::new(), body: None, secret: false, headers: Vec::new() }
    }
    pub fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path)
    }
    pub fn post(path: impl Into<String>) -> Call {
        Call::new(Method::POST, path)
    }
    pub fn query(self, query: Query) -> Call {
        Call { query, ..self }
    }
    pub fn json(self, body: Value) -> Call {
        Call { body: Some(body), ..self }
    }
    /// A body that nobody else may see.
    pub fn secret_json(self, body: Value) -> Call {
        Call { body: Some(body), secret: true, ..self }
    }
    /// Headers are never explained: who asks is said in one.
    pub fn maybe_header(mut self, name: &'static str, value: Option<String>) -> Call {
        self.headers.extend(value.map(|v| (name, v)));
        self
    }
    /// For messages: `POST /containers/create`.
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// An answer whose body has not been read yet.
pub(super) struct Answer {
    pub response: Response<Incoming>,
    sender: Sender,
    call: String,
}

impl Client {
    /// Connects, and agrees on a version. `Err(NotRunning)` when nobody listens.
    pub async fn connect(endpoint: &Endpoint) -> Result<Client, ClientError> {
        let client = Client { endpoint: endpoint.clone(), version: Cell::new(version::MAX), idle: RefCell::new(None) };
        let headers = match client.greet().await {
            // A daemon that is on its way out may take a connection that it does not serve any more: the next one is
            // refused, or is another daemon's.
            Err(ClientError::Lost { .. } | ClientError::Ended { .. }) => client.greet().await?,
            greeted => greeted?,
        };
        if let Some(theirs) = headers.get("api-version").and_then(|v| v.to_str().ok()) {
            let agreed = theirs.parse::<ApiVersion>().map_err(|_| ClientError::TooOld(theirs.to_owned()))?.agreed();
            if agreed < version::MIN {
                return Err(ClientError::TooOld(theirs.to_owned()));
            }
            client.version.set(agreed);
        }
        Ok(client)
    }

    /// A client of a daemon that has been talked to already, for calls that have no version. Connects when needed.
    pub fn known(endpoint: &Endpoint) -> Client {
        Client { endpoint: endpoint.clone(), version: Cell::new(version::MAX), idle: RefCell::new(None) }
    }

    /// The version agreed on.
    pub fn version(&self) -> ApiVersion {
        self.version.get()
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn greet(&self) -> Result<HeaderMap, ClientError> {
        *self.idle.borrow_mut() = Some(self.dial().await?);
        self.ping().await
    }

    async fn ping(&self) -> Result<HeaderMap, ClientError> {
        let answer = self.exchange(&Call::new(Method::HEAD, "/_ping"), false).await?;
        let headers = answer.response.headers().clone();
        self.collect(answer).await?;
        Ok(headers)
    }

    /// Sends `call`, reads the whole answer. An error status becomes [`ClientError::Api`].
    pub(super) async fn call(&self, call: Call) -> Result<Bytes, ClientError> {
        let answer = self.exchange(&call, true).await?;
        let status = answer.response.status();
        let body = self.collect(answer).await?;
        trace::answered(&call.path, status, &body);
        check(status, &body)?;
        Ok(body)
    }

    /// The same, with the answer read as JSON.
    pub(super) async fn call_json<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let name = call.name();
        let body = self.call(call).await?;
        serde_json::from_slice(&body).map_err(|source| ClientError::Answer { call: name, source })
    }

    /// Sends `call`; the body of the answer comes piece by piece. An error status becomes [`ClientError::Api`].
    pub(super) async fn stream(&self, call: Call) -> Result<Answer, ClientError> {
        let answer = self.exchange(&call, true).await?;
        let status = answer.response.status();
        if status.is_success() {
            trace::answered(&call.path, status, b"");
            return Ok(answer);
        }
        let body = self.collect(answer).await?;
        trace::answered(&call.path, status, &body);
        check(status, &body)?;
        Err(ClientError::NotHijacked { call: call.name(), status })
    }

    /// Sends `call` with an archive as its body, reads the whole answer. The answer may come before the body has ended:
    /// then the daemon needs no more of it.
    pub(super) async fn upload(
        &self,
        call: Call,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<Bytes, ClientError> {
        let answer = self.upload_and_stream(call, archive).await?;
        self.collect(answer).await
    }

    /// As [`Client::upload`]; the body of the answer comes piece by piece.
    pub(super) async fn upload_and_stream(
        &self,
        call: Call,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<Answer, ClientError> {
        let parent = trace::sending(&call.method, &self.prefixed(&call), None);
        let mut sender = self.ready().await?;
        let (mut parts, _) = self.request(&call, parent)?.into_parts();
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
        let body = Either::Right(StreamBody::new(archive.map(|piece| piece.map(Frame::data)).boxed()));
        let lost = |source| ClientError::Lost { call: call.name(), source };
        let response = sender.send_request(Request::from_parts(parts, body)).await.map_err(lost)?;
        let answer = Answer { response, sender, call: call.name() };
        let status = answer.response.status();
        if status.is_success() {
            trace::answered(&call.path, status, b"");
            return Ok(answer);
        }
        let body = self.collect(answer).await?;
        trace::answered(&call.path, status, &body);
        check(status, &body)?;
        Err(ClientError::NotHijacked { call: call.name(), status })
    }

    /// Sends `call` asking for the connection itself (`Upgrade: tcp`).
    pub(super) async fn hijack(&self, call: Call) -> Result<Hijacked, ClientError> {
        let mut sender = self.dial().await?;
        let told = trace::sending(&call.method, &self.prefixed(&call), call.body.as_ref());
        let mut request = self.request(&call, told)?;
        let headers = request.headers_mut();
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, header::HeaderValue::from_static("tcp"));
        if call.body.is_none() {
            headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
        }
        let lost = |source| ClientError::Lost { call: call.name(), source };
        let response = sender.send_request(request).await.map_err(lost)?;
        let status = response.status();
        match status {
            StatusCode::SWITCHING_PROTOCOLS => {
                trace::answered(&call.path, status, b"");
                Ok(Hijacked::upgraded(hyper::upgrade::on(response).await.map_err(lost)?))
            }
            StatusCode::OK => {
                trace::answered(&call.path, status, b"");
                Ok(Hijacked::body(response.into_body(), sender))
            }
            _ => {
                let body = response.into_body().collect().await.map_err(lost)?.to_bytes();
                trace::answered(&call.path, status, &body);
                check(status, &body)?;
                Err(ClientError::NotHijacked { call: call.name(), status })
            }
        }
    }

    /// Reads the rest of an answer and keeps the connection for the next call.
    pub(super) async fn collect(&self, answer: Answer) -> Result<Bytes, ClientError> {
        let Answer { response, sender, call } = answer;
        let body = response.into_body().collect().await.map_err(|source| ClientError::Lost { call, source })?;
        *self.idle.borrow_mut() = Some(sender);
        Ok(body.to_bytes())
    }

    async fn exchange(&self, call: &Call, explained: bool) -> Result<Answer, ClientError> {
        let path = self.prefixed(call);
        let parent = if explained {
            trace::sending(&call.method, &path, call.body.as_ref().filter(|_| !call.secret))
        } else {
            None
        };
        let mut sender = self.ready().await?;
        let request = self.request(call, parent)?;
        let lost = |source| ClientError::Lost { call: call.name(), source };
        let response = sender.send_request(request).await.map_err(lost)?;
        Ok(Answer { response, sender, call: call.name() })
    }

    fn request(&self, call: &Call, parent: Option<String>) -> Result<Request<Body>, ClientError> {
        let path = self.prefixed(call);
        let mut builder = Request::builder()
            .method(call.method.clone())
            .uri(&path)
            .header(header::HOST, "localhost")
            .header(header::USER_AGENT, concat!("rdock/", env!("CARGO_PKG_VERSION"), " (linux)"));
        if let Some(parent) = parent {
            builder = builder.header("traceparent", parent);
        }
        for (name, value) in &call.headers {
            builder = builder.header(*name, value);
        }
        let body = match &call.body {
            Some(json) => {
                builder = builder.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(as_go_writes(&json.to_string()))
            }
            None => Bytes::new(),
        };
        builder.body(Either::Left(Full::new(body))).map_err(|source| ClientError::Request { path, source })
    }

    fn prefixed(&self, call: &Call) -> String {
        let query = call.query.as_str();
        match call.path.as_str() {
            "/_ping" => "/_ping".to_owned(),
            own if own.starts_with("/rdock/") => format!("{own}{query}"),
            path => format!("/v{}{path}{query}", self.version.get()),
        }
    }

    /// The idle connection if it still lives, else a new one.
    async fn ready(&self) -> Result<Sender, ClientError> {
        let idle = self.idle.borrow_mut().take();
        if let Some(mut sender) = idle
            && !sender.is_closed()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        self.dial().await
    }

    async fn dial(&self) -> Result<Sender, ClientError> {
        let stream = UnixStream::connect(&self.endpoint.socket).await.map_err(|e| self.connect_error(e))?;
        self.check_peer(&stream)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| ClientError::Lost { call: "the first request".into(), source })?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    /// Who listens where our own daemon should must be this user or root (`SO_PEERCRED`, unix(7)): in /tmp somebody else
    /// may have come first. A daemon that was named by the user is the user's own matter.
    fn check_peer(&self, stream: &UnixStream) -> Result<(), ClientError> {
        let own = nix::unistd::geteuid().as_raw();
        match stream.peer_cred().map(|peer| peer.uid()) {
            Ok(user) if self.endpoint.autostart.is_some() && user != own && user != 0 => {
                Err(ClientError::Foreign { socket: self.endpoint.socket.clone(), user })
            }
            _ => Ok(()),
        }
    }

    fn connect_error(&self, source: io::Error) -> ClientError {
        let (socket, name) = (self.endpoint.socket.clone(), self.endpoint.daemon_name());
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning { name, socket },
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ClientError::Ended { socket },
            io::ErrorKind::PermissionDenied => ClientError::Denied { name, socket },
            _ => ClientError::Connect { socket, source },
        }
    }
}

impl Answer {
    /// The next piece of the body; none at its end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.response.body_mut().frame().await {
                None => return Ok(None),
                Some(Err(source)) => {
                    return Err(ClientError::Lost { call: self.call.clone(), source });
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The body as the streams of a container; nothing can be sent.
    pub fn into_streams(self) -> Hijacked {
        Hijacked::body(self.response.into_body(), self.sender)
    }

    pub fn call(&self) -> &str {
        &self.call
    }
}

/// An error status as an error, with the daemon's message if the body has one.
fn check(status: StatusCode, body: &[u8]) -> Result<(), ClientError> {
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(());
    }
    let message = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { message }) => message.trim_end().to_owned(),
        Err(_) if body.is_empty() => format!("request returned {status}"),
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    Err(ClientError::Api { status, message })
}

/// Go escapes what could be markup, also in JSON (encoding/json, HTMLEscape), and ends with a line feed.
fn as_go_writes(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('\n');
    out
}
