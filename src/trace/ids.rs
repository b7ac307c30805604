//! Trace and span ids, and the header that carries them (W3C Trace Context, level 1, `traceparent`).

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A W3C trace id: 128 bits, never zero; 32 lower-case hex characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(u128);

/// A W3C span id: 64 bits, never zero; 16 lower-case hex characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(u64);

/// Why a text is not an id or a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("a {0} has {1} lower-case hex characters and is not all zeros")]
    Id(&'static str, usize),
    #[error("a traceparent reads VERSION-TRACE-SPAN-FLAGS in lower-case hex")]
    Header,
}

impl TraceId {
    /// A new random id.
    pub fn random() -> TraceId {
        let (high, low) = (random_u64(), random_u64());
        TraceId(((u128::from(high) << 64) | u128::from(low)).max(1))
    }
    pub(super) fn bits(self) -> u128 {
        self.0
    }
    pub(super) fn from_bits(bits: u128) -> Option<TraceId> {
        (bits != 0).then_some(TraceId(bits))
    }
}

impl SpanId {
    /// An id that no other span of this trace has: a random start for each process, then a permutation of a
    /// counter. (A step can cost a microsecond; asking the kernel for each id would be a good part of it.)
    pub fn next() -> SpanId {
        let base = match BASE.load(Ordering::Relaxed) {
            0 => {
                let fresh = random_u64().max(1);
                match BASE.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => fresh,
                    Err(other) => other,
                }
            }
            base => base,
        };
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        SpanId(mix(base.wrapping_add(n)).max(1))
    }
    pub(super) fn bits(self) -> u64 {
        self.0
    }
    pub(super) fn from_bits(bits: u64) -> Option<SpanId> {
        (bits != 0).then_some(SpanId(bits))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for TraceId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<TraceId, IdError> {
        let bits = if is_hex(text, 32) { u128::from_str_radix(text, 16).unwrap_or(0) } else { 0 };
        TraceId::from_bits(bits).ok_or(IdError::Id("trace id", 32))
    }
}

impl FromStr for SpanId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<SpanId, IdError> {
        let bits = if is_hex(text, 16) { u64::from_str_radix(text, 16).unwrap_or(0) } else { 0 };
        SpanId::from_bits(bits).ok_or(IdError::Id("span id", 16))
    }
}

/// The `traceparent` header: `00-<trace>-<span>-<flags>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    pub trace: TraceId,
    /// The span of the sender, parent of what the receiver does.
    pub span: SpanId,
    /// Bit 0: sampled (somebody listens).
    pub flags: u8,
}

impl TraceParent {
    /// The header for a request sent from `span`, with the sampled flag set.
    pub fn new(trace: TraceId, span: SpanId) -> TraceParent {
        TraceParent { trace, span, flags: 1 }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl FromStr for TraceParent {
    type Err = IdError;
    /// Version 00 has exactly four fields; a later version may have more behind them; `ff` is forbidden.
    fn from_str(text: &str) -> Result<TraceParent, IdError> {
        let mut fields = text.split('-');
        let mut next = || fields.next().unwrap_or("");
        let (version, trace, span, flags) = (next(), next(), next(), next());
        if !is_hex(version, 2) || version == "ff" || !is_hex(flags, 2) {
            return Err(IdError::Header);
        }
        if version == "00" && fields.next().is_some() {
            return Err(IdError::Header);
        }
        Ok(TraceParent {
            trace: trace.parse()?,
            span: span.parse()?,
            flags: u8::from_str_radix(flags, 16).map_err(|_| IdError::Header)?,
        })
    }
}

static BASE: AtomicU64 = AtomicU64::new(0);
static COUNTER: AtomicU64 = AtomicU64::new(0);
static OWN_PID: AtomicU32 = AtomicU32::new(0);
static HOST_PID: AtomicU32 = AtomicU32::new(0);

/// The number of this process as the host counts. A process that was cloned into its own pid namespace sees
/// itself as 1 (pid_namespaces(7)), but the `/proc` that it still has from outside names it rightly: so this
/// must be asked once before the root is switched, which the first event after the clone does.
pub(super) fn host_pid() -> u32 {
    let own = std::process::id();
    if OWN_PID.load(Ordering::Relaxed) != own {
        let host = std::fs::read_link("/proc/self").ok();
        let host = host.and_then(|link| link.to_str()?.parse().ok()).unwrap_or(own);
        HOST_PID.store(host, Ordering::Relaxed);
        OWN_PID.store(own, Ordering::Relaxed);
        // A copy of the process must not give out the same span ids.
        BASE.store(0, Ordering::Relaxed);
    }
    HOST_PID.load(Ordering::Relaxed)
}

/// For a process that can't ask any more: it is a copy of one whose root is switched, and was told by other means.
pub fn set_host_pid(host: u32) {
    HOST_PID.store(host, Ordering::Relaxed);
    OWN_PID.store(std::process::id(), Ordering::Relaxed);
    BASE.store(0, Ordering::Relaxed);
}

fn random_u64() -> u64 {
    getrandom::u64().unwrap_or_else(|_| mix(super::event::now() ^ u64::from(std::process::id())))
}

/// A permutation of 64-bit numbers in which neighbours look unrelated (the finaliser of splitmix64).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn reads_the_header_of_the_specification() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent: TraceParent = header.parse().unwrap();
        assert_eq!(parent.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span.to_string(), "00f067aa0ba902b7");
        assert_eq!(parent.to_string(), header);
    }

    #[test]
    fn refuses_what_the_specification_forbids() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(bad.parse::<TraceParent>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        let header = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(header.parse::<TraceParent>().is_ok());
    }

    #[test]
    fn span_ids_do_not_repeat() {
        let ids: HashSet<_> = (0..10_000).map(|_| SpanId::next()).collect();
        assert_eq!(ids.len(), 10_000);
    }

    proptest! {
        #[test]
        fn traceparent_survives_a_round_trip(trace in 1u128.., span in 1u64.., flags: u8) {
            let sent = TraceParent { trace: TraceId(trace), span: SpanId(span), flags };
            prop_assert_eq!(sent.to_string().parse::<TraceParent>(), Ok(sent));
        }

        #[test]
        fn no_text_makes_the_parser_fall_over(text in "\\PC*") {
            let _ = text.parse::<TraceParent>();
        }
    }
}
