//! `--explain`: the steps, folded to what one needs to understand, and the flow chart.

use super::{Drawing, Format, Style};
use crate::trace::event::TraceEvent;

/// Numbered steps in the lanes that they belong to, in the order of time; a step with steps inside it stands where it
/// ended, since its line tells the result. Then the flow chart, the end and the times.
pub fn flow(events: &[TraceEvent], style: &Style) -> String {
    Drawing::new(Format::Flow, *style).finish(events)
}
