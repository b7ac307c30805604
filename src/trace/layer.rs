//! From `tracing` to [`super::TraceEvent`]: the step builder that code uses, and the `Layer` behind it.
//!
//! A [`Step`] opens a `tracing` span with the target [`TARGET`]. The [`Explain`] layer gives each such span its W3C
//! ids when it opens, and keeps them in the span's extensions; that is how what runs inside finds its parent, also
//! across `await` and threads (`Instrument`, `Span::in_scope`). The step's own data stays with the step, and one
//! event goes to the [`Sink`] when it ends.
//!
//! Which trace a step belongs to: that of the nearest enclosing span ([`request_span`] roots one in the daemon),
//! else the one that the whole process works for ([`install_process`]: client, shim, init), else none, and then it
//! keeps nothing.

use super::event::{Actor, now};
use super::ids::{SpanId, TraceId, host_pid};
use super::sink::{Listening, Sink, enabled};
use super::telling::{Ended, Json, Telling};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Span, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context as LayerContext, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// The target of all spans that explain. A log wants a per-layer filter of its own; this target is not for it.
pub const TARGET: &str = "rdock::explain";

/// Starts a step: takes the time, keeps nothing when nobody listens. Dropped without [`Step::ok`] or
/// [`Step::fail`] it is reported as abandoned (`ECANCELED`).
#[must_use]
pub fn step(actor: Actor, op: &'static str) -> Step {
    if !enabled() || !tracing::dispatcher::get_default(explains) {
        return Step { open: None };
    }
    Step { open: Open::start(actor, op) }
}

/// A step under way. The trace it belongs to is that of the current `tracing` span.
#[derive(Debug)]
pub struct Step {
    open: Option<Box<Open>>,
}

#[derive(Debug)]
struct Open {
    span: Span,
    ids: Ids,
    ts: u64,
    actor: Actor,
    op: &'static str,
    why: Option<&'static str>,
    args: Map<String, Value>,
    branch: Option<&'static str>,
    lesson: Option<&'static str>,
}

impl Open {
    fn start(actor: Actor, op: &'static str) -> Option<Box<Open>> {
        let span = tracing::info_span!(target: TARGET, "step", op);
        let ids = span.with_subscriber(|(id, dispatch)| ids_of(dispatch, id)).flatten()?;
        Some(Box::new(Open {
            span,
            ids,
            ts: now(),
            actor,
            op,
            why: None,
            args: Map::new(),
            branch: None,
            lesson: None,
        }))
    }

    fn end(&self, result: Ended<'_>, summary: &str) {
        let telling = Telling {
            trace: self.ids.trace,
            span: self.ids.span.unwrap_or_else(SpanId::next),
            parent: self.ids.parent,
            ts: self.ts,
            dur: Some(now().saturating_sub(self.ts)),
            actor: self.actor,
            op: self.op,
            pid: host_pid(),
            summary,
            why: self.why,
            args: Some(&self.args),
            result: Some(result),
            branch: self.branch,
            lesson: self.lesson,
        };
        self.span.with_subscriber(|(_, dispatch)| {
            if let Some(explain) = dispatch.downcast_ref::<Explain>() {
                explain.sink.emit(telling.trace, &|to| telling.write(to));
            }
        });
    }
}

impl Step {
    /// One sentence: why this step exists.
    #[must_use]
    pub fn why(mut self, why: &'static str) -> Step {
        if let Some(open) = &mut self.open {
            open.why = Some(why);
        }
        self
    }
    /// One real argument. Serialised only when somebody listens.
    #[must_use]
    pub fn arg(mut self, key: &'static str, value: impl Serialize) -> Step {
        self.set(key, value);
        self
    }
    /// One real argument that is known only later.
    pub fn set(&mut self, key: &'static str, value: impl Serialize) {
        if let Some(open) = &mut self.open {
            let value = serde_json::to_value(value).unwrap_or(Value::Null);
            open.args.insert(key.to_owned(), value);
        }
    }
    /// All arguments at once (an object).
    #[must_use]
    pub fn args(mut self, args: impl FnOnce() -> Value) -> Step {
        if let Some(open) = &mut self.open
            && let Value::Object(map) = args()
        {
            open.args.extend(map);
        }
        self
    }
    /// The branch of the flow chart that was taken: `local-hit`, `local-miss`, `remote-found`, …
    pub fn branch(&mut self, branch: &'static str) {
        if let Some(open) = &mut self.open {
            open.branch = Some(branch);
        }
    }
    /// The lesson that teaches it: `03-layers`.
    #[must_use]
    pub fn lesson(mut self, lesson: &'static str) -> Step {
        if let Some(open) = &mut self.open {
            open.lesson = Some(lesson);
        }
        self
    }
    /// The span to run nested work in (`future.instrument(step.span())`, `step.span().in_scope(|| …)`).
    pub fn span(&self) -> Span {
        self.open.as_ref().map_or_else(Span::none, |open| open.span.clone())
    }
    /// Whether the step is being recorded: somebody listens to its trace.
    pub fn recorded(&self) -> bool {
        self.open.is_some()
    }
    /// It worked: the value for `result.ok`, and the line for a person (present tense, no full stop).
    pub fn ok(mut self, value: impl Serialize, summary: impl FnOnce() -> String) {
        if let Some(open) = self.open.take() {
            open.end(Ended::Ok(&value), &summary());
        }
    }
    /// It failed: symbolic errno or error code, the message, and the line for a person.
    pub fn fail(mut self, errno: &str, message: impl std::fmt::Display, summary: impl FnOnce() -> String) {
        if let Some(open) = self.open.take() {
            open.end(Ended::Err { errno, message: &message.to_string() }, &summary());
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let summary = format!("{} is given up before it ends", open.op);
            open.end(Ended::Err { errno: "ECANCELED", message: "given up before it ended" }, &summary);
        }
    }
}

