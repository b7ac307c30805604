//! A registry on this machine may belong to the same explanation: it is told which (W3C trace context). Others are told
//! nothing of it.

use http::Uri;
use http::header::{HeaderName, HeaderValue};

use super::endpoint::is_loopback;
use crate::trace;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header of a request that the current step makes.
pub(super) fn traceparent(url: &Uri) -> Option<(HeaderName, HeaderValue)> {
    if !url.host().is_some_and(is_loopback) {
        return None;
    }
    let (trace, span) = trace::current_context()?;
    let value = HeaderValue::from_str(&format!("00-{trace}-{span}-01")).ok()?;
    Some((TRACEPARENT, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing::Capture;

    #[test]
    fn only_this_machine_learns_of_an_explanation() {
        let here = "http://127.0.0.1:5050/v2/".parse().unwrap();
        assert_eq!(traceparent(&here), None, "nobody explains");
        let _capture = Capture::start();
        let value = traceparent(&here).unwrap().1;
        assert!(value.to_str().unwrap().parse::<trace::TraceParent>().is_ok(), "{value:?}");
        assert_eq!(traceparent(&"https://registry-1.docker.io/v2/".parse().unwrap()), None);
    }
}
