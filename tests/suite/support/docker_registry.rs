//! The real registry of the distribution project, on loopback, for one test: open, with passwords, or with TLS.

use super::Lab;
use super::lab::Background;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

/// Whom it lets in, and how it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Open,
    /// Only `me` with `hunter2` (htpasswd).
    Guarded,
    /// As `localhost`, with a certificate of an authority of its own.
    Tls,
}

pub struct DockerRegistry {
    /// `127.0.0.1:PORT`, or `localhost:PORT` with TLS: the domain of references to it.
    pub domain: String,
    /// The certificate of its authority.
    pub authority: PathBuf,
    _process: Background,
}

impl DockerRegistry {
    pub fn start(lab: &Lab, name: &str, kind: Kind) -> DockerRegistry {
        let dir = lab.file(name);
        std::fs::create_dir(&dir).unwrap();
        let file = |name: &str| dir.join(name);
        let mut config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: 127.0.0.1:0\n",
            file("data").display()
        );
        match kind {
            Kind::Open => {}
            Kind::Guarded => {
                let made = lab.program("htpasswd").args(["-Bbn", "me", "hunter2"]).output().unwrap();
                std::fs::write(file("htpasswd"), made.stdout).unwrap();
                config += &format!("auth: {{htpasswd: {{realm: lab, path: {}}}}}\n", file("htpasswd").display());
            }
            Kind::Tls => {
                certificates(&dir);
                let (certificate, key) = (file("server.pem"), file("server.key"));
                config += &format!("  tls: {{certificate: {}, key: {}}}\n", certificate.display(), key.display());
            }
        }
        std::fs::write(file("config.yml"), config).unwrap();
        let mut command = lab.program("docker-registry");
        command.arg("serve").arg(file("config.yml")).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Background(command.spawn().unwrap());
        let log = BufReader::new(process.0.stderr.take().unwrap());
        let (said, port) = std::sync::mpsc::channel();
        // Read to its end: a registry whose log is full would stop.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
                    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    let _ = said.send(digits);
                }
            }
        });
        let port = port.recv_timeout(super::PATIENCE).expect("the registry says where it listens");
        let host = if kind == Kind::Tls { "localhost" } else { "127.0.0.1" };
        DockerRegistry { domain: format!("{host}:{port}"), authority: file("authority.pem"), _process: process }
    }

    /// `127.0.0.1:PORT/app:1`
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.domain)
    }
}

fn certificates(dir: &std::path::Path) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    std::fs::write(dir.join("authority.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(dir.join("server.pem"), own.pem()).unwrap();
    std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
}
