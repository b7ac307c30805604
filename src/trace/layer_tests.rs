use super::*;
use crate::trace::testing::{Capture, capture};
use crate::trace::transport::Hub;
use crate::trace::{Collector, TraceParent};
use crate::trace::{Outcome, TraceEvent};
use serde_json::json;
use tracing::Instrument;

fn one(mut events: Vec<TraceEvent>) -> TraceEvent {
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

fn call(op: &'static str) -> CallEvent<'static> {
    CallEvent {
        actor: Actor::Runtime,
        pid: None,
        op,
        ts: now(),
        dur: Some(1),
        args: &(),
        result: Some(Ended::Ok(&0)),
        why: None,
        summary: &"a call",
    }
}

#[test]
fn a_step_that_ends_becomes_an_event() {
    let before = now();
    let event = one(capture(|| {
        let mut step = step(Actor::Daemon, "image.resolve")
            .why("an image that is here need not be fetched")
            .arg("reference", "centos:latest")
            .args(|| json!({"platform": "linux/amd64"}))
            .lesson("03-layers");
        step.branch("local-miss");
        step.ok(json!({"found": false}), || "looks for centos: not there".into());
    }));
    assert_eq!((event.v, event.actor, event.op.as_str()), (1, Actor::Daemon, "image.resolve"));
    assert_eq!(event.summary, "looks for centos: not there");
    assert_eq!(event.why.as_deref(), Some("an image that is here need not be fetched"));
    assert_eq!(Value::Object(event.args.clone()), json!({"reference": "centos:latest", "platform": "linux/amd64"}));
    assert_eq!(event.branch.as_deref(), Some("local-miss"));
    assert_eq!(event.lesson.as_deref(), Some("03-layers"));
    assert_eq!(event.result, Some(Outcome::Ok { ok: json!({"found": false}) }));
    assert_eq!(event.pid, std::process::id());
    assert!(event.ts >= before && event.end() <= now());
}

#[test]
fn a_step_that_fails_says_how() {
    let event = one(capture(|| {
        step(Actor::Runtime, "runtime.plan").fail("EINVAL", "no root", || "plans".into());
    }));
    let (errno, message) = ("EINVAL".to_owned(), "no root".to_owned());
    assert_eq!(event.result, Some(Outcome::Err { errno, message }));
}

#[test]
fn a_step_that_is_dropped_was_given_up() {
    let event = one(capture(|| drop(step(Actor::Daemon, "image.pull"))));
    assert!(matches!(event.result, Some(Outcome::Err { errno, .. }) if errno == "ECANCELED"));
}

#[test]
fn steps_and_calls_inside_a_step_are_its_children() {
    let events = capture(|| {
        let outer = step(Actor::Daemon, "container.start");
        outer.span().in_scope(|| {
            let inner = step(Actor::Runtime, "runtime.plan");
            inner.span().in_scope(|| emit_call(&call("kernel.mount")));
            inner.ok((), || "plans".into());
        });
        emit_call(&call("kernel.close"));
        outer.ok((), || "starts".into());
    });
    let find = |op: &str| events.iter().find(|e| e.op == op).unwrap();
    assert_eq!(find("container.start").parent, None);
    assert_eq!(find("runtime.plan").parent.as_ref(), Some(&find("container.start").span));
    assert_eq!(find("kernel.mount").parent.as_ref(), Some(&find("runtime.plan").span));
    assert_eq!(find("kernel.close").parent, None);
    assert!(events.iter().all(|e| e.trace == events[0].trace));
}

#[test]
fn spans_of_others_in_between_do_not_hide_the_parent() {
    let events = capture(|| {
        let outer = step(Actor::Daemon, "outer");
        outer.span().in_scope(|| {
            tracing::info_span!("of a library").in_scope(|| step(Actor::Daemon, "inner").ok((), String::new));
        });
        outer.ok((), String::new);
    });
    assert_eq!(events[0].parent.as_ref(), Some(&events[1].span));
}

#[tokio::test]
async fn nesting_holds_across_await() {
    let capture = Capture::start();
    let outer = step(Actor::Daemon, "outer");
    let work = async {
        tokio::task::yield_now().await;
        step(Actor::Daemon, "inner").ok((), String::new);
    };
    let other = async { step(Actor::Daemon, "beside").ok((), String::new) };
    tokio::join!(work.instrument(outer.span()), other);
    outer.ok((), String::new);
    let events = capture.take();
    let find = |op: &str| events.iter().find(|e| e.op == op).unwrap();
    assert_eq!(find("inner").parent.as_ref(), Some(&find("outer").span));
    assert_eq!(find("beside").parent, None);
}

#[test]
fn the_context_names_trace_and_innermost_step() {
    let events = capture(|| {
        let outer = step(Actor::Client, "api.request");
        let (trace, span) = outer.span().in_scope(|| current_context().unwrap());
        let header = format!("00-{trace}-{span}-01");
        assert!(header.parse::<TraceParent>().is_ok());
        outer.arg("traceparent", header).ok((), String::new);
    });
    let header = events[0].text("traceparent").unwrap();
    assert_eq!(header, format!("00-{}-{}-01", events[0].trace, events[0].span));
}

fn with_hub(f: impl FnOnce(&Arc<Hub>)) {
    let hub = Hub::new();
    let subscriber = tracing_subscriber::registry().with(explain_layer(hub.clone()));
    tracing::subscriber::with_default(subscriber, || f(&hub));
}

#[test]
fn a_request_roots_its_steps_in_the_trace_that_it_names() {
    with_hub(|hub| {
        let sent = TraceParent::new(TraceId::random(), SpanId::next());
        let listener = hub.open(sent.trace);
        let span = request_span(&sent.trace.to_string(), Some(&sent.span.to_string()));
        span.in_scope(|| step(Actor::Daemon, "image.resolve").ok((), String::new));
        hub.finish(sent.trace);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let event = runtime.block_on(async { { listener }.recv().await.unwrap() });
        assert_eq!(event.trace, sent.trace.to_string());
        assert_eq!(event.parent, Some(sent.span.to_string()));
    });
}

#[test]
fn a_request_inside_another_request_keeps_to_its_own_trace() {
    with_hub(|hub| {
        let (outer, inner) = (TraceId::random(), TraceId::random());
        let _listeners = (hub.open(outer), hub.open(inner));
        request_span(&outer.to_string(), None).in_scope(|| {
            request_span(&inner.to_string(), None)
                .in_scope(|| assert_eq!(current_context().unwrap().0, inner.to_string()));
        });
    });
}

#[test]
fn a_trace_that_nobody_opened_keeps_nothing() {
    with_hub(|hub| {
        let _other = hub.open(TraceId::random());
        let span = request_span(&TraceId::random().to_string(), None);
        assert!(span.is_none());
        span.in_scope(|| {
            assert!(!step(Actor::Daemon, "image.resolve").recorded());
            assert_eq!(current_context(), None);
        });
    });
}

#[test]
fn arguments_are_not_made_when_nothing_is_recorded() {
    let step = Step { open: None };
    step.args(|| unreachable!("nobody listens")).ok((), || unreachable!("nobody listens"));
}

#[test]
fn a_thread_that_is_given_the_span_works_for_the_step() {
    let sink = Arc::new(Collector::default());
    let layer = process_layer(TraceId::random(), None, sink.clone());
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    tracing::dispatcher::with_default(&dispatch, || {
        let outer = step(Actor::Layer, "layer.unpack");
        let span = outer.span();
        let dispatch = &dispatch;
        std::thread::scope(|threads| {
            threads.spawn(move || {
                let work = || span.in_scope(|| emit_call(&call("kernel.openat2")));
                tracing::dispatcher::with_default(dispatch, work);
            });
        });
        outer.ok((), String::new);
    });
    let events = sink.take();
    assert_eq!(events[0].parent.as_ref(), Some(&events[1].span));
}

/// Alone in its process (`cargo test` with its name) this is the first step of all: its callsite is not known yet.
#[test]
fn a_thread_without_a_subscriber_does_not_switch_steps_off_for_the_others() {
    let events = capture(|| {
        let other = std::thread::spawn(|| step(Actor::Daemon, "unheard").recorded());
        assert!(!other.join().unwrap());
        step(Actor::Daemon, "heard").ok((), String::new);
    });
    assert_eq!(one(events).op, "heard");
}
