//! `/version` and `/info`.

use super::http::Call;
use super::{Client, ClientError};
use serde_json::Value;

impl Client {
    /// `GET /version`
    pub async fn system_version(&self) -> Result<Value, ClientError> {
        self.call_json(Call::get("/version")).await
    }

    /// `GET /info`
    pub async fn system_info(&self) -> Result<Value, ClientError> {
        self.call_json(Call::get("/info")).await
    }

    /// `GET /{kind}/{name}` for what `inspect` looks for besides containers and images.
    pub async fn inspect_other(&self, kind: &str, name: &str) -> Result<Value, ClientError> {
        self.call_json(Call::get(format!("/{kind}/{}", super::query::segment(name)))).await
    }
}
