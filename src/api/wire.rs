//! Answers and messages whose JSON must be exact, or of which the client needs a few fields only.
//! Unknown fields are ignored, missing ones have their Go zero value: a real Docker may be on the other side.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// `null` means the zero value (Go's nil slices and maps).
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// Answer of `POST /containers/create`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Created {
    /// 64 hex characters.
    pub id: String,
    #[serde(deserialize_with = "null_is_default")]
    pub warnings: Vec<String>,
}

/// Answer of `POST /containers/{id}/update`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Updated {
    /// `null` where there are none.
    pub warnings: Option<Vec<String>>,
}

/// Answer of `POST /containers/{id}/wait`; comes when the condition holds, the headers long before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Waited {
    pub error: Option<WaitError>,
    /// 128+n when signal n ended the process; -1 when waiting failed.
    pub status_code: i64,
}

/// Why waiting failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WaitError {
    pub message: String,
}

/// What the API knows of a path in a container, in the header `X-Docker-Container-Path-Stat`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathStat {
    /// The last part of the path that was asked for.
    pub name: String,
    pub size: i64,
    /// As Go's `os.FileMode` has it: [`MODE_DIR`], [`MODE_SYMLINK`] and others above the permission bits.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Where a symbolic link leads to in the end, as a path in the container; else empty.
    pub link_target: String,
}

/// `os.ModeDir`
pub const MODE_DIR: u32 = 1 << 31;
/// `os.ModeSymlink`
pub const MODE_SYMLINK: u32 = 1 << 27;
/// `os.ModeDevice`, `os.ModeNamedPipe`, `os.ModeSocket`, `os.ModeCharDevice`
pub const MODE_SPECIAL: [u32; 4] = [1 << 26, 1 << 25, 1 << 24, 1 << 21];

/// One line of `GET /containers/{id}/changes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Change {
    pub path: String,
    /// 0 changed, 1 added, 2 deleted.
    pub kind: u8,
}

/// Answer of `POST /commit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Committed {
    /// `sha256:…`
    pub id: String,
}

/// One message of the stream of `POST /images/create`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Text to be printed as it is, with its line feed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stream: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub detail: Option<ProgressDetail>,
    /// The bar as text, for clients that do not draw their own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub progress: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// For programs: [`Pushed`] is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<serde_json::Value>,
}

/// Of a push: a manifest went alone, instead of the index that has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pushed {
    pub manifest_pushed_instead_of_index: bool,
    pub original_index: Named,
    pub selected_manifest: Named,
}

/// The digest of a descriptor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Named {
    pub digest: String,
}

/// Bytes done and bytes in all; both absent when there is nothing to measure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// An error after the stream has begun.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    pub message: String,
}

impl Progress {
    /// The last message of a stream that failed.
    pub fn failed(message: String) -> Progress {
        Progress { error_detail: Some(ErrorDetail { message: message.clone() }), error: message, ..Progress::default() }
    }
}

/// Answer of `GET /containers/{id}/top`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Top {
    #[serde(deserialize_with = "null_is_default")]
    pub processes: Vec<Vec<String>>,
    #[serde(deserialize_with = "null_is_default")]
    pub titles: Vec<String>,
}

/// Of `GET /exec/{id}/json`, what a client needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecState {
    pub running: bool,
    /// None as long as it runs.
    pub exit_code: Option<i64>,
}

/// A line of `GET /containers/json`: what `ps` shows.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerLine {
    pub id: String,
    #[serde(deserialize_with = "null_is_default")]
    pub names: Vec<String>,
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    pub command: String,
    /// Seconds since the epoch.
    pub created: i64,
    #[serde(deserialize_with = "null_is_default")]
    pub ports: Vec<Port>,
    pub state: String,
    /// `Up 2 minutes`, `Exited (0) 3 seconds ago`.
    pub status: String,
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    pub size_rw: i64,
    pub size_root_fs: i64,
    #[serde(deserialize_with = "null_is_default")]
    pub mounts: Vec<MountLine>,
    pub network_settings: NetworkLine,
}

/// A mount of a container, as lists have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountLine {
    /// Of a volume.
    pub name: String,
    pub source: String,
    pub driver: String,
}

/// The networks of a container, as lists have them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkLine {
    #[serde(deserialize_with = "null_is_default")]
    pub networks: BTreeMap<String, serde_json::Value>,
}

/// A port of a container, published or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Port {
    #[serde(rename = "IP")]
    pub ip: String,
    pub private_port: u16,
    pub public_port: u16,
    #[serde(rename = "Type")]
    pub kind: String,
}

/// A line of `GET /images/search`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SearchLine {
    pub name: String,
    pub description: String,
    pub star_count: i64,
    pub is_official: bool,
    pub is_automated: bool,
}

/// A line of `GET /images/json`: what `images` shows.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageLine {
    pub id: String,
    #[serde(deserialize_with = "null_is_default")]
    pub repo_tags: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub repo_digests: Vec<String>,
    /// Seconds since the epoch.
    pub created: i64,
    /// Bytes, unpacked.
    pub size: i64,
    /// Of the size, what other images have too; -1: not counted.
    pub shared_size: i64,
    /// How many containers use it; -1: not counted.
    pub containers: i64,
}

/// A line of the answer of `DELETE /images/{name}`: one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RemovedImage {
    pub untagged: String,
    pub deleted: String,
}

/// A line of `GET /images/{name}/history`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HistoryLine {
    /// `sha256:…`, or `<missing>`.
    pub id: String,
    /// Seconds since the epoch.
    pub created: i64,
    pub created_by: String,
    pub comment: String,
    /// Bytes, unpacked.
    pub size: i64,
}

/// Answer of the prunes; each has some of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Pruned {
    #[serde(deserialize_with = "null_is_default")]
    pub images_deleted: Vec<RemovedImage>,
    #[serde(deserialize_with = "null_is_default")]
    pub containers_deleted: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub networks_deleted: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub volumes_deleted: Vec<String>,
    /// Bytes.
    pub space_reclaimed: u64,
}

/// Answer of `GET /system/df`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DiskUsage {
    /// Bytes of all layers, each counted once.
    pub layers_size: i64,
    #[serde(deserialize_with = "null_is_default")]
    pub images: Vec<ImageLine>,
    #[serde(deserialize_with = "null_is_default")]
    pub containers: Vec<ContainerLine>,
    #[serde(deserialize_with = "null_is_default")]
    pub volumes: Vec<serde_json::Value>,
    #[serde(deserialize_with = "null_is_default")]
    pub build_cache: Vec<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_the_fields_that_docker_sends() {
        let line = |p: &Progress| serde_json::to_string(p).unwrap();
        let started = Progress {
            status: "Pulling fs layer".into(),
            detail: Some(ProgressDetail::default()),
            id: "c2d16440bc04".into(),
            ..Progress::default()
        };
        assert_eq!(line(&started), r#"{"status":"Pulling fs layer","progressDetail":{},"id":"c2d16440bc04"}"#);
        assert_eq!(line(&Progress::failed("no".into())), r#"{"errorDetail":{"message":"no"},"error":"no"}"#);
    }

    #[test]
    fn null_lists_are_empty() {
        let line: ImageLine = serde_json::from_str(r#"{"Id":"sha256:1","RepoTags":null,"Size":3}"#).unwrap();
        assert_eq!((line.repo_tags.len(), line.size), (0, 3));
    }

    #[test]
    fn waited_has_dockers_order() {
        let waited = Waited { error: None, status_code: 3 };
        assert_eq!(serde_json::to_string(&waited).unwrap(), r#"{"Error":null,"StatusCode":3}"#);
    }
}
