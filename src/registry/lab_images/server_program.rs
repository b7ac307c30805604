//! A server in a page of machine code: what `nginx`, `tomcat` and `mysql` of the lab run.
//!
//! It listens, says so in its log, answers everybody the same, and ends when it is told to: enough to publish a port,
//! to read logs, to stop, to kill. One client at a time; one that says nothing is let go after five seconds.

use serde::Deserialize;

use super::assemble::{Arg, BUFFER, Data, Op, Sys, Word, assemble};
use super::elf::Machine;

/// How a recipe describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerRecipe {
    pub port: u16,
    pub protocol: Protocol,
    /// HTTP: what calls itself the server. MySQL: what a client is told.
    pub says: String,
    /// HTTP: the page, looked at for each request.
    pub file: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    Http,
    /// The server of this protocol speaks first; ours says why it is of no use.
    Mysql,
}

const READ: Sys = Sys(0, 63);
const WRITE: Sys = Sys(1, 64);
const CLOSE: Sys = Sys(3, 57);
const RT_SIGACTION: Sys = Sys(13, 134);
const SENDFILE: Sys = Sys(40, 71);
const SOCKET: Sys = Sys(41, 198);
const SHUTDOWN: Sys = Sys(48, 210);
const BIND: Sys = Sys(49, 200);
const LISTEN: Sys = Sys(50, 201);
const SETSOCKOPT: Sys = Sys(54, 208);
const EXIT: Sys = Sys(60, 93);
const OPENAT: Sys = Sys(257, 56);
const ACCEPT4: Sys = Sys(288, 242);

const AF_INET: u32 = 2;
const SOCK_STREAM_CLOEXEC: u32 = 0x8_0001;
const SOL_SOCKET: u32 = 1;
const SO_REUSEADDR: u32 = 2;
const SO_RCVTIMEO: u32 = 20;
const SO_SNDTIMEO: u32 = 21;
const SHUT_WR: u32 = 1;
const O_CLOEXEC: u32 = 0x8_0000;
/// `SA_RESTORER`: x86-64 delivers no signal without one (rt_sigaction(2)).
const SA_RESTORER: u64 = 0x0400_0000;
const SIG_IGN: u64 = 1;
const SECONDS: u64 = 5;

const LISTENER: u8 = 0;
const CLIENT: u8 = 1;
const FILE: u8 = 2;
const LINE: u8 = 3;

/// The executable; `banner` goes to its log when it listens.
pub fn server(machine: Machine, recipe: &ServerRecipe, banner: &[u8]) -> Vec<u8> {
    let mut program = Program::default();
    program.signals();
    program.listens(recipe.port, banner);
    program.op(Op::Label("next"));
    program.call(ACCEPT4, &[Arg::Slot(LISTENER), Arg::Number(0), Arg::Number(0), Arg::Number(0)]);
    program.op(Op::IfNegative("next"));
    program.op(Op::Keep(CLIENT));
    match recipe.protocol {
        Protocol::Http => program.reads_and_logs(),
        Protocol::Mysql => program.says(1, b"a client connected, and was told what this is\n"),
    }
    program.replies(&reply(recipe));
    if let Some(path) = &recipe.file {
        program.sends_file(path);
    }
    program.call(SHUTDOWN, &[Arg::Slot(CLIENT), Arg::Number(SHUT_WR)]);
    // What a client still sends is taken, or the kernel would cut the connection, and with it the answer.
    program.call(READ, &[Arg::Slot(CLIENT), Arg::Buffer, Arg::Number(BUFFER - 1)]);
    program.op(Op::Label("close"));
    program.call(CLOSE, &[Arg::Slot(CLIENT)]);
    program.op(Op::Goto("next"));
    program.ends(recipe.port);
    assemble(machine, &program.ops, &program.data)
}

fn reply(recipe: &ServerRecipe) -> Vec<u8> {
    let says = &recipe.says;
    match recipe.protocol {
        Protocol::Http => format!(
            "HTTP/1.1 200 OK\r\nServer: {says}\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\r\n"
        )
        .into_bytes(),
        // ERR_Packet in place of a greeting: 3 bytes of length, number 0, 0xff, an error code (1130, host is not
        // allowed to connect: the one that a server gives before it knows anybody), the sentence.
        Protocol::Mysql => {
            let mut packet = vec![0xff];
            packet.extend_from_slice(&1130u16.to_le_bytes());
            packet.extend_from_slice(says.as_bytes());
            let mut bytes = (packet.len() as u32).to_le_bytes().to_vec();
            bytes.extend(packet);
            bytes
        }
    }
}

