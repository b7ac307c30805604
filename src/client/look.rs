//! `/containers/{id}/top`, `stats`, `pause`, `unpause`, `update`.

use super::http::{Answer, Call};
use super::query::{Query, segment};
use super::{Client, ClientError};
use crate::api::wire::{Top, Updated};
use serde_json::Value;

/// What a container uses, again and again.
pub struct StatsStream {
    answer: Answer,
    rest: Vec<u8>,
}

impl Client {
    /// `GET /containers/{id}/top`
    pub async fn container_top(&self, id: &str, options: &str) -> Result<Top, ClientError> {
        let query = Query::new().maybe("ps_args", Some(options).filter(|o| !o.is_empty()));
        self.call_json(Call::get(format!("/containers/{}/top", segment(id))).query(query)).await
    }

    /// `GET /containers/{id}/stats`: one look.
    pub async fn container_stats(&self, id: &str) -> Result<Value, ClientError> {
        let query = Query::new().with("stream", "0");
        self.call_json(Call::get(format!("/containers/{}/stats", segment(id))).query(query)).await
    }

    /// `GET /containers/{id}/stats`: a look a second.
    pub async fn container_stats_stream(&self, id: &str) -> Result<StatsStream, ClientError> {
        let query = Query::new().flag("stream", true);
        let answer = self.stream(Call::get(format!("/containers/{}/stats", segment(id))).query(query)).await?;
        Ok(StatsStream { answer, rest: vec![] })
    }

    /// `POST /containers/{id}/pause`
    pub async fn container_pause(&self, id: &str) -> Result<(), ClientError> {
        self.call(Call::post(format!("/containers/{}/pause", segment(id)))).await.map(drop)
    }

    /// `POST /containers/{id}/unpause`
    pub async fn container_unpause(&self, id: &str) -> Result<(), ClientError> {
        self.call(Call::post(format!("/containers/{}/unpause", segment(id)))).await.map(drop)
    }

    /// `POST /containers/{id}/update`; what the daemon warns of.
    pub async fn container_update(&self, id: &str, body: Value) -> Result<Vec<String>, ClientError> {
        let call = Call::post(format!("/containers/{}/update", segment(id))).json(body);
        self.call_json::<Updated>(call).await.map(|updated| updated.warnings.unwrap_or_default())
    }
}

impl StatsStream {
    /// The next look; none when the daemon has ended the stream.
    pub async fn next(&mut self) -> Result<Option<Value>, ClientError> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let call = self.answer.call().to_owned();
                return serde_json::from_slice(&line).map(Some).map_err(|source| ClientError::Answer { call, source });
            }
            match self.answer.piece().await? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}