/// One call of the kernel, told by the `Traced` decorator.
#[derive(Clone, Copy)]
pub struct CallEvent<'a> {
    /// Who made it, where that is not this process.
    pub pid: Option<u32>,
    pub actor: Actor,
    pub op: &'a str,
    /// [`now`] before the call.
    pub ts: u64,
    /// Nanoseconds; none for a call that is told before it is made (execve).
    pub dur: Option<u64>,
    pub args: &'a dyn Json,
    pub result: Option<Ended<'a>>,
    pub why: Option<&'a str>,
    /// One line for a person: the call and the arguments that matter.
    pub summary: &'a dyn std::fmt::Display,
}

/// Emits a `kernel.*` event under the current span. Opens no span: cheap enough for every call of an unpack.
pub fn emit_call(call: &CallEvent<'_>) {
    if !enabled() {
        return;
    }
    tracing::dispatcher::get_default(|dispatch| {
        let Some(explain) = dispatch.downcast_ref::<Explain>() else {
            return;
        };
        // First, because in a new process it starts the span ids afresh.
        let pid = call.pid.unwrap_or_else(host_pid);
        let Some(around) = current_ids(dispatch) else {
            return;
        };
        let telling = Telling {
            trace: around.trace,
            span: SpanId::next(),
            parent: around.span,
            ts: call.ts,
            dur: call.dur,
            actor: call.actor,
            op: call.op,
            pid,
            summary: &call.summary.to_string(),
            why: call.why,
            args: Some(call.args),
            result: call.result,
            branch: None,
            lesson: None,
        };
        explain.sink.emit(telling.trace, &|to| telling.write(to));
    });
}

/// Writes out what this process has buffered (before execve, before an answer that tells of the work).
pub fn flush() {
    if !enabled() {
        return;
    }
    tracing::dispatcher::get_default(|dispatch| {
        if let Some(explain) = dispatch.downcast_ref::<Explain>() {
            explain.sink.flush();
        }
    });
}

/// The trace and the span that the caller works in, as hex: what a `traceparent` header or a shim is given.
/// None when nobody listens to it.
pub fn current_context() -> Option<(String, String)> {
    if !enabled() {
        return None;
    }
    let ids = tracing::dispatcher::get_default(current_ids)?;
    let span = ids.span.unwrap_or_else(SpanId::next);
    Some((ids.trace.to_string(), span.to_string()))
}

/// A span that roots what a request does in the trace that the request names. `trace_id` is 32 hex characters, and
/// `parent_span` 16: the sender's span. A trace to which nobody listens costs nothing: the span is none then.
pub fn request_span(trace_id: &str, parent_span: Option<&str>) -> Span {
    let Ok(trace) = trace_id.parse::<TraceId>() else {
        return Span::none();
    };
    let wanted = enabled()
        && tracing::dispatcher::get_default(|dispatch| {
            dispatch.downcast_ref::<Explain>().is_some_and(|explain| explain.sink.accepts(trace))
        });
    if !wanted {
        return Span::none();
    }
    let parent = parent_span.and_then(|p| p.parse::<SpanId>().ok()).map_or(0, SpanId::bits);
    tracing::info_span!(target: TARGET, parent: None, "request", trace = trace.bits(), parent)
}

/// The ids of one span, kept in its extensions.
#[derive(Debug, Clone, Copy)]
struct Ids {
    trace: TraceId,
    /// None: a root that is no step itself and whose sender named no span.
    span: Option<SpanId>,
    parent: Option<SpanId>,
}

