//! `/containers/…`: the life of containers.

use super::hijack::Hijacked;
use super::http::{Answer, Call};
use super::query::{Query, segment};
use super::terminal::Size;
use super::{Client, ClientError};
use crate::api::wire::{ContainerLine, Created, Waited};
use http::Method;
use serde_json::Value;

/// Which streams to attach.
#[derive(Debug, Clone, Default)]
pub struct Attach {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Sent only when the user chose keys.
    pub detach_keys: Option<String>,
}

/// What of a log to get (`GET /containers/{id}/logs`), in the API's own words.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    pub follow: bool,
    pub timestamps: bool,
    pub details: bool,
    pub since: Option<String>,
    pub until: Option<String>,
    pub tail: String,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    /// Not running (now or later); what the API does when nothing is said.
    NotRunning,
    NextExit,
    Removed,
}

/// A wait that the daemon has taken on; the answer is still to come.
pub struct Wait(Answer);

impl Client {
    /// `POST /containers/create`
    pub async fn container_create(
        &self,
        name: Option<&str>,
        platform: Option<&str>,
        body: Value,
    ) -> Result<Created, ClientError> {
        let query = Query::new().maybe("name", name).maybe("platform", platform);
        self.call_json(Call::post("/containers/create").query(query).json(body)).await
    }

    /// `POST /containers/{id}/start`
    pub async fn container_start(&self, id: &str, detach_keys: Option<&str>) -> Result<(), ClientError> {
        let query = Query::new().maybe("detachKeys", detach_keys);
        self.call(Call::post(format!("/containers/{}/start", segment(id))).query(query)).await.map(drop)
    }

    /// `POST /containers/{id}/attach`, as a hijacked connection.
    pub async fn container_attach(&self, id: &str, what: &Attach) -> Result<Hijacked, ClientError> {
        let query = Query::new()
            .maybe("detachKeys", what.detach_keys.as_deref())
            .flag("stderr", what.stderr)
            .flag("stdin", what.stdin)
            .flag("stdout", what.stdout)
            .flag("stream", true);
        self.hijack(Call::post(format!("/containers/{}/attach", segment(id))).query(query)).await
    }

    /// `GET /containers/{id}/logs`: the stream, framed unless the container has a terminal.
    pub async fn container_logs(&self, id: &str, what: &Logs) -> Result<Hijacked, ClientError> {
        let query = Query::new()
            .flag("details", what.details)
            .flag("follow", what.follow)
            .maybe("since", what.since.as_deref())
            .flag("stderr", true)
            .flag("stdout", true)
            .with("tail", &what.tail)
            .flag("timestamps", what.timestamps)
            .maybe("until", what.until.as_deref());
        let answer = self.stream(Call::get(format!("/containers/{}/logs", segment(id))).query(query)).await?;
        Ok(answer.into_streams())
    }

    /// `POST /containers/{id}/wait`: returns when the daemon has begun to wait.
    pub async fn container_wait(&self, id: &str, condition: WaitCondition) -> Result<Wait, ClientError> {
        let condition = match condition {
            WaitCondition::NotRunning => None,
            WaitCondition::NextExit => Some("next-exit"),
            WaitCondition::Removed => Some("removed"),
        };
        let query = Query::new().maybe("condition", condition);
        self.stream(Call::post(format!("/containers/{}/wait", segment(id))).query(query)).await.map(Wait)
    }

    /// The answer of a wait: the exit status.
    pub async fn waited(&self, wait: Wait) -> Result<Waited, ClientError> {
        let call = wait.0.call().to_owned();
        let body = self.collect(wait.0).await?;
        serde_json::from_slice(&body).map_err(|source| ClientError::Answer { call, source })
    }

    /// `POST /containers/{id}/resize`
    pub async fn container_resize(&self, id: &str, size: Size) -> Result<(), ClientError> {
        let query = Query::new().with("h", &size.rows.to_string()).with("w", &size.columns.to_string());
        self.call(Call::post(format!("/containers/{}/resize", segment(id))).query(query)).await.map(drop)
    }

    /// `POST /containers/{id}/kill`; the daemon's choice of signal when none is given.
    pub async fn container_kill(&self, id: &str, signal: Option<&str>) -> Result<(), ClientError> {
        let query = Query::new().maybe("signal", signal);
        self.call(Call::post(format!("/containers/{}/kill", segment(id))).query(query)).await.map(drop)
    }

    /// `POST /containers/{id}/stop`; `seconds` to wait before it is killed.
    pub async fn container_stop(
        &self,
        id: &str,
        signal: Option<&str>,
        seconds: Option<i64>,
    ) -> Result<(), ClientError> {
        let seconds = seconds.map(|s| s.to_string());
        let query = Query::new().maybe("signal", signal).maybe("t", seconds.as_deref());
        self.call(Call::post(format!("/containers/{}/stop", segment(id))).query(query)).await.map(drop)
    }

    /// `POST /containers/{id}/restart`; as [`Client::container_stop`], then it is started.
    pub async fn container_restart(
        &self,
        id: &str,
        signal: Option<&str>,
        seconds: Option<i64>,
    ) -> Result<(), ClientError> {
        let seconds = seconds.map(|s| s.to_string());
        let query = Query::new().maybe("signal", signal).maybe("t", seconds.as_deref());
        self.call(Call::post(format!("/containers/{}/restart", segment(id))).query(query)).await.map(drop)
    }

    /// `POST /containers/{id}/rename`
    pub async fn container_rename(&self, id: &str, name: &str) -> Result<(), ClientError> {
        let query = Query::new().with("name", name);
        self.call(Call::post(format!("/containers/{}/rename", segment(id))).query(query)).await.map(drop)
    }

    /// `DELETE /containers/{id}`
    pub async fn container_remove(&self, id: &str, force: bool, volumes: bool, link: bool) -> Result<(), ClientError> {
        let query = Query::new().flag("force", force).flag("link", link).flag("v", volumes);
        self.call(Call::new(Method::DELETE, format!("/containers/{}", segment(id))).query(query)).await.map(drop)
    }

    /// `GET /containers/json`; `filters` is the API's JSON.
    pub async fn container_list(
        &self,
        all: bool,
        limit: Option<i64>,
        size: bool,
        filters: Option<&str>,
    ) -> Result<Vec<ContainerLine>, ClientError> {
        let limit = limit.map(|n| n.to_string());
        let query =
            Query::new().flag("all", all).maybe("filters", filters).maybe("limit", limit.as_deref()).flag("size", size);
        self.call_json(Call::get("/containers/json").query(query)).await
    }

    /// `GET /containers/{id}/json`, every field as it came.
    pub async fn container_inspect(&self, id: &str, size: bool) -> Result<Value, ClientError> {
        let query = Query::new().flag("size", size);
        self.call_json(Call::get(format!("/containers/{}/json", segment(id))).query(query)).await
    }
}
