//! Images on their way from and to registries: `POST /images/create`, `POST /images/{name}/push`.
//!
//! Both answer with a stream of messages. Before the first message a failure is a status; afterwards it is the last
//! message.

use super::auth::who_asks;
use super::query::{Params, text};
use crate::api::wire::Progress;
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, stream};
use crate::images::PullProgress;
use crate::oci::platform::Platform;
use crate::oci::{ErrorKind, Reference};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::HeaderMap;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

/// What a client names: one image, or all tags of a repository.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    One(Reference),
    All(Reference),
}

/// Pulls.
pub async fn pull(engine: Engine, params: Params, headers: HeaderMap) -> Answer {
    let (named, who) = (named(&params)?, who_asks(&headers)?);
    let platform = text(&params, "platform").map(str::to_owned);
    let images = engine.images.clone();
    told(move |progress| async move {
        let platform = platform.as_deref();
        match named {
            Named::One(reference) => images.pull(&reference, platform, who.as_ref(), progress).await?,
            Named::All(repository) => images.pull_all(&repository, platform, who.as_ref(), progress).await?,
        };
        Ok(())
    })
    .await
}

/// Pushes one tag, or all of the name when there is none.
pub async fn push(engine: Engine, name: &str, params: Params, headers: HeaderMap) -> Answer {
    let mut reference = Reference::parse(name).map_err(Refusal::bad)?;
    if let Some(tag) = text(&params, "tag") {
        reference = reference.with_tag(tag).map_err(Refusal::bad)?;
    }
    if reference.digest().is_some() {
        return Err(Refusal::bad("cannot push a digest reference"));
    }
    let (platform, who) = (text(&params, "platform").map(platform_of).transpose()?, who_asks(&headers)?);
    let images = engine.images.clone();
    told(move |progress| async move { Ok(images.push(&reference, platform.as_ref(), who.as_ref(), progress).await?) })
        .await
}

/// `{"os":"linux","architecture":"arm64","variant":"v8"}`, as newer clients say it, or `linux/arm64/v8`.
fn platform_of(text: &str) -> Result<Platform, Refusal> {
    let Ok(json) = serde_json::from_str::<Value>(text) else { return text.parse().map_err(Refusal::bad) };
    let parts = ["os", "architecture", "variant"].map(|key| json.get(key).and_then(Value::as_str).unwrap_or_default());
    let written: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    written.join("/").parse().map_err(Refusal::bad)
}

/// `fromImage=docker.io/library/centos&tag=latest`; the tag may be a digest, or be in the name already. With neither
/// all tags are meant.
fn named(params: &Params) -> Result<Named, Refusal> {
    let from = text(params, "fromImage").ok_or_else(|| Refusal::bad("invalid reference format"))?;
    let name = match text(params, "tag") {
        Some(digest) if digest.contains(':') => format!("{from}@{digest}"),
        Some(tag) => format!("{from}:{tag}"),
        None => from.trim_end_matches(':').to_owned(),
    };
    let reference = Reference::parse(&name).map_err(Refusal::bad)?;
    Ok(match reference.tag().is_none() && reference.digest().is_none() {
        true => Named::All(reference),
        false => Named::One(reference),
    })
}

/// Does `work` and streams what it tells.
pub(super) async fn told<W>(work: impl FnOnce(mpsc::UnboundedSender<PullProgress>) -> W) -> Answer
where
    W: Future<Output = Result<(), Refusal>> + Send + 'static,
{
    let (progress, mut messages) = mpsc::unbounded_channel();
    let mut working = Working(tokio::spawn(work(progress).in_current_span()));
    match messages.recv().await {
        Some(first) => Ok(progress_stream(first, messages, working)),
        None => working.end().await.map(|()| stream("application/json", futures_util::stream::empty())),
    }
}

/// A transfer under way. A client that goes away ends it.
struct Working(JoinHandle<Result<(), Refusal>>);

impl Working {
    async fn end(&mut self) -> Result<(), Refusal> {
        match (&mut self.0).await {
            Ok(ended) => ended,
            Err(e) => Err(Refusal::new(ErrorKind::Internal, format!("the transfer was given up: {e}"))),
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn progress_stream(
    first: PullProgress,
    mut messages: mpsc::UnboundedReceiver<PullProgress>,
    mut working: Working,
) -> Response {
    let (lines, body) = mpsc::channel::<Bytes>(64);
    let telling = async move {
        let mut next = Some(first);
        while let Some(message) = next {
            if lines.send(line(&message.to_json())).await.is_err() {
                return;
            }
            next = messages.recv().await;
        }
        if let Err(refusal) = working.end().await {
            let last = serde_json::to_value(Progress::failed(refusal.message)).unwrap_or_default();
            let _ = lines.send(line(&last)).await;
        }
    };
    tokio::spawn(telling.in_current_span());
    stream("application/json", ReceiverStream::new(body).map(std::convert::identity))
}

/// One message; Docker ends them with CR LF.
fn line(message: &Value) -> Bytes {
    format!("{message}\r\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_a_pull_names_an_image_or_a_repository() {
        let told = |pairs: &[(&str, &str)]| {
            let params = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            named(&params).map_err(|r| r.message)
        };
        let one = |name: &str| Ok(Named::One(Reference::parse(name).unwrap()));
        let centos = "docker.io/library/centos:latest";
        assert_eq!(told(&[("fromImage", "docker.io/library/centos"), ("tag", "latest")]), one(centos));
        assert_eq!(told(&[("fromImage", "centos:latest")]), one(centos));
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(told(&[("fromImage", "centos"), ("tag", &digest)]), one(&format!("centos@{digest}")));
        for name in ["centos", "centos:"] {
            assert_eq!(told(&[("fromImage", name)]), Ok(Named::All(Reference::parse("centos").unwrap())));
        }
        assert_eq!(
            told(&[("fromImage", "Bad")]),
            Err("invalid reference format: repository name (library/Bad) must be lowercase".into())
        );
        assert!(told(&[]).is_err());
    }

    #[test]
    fn a_platform_is_read_in_both_forms() {
        let arm: Platform = "linux/arm64/v8".parse().unwrap();
        assert_eq!(platform_of("linux/arm64/v8").unwrap(), arm);
        assert_eq!(platform_of(r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#).unwrap(), arm);
        assert!(platform_of("{}").is_err());
    }
}