#[derive(Default)]
struct Program {
    ops: Vec<Op>,
    data: Vec<Data>,
}

impl Program {
    fn op(&mut self, op: Op) {
        self.ops.push(op);
    }

    fn call(&mut self, sys: Sys, args: &[Arg]) {
        self.op(Op::Call(sys, args.to_vec()));
    }

    fn data(&mut self, data: Data) -> Arg {
        self.data.push(data);
        Arg::Data(self.data.len() - 1)
    }

    fn says(&mut self, descriptor: u32, text: &[u8]) {
        let length = Arg::Number(text.len() as u32);
        let text = self.data(Data::Bytes(text.to_vec()));
        self.call(WRITE, &[Arg::Number(descriptor), text, length]);
    }

    /// As process 1 of a container it is told to end like anybody else only if it says what it does then
    /// (pid_namespaces(7)).
    fn signals(&mut self) {
        let action = |handler| vec![handler, Word::Number(SA_RESTORER), Word::Label("end"), Word::Number(0)];
        let end = self.data(Data::Words(action(Word::Label("end"))));
        let ignore = self.data(Data::Words(action(Word::Number(SIG_IGN))));
        for (signal, action) in [(2, end), (3, end), (15, end), (13, ignore)] {
            self.call(RT_SIGACTION, &[Arg::Number(signal), action, Arg::Number(0), Arg::Number(8)]);
        }
    }

    fn listens(&mut self, port: u16, banner: &[u8]) {
        let one = self.data(Data::Bytes(1u32.to_le_bytes().to_vec()));
        let patience = self.data(Data::Words(vec![Word::Number(SECONDS), Word::Number(0)]));
        let mut address = (AF_INET as u16).to_le_bytes().to_vec();
        address.extend_from_slice(&port.to_be_bytes());
        address.resize(16, 0);
        let address = self.data(Data::Bytes(address));
        let listener = Arg::Slot(LISTENER);
        self.call(SOCKET, &[Arg::Number(AF_INET), Arg::Number(SOCK_STREAM_CLOEXEC), Arg::Number(0)]);
        self.op(Op::IfNegative("failed"));
        self.op(Op::Keep(LISTENER));
        // The time limits are those of every accepted connection, too (socket(7)).
        for (option, value, size) in [(SO_REUSEADDR, one, 4), (SO_RCVTIMEO, patience, 16), (SO_SNDTIMEO, patience, 16)]
        {
            let (option, size) = (Arg::Number(option), Arg::Number(size));
            self.call(SETSOCKOPT, &[listener, Arg::Number(SOL_SOCKET), option, value, size]);
        }
        self.call(BIND, &[listener, address, Arg::Number(16)]);
        self.op(Op::IfNegative("failed"));
        self.call(LISTEN, &[listener, Arg::Number(128)]);
        self.op(Op::IfNegative("failed"));
        self.says(1, banner);
    }

    /// Reads a request, and writes its first line to the log.
    fn reads_and_logs(&mut self) {
        self.call(READ, &[Arg::Slot(CLIENT), Arg::Buffer, Arg::Number(BUFFER - 1)]);
        self.op(Op::IfNotPositive("close"));
        self.op(Op::CutLine);
        self.op(Op::Keep(LINE));
        self.call(WRITE, &[Arg::Number(1), Arg::Buffer, Arg::Slot(LINE)]);
    }

    fn replies(&mut self, bytes: &[u8]) {
        let length = Arg::Number(bytes.len() as u32);
        let bytes = self.data(Data::Bytes(bytes.to_vec()));
        self.call(WRITE, &[Arg::Slot(CLIENT), bytes, length]);
    }

    fn sends_file(&mut self, path: &str) {
        let path = self.data(Data::Bytes([path.as_bytes(), b"\0"].concat()));
        self.call(OPENAT, &[Arg::Number(0), path, Arg::Number(O_CLOEXEC)]);
        self.op(Op::IfNegative("sent"));
        self.op(Op::Keep(FILE));
        self.call(SENDFILE, &[Arg::Slot(CLIENT), Arg::Slot(FILE), Arg::Number(0), Arg::Number(0x7fff_0000)]);
        self.call(CLOSE, &[Arg::Slot(FILE)]);
        self.op(Op::Label("sent"));
    }

