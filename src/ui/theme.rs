//! Colours, named by what they mean. Text is complete without them.

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use std::fmt;
use std::io::IsTerminal;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Something went wrong.
    Error,
    /// The way out of it.
    Hint,
    /// It worked.
    Good,
    /// What one can pass over.
    Faint,
    /// What one should not.
    Strong,
    /// A command to type.
    Command,
}

impl Role {
    /// The style of the role.
    pub fn style(self) -> Style {
        match self {
            Role::Error => Style::new().bold().fg_color(Some(AnsiColor::Red.into())),
            Role::Hint => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
            Role::Good => Style::new().fg_color(Some(AnsiColor::Green.into())),
            Role::Faint => Style::new().dimmed(),
            Role::Strong => Style::new().bold(),
            Role::Command => Style::new().fg_color(Some(AnsiColor::Cyan.into())),
        }
    }
}

/// Text in the style of its role. Print it through `anstream`, which takes the colours out where they do not belong.
pub fn paint(role: Role, text: impl fmt::Display) -> impl fmt::Display {
    let style = role.style();
    format!("{style}{text}{style:#}")
}

/// Whether colours belong on standard output: it is a terminal, and `NO_COLOR` and `CLICOLOR` do not forbid it.
pub fn colour_on_stdout() -> bool {
    AutoStream::choice(&std::io::stdout()) != ColorChoice::Never
}

/// The same for standard error, where explanations go.
pub fn colour_on_stderr() -> bool {
    AutoStream::choice(&std::io::stderr()) != ColorChoice::Never
}

/// Columns of the terminal that standard error is on; none when it is not on one.
pub fn terminal_width() -> Option<usize> {
    let stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(stderr).map(|(width, _)| usize::from(width.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn painted_text_is_the_text_when_the_colours_are_taken_out() {
        let painted = paint(Role::Error, "no such image").to_string();
        assert_ne!(painted, "no such image");
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), "no such image");
    }
}
