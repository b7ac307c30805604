//! A pull as it goes: the JSON messages of `POST /images/create`, drawn as Docker's client draws them.
//!
//! On a terminal each layer has one line, which is drawn again in place; elsewhere each change of state is a line of
//! its own and bars are left out.

use super::units::size_exact;
use serde::Deserialize;
use std::io::{self, Write};

/// One message of the stream. An `error` ends the pull and is for the caller to report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PullMessage {
    /// Text to be printed as it is, with its line feed; then nothing else is said.
    pub stream: String,
    pub status: String,
    /// The layer (12 hex characters), or the tag in `latest: Pulling from library/centos`.
    pub id: Option<String>,
    #[serde(rename = "progressDetail")]
    pub progress_detail: Option<ProgressDetail>,
    pub error: Option<String>,
}

/// Bytes done and to be done; 0 when not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    pub current: u64,
    pub total: u64,
}

/// Columns from which on a bar is drawn beside the numbers.
const BAR_FROM: usize = 110;
/// Characters inside a bar, the arrow's head aside.
const BAR: usize = 50;

impl ProgressDetail {
    /// `[=====>     ]  1.2MB/3.4MB`, or only the numbers on a narrow terminal. Empty when there is nothing to say.
    pub fn bar(&self, width: usize) -> String {
        if self.total == 0 {
            let known = self.current > 0;
            return if known { format!("{:>8}", size_exact(self.current)) } else { String::new() };
        }
        let percent = (self.current as f64 / self.total as f64 * 100.0) as usize;
        let done = (percent / 2).min(BAR);
        let mut text = String::new();
        if width > BAR_FROM {
            text = format!("[{}>{}] ", "=".repeat(done), " ".repeat(BAR - done));
        }
        text += &format!("{:>8}", size_exact(self.current));
        if self.current <= self.total {
            text += &format!("/{}", size_exact(self.total));
        }
        text
    }
}

/// Draws the messages of one pull.
#[derive(Debug)]
pub struct PullView<W> {
    out: W,
    /// Columns of the terminal; none: no terminal.
    width: Option<usize>,
    /// The ids that have a line, in the order of the lines.
    lines: Vec<String>,
}

impl<W: Write> PullView<W> {
    /// `width`: columns of the terminal that `out` is, none when it is not one.
    pub fn new(out: W, width: Option<usize>) -> PullView<W> {
        PullView { out, width, lines: Vec::new() }
    }

    /// Draws one message.
    pub fn message(&mut self, message: &PullMessage) -> io::Result<()> {
        if message.error.is_some() {
            return Ok(());
        }
        if !message.stream.is_empty() {
            // What follows stands below it.
            self.lines.clear();
            self.out.write_all(message.stream.as_bytes())?;
            return self.out.flush();
        }
        match self.width {
            Some(width) => self.redraw(message, width)?,
            None => self.append(message)?,
        }
        self.out.flush()
    }

    fn append(&mut self, message: &PullMessage) -> io::Result<()> {
        if message.progress_detail.is_some_and(|p| !p.bar(0).is_empty()) {
            return Ok(());
        }
        match &message.id {
            Some(id) => writeln!(self.out, "{id}: {}", message.status),
            None => writeln!(self.out, "{}", message.status),
        }
    }

    fn redraw(&mut self, message: &PullMessage, width: usize) -> io::Result<()> {
        let Some(id) = &message.id else {
            // A line without an id stands below all that was drawn, and what follows it starts anew.
            self.lines.clear();
            return writeln!(self.out, "{}", message.status);
        };
        let bar = message.progress_detail.map(|p| p.bar(width)).unwrap_or_default();
        let text = format!("{id}: {} {bar}", message.status);
        let text = cut(text.trim_end(), width);
        match self.lines.iter().position(|line| line == id) {
            None => {
                self.lines.push(id.clone());
                writeln!(self.out, "\x1b[2K\r{text}")
            }
            Some(line) => {
                let up = self.lines.len() - line;
                write!(self.out, "\x1b[{up}A\x1b[2K\r{text}\r\x1b[{up}B")
            }
        }
    }
}

