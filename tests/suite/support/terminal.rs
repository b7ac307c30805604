//! A real pseudo-terminal with a command at its other end, as a person sits before it.

use super::{Lab, PATIENCE};
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

/// What came out so far, and whether that was all.
#[derive(Default)]
struct Screen {
    bytes: Vec<u8>,
    ended: bool,
}

/// One terminal session.
pub struct Terminal {
    master: File,
    child: Child,
    screen: Arc<(Mutex<Screen>, Condvar)>,
    /// How much of the screen earlier calls of [`Terminal::expect`] have passed.
    passed: usize,
}

impl Terminal {
    /// `rdock ARGS…` on a new terminal of this size.
    pub fn rdock(lab: &Lab, args: &[&str], rows: u16, columns: u16) -> Terminal {
        Terminal::program(lab, super::lab::RDOCK, args, rows, columns)
    }

    /// Any program on a new terminal.
    pub fn program(lab: &Lab, name: &str, args: &[&str], rows: u16, columns: u16) -> Terminal {
        // Closed in every other program from the start: tests run side by side, and a terminal that somebody else
        // has inherited never ends.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ptsname_r(&master).unwrap();
        let slave = File::options().read(true).write(true).custom_flags(flags.bits()).open(slave).unwrap();
        let master = File::from(OwnedFd::from(master));
        set_size(&master, rows, columns);
        // setsid makes the terminal the controlling one, which Command alone can't without unsafe code.
        let mut command: Command = lab.program("setsid");
        command.arg("--ctty").arg(name).args(args).env_remove("COLUMNS").env("TERM", "xterm");
        let copy = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().unwrap();
        drop((command, slave));
        let screen = Arc::new((Mutex::new(Screen::default()), Condvar::new()));
        let (reading, writing) = (master.try_clone().unwrap(), screen.clone());
        std::thread::spawn(move || read(reading, &writing));
        Terminal { master, child, screen, passed: 0 }
    }

    /// Waits until `wanted` has come (after what was expected before), and returns the text up to and with it.
    #[track_caller]
    pub fn expect(&mut self, wanted: &str) -> String {
        let (lock, changed) = &*self.screen;
        let start = self.passed;
        let find = |s: &Screen| {
            let new = &s.bytes[start..];
            new.windows(wanted.len()).position(|w| w == wanted.as_bytes()).map(|at| at + wanted.len())
        };
        let guard = lock.lock().unwrap();
        let (guard, _) = changed.wait_timeout_while(guard, PATIENCE, |s| find(s).is_none() && !s.ended).unwrap();
        let seen = String::from_utf8_lossy(&guard.bytes[start..]).into_owned();
        let Some(length) = find(&guard) else {
            drop(guard);
            panic!("{wanted:?} did not come; the terminal shows {seen:?}");
        };
        self.passed = start + length;
        String::from_utf8_lossy(&guard.bytes[start..start + length]).into_owned()
    }

    /// Types.
    pub fn send(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// The window is dragged to another size: the kernel tells the foreground process (SIGWINCH).
    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.master, rows, columns);
    }

    /// Waits for the command's end: its status, and everything that was shown.
    #[track_caller]
    pub fn end(mut self) -> (i32, String) {
        let (lock, changed) = &*self.screen;
        let guard = lock.lock().unwrap();
        let (guard, timeout) = changed.wait_timeout_while(guard, PATIENCE, |s| !s.ended).unwrap();
        let seen = String::from_utf8_lossy(&guard.bytes).into_owned();
        assert!(!timeout.timed_out(), "still running; the terminal shows {seen:?}");
        drop(guard);
        let status = self.child.wait().unwrap();
        (status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)), seen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// stty sets the size of the terminal that is its standard input; setting it on the master is the same.
fn set_size(master: &File, rows: u16, columns: u16) {
    let mut stty = Command::new("stty");
    stty.args(["rows", &rows.to_string(), "cols", &columns.to_string()]);
    let status = stty.stdin(Stdio::from(master.try_clone().unwrap())).status().unwrap();
    assert!(status.success());
}

/// Reading ends with EIO when the last holder of the slave has closed it (pty(7)).
fn read(mut master: File, screen: &(Mutex<Screen>, Condvar)) {
    let mut buffer = [0; 4096];
    loop {
        let n = match master.read(&mut buffer) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
            Ok(n) => n,
        };
        let mut state = screen.0.lock().unwrap();
        state.bytes.extend(&buffer[..n]);
        state.ended = n == 0;
        screen.1.notify_all();
        if n == 0 {
            return;
        }
    }
}

#[test]
fn a_terminal_has_its_size_and_ends_with_its_command() {
    let lab = Lab::new();
    let mut terminal = Terminal::program(&lab, "sh", &["-c", "stty size; read x; echo got $x; exit 5"], 33, 101);
    terminal.expect("33 101\r\n");
    terminal.resize(40, 50);
    terminal.send("words\r");
    terminal.expect("got words");
    assert_eq!(terminal.end().0, 5);
}
