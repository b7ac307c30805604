//! `/images/get`, `/images/load` and `/images/create?fromSrc=`: images in one file.

use super::files::Archive;
use super::http::Call;
use super::images::ProgressStream;
use super::query::Query;
use super::{Client, ClientError};
use bytes::Bytes;
use futures_util::Stream;
use std::io;

/// What `docker import` asks for.
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// `-`, or a URL that the daemon shall read.
    pub from: String,
    /// `repository`, without its tag.
    pub repository: Option<String>,
    pub tag: Option<String>,
    pub message: Option<String>,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    pub platform: Option<String>,
}

impl Client {
    /// `GET /images/get?names=…`
    pub async fn images_save(&self, names: &[String], platform: Option<&str>) -> Result<Archive, ClientError> {
        let mut query = Query::new();
        for name in names {
            query = query.with("names", name);
        }
        self.stream(Call::get("/images/get").query(query.maybe("platform", platform))).await.map(Archive)
    }

    /// `POST /images/load`
    pub async fn images_load(
        &self,
        quiet: bool,
        platform: Option<&str>,
        tar: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<ProgressStream, ClientError> {
        let query = Query::new().flag("quiet", quiet).maybe("platform", platform);
        self.upload_and_stream(Call::post("/images/load").query(query), tar).await.map(ProgressStream::of)
    }

    /// `POST /images/create?fromSrc=…`; the last message has the image's id.
    pub async fn image_import(
        &self,
        import: &ImportRequest,
        tar: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<ProgressStream, ClientError> {
        let mut query = Query::new();
        for change in &import.changes {
            query = query.with("changes", change);
        }
        let query = query
            .with("fromSrc", &import.from)
            .maybe("message", import.message.as_deref())
            .maybe("platform", import.platform.as_deref())
            .maybe("repo", import.repository.as_deref())
            .maybe("tag", import.tag.as_deref());
        self.upload_and_stream(Call::post("/images/create").query(query), tar).await.map(ProgressStream::of)
    }
}