/// What fits on one line: a line that goes on below cannot be drawn again in its place. (A line that fills the last
/// column does not go on yet, but some terminals think so.)
fn cut(text: &str, width: usize) -> &str {
    let end = text.char_indices().nth(width.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<PullMessage> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn drawn(width: Option<usize>, messages: &[PullMessage]) -> String {
        let mut out = Vec::new();
        let mut view = PullView::new(&mut out, width);
        for message in messages {
            view.message(message).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    const PULL: &str = r#"{"status":"Pulling from library/centos","id":"latest"}
{"status":"Pulling fs layer","progressDetail":{},"id":"48469d19b696"}
{"status":"Already exists","progressDetail":{},"id":"9f7f49e4283f"}
{"status":"Downloading","progressDetail":{"current":512,"total":1024},"id":"48469d19b696"}
{"status":"Download complete","progressDetail":{},"id":"48469d19b696"}
{"status":"Pull complete","progressDetail":{},"id":"48469d19b696"}
{"status":"Status: Downloaded newer image for centos:latest"}"#;

    #[test]
    fn piped_output_has_a_line_for_each_state_and_no_bars() {
        assert_eq!(
            drawn(None, &messages(PULL)),
            "latest: Pulling from library/centos\n\
             48469d19b696: Pulling fs layer\n\
             9f7f49e4283f: Already exists\n\
             48469d19b696: Download complete\n\
             48469d19b696: Pull complete\n\
             Status: Downloaded newer image for centos:latest\n"
        );
    }

    /// What is on the screen in the end, of output that uses only the sequences that the view uses.
    fn screen(output: &str) -> Vec<String> {
        let mut lines = vec![String::new()];
        let mut at = 0;
        let mut rest = output;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\n' => {
                    at += 1;
                    if at == lines.len() {
                        lines.push(String::new());
                    }
                }
                '\r' => {}
                '\x1b' => {
                    let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                    let number: usize = rest[1..end].parse().unwrap();
                    match &rest[end..=end] {
                        "A" => at -= number,
                        "B" => at += number,
                        "K" => lines[at].clear(),
                        other => panic!("{other}"),
                    }
                    rest = &rest[end + 1..];
                }
                c => lines[at].push(c),
            }
        }
        lines
    }

    #[test]
    fn a_terminal_shows_each_layer_once_with_its_last_state() {
        assert_eq!(
            screen(&drawn(Some(120), &messages(PULL))),
            [
                "latest: Pulling from library/centos",
                "48469d19b696: Pull complete",
                "9f7f49e4283f: Already exists",
                "Status: Downloaded newer image for centos:latest",
                ""
            ]
        );
    }

    #[test]
    fn a_terminal_shows_the_bar_while_a_layer_comes() {
        let messages = messages(PULL);
        let screen = screen(&drawn(Some(120), &messages[..4]));
        let bar = format!("[{}>{}]", "=".repeat(25), " ".repeat(25));
        assert_eq!(screen[1], format!("48469d19b696: Downloading {bar}     512B/1.024kB"));
    }

    #[test]
    fn bars_fit_their_box() {
        let bar = |current, total| ProgressDetail { current, total }.bar(120);
        assert_eq!(bar(0, 0), "");
        assert_eq!(bar(2048, 0), " 2.048kB");
        assert_eq!(bar(1000, 1000), format!("[{}>]      1kB/1kB", "=".repeat(50)));
        assert_eq!(bar(3000, 1000), format!("[{}>]      3kB", "=".repeat(50)));
        assert_eq!(ProgressDetail { current: 1, total: 2 }.bar(80), "      1B/2B");
    }

    #[test]
    fn a_line_on_a_narrow_terminal_stays_one_line() {
        let out = drawn(Some(30), &messages(PULL));
        assert!(screen(&out).iter().filter(|line| !line.starts_with("Status")).all(|line| line.len() < 30), "{out:?}");
        assert!(out.contains("\r48469d19b696: Downloading    \r"), "{out:?}");
    }

    #[test]
    fn an_error_is_left_to_the_caller() {
        assert_eq!(drawn(None, &messages(r#"{"errorDetail":{},"error":"no space"}"#)), "");
    }
}
