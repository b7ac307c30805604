use super::*;
use crate::trace::event::Actor;
use crate::trace::transport::NdjsonWriter;
use proptest::prelude::*;
use std::io::Write;

fn event(trace: TraceId, summary: &str) -> TraceEvent {
    TraceEvent {
        v: 1,
        seq: 0,
        trace: trace.to_string(),
        span: "00f067aa0ba902b7".into(),
        parent: None,
        ts: 1,
        dur: None,
        actor: Actor::Daemon,
        op: "image.resolve".into(),
        pid: 1,
        summary: summary.into(),
        why: None,
        args: Default::default(),
        result: None,
        branch: None,
        lesson: None,
    }
}

async fn rest(mut subscription: Subscription) -> Vec<TraceEvent> {
    let mut events = Vec::new();
    while let Some(event) = subscription.recv().await {
        events.push(event);
    }
    events
}

fn summaries(events: &[TraceEvent]) -> Vec<&str> {
    events.iter().map(|e| e.summary.as_str()).collect()
}

#[tokio::test]
async fn a_listener_gets_its_own_trace_and_a_watcher_gets_all() {
    let hub = Hub::new();
    let (a, b) = (TraceId::random(), TraceId::random());
    let of_a = hub.open(a);
    let mut all = hub.subscribe(None);
    hub.publish(event(a, "one"));
    hub.publish(event(b, "two"));
    hub.finish(a);
    assert_eq!(summaries(&rest(of_a).await), ["one"]);
    assert_eq!(all.recv().await.unwrap().summary, "one");
    assert_eq!(all.recv().await.unwrap().summary, "two");
}

#[tokio::test]
async fn a_trace_is_wanted_only_while_somebody_listens() {
    let hub = Hub::new();
    let trace = TraceId::random();
    assert!(!hub.accepts(trace));
    let first = hub.open(trace);
    let second = hub.open(trace);
    drop(first);
    assert!(hub.accepts(trace));
    drop(second);
    assert!(!hub.accepts(trace));
    let watcher = hub.subscribe(None);
    assert!(hub.accepts(trace));
    drop(watcher);
    assert!(!hub.accepts(trace));
    let state = lock(&hub.state);
    assert!(state.listeners.is_empty() && state.by_trace.is_empty() && state.watchers.is_empty());
}

#[tokio::test]
async fn a_slow_listener_is_told_once_how_much_it_lost() {
    let hub = Hub::with_capacity(3);
    let trace = TraceId::random();
    let slow = hub.open(trace);
    for n in 0..10 {
        hub.publish(event(trace, &n.to_string()));
    }
    hub.finish(trace);
    let events = rest(slow).await;
    assert_eq!(summaries(&events[..3]), ["0", "1", "2"]);
    assert_eq!(events.len(), 4);
    assert_eq!(events[3].op, "trace.dropped");
    assert_eq!(events[3].args["count"], 7);
}

#[tokio::test]
async fn what_comes_after_a_loss_is_delivered_after_the_report() {
    let hub = Hub::with_capacity(1);
    let trace = TraceId::random();
    let mut slow = hub.open(trace);
    for summary in ["kept", "lost"] {
        hub.publish(event(trace, summary));
    }
    assert_eq!(slow.recv().await.unwrap().summary, "kept");
    assert_eq!(slow.recv().await.unwrap().op, "trace.dropped");
    hub.publish(event(trace, "later"));
    hub.finish(trace);
    assert_eq!(summaries(&rest(slow).await), ["later"]);
}

#[tokio::test]
async fn what_a_shim_has_written_arrives_before_the_stream_ends() {
    let hub = Hub::new();
    let trace = TraceId::random();
    let listener = hub.open(trace);
    let (shim, daemon) = UnixStream::pair().unwrap();
    hub.attach_producer(trace, daemon).unwrap();
    let writer = NdjsonWriter::new(shim.into()).unwrap();
    for n in 0..100 {
        writer.emit(trace, &|to| encode(&event(trace, &n.to_string()), to));
    }
    writer.flush();
    // No await since: the task that follows the producer has not run, and the shim still holds its end.
    hub.finish(trace);
    assert_eq!(rest(listener).await.len(), 100);
    drop(writer);
}

#[tokio::test]
async fn a_producer_is_followed_until_it_closes() {
    let hub = Hub::new();
    let trace = TraceId::random();
    let mut listener = hub.open(trace);
    let (mut shim, daemon) = UnixStream::pair().unwrap();
    hub.attach_producer(trace, daemon).unwrap();
    let mut line = Vec::new();
    crate::trace::transport::encode(&event(trace, "in two pieces"), &mut line);
    let (one, two) = line.split_at(20);
    shim.write_all(one).unwrap();
    tokio::task::yield_now().await;
    shim.write_all(two).unwrap();
    assert_eq!(listener.recv().await.unwrap().summary, "in two pieces");
    line.pop();
    shim.write_all(&line).unwrap();
    drop(shim);
    assert_eq!(listener.recv().await.unwrap().summary, "in two pieces");
    while !lock(&hub.state).producers.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_producer_of_a_finished_trace_is_still_read() {
    let hub = Hub::new();
    let trace = TraceId::random();
    let (mut shim, daemon) = UnixStream::pair().unwrap();
    hub.attach_producer(trace, daemon).unwrap();
    hub.finish(trace);
    let filler = vec![b'\n'; 1 << 20];
    tokio::task::spawn_blocking(move || shim.write_all(&filler)).await.unwrap().unwrap();
}

proptest! {
    #[test]
    fn delivered_events_are_numbered_without_gaps(
        capacity in 1usize..8, bursts in prop::collection::vec(0usize..12, 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let hub = Hub::with_capacity(capacity);
            let trace = TraceId::random();
            let mut listener = hub.open(trace);
            let mut seen = Vec::new();
            let sent: usize = bursts.iter().sum();
            for burst in bursts {
                for _ in 0..burst {
                    hub.publish(event(trace, "x"));
                }
                if burst > 0 {
                    seen.extend(listener.recv().await);
                }
            }
            hub.finish(trace);
            seen.extend(rest(listener).await);
            let numbers: Vec<u64> = seen.iter().map(|e| e.seq).collect();
            let expected: Vec<u64> = (1..=seen.len() as u64).collect();
            prop_assert_eq!(numbers, expected);
            let lost: u64 = seen.iter().filter_map(|e| e.args.get("count")?.as_u64()).sum();
            let told = seen.iter().filter(|e| e.op == "trace.dropped").count();
            prop_assert_eq!(seen.len() - told + lost as usize, sent);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_is_left_of_a_finished_trace_is_not_kept_back() {
    let hub = Hub::new();
    let trace = TraceId::random();
    let mut listener = hub.open(trace);
    // More than goes out in one piece.
    for n in 0..600 {
        hub.publish(event(trace, &format!("{n} {}", "x".repeat(400))));
    }
    hub.finish(trace);
    let forever = std::time::Duration::from_secs(3600);
    let all = async {
        let mut lines = 0;
        while let Some(piece) = listener.lines(forever).await {
            lines += piece.iter().filter(|b| **b == b'\n').count();
        }
        lines
    };
    let lines = tokio::time::timeout(std::time::Duration::from_secs(60), all).await;
    assert_eq!(lines.ok(), Some(600), "it waits for what can not come");
}