    fn ends(&mut self, port: u16) {
        self.op(Op::Label("failed"));
        self.says(2, format!("cannot listen on port {port}\n").as_bytes());
        self.call(EXIT, &[Arg::Number(1)]);
        self.op(Op::Label("end"));
        self.says(1, b"asked to end: ends\n");
        self.call(EXIT, &[Arg::Number(0)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Child, Command, Stdio};

    /// A port that nobody else takes meanwhile: below the range that the kernel gives out.
    fn free_port() -> u16 {
        let start = 20_000 + (std::process::id() % 5_000) as u16;
        (start..start + 5_000).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
    }

    struct Running {
        child: Child,
        log: BufReader<std::process::ChildStdout>,
        _dir: tempfile::TempDir,
    }

    impl Running {
        fn start(recipe: &ServerRecipe) -> Option<Running> {
            let bytes = server(Machine::of_host()?, recipe, b"listens\n");
            let dir = tempfile::tempdir().unwrap();
            // Through a child: see the tests of `elf`.
            let (staged, path) = (dir.path().join("staged"), dir.path().join("server"));
            std::fs::write(&staged, bytes).unwrap();
            assert!(Command::new("cp").args([&staged, &path]).status().unwrap().success());
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            let mut child = Command::new(path).stdout(Stdio::piped()).spawn().unwrap();
            let log = BufReader::new(child.stdout.take().unwrap());
            Some(Running { child, log, _dir: dir })
        }

        fn line(&mut self) -> String {
            let mut line = String::new();
            self.log.read_line(&mut line).unwrap();
            line
        }

        fn end(&mut self, signal: nix::sys::signal::Signal) -> Option<i32> {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
            self.child.wait().unwrap().code()
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    #[test]
    fn it_serves_its_page_logs_each_request_and_ends_when_told() {
        let page = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(page.path(), "<h1>x</h1>".repeat(10_000)).unwrap();
        let file = Some(page.path().to_str().unwrap().to_owned());
        let port = free_port();
        let recipe = ServerRecipe { port, protocol: Protocol::Http, says: "lab".into(), file };
        let Some(mut running) = Running::start(&recipe) else { return };
        assert_eq!(running.line(), "listens\n");
        for path in ["/", "/other?x=1"] {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\nServer: lab\r\n"), "{answer:.80}");
            assert!(answer.ends_with(&format!("\r\n\r\n{}", "<h1>x</h1>".repeat(10_000))));
            assert_eq!(running.line(), format!("GET {path} HTTP/1.1\n"));
        }
        // A client that goes away does not take the server along.
        drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
        assert_eq!(running.end(nix::sys::signal::Signal::SIGQUIT), Some(0));
        assert_eq!(running.line(), "asked to end: ends\n");
    }

    #[test]
    fn a_mysql_client_gets_an_error_packet_that_says_what_it_is() {
        let port = free_port();
        let recipe = ServerRecipe { port, protocol: Protocol::Mysql, says: "a stand-in".into(), file: None };
        let Some(mut running) = Running::start(&recipe) else { return };
        assert_eq!(running.line(), "listens\n");
        let mut answer = Vec::new();
        TcpStream::connect(("127.0.0.1", port)).unwrap().read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [&[13, 0, 0, 0, 0xff, 0x6a, 0x04][..], b"a stand-in"].concat());
        assert!(running.line().starts_with("a client connected"));
        // The port is taken: the second one says so and fails.
        let mut second = Running::start(&recipe).unwrap();
        assert_eq!(second.child.wait().unwrap().code(), Some(1));
        assert_eq!(running.end(nix::sys::signal::Signal::SIGTERM), Some(0));
    }

    #[test]
    fn both_machines_get_a_program_with_its_data_behind_the_code() {
        let recipe = ServerRecipe { port: 80, protocol: Protocol::Http, says: "lab".into(), file: Some("/x".into()) };
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let file = server(machine, &recipe, b"listens\n");
            let at = |text: &[u8]| file.windows(text.len()).position(|w| w == text).unwrap();
            assert!(at(b"listens\n") < at(b"Server: lab") && at(b"Server: lab") < at(b"/x\0"));
            assert!(file.len() < 4096);
        }
    }
}
