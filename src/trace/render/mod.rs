//! From events to what a person reads: pure functions, nothing is said that no event holds.
//!
//! - [`flow`]: numbered steps in lanes, repeats folded, then the flow chart with the branch that was taken
//! - [`syscalls`]: the same, with every call of the kernel below its step
//! - [`json`]: NDJSON, numbered
//! - [`Drawing`]: one of them in two parts, for a command that hands the terminal over in between
//! - [`Normaliser`]: makes what varies from run to run stable, for snapshots

mod call;
mod chart;
mod flow;
mod fold;
mod json;
mod lanes;
mod layout;
pub mod normalise;
mod order;
mod outcome;
mod place;
mod steps;
mod syscalls;
mod words;

pub use flow::flow;
pub use json::json;
pub use layout::Drawing;
pub use normalise::{Normaliser, normalise};
pub use syscalls::syscalls;
pub use words::Lang;

/// What `--explain` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Flow,
    Syscalls,
    Json,
}

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    pub colour: bool,
    /// Columns; less than [`Style::NARROWEST`] counts as that.
    pub width: usize,
    pub lang: Lang,
}

impl Style {
    /// The fewest columns that the layout is made for.
    pub const NARROWEST: usize = 50;

    /// Without colours, in English: for files and pipes.
    pub fn plain(width: usize) -> Style {
        Style { colour: false, width, lang: Lang::En }
    }

    fn columns(&self) -> usize {
        self.width.max(Style::NARROWEST)
    }
}

#[cfg(test)]
mod tests;
