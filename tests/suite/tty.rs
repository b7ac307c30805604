//! A person before a terminal: `run -it`.

use super::support::need::Need;
use super::support::terminal::Terminal;
use super::support::{Lab, need};

fn lab() -> Option<Lab> {
    need(&[Need::Root]).then(|| Lab::new().with_image("centos"))
}

/// `[root@82893955fb41 /]# `: the id between is given back.
fn prompt(terminal: &mut Terminal) -> String {
    let text = terminal.expect(" /]# ");
    let at = text.rfind("[root@").unwrap_or_else(|| panic!("no prompt in {text:?}"));
    let id: String = text[at + 6..].chars().take_while(|c| *c != ' ').collect();
    assert!(id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{text:?}");
    id
}

#[test]
fn bash_shows_the_documents_prompt_and_exit_ends_it() {
    let Some(lab) = lab() else { return };
    let mut terminal = Terminal::rdock(&lab, &["run", "-it", "centos", "/bin/bash"], 24, 80);
    let id = prompt(&mut terminal);
    terminal.send("ls /\r");
    let listing = terminal.expect("[root@");
    for name in ["bin", "lost+found", "var"] {
        assert!(listing.contains(name), "{listing:?}");
    }
    terminal.send("exit\r");
    let (status, shown) = terminal.end();
    assert_eq!(status, 0);
    assert!(shown.trim_end().ends_with("exit"), "{shown:?}");
    assert_eq!(lab.rdock(["ps", "-aq"]).ok().stdout.trim(), id);
    assert_eq!(lab.rdock(["ps", "-q"]).ok().stdout, "");
}

#[test]
fn the_status_comes_through_a_terminal() {
    let Some(lab) = lab() else { return };
    let mut terminal = Terminal::rdock(&lab, &["run", "--rm", "-it", "centos"], 24, 80);
    prompt(&mut terminal);
    terminal.send("exit 3\r");
    assert_eq!(terminal.end().0, 3);
}

#[test]
fn the_window_has_the_clients_size_and_follows_it() {
    let Some(lab) = lab() else { return };
    let mut terminal = Terminal::rdock(&lab, &["run", "--rm", "-it", "centos"], 33, 101);
    prompt(&mut terminal);
    terminal.send("stty size; tty\r");
    terminal.expect("33 101\r\n/dev/pts/0\r\n");
    prompt(&mut terminal);
    // bash learns of the new size by SIGWINCH; the trap tells when it has come.
    // It reads until then, since a trap waits for the end of the command at hand.
    terminal.send("trap 'echo now $(stty size); d=1' WINCH; echo ready; while [ -z \"$d\" ]; do read -t 0.1 x; done\r");
    terminal.expect("ready\r\n");
    terminal.resize(40, 120);
    terminal.expect("now 40 120");
    prompt(&mut terminal);
    terminal.send("exit 0\r");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn ctrl_c_goes_to_the_container_and_not_to_the_client() {
    let Some(lab) = lab() else { return };
    let mut terminal = Terminal::rdock(&lab, &["run", "--rm", "-it", "centos"], 24, 80);
    prompt(&mut terminal);
    // The program says itself that it has begun (typed in two halves, so that the echo does not say it first).
    terminal.send("sh -c 'echo be\"\"gun; exec sleep 1000'; echo status $?\r");
    terminal.expect("begun\r\n");
    terminal.send("\x03");
    prompt(&mut terminal);
    terminal.send("echo still here\r");
    terminal.expect("\rstill here\r\n");
    terminal.send("exit\r");
    terminal.end();
}

#[test]
fn ctrl_p_ctrl_q_leaves_it_running_and_attach_comes_back() {
    let Some(lab) = lab() else { return };
    let mut terminal = Terminal::rdock(&lab, &["run", "-it", "--name", "left", "centos"], 24, 80);
    prompt(&mut terminal);
    terminal.send("x=kept\r");
    prompt(&mut terminal);
    terminal.send("\x10\x11");
    assert_eq!(terminal.end().0, 0);
    let listed = lab.rdock(["ps"]).ok();
    assert!(listed.stdout.contains("left") && listed.stdout.contains("Up "), "{listed:?}");
    let mut again = Terminal::rdock(&lab, &["attach", "left"], 24, 80);
    again.send("echo $x\r");
    again.expect("\rkept\r\n");
    again.send("exit 5\r");
    assert_eq!(again.end().0, 5);
}

#[test]
fn the_terminal_is_as_before_when_the_client_has_gone() {
    let Some(lab) = lab() else { return };
    // The shell around it shows the settings before and after: the same, however the container ended.
    let script = format!(
        "stty -g; {} run --rm -it centos sh -c 'exit 1'; {} run --rm -it centos nosuchcommand; stty -g; echo END",
        super::support::lab::RDOCK,
        super::support::lab::RDOCK
    );
    let mut terminal = Terminal::program(&lab, "sh", &["-c", &script], 24, 80);
    terminal.expect("END");
    let (_, shown) = terminal.end();
    let settings: Vec<&str> = shown.lines().filter(|l| l.matches(':').count() > 20).map(str::trim).collect();
    assert_eq!(settings.len(), 2, "{shown:?}");
    assert_eq!(settings[0], settings[1]);
}

#[test]
fn a_terminal_for_the_container_needs_one_at_the_client() {
    let Some(lab) = lab() else { return };
    let _ = lab.rdock(["run", "--rm", "-it", "centos", "true"]).fails(1, "the input device is not a TTY");
    // -t alone is allowed: output of a terminal, carriage returns and all.
    lab.rdock(["run", "--rm", "-t", "centos", "echo", "hi"]).is(0, "hi\r\n", "");
}

#[test]
fn the_terminal_belongs_to_the_user() {
    let Some(lab) = lab() else { return };
    let shown = lab.rdock(["run", "--rm", "-t", "-u", "1000", "centos", "stat", "-c", "%u %a", "/dev/pts/0"]).ok();
    assert_eq!(shown.stdout, "1000 620\r\n");
    let console = lab
        .rdock([
            "run",
            "--rm",
            "-t",
            "centos",
            "sh",
            "-c",
            "test -c /dev/console && test -t 0 && test -t 2 && ps -o tty= 1",
        ])
        .ok();
    assert_eq!(console.stdout.trim(), "pts/0");
}
