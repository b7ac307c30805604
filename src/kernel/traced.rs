//! Emits one event per call: *what* from the call itself, *who* and *why* from the step that the thread is in.

use super::*;
use crate::trace::{self, Actor, CallEvent, Outcome};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::sync::Mutex;

thread_local! {
    static CONTEXT: Cell<(Actor, Option<&'static str>)> = const { Cell::new((Actor::Runtime, None)) };
}

/// Runs `f` with the actor and the reason that calls made in it (by this thread) are explained with.
pub fn because<R>(actor: Actor, why: &'static str, f: impl FnOnce() -> R) -> R {
    let before = CONTEXT.replace((actor, Some(why)));
    let result = f();
    CONTEXT.set(before);
    result
}

/// Wraps a kernel: each call becomes one event, when somebody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traced<K>(pub K);

impl<K: Kernel> Kernel for Traced<K> {
    fn call(&self, call: &Call) -> Result<Ret, Errno> {
        if !trace::enabled() {
            return self.0.call(call);
        }
        let (actor, why) = CONTEXT.get();
        let ts = trace::event::now();
        let emit = |dur: Option<u64>, result: Option<Outcome>| {
            trace::emit_call(event(call, (actor, why), ts, dur, result));
        };
        if matches!(call, Call::Execve { .. }) {
            // A call that worked never comes back: it is told before, and written out at once.
            emit(None, None);
            trace::flush();
            let result = self.0.call(call);
            if let Err(errno) = result {
                emit(Some(trace::event::now() - ts), Some(outcome(Err(errno))));
            }
            return result;
        }
        let result = self.0.call(call);
        // In a new process this is the copy's return: the caller tells of the call, once.
        if !matches!(result, Ok(Ret::Child(_))) {
            emit(Some(trace::event::now() - ts), Some(outcome(result)));
        }
        result
    }

    fn write_all(&self, fd: i32, data: &[u8]) -> Result<(), Errno> {
        self.0.write_all(fd, data)
    }
}

fn event(
    call: &Call,
    (actor, why): (Actor, Option<&'static str>),
    ts: u64,
    dur: Option<u64>,
    result: Option<Outcome>,
) -> CallEvent {
    CallEvent {
        pid: None,
        actor,
        op: call.op().to_owned(),
        ts,
        dur,
        args: arguments(call),
        result,
        why: why.map(str::to_owned),
        summary: call.to_string(),
    }
}

/// Keeps the events of calls that are made before it is known whether somebody will listen.
#[derive(Debug, Default)]
pub struct Recorded<K> {
    inner: K,
    events: Mutex<Vec<CallEvent>>,
}

impl<K: Kernel> Recorded<K> {
    pub fn new(inner: K) -> Self {
        Recorded { inner, events: Mutex::default() }
    }

    /// What was recorded so far, marked as made by this process.
    pub fn take(&self) -> Vec<CallEvent> {
        let mut events = self.events.lock().map(|mut e| std::mem::take(&mut *e)).unwrap_or_default();
        for event in &mut events {
            event.pid = Some(std::process::id());
        }
        events
    }
}

impl<K: Kernel> Kernel for Recorded<K> {
    fn call(&self, call: &Call) -> Result<Ret, Errno> {
        let ts = trace::event::now();
        let result = self.inner.call(call);
        if !matches!(result, Ok(Ret::Child(_)))
            && let Ok(mut events) = self.events.lock()
        {
            let dur = Some(trace::event::now() - ts);
            events.push(event(call, CONTEXT.get(), ts, dur, Some(outcome(result))));
        }
        result
    }

    fn write_all(&self, fd: i32, data: &[u8]) -> Result<(), Errno> {
        self.inner.write_all(fd, data)
    }
}

fn arguments(call: &Call) -> Map<String, Value> {
    match serde_json::to_value(call) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn outcome(result: Result<Ret, Errno>) -> Outcome {
    match result {
        Ok(ret) => Outcome::Ok { ok: serde_json::to_value(ret).unwrap_or(Value::Null) },
        Err(errno) => Outcome::Err { errno: errno_name(errno), message: errno.desc().to_owned() },
    }
}