/// Gives spans their ids, and knows where events go. Unaware of what a step says.
pub struct Explain {
    sink: Arc<dyn Sink>,
    /// The trace of steps that no request roots.
    process: Option<Ids>,
    _listening: Option<Listening>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Explain {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: LayerContext<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut root = Root::default();
        attributes.record(&mut root);
        let ids = match TraceId::from_bits(root.trace) {
            Some(trace) => Some(Ids { trace, span: SpanId::from_bits(root.parent), parent: None }),
            None => {
                host_pid(); // in a new process: before an id is given out
                let around = span.scope().skip(1).find_map(|s| s.extensions().get::<Ids>().copied());
                around.or(self.process).map(|around| Ids {
                    trace: around.trace,
                    span: Some(SpanId::next()),
                    parent: around.span,
                })
            }
        };
        if let Some(ids) = ids {
            span.extensions_mut().insert(ids);
        }
    }

    fn on_record(&self, _: &Id, _: &Record<'_>, _: LayerContext<'_, S>) {}
}

/// The two fields of a request's span.
#[derive(Default)]
struct Root {
    trace: u128,
    parent: u64,
}

impl tracing::field::Visit for Root {
    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
    fn record_u128(&mut self, field: &tracing::field::Field, value: u128) {
        if field.name() == "trace" {
            self.trace = value;
        }
    }
    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        if field.name() == "parent" {
            self.parent = value;
        }
    }
}

/// Whether the caller's subscriber takes steps. Asked before the span's callsite is reached: where one thread of the
/// process has a subscriber and another has none (tests), a callsite that the other reaches first would be switched
/// off for both, since `tracing` keeps the answer of whoever came first while there is only one subscriber.
fn explains(dispatch: &Dispatch) -> bool {
    dispatch.downcast_ref::<Explain>().is_some()
}

fn ids_of(dispatch: &Dispatch, id: &Id) -> Option<Ids> {
    let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
    span.extensions().get::<Ids>().copied()
}

/// The ids of the innermost span around the caller that explains, or those of the process.
fn current_ids(dispatch: &Dispatch) -> Option<Ids> {
    let explain = dispatch.downcast_ref::<Explain>()?;
    let registry = dispatch.downcast_ref::<Registry>()?;
    let current = dispatch.current_span();
    let around =
        current.id().and_then(|id| registry.span(id)?.scope().find_map(|span| span.extensions().get::<Ids>().copied()));
    around.or(explain.process)
}

/// A layer to be combined with others (a log) on a [`Registry`]; it looks at spans of [`TARGET`] only.
pub type ExplainLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn layer(explain: Explain) -> ExplainLayer {
    explain.with_filter(filter_fn(|meta| meta.target() == TARGET)).boxed()
}

/// The daemon's layer: steps go to `sink`, and belong to the trace of their [`request_span`] only.
pub fn explain_layer(sink: Arc<dyn Sink>) -> ExplainLayer {
    layer(Explain { sink, process: None, _listening: None })
}

/// The process has a subscriber already.
#[derive(Debug, thiserror::Error)]
#[error("this process already has a tracing subscriber")]
pub struct InstallError(#[from] tracing::subscriber::SetGlobalDefaultError);

/// Makes [`explain_layer`] the process's subscriber (a daemon without a log).
pub fn install(sink: Arc<dyn Sink>) -> Result<(), InstallError> {
    let subscriber = tracing_subscriber::registry().with(explain_layer(sink));
    Ok(tracing::subscriber::set_global_default(subscriber)?)
}

/// For a process that works for one trace (client, shim, and the init that it clones): every step belongs to it,
/// and `parent` is the span of whoever started the process.
pub fn install_process(trace: TraceId, parent: Option<SpanId>, sink: Arc<dyn Sink>) -> Result<(), InstallError> {
    let subscriber = tracing_subscriber::registry().with(process_layer(trace, parent, sink));
    Ok(tracing::subscriber::set_global_default(subscriber)?)
}

/// Where one piece of work of a process that lives long is told: the trace, the sender's span, the sink.
pub type Told = (TraceId, Option<SpanId>, Arc<dyn Sink>);

/// Runs one piece of work (of this thread, and of a process that is cloned in it) as part of this trace and of no other;
/// none: it is told to nobody, whatever trace the process was started for.
pub fn within<R>(told: Option<Told>, work: impl FnOnce() -> R) -> R {
    match told {
        Some((trace, parent, sink)) => {
            let subscriber = tracing_subscriber::registry().with(process_layer(trace, parent, sink));
            tracing::subscriber::with_default(subscriber, work)
        }
        None => tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), work),
    }
}

pub(super) fn process_layer(trace: TraceId, parent: Option<SpanId>, sink: Arc<dyn Sink>) -> ExplainLayer {
    let process = Some(Ids { trace, span: parent, parent: None });
    layer(Explain { sink, process, _listening: Some(Listening::start()) })
}

#[cfg(test)]
#[path = "layer_tests.rs"]
mod tests;
