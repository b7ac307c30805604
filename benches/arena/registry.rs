//! The real registry of the distribution project, on loopback, with its data below one directory.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Killed when dropped; the directory is the caller's.
pub struct Registry {
    child: Child,
    /// `127.0.0.1:PORT`
    pub domain: String,
}

impl Registry {
    /// Starts it with its configuration and its data below `dir`, at a port that is free.
    pub fn start(dir: &Path) -> io::Result<Registry> {
        std::fs::create_dir_all(dir)?;
        let data = dir.join("data");
        let config = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            data.display()
        );
        std::fs::write(dir.join("config.yml"), config)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(dir.join("config.yml"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let log = child.stderr.take();
        let mut registry = Registry { child, domain: String::new() };
        let (said, port) = std::sync::mpsc::channel();
        // Read to its end: a registry whose log is full would stop.
        std::thread::spawn(move || {
            for line in log.into_iter().flat_map(|log| BufReader::new(log).lines()).map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
                    let _ = said.send(rest.chars().take_while(char::is_ascii_digit).collect::<String>());
                }
            }
        });
        let port = port.recv_timeout(Duration::from_secs(30));
        let port = port.map_err(|_| io::Error::other("docker-registry does not say where it listens"))?;
        registry.domain = format!("127.0.0.1:{port}");
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
