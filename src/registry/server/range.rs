//! The `Range` of a request (RFC 9110 section 14.1.2): one range of bytes.

/// What a request wants of a body of known size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// No range, or one that a server may ignore (several ranges, another unit, nonsense).
    All,
    /// From the first position to the last, both included.
    Part { first: u64, last: u64 },
    /// A range outside the body.
    Unsatisfiable,
}

pub(super) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some((first, last)) = header.and_then(|h| h.trim().strip_prefix("bytes=")).and_then(|r| r.split_once('-'))
    else {
        return Wanted::All;
    };
    let (first, last) = match (position(first), position(last)) {
        (Position::At(first), Position::At(last)) => (first, last),
        (Position::At(first), Position::Open) => (first, u64::MAX),
        (Position::Open, Position::At(0)) => return Wanted::Unsatisfiable,
        // the last so many bytes
        (Position::Open, Position::At(count)) => (size.saturating_sub(count), u64::MAX),
        _ => return Wanted::All,
    };
    if first > last {
        return Wanted::All;
    }
    if first >= size {
        return Wanted::Unsatisfiable;
    }
    Wanted::Part { first, last: last.min(size - 1) }
}

enum Position {
    At(u64),
    Open,
    Nonsense,
}

fn position(text: &str) -> Position {
    match text {
        "" => Position::Open,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_or(Position::Nonsense, Position::At),
        _ => Position::Nonsense,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let part = |first, last| Wanted::Part { first, last };
        for (header, answer) in [
            ("bytes=0-", part(0, 9)),
            ("bytes=4-6", part(4, 6)),
            ("bytes=4-600", part(4, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=6-4", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=+1-", Wanted::All),
            ("bytes=-", Wanted::All),
            ("lines=1-2", Wanted::All),
        ] {
            assert_eq!(wanted(Some(header), 10), answer, "{header}");
        }
        assert_eq!(wanted(None, 10), Wanted::All);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_body(header in "bytes=[0-9]{0,20}-[0-9]{0,20}", size in 0u64..100) {
            if let Wanted::Part { first, last } = wanted(Some(&header), size) {
                prop_assert!(first <= last && last < size);
            }
        }
    }
}
