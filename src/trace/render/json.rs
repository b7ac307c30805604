//! `--explain=json`: one event a line.

use super::order::as_delivered;
use crate::trace::event::TraceEvent;
use crate::trace::transport::encode;

/// NDJSON in the order of delivery, `seq` numbered from 1 without gaps; events of one process in the order of `ts`.
pub fn json(events: &[TraceEvent]) -> String {
    let mut lines = Vec::new();
    for (index, event) in as_delivered(events).into_iter().enumerate() {
        let numbered = TraceEvent { seq: index as u64 + 1, ..event.clone() };
        encode(&numbered, &mut lines);
    }
    String::from_utf8(lines).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::render::tests::at;
    use crate::trace::transport::Decoder;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_are_numbered_without_gaps(
            stream in prop::collection::vec((1u32..4, 0u64..50), 0..40),
        ) {
            let events: Vec<_> = stream.iter().map(|(pid, ts)| at(*pid, *ts, 0)).collect();
            let back = Decoder::new().push(json(&events).as_bytes());
            let numbers: Vec<u64> = back.iter().map(|e| e.seq).collect();
            prop_assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
        }
    }
}
