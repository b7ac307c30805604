//! A stand-in for docker.io, over real HTTPS, that only one daemon can see: the daemon runs in a network namespace of
//! its own, where registry-1.docker.io is this machine and port 443 is ours.

use super::lab::Background;
use super::{Lab, wait_for};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// Answers one request, given its method and path: status, headers, body.
pub type Answers = Arc<dyn Fn(&str, &str) -> Response + Send + Sync>;

pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response { status, headers: Vec::new(), body: body.into() }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Response {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// A daemon cut off from the network, where docker.io answers as `answers` says (or not at all).
pub struct Upstream {
    /// Whose namespaces they are.
    pid: u32,
    /// Ends the server when it goes.
    stop: Option<UnixStream>,
    server: Option<std::thread::JoinHandle<()>>,
    daemon: Option<Background>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    /// Starts the daemon of `lab`. Needs root.
    pub fn start(lab: &mut Lab, answers: Option<Answers>) -> Upstream {
        let upstream = Upstream::around(lab, &[super::lab::RDOCK, "daemon"], answers);
        wait_for("the daemon's socket", || UnixStream::connect(lab.socket()).ok());
        upstream
    }

    /// Only the network, no daemon yet: the first command that is run [`Upstream::inside`] starts it.
    pub fn fence(lab: &mut Lab, answers: Option<Answers>) -> Upstream {
        Upstream::around(lab, &["sleep", "infinity"], answers)
    }

    /// A program in the namespaces.
    pub fn inside(&self, lab: &Lab, program: &str) -> Command {
        let mut command = lab.program("nsenter");
        let namespace = |kind: &str, file: &str| format!("--{kind}=/proc/{}/ns/{file}", self.pid);
        command.args([namespace("net", "net"), namespace("mount", "mnt")]).arg("--").arg(program);
        command
    }

    fn around(lab: &mut Lab, program: &[&str], answers: Option<Answers>) -> Upstream {
        let authority = lab.file("authority.pem");
        let tls = certificates(&authority);
        lab.env("SSL_CERT_FILE", authority.display().to_string());
        let hosts = lab.file("hosts");
        let names = if answers.is_some() { "localhost registry-1.docker.io auth.docker.io" } else { "localhost" };
        std::fs::write(&hosts, format!("127.0.0.1 {names}\n")).unwrap();
        let mut command = lab.program("unshare");
        let script = "ip link set lo up && mount --bind \"$1\" /etc/hosts && shift && echo ready && exec \"$@\"";
        command.args(["--net", "--mount", "sh", "-c", script, "sh"]).arg(&hosts).args(program);
        let mut daemon = Background(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let mut ready = String::new();
        BufReader::new(daemon.0.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "namespaces with a loopback and an /etc/hosts of their own");
        let pid = daemon.0.id();
        let mut upstream = Upstream { pid, stop: None, server: None, daemon: Some(daemon), asked: Arc::default() };
        if let Some(answers) = answers {
            upstream.serve(pid, tls, answers);
        }
        upstream
    }

    /// What was asked for so far: `GET /v2/…`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn serve(&mut self, pid: u32, tls: ServerConfig, answers: Answers) {
        let (stop, stopped) = UnixStream::pair().unwrap();
        let (ready, listening) = std::sync::mpsc::channel();
        let asked = self.asked.clone();
        let server = std::thread::spawn(move || {
            // This thread alone moves to the daemon's network (setns(2) is per thread).
            let namespace = File::open(format!("/proc/{pid}/ns/net")).unwrap();
            nix::sched::setns(namespace.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let listener = TcpListener::bind(("127.0.0.1", 443)).unwrap();
            ready.send(()).unwrap();
            accept(&listener, &stopped, &Arc::new(tls), &answers, &asked);
        });
        listening.recv().unwrap();
        self.stop = Some(stop);
        self.server = Some(server);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
        if let Some(mut daemon) = self.daemon.take() {
            // Ended by `rdock daemon stop` where the test is in order; by SIGKILL (of Background) where not.
            let pid = nix::unistd::Pid::from_raw(daemon.0.id() as i32);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let _ = super::eventually(super::PATIENCE, || matches!(daemon.0.try_wait(), Ok(Some(_))));
        }
    }
}

fn certificates(authority: &std::path::Path) -> ServerConfig {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    std::fs::write(authority, ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["registry-1.docker.io".to_owned(), "auth.docker.io".to_owned()];
    let own = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key.into())
        .unwrap()
}

fn accept(
    listener: &TcpListener,
    stopped: &UnixStream,
    tls: &Arc<ServerConfig>,
    answers: &Answers,
    asked: &Arc<Mutex<Vec<String>>>,
) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    loop {
        let mut wait =
            [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        poll(&mut wait, PollTimeout::NONE).unwrap();
        if wait[1].revents().is_some_and(|r| !r.is_empty()) {
            return;
        }
        let Ok((socket, _)) = listener.accept() else { return };
        // A client that keeps its connection open must not keep a thread for ever.
        let _ = socket.set_read_timeout(Some(super::PATIENCE));
        let (tls, answers, asked) = (tls.clone(), answers.clone(), asked.clone());
        std::thread::spawn(move || {
            if let Ok(connection) = ServerConnection::new(tls) {
                let _ = converse(StreamOwned::new(connection, socket), &answers, &asked);
            }
        });
    }
}

/// HTTP/1.1, one request after another, bodies by length.
fn converse<S: Read + Write>(stream: S, answers: &Answers, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if stream.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut header = String::new();
            if stream.read_line(&mut header)? <= 2 {
                break;
            }
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        asked.lock().unwrap().push(format!("{method} {path}"));
        let answer = answers(method, path);
        let mut head = format!("HTTP/1.1 {} .\r\nContent-Length: {}\r\n", answer.status, answer.body.len());
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let stream = stream.get_mut();
        stream.write_all(head.as_bytes())?;
        if method != "HEAD" {
            stream.write_all(&answer.body)?;
        }
        stream.flush()?;
    }
}
