//! `/containers/{id}/archive`, `/changes`, `/export`: the files of a container.

use super::query::{Params, flag, text};
use crate::api::paths;
use crate::api::wire::{Change, Committed, MODE_DIR, MODE_SPECIAL, MODE_SYMLINK, PathStat};
use crate::containers::{Archive, Commit, Pieces, Place};
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, empty, json};
use crate::images::files::{Extract, Kind, Stat};
use crate::oci::Reference;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use base64::Engine as _;
use futures_util::StreamExt as _;
use http::{HeaderValue, StatusCode, header};
use std::io::{self, Read};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Base64 of [`PathStat`] as JSON.
const STAT: &str = "x-docker-container-path-stat";
/// Pieces of an archive from a client that wait to be unpacked.
const PIECES: usize = 4;

pub fn routes() -> Router<Engine> {
    Router::new()
        .route("/containers/{id}/archive", get(pack).head(stat).put(unpack))
        .route("/containers/{id}/changes", get(changes))
        .route("/containers/{id}/export", get(export))
        .route("/commit", axum::routing::post(commit))
}

/// `HEAD /containers/{id}/archive?path=`
async fn stat(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    let (place, absolute) = place(&params)?;
    let stat = engine.containers.path_stat(&id, place).await?;
    let mut response = empty(StatusCode::OK);
    response.headers_mut().insert(STAT, header_of(&stat, &absolute)?);
    Ok(response)
}

/// `GET /containers/{id}/archive?path=`
async fn pack(State(engine): State<Engine>, Path(id): Path<String>, Query(params): Query<Params>) -> Answer {
    let (place, absolute) = place(&params)?;
    let (stat, pieces) = engine.containers.archive(&id, place).await?;
    let mut response = tar(pieces, "application/x-tar");
    response.headers_mut().insert(STAT, header_of(&stat, &absolute)?);
    Ok(response)
}

/// `PUT /containers/{id}/archive?path=`: the body is unpacked in the directory `path`.
async fn unpack(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    Query(params): Query<Params>,
    body: Body,
) -> Answer {
    let (place, absolute) = place(&params)?;
    let how = Extract { keep_kinds: flag(&params, "noOverwriteDirNonDir"), ..Extract::default() };
    let place = Place { directory: absolute.into(), entry: String::new(), ..place };
    engine.containers.extract(&id, place, how, flag(&params, "copyUIDGID"), reader(body)).await?;
    Ok(empty(StatusCode::OK))
}

/// `GET /containers/{id}/changes`; nothing changed is `null`, as Go writes an empty list.
async fn changes(State(engine): State<Engine>, Path(id): Path<String>) -> Answer {
    let changes = engine.containers.changes(&id).await?;
    let change = |c: &crate::containers::changes::Change| Change {
        path: c.path.to_string_lossy().into_owned(),
        kind: c.kind as u8,
    };
    let list: Vec<Change> = changes.iter().map(change).collect();
    Ok(json(StatusCode::OK, &(!list.is_empty()).then_some(list)))
}

/// `GET /containers/{id}/export`
async fn export(State(engine): State<Engine>, Path(id): Path<String>) -> Answer {
    Ok(tar(engine.containers.export(&id).await?, "application/octet-stream"))
}

/// `POST /commit?container=&repo=&tag=&comment=&author=&pause=&changes=`; the body is a configuration or empty. The answer
/// is the new image's id.
async fn commit(State(engine): State<Engine>, Query(pairs): Query<Vec<(String, String)>>, body: Bytes) -> Answer {
    let config = match body.trim_ascii() {
        [] | b"null" => None,
        json => Some(serde_json::from_slice(json).map_err(Refusal::bad)?),
    };
    let params: Params = pairs.iter().cloned().collect();
    let container = text(&params, "container").unwrap_or_default();
    let name = text(&params, "repo").map(|repository| match text(&params, "tag") {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    });
    let name = name.map(|n| Reference::parse(&n).map(Reference::with_default_tag)).transpose().map_err(Refusal::bad)?;
    let filled = |key| text(&params, key).unwrap_or_default().to_owned();
    // The one parameter that may come several times.
    let changes = pairs.into_iter().filter(|(key, _)| key == "changes").map(|(_, value)| value).collect();
    let pause = text(&params, "pause").is_none() || flag(&params, "pause");
    let commit = Commit { name, author: filled("author"), comment: filled("comment"), changes, config, pause };
    let id = engine.containers.commit(container, commit).await?;
    Ok(json(StatusCode::CREATED, &Committed { id }))
}

