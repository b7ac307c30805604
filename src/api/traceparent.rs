//! The `traceparent` header: which trace and span a request belongs to (W3C Trace Context).

/// The trace and the span that a request belongs to (W3C Trace Context).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// 32 hex characters.
    pub trace: String,
    /// 16 hex characters.
    pub span: String,
}

impl Parent {
    /// The value of `traceparent`: version 00, sampled.
    pub fn header(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.span)
    }

    /// Reads `traceparent`; anything malformed is no parent (as the specification says, it is ignored).
    pub fn parse(header: &str) -> Option<Parent> {
        let mut parts = header.split('-');
        let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
        let hex = |s: &str, len| {
            s.len() == len && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let valid = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16);
        let zero = |s: &str| s.bytes().all(|b| b == b'0');
        (valid && !zero(trace) && !zero(span)).then(|| Parent {
            trace: trace.into(),
            span: span.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_survives_the_header() {
        let parent = Parent {
            trace: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
            span: "00f067aa0ba902b7".into(),
        };
        assert_eq!(
            parent.header(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        );
        assert_eq!(Parent::parse(&parent.header()), Some(parent));
    }

    #[test]
    fn malformed_parents_are_ignored() {
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        for header in [
            "",
            "00",
            "00-x-y-01",
            &zero,
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Parent::parse(header), None, "{header}");
        }
    }
}
