//! `GET /events`: a JSON object for each event, for as long as the client listens.

use super::query::{Params, filters, moment};
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, stream};
use crate::events::{Event, Filter, Listener};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::routing::get;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

pub fn routes() -> Router<Engine> {
    Router::new().route("/events", get(events))
}

/// `since`: what is still kept from then on comes first. `until`: the stream ends then; if that is over, it has only
/// what is kept.
async fn events(State(engine): State<Engine>, Query(params): Query<Params>) -> Answer {
    let (since, until) = (moment(&params, "since")?, moment(&params, "until")?);
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        let words = format!("`since` time ({since}) cannot be after `until` time ({until})");
        return Err(Refusal::bad(words));
    }
    let filter = Filter::new(filters(&params)?).map_err(Refusal::bad)?;
    let reading = Reading { listener: engine.events.listen(since), filter, until };
    let lines = futures_util::stream::unfold(reading, |mut reading| async move {
        let event = reading.next().await?;
        let mut line = serde_json::to_vec(&*event).unwrap_or_default();
        line.push(b'\n');
        Some((Bytes::from(line), reading))
    });
    Ok(stream("application/json", lines))
}

struct Reading {
    listener: Listener,
    filter: Filter,
    /// Nanoseconds since 1970.
    until: Option<i64>,
}

impl Reading {
    /// The next event that fits; none at the end.
    async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            let event = match self.left() {
                None => self.listener.next().await,
                Some(left) => match self.listener.ready() {
                    Some(event) => event,
                    None => {
                        let end = Instant::now().checked_add(left)?;
                        tokio::time::timeout_at(end, self.listener.next()).await.ok()?
                    }
                },
            };
            if self.until.is_some_and(|until| event.time_nano > until) {
                return None;
            }
            if self.filter.fits(&event) {
                return Some(event);
            }
        }
    }

    /// How long the stream still goes; none: without end.
    fn left(&self) -> Option<Duration> {
        let until = UNIX_EPOCH + Duration::from_nanos(u64::try_from(self.until?).unwrap_or(0));
        Some(until.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO))
    }
}