/// Where `path` leads, and the whole path.
fn place(params: &Params) -> Result<(Place, String), Refusal> {
    let asked = params.get("path").filter(|p| !p.is_empty());
    let asked = asked.ok_or_else(|| Refusal::bad("bad parameter: pathcannot be empty"))?.clone();
    let absolute = paths::absolute(&asked);
    let (directory, entry) = paths::split(&absolute);
    let name = paths::base(&absolute).to_owned();
    let place = Place { asked: asked.clone(), directory: directory.into(), entry: entry.to_owned(), name };
    Ok((place, absolute))
}

fn tar(pieces: Pieces, content_type: &'static str) -> Response {
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(pieces)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn header_of(stat: &Stat, absolute: &str) -> Result<HeaderValue, Refusal> {
    let target = stat.target.as_ref().map(|t| t.to_string_lossy().into_owned());
    let stat = PathStat {
        name: paths::base(absolute).to_owned(),
        size: i64::try_from(stat.size).unwrap_or(i64::MAX),
        mode: mode(stat),
        mtime: moment(stat.mtime),
        link_target: target.unwrap_or_default(),
    };
    let json = serde_json::to_vec(&stat).map_err(Refusal::bad)?;
    HeaderValue::from_str(&base64::engine::general_purpose::STANDARD.encode(json)).map_err(Refusal::bad)
}

/// Go's `os.FileMode`.
fn mode(stat: &Stat) -> u32 {
    let [device, fifo, socket, character] = MODE_SPECIAL;
    let kind = match stat.kind {
        Kind::File => 0,
        Kind::Directory => MODE_DIR,
        Kind::Symlink => MODE_SYMLINK,
        Kind::Char => device | character,
        Kind::Block => device,
        Kind::Fifo => fifo,
        Kind::Socket => socket,
    };
    // os.ModeSetuid, os.ModeSetgid, os.ModeSticky
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.iter().filter(|(unix, _)| stat.mode & unix != 0).map(|(_, go)| go);
    special.fold(kind | (stat.mode & 0o777), |mode, bit| mode | bit)
}

/// RFC 3339, with as many digits as are needed.
fn moment((seconds, nanos): (i64, i64)) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(seconds) * 1_000_000_000 + i128::from(nanos));
    let at = at.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

/// A body for who reads in a thread that may wait.
fn reader(body: Body) -> Archive {
    let (to, pieces) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let mut stream = body.into_data_stream();
        while let Some(piece) = stream.next().await {
            if to.send(piece.map_err(io::Error::other)).await.is_err() {
                return;
            }
        }
    });
    Box::new(Reader { pieces, piece: Bytes::new() })
}

struct Reader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let n = self.piece.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.piece.split_to(n));
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_go() {
        let of = |kind, mode| super::mode(&Stat { kind, size: 0, mode, mtime: (0, 0), target: None });
        assert_eq!(of(Kind::Directory, 0o1777), 0x8010_01ff);
        assert_eq!(of(Kind::File, 0o4755), 0x0080_01ed);
        assert_eq!(of(Kind::Symlink, 0o777), 0x0800_01ff);
        assert_eq!(of(Kind::Char, 0o666), 0x0420_01b6);
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        assert_eq!(moment((1_700_000_000, 0)), "2023-11-14T22:13:20Z");
        assert_eq!(moment((1_700_000_000, 120_000_000)), "2023-11-14T22:13:20.12Z");
    }

    #[test]
    fn a_path_is_taken_apart() {
        let at = |path: &str| super::place(&[("path".to_owned(), path.to_owned())].into()).unwrap().0;
        assert_eq!((at("etc/passwd").directory, at("etc/passwd").entry), ("/etc/".into(), "passwd".into()));
        assert_eq!((at("/etc/").entry, at("/etc/").name), (String::new(), "etc".into()));
        assert_eq!((at("/").directory, at("/").name), ("/".into(), "/".into()));
        assert_eq!((at("/x/.").entry, at("/x/.").name), (".".into(), ".".into()));
        assert!(super::place(&Params::new()).is_err());
    }
}
