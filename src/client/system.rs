//! `/version`, `/auth`, `/info`, `/system/df`, and the prunes of what is no image.

use super::http::Call;
use super::query::Query;
use super::{Client, ClientError};
use crate::api::auth::{AuthConfig, LoggedIn};
use crate::api::wire::{DiskUsage, Pruned};
use serde_json::Value;

impl Client {
    /// `GET /version`
    pub async fn system_version(&self) -> Result<Value, ClientError> {
        self.call_json(Call::get("/version")).await
    }

    /// `POST /auth`: shows a registry what somebody has for it.
    pub async fn registry_login(&self, auth: &AuthConfig) -> Result<LoggedIn, ClientError> {
        let body = serde_json::to_value(auth).unwrap_or_default();
        self.call_json(Call::post("/auth").secret_json(body)).await
    }

    /// `GET /info`
    pub async fn system_info(&self) -> Result<Value, ClientError> {
        self.call_json(Call::get("/info")).await
    }

    /// `GET /{kind}/{name}` for what `inspect` looks for besides containers and images.
    pub async fn inspect_other(&self, kind: &str, name: &str) -> Result<Value, ClientError> {
        self.call_json(Call::get(format!("/{kind}/{}", super::query::segment(name)))).await
    }

    /// `GET /system/df`
    pub async fn disk_usage(&self) -> Result<DiskUsage, ClientError> {
        self.call_json(Call::get("/system/df")).await
    }

    /// `POST /containers/prune`; `filters` is the API's JSON.
    pub async fn container_prune(&self, filters: Option<&str>) -> Result<Pruned, ClientError> {
        self.call_json(Call::post("/containers/prune").query(Query::new().maybe("filters", filters))).await
    }

    /// `POST /networks/prune`: the names of those that went.
    pub async fn network_prune(&self, filters: Option<&str>) -> Result<Vec<String>, ClientError> {
        let call = Call::post("/networks/prune").query(Query::new().maybe("filters", filters));
        let pruned: Pruned = self.call_json(call).await?;
        Ok(pruned.networks_deleted)
    }

    /// `POST /volumes/prune`: the names of those that went, and bytes.
    pub async fn volume_prune(&self, filters: Option<&str>) -> Result<(Vec<String>, u64), ClientError> {
        let call = Call::post("/volumes/prune").query(Query::new().maybe("filters", filters));
        let pruned: Pruned = self.call_json(call).await?;
        Ok((pruned.volumes_deleted, pruned.space_reclaimed))
    }
}
