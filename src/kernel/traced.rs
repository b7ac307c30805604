//! Emits one event per call: *what* from the call itself, *who* and *why* from the step that the thread is in.

use super::*;
use crate::trace::{self, Actor, CallEvent, Ended};
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
        let (context, ts) = (CONTEXT.get(), trace::event::now());
        let emit = |dur, result| tell(call, context, None, ts, dur, result);
        if matches!(call, Call::Execve { .. }) {
            // A call that worked never comes back: it is told before, and written out at once.
            emit(None, None);
            trace::flush();
            let result = self.0.call(call);
            if result.is_err() {
                emit(Some(trace::event::now() - ts), Some(result));
            }
            return result;
        }
        let result = self.0.call(call);
        // In a new process this is the copy's return: the caller tells of the call, once.
        if !matches!(result, Ok(Ret::Child(_))) {
            emit(Some(trace::event::now() - ts), Some(result));
        }
        result
    }

    fn write_all(&self, fd: i32, data: &[u8]) -> Result<(), Errno> {
        self.0.write_all(fd, data)
    }
}

/// Emits the event of one call.
fn tell(
    call: &Call,
    (actor, why): (Actor, Option<&'static str>),
    pid: Option<u32>,
    ts: u64,
    dur: Option<u64>,
    result: Option<Result<Ret, Errno>>,
) {
    let name;
    let result = match &result {
        None => None,
        Some(Ok(ret)) => Some(Ended::Ok(ret)),
        Some(Err(errno)) => {
            name = errno_name(*errno);
            Some(Ended::Err { errno: &name, message: errno.desc() })
        }
    };
    trace::emit_call(&CallEvent { pid, actor, op: call.op(), ts, dur, args: call, result, why, summary: call });
}

/// A call that was made before it was known whether somebody would listen.
#[derive(Debug, Clone)]
pub struct Past {
    call: Call,
    context: (Actor, Option<&'static str>),
    pid: u32,
    ts: u64,
    dur: u64,
    result: Result<Ret, Errno>,
}

impl Past {
    /// Emits its event, with the time and the process of then.
    pub fn tell(&self) {
        tell(&self.call, self.context, Some(self.pid), self.ts, Some(self.dur), Some(self.result));
    }
}

/// Keeps calls that are made before it is known whether somebody will listen.
#[derive(Debug, Default)]
pub struct Recorded<K> {
    inner: K,
    past: Mutex<Vec<Past>>,
}

impl<K: Kernel> Recorded<K> {
    pub fn new(inner: K) -> Self {
        Recorded { inner, past: Mutex::default() }
    }

    /// What was recorded so far.
    pub fn take(&self) -> Vec<Past> {
        self.past.lock().map(|mut past| std::mem::take(&mut *past)).unwrap_or_default()
    }
}

impl<K: Kernel> Kernel for Recorded<K> {
    fn call(&self, call: &Call) -> Result<Ret, Errno> {
        let ts = trace::event::now();
        let result = self.inner.call(call);
        if !matches!(result, Ok(Ret::Child(_)))
            && let Ok(mut past) = self.past.lock()
        {
            let (dur, pid) = (trace::event::now() - ts, std::process::id());
            past.push(Past { call: call.clone(), context: CONTEXT.get(), pid, ts, dur, result });
        }
        result
    }

    fn write_all(&self, fd: i32, data: &[u8]) -> Result<(), Errno> {
        self.inner.write_all(fd, data)
    }
}
