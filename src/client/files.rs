//! `/containers/{id}/archive`, `/changes`, `/export` and `/commit`: the files of a container.

use super::http::{Answer, Call};
use super::query::{Query, segment};
use super::{Client, ClientError};
use crate::api::wire::{Change, Committed, PathStat};
use base64::Engine as _;
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, Method};
use std::io;

/// Where the API puts what it knows of a path: base64 of JSON.
const STAT: &str = "x-docker-container-path-stat";

/// A tar archive that comes from the daemon.
pub struct Archive(pub(super) Answer);

/// What `docker commit` asks for.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    pub container: String,
    /// `docker.io/library/centos`: whole, without its tag.
    pub repository: Option<String>,
    pub tag: Option<String>,
    pub author: String,
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    pub pause: bool,
}

impl Client {
    /// `HEAD /containers/{id}/archive?path=`
    pub async fn container_path_stat(&self, id: &str, path: &str) -> Result<PathStat, ClientError> {
        let call = Call::new(Method::HEAD, archive(id)).query(Query::new().with("path", path));
        let answer = self.stream(call).await?;
        let stat = path_stat(answer.call(), answer.response.headers())?;
        self.collect(answer).await?;
        Ok(stat)
    }

    /// `GET /containers/{id}/archive?path=`
    pub async fn container_archive(&self, id: &str, path: &str) -> Result<(PathStat, Archive), ClientError> {
        let answer = self.stream(Call::get(archive(id)).query(Query::new().with("path", path))).await?;
        Ok((path_stat(answer.call(), answer.response.headers())?, Archive(answer)))
    }

    /// `PUT /containers/{id}/archive?path=`: the archive is unpacked in the directory `path`.
    pub async fn container_extract(
        &self,
        id: &str,
        path: &str,
        copy_owner: bool,
        tar: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), ClientError> {
        let owner = copy_owner.then_some("true");
        let query = Query::new().maybe("copyUIDGID", owner).with("noOverwriteDirNonDir", "true").with("path", path);
        self.upload(Call::new(Method::PUT, archive(id)).query(query), tar).await.map(drop)
    }

    /// `GET /containers/{id}/changes`
    pub async fn container_changes(&self, id: &str) -> Result<Vec<Change>, ClientError> {
        let call = Call::get(format!("/containers/{}/changes", segment(id)));
        self.call_json::<Option<Vec<Change>>>(call).await.map(Option::unwrap_or_default)
    }

    /// `GET /containers/{id}/export`
    pub async fn container_export(&self, id: &str) -> Result<Archive, ClientError> {
        self.stream(Call::get(format!("/containers/{}/export", segment(id)))).await.map(Archive)
    }

    /// `POST /commit`; the new image's id.
    pub async fn container_commit(&self, commit: &Commit) -> Result<String, ClientError> {
        // In this order, empty ones too: as the Docker command writes it.
        let mut query = Query::new().with("author", &commit.author);
        for change in &commit.changes {
            query = query.with("changes", change);
        }
        query = query.with("comment", &commit.message).with("container", &commit.container);
        if !commit.pause {
            query = query.with("pause", "0");
        }
        let name = |part: &Option<String>| part.clone().unwrap_or_default();
        query = query.with("repo", &name(&commit.repository)).with("tag", &name(&commit.tag));
        self.call_json::<Committed>(Call::post("/commit").query(query)).await.map(|c| c.id)
    }
}

impl Archive {
    /// The next piece; none at the end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.0.piece().await
    }
}

fn archive(id: &str) -> String {
    format!("/containers/{}/archive", segment(id))
}

fn path_stat(call: &str, headers: &HeaderMap) -> Result<PathStat, ClientError> {
    let value = headers.get(STAT).map(|v| v.as_bytes()).unwrap_or_default();
    let json = base64::engine::general_purpose::STANDARD.decode(value).unwrap_or_default();
    serde_json::from_slice(&json).map_err(|source| ClientError::Answer { call: call.to_owned(), source })
}
