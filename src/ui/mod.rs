//! What a person sees on the terminal: colours by role, Docker's tables, sizes and times, the lines of a pull.
//! Pure where possible; whoever prints decides on which stream.

pub mod progress;
pub mod table;
pub mod theme;
pub mod units;

pub use progress::{PullMessage, PullView};
pub use table::Table;
pub use theme::{Role, colour_on_stderr, colour_on_stdout, paint, terminal_width};
