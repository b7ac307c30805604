//! `/containers/{id}/exec` and `/exec/…`: more processes in a container that runs.

use super::hijack::Hijacked;
use super::http::Call;
use super::query::{Query, segment};
use super::terminal::Size;
use super::{Client, ClientError};
use crate::api::wire::{Created, ExecState};
use serde_json::{Value, json};

impl Client {
    /// `POST /containers/{id}/exec`: its id.
    pub async fn exec_create(&self, container: &str, body: Value) -> Result<String, ClientError> {
        let call = Call::post(format!("/containers/{}/exec", segment(container))).json(body);
        Ok(self.call_json::<Created>(call).await?.id)
    }

    /// `POST /exec/{id}/start` in the background.
    pub async fn exec_start_detached(&self, id: &str, tty: bool) -> Result<(), ClientError> {
        let body = json!({"Detach": true, "Tty": tty});
        self.call(Call::post(format!("/exec/{}/start", segment(id))).json(body)).await.map(drop)
    }

    /// `POST /exec/{id}/start`, as a hijacked connection.
    pub async fn exec_start(&self, id: &str, tty: bool, console: Option<Size>) -> Result<Hijacked, ClientError> {
        let mut body = json!({"Detach": false, "Tty": tty});
        if let Some(Size { rows, columns }) = console {
            body["ConsoleSize"] = json!([rows, columns]);
        }
        self.hijack(Call::post(format!("/exec/{}/start", segment(id))).json(body)).await
    }

    /// `POST /exec/{id}/resize`
    pub async fn exec_resize(&self, id: &str, size: Size) -> Result<(), ClientError> {
        let query = Query::new().with("h", &size.rows.to_string()).with("w", &size.columns.to_string());
        self.call(Call::post(format!("/exec/{}/resize", segment(id))).query(query)).await.map(drop)
    }

    /// `GET /exec/{id}/json`
    pub async fn exec_inspect(&self, id: &str) -> Result<ExecState, ClientError> {
        self.call_json(Call::get(format!("/exec/{}/json", segment(id)))).await
    }
}
