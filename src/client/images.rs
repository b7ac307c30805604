//! `/images/…`: pull, push, list, inspect.

use super::http::{Answer, Call};
use super::query::{Query, segment};
use super::{Client, ClientError};
use crate::api::auth::{self, AuthConfig};
use crate::api::wire::{HistoryLine, ImageLine, Progress, Pruned, RemovedImage, SearchLine};
use crate::oci::Reference;
use http::Method;
use serde_json::Value;
use std::collections::VecDeque;

/// The messages of a pull, as they come.
pub struct ProgressStream {
    answer: Answer,
    rest: Vec<u8>,
    ready: VecDeque<Progress>,
}

impl Client {
    /// `POST /images/create`: `from` is a repository with its domain, `tag` a tag or a digest, or nothing for all tags.
    pub async fn image_pull(
        &self,
        from: &str,
        tag: Option<&str>,
        platform: Option<&str>,
        who: &AuthConfig,
    ) -> Result<ProgressStream, ClientError> {
        let query = Query::new().with("fromImage", from).maybe("platform", platform).maybe("tag", tag);
        self.progress(Call::post("/images/create").query(query), who).await
    }

    /// `POST /images/{name}/push`: `name` has its domain and no tag; without a tag all are meant. `platform` is the
    /// API's JSON.
    pub async fn image_push(
        &self,
        name: &str,
        tag: Option<&str>,
        platform: Option<&str>,
        who: &AuthConfig,
    ) -> Result<ProgressStream, ClientError> {
        let query = Query::new().maybe("platform", platform).maybe("tag", tag);
        self.progress(Call::post(format!("/images/{}/push", segment(name))).query(query), who).await
    }

    async fn progress(&self, call: Call, who: &AuthConfig) -> Result<ProgressStream, ClientError> {
        let answer = self.stream(call.maybe_header(auth::HEADER, Some(who.to_header()))).await?;
        Ok(ProgressStream::of(answer))
    }

    /// `GET /images/json`; `filters` is the API's JSON.
    pub async fn image_list(&self, all: bool, filters: Option<&str>) -> Result<Vec<ImageLine>, ClientError> {
        let query = Query::new().flag("all", all).maybe("filters", filters);
        self.call_json(Call::get("/images/json").query(query)).await
    }

    /// `GET /images/search`
    pub async fn image_search(
        &self,
        term: &str,
        limit: Option<i64>,
        filters: Option<&str>,
    ) -> Result<Vec<SearchLine>, ClientError> {
        let limit = limit.map(|n| n.to_string());
        let query = Query::new().maybe("filters", filters).maybe("limit", limit.as_deref()).with("term", term);
        self.call_json(Call::get("/images/search").query(query)).await
    }

    /// `GET /images/{name}/json`, every field as it came.
    pub async fn image_inspect(&self, name: &str) -> Result<Value, ClientError> {
        self.call_json(Call::get(format!("/images/{}/json", segment(name)))).await
    }

    /// `GET /images/{name}/history`: the last step first.
    pub async fn image_history(&self, name: &str) -> Result<Vec<HistoryLine>, ClientError> {
        self.call_json(Call::get(format!("/images/{}/history", segment(name)))).await
    }

    /// `POST /images/{name}/tag`
    pub async fn image_tag(&self, source: &str, target: &Reference) -> Result<(), ClientError> {
        let query = Query::new().with("repo", &target.name()).maybe("tag", target.tag());
        self.call(Call::post(format!("/images/{}/tag", segment(source))).query(query)).await.map(drop)
    }

    /// `DELETE /images/{name}`
    pub async fn image_remove(
        &self,
        name: &str,
        force: bool,
        no_prune: bool,
    ) -> Result<Vec<RemovedImage>, ClientError> {
        let query = Query::new().flag("force", force).flag("noprune", no_prune);
        self.call_json(Call::new(Method::DELETE, format!("/images/{}", segment(name))).query(query)).await
    }

    /// `POST /images/prune`; `filters` is the API's JSON.
    pub async fn image_prune(&self, filters: Option<&str>) -> Result<Pruned, ClientError> {
        self.call_json(Call::post("/images/prune").query(Query::new().maybe("filters", filters))).await
    }
}

impl ProgressStream {
    pub(super) fn of(answer: Answer) -> ProgressStream {
        ProgressStream { answer, rest: Vec::new(), ready: VecDeque::new() }
    }

    /// The next message; none at the end.
    pub async fn next(&mut self) -> Result<Option<Progress>, ClientError> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            match self.answer.piece().await? {
                None => return Ok(None),
                Some(piece) => {
                    self.rest.extend_from_slice(&piece);
                    let used = whole_messages(&self.rest, &mut self.ready)
                        .map_err(|source| ClientError::Answer { call: self.answer.call().to_owned(), source })?;
                    self.rest.drain(..used);
                }
            }
        }
    }
}

/// Takes the messages that are complete; the number of bytes that they took. Docker puts nothing, CR LF or LF
/// between them.
fn whole_messages(bytes: &[u8], ready: &mut VecDeque<Progress>) -> Result<usize, serde_json::Error> {
    let mut messages = serde_json::Deserializer::from_slice(bytes).into_iter::<Progress>();
    let mut used = 0;
    while let Some(message) = messages.next() {
        match message {
            Ok(message) => {
                used = messages.byte_offset();
                ready.push_back(message);
            }
            Err(e) if e.is_eof() => break,
            Err(e) => return Err(e),
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_cut_anywhere_come_whole() {
        let all = b"{\"status\":\"a\"}\r\n{\"status\":\"b\",\"id\":\"1\"}{\"status\":\"c\"}\n";
        for cut in 0..all.len() {
            let (mut ready, mut rest) = (VecDeque::new(), Vec::new());
            for piece in [&all[..cut], &all[cut..]] {
                rest.extend_from_slice(piece);
                let used = whole_messages(&rest, &mut ready).unwrap();
                rest.drain(..used);
            }
            let said: Vec<_> = ready.iter().map(|p| p.status.as_str()).collect();
            assert_eq!(said, ["a", "b", "c"], "cut at {cut}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(whole_messages(b"<html>", &mut VecDeque::new()).is_err());
    }
}
