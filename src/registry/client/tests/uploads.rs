//! Pushes to a registry in memory, which cuts, forgets and refuses where a test says so.

use super::fake::{Fake, Request, answer, error};
use super::*;
use std::sync::Mutex;

const BLOB: &[u8] = b"0123456789";

/// What the registry does to an upload.
#[derive(Default, Clone, Copy, PartialEq)]
enum Temper {
    #[default]
    Good,
    /// The second piece is cut after three bytes, and the registry remembers them.
    Cuts,
    /// The second piece is cut, and the whole upload is forgotten, once.
    Forgets,
    /// Every request that has a body is cut.
    AlwaysCuts,
    /// Has the blob in the repository `other`.
    HasOther,
    /// Wants a token for every request.
    Guarded,
}

#[derive(Default)]
struct State {
    temper: Temper,
    upload: Vec<u8>,
    patches: usize,
    blobs: Vec<Vec<u8>>,
    manifests: Vec<(String, String, Vec<u8>)>,
}

struct Registry {
    fake: Fake,
    state: Arc<Mutex<State>>,
}

impl Registry {
    fn start(temper: Temper) -> Registry {
        let state = Arc::new(Mutex::new(State { temper, ..State::default() }));
        let shared = state.clone();
        let fake = Fake::start(move |request, _| shared.lock().unwrap().answer(request));
        Registry { fake, state }
    }

    /// What was asked after `GET /v2/`, without host and digests.
    fn asked(&self) -> Vec<String> {
        let digest = Digest::of(BLOB).to_string();
        let lines = self.fake.lines();
        lines
            .iter()
            .filter(|l| *l != "GET /v2/")
            .map(|l| l.replace(&digest, "DIGEST").replace("/v2/app/", ""))
            .collect()
    }

    async fn push(&self, piece: u64, from: Option<&str>) -> Result<Placed, RegistryError> {
        self.push_as(Config { upload_piece: piece, ..config() }, from).await
    }

    async fn push_as(&self, config: Config, from: Option<&str>) -> Result<Placed, RegistryError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        std::fs::write(&path, BLOB).unwrap();
        let (client, name) = (Client::new(config), reference(&format!("{}/app:1", self.fake.domain())));
        let to = client.destination(&name).await?;
        let told: Told = Arc::new(|_| {});
        client.push_blob(&name, &to, &layer_descriptor(BLOB), &path, from, &told).await
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Vec<u8> {
        let (method, path) = request.line.split_once(' ').unwrap();
        if self.temper == Temper::Guarded && request.header("authorization") != Some("Bearer s3cret") {
            if path.starts_with("/token") {
                return answer(200, &[], json!({"token": "s3cret"}).to_string());
            }
            let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", request.header("host").unwrap());
            return answer(401, &[("www-authenticate", &realm)], "");
        }
        let location = [("location", "/v2/app/blobs/uploads/1?state=x")];
        match (method, path) {
            ("HEAD", _) => answer(if self.blobs.is_empty() { 404 } else { 200 }, &[], ""),
            ("POST", p) if p.contains("mount=") && self.temper == Temper::HasOther => answer(201, &[], ""),
            ("POST", _) => {
                self.upload.clear();
                answer(202, &location, "")
            }
            ("PATCH" | "PUT", _) if !request.body.is_empty() && self.temper == Temper::AlwaysCuts => Vec::new(),
            ("PATCH", _) => self.patch(request),
            ("GET", "/v2/") => answer(200, &[], "{}"),
            ("GET", _) if self.temper == Temper::Forgets => error(404, "BLOB_UPLOAD_UNKNOWN", "gone"),
            ("GET", _) => answer(204, &[location[0], ("range", &format!("0-{}", self.upload.len() - 1))], ""),
            ("PUT", p) if p.contains("/manifests/") => {
                let media_type = request.header("content-type").unwrap().to_owned();
                self.manifests.push((p.rsplit('/').next().unwrap().to_owned(), media_type, request.body.clone()));
                answer(201, &[("docker-content-digest", Digest::of(&request.body).as_str())], "")
            }
            ("PUT", p) => {
                self.upload.extend_from_slice(&request.body);
                let right = p.ends_with(&format!("&digest={}", Digest::of(&self.upload)));
                if !right {
                    return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
                }
                self.blobs.push(self.upload.clone());
                answer(201, &[], "")
            }
            _ => answer(405, &[], ""),
        }
    }

    fn patch(&mut self, request: &Request) -> Vec<u8> {
        self.patches += 1;
        let expected = format!("{}-{}", self.upload.len(), self.upload.len() + request.body.len() - 1);
        assert_eq!(request.header("content-range"), Some(&*expected));
        if self.patches == 2 && matches!(self.temper, Temper::Cuts | Temper::Forgets) {
            self.upload.extend_from_slice(&request.body[..3]);
            return Vec::new();
        }
        self.upload.extend_from_slice(&request.body);
        let range = format!("0-{}", self.upload.len() - 1);
        answer(202, &[("location", "/v2/app/blobs/uploads/1?state=x"), ("range", &range)], "")
    }
}

const POST: &str = "POST blobs/uploads/";
const PATCH: &str = "PATCH blobs/uploads/1?state=x";
const PUT: &str = "PUT blobs/uploads/1?state=x&digest=DIGEST";
const HEAD: &str = "HEAD blobs/DIGEST";

#[tokio::test]
async fn a_small_blob_goes_whole_and_a_second_time_not_at_all() {
    let registry = Registry::start(Temper::Good);
    assert_eq!(registry.push(100, None).await.unwrap(), Placed::Pushed);
    assert_eq!(registry.asked(), [HEAD, POST, PUT]);
    assert_eq!(registry.state.lock().unwrap().blobs, [BLOB]);
    assert_eq!(registry.push(100, None).await.unwrap(), Placed::Exists);
    assert_eq!(registry.asked().len(), 4);
}

#[tokio::test]
async fn a_large_blob_goes_in_pieces() {
    let registry = Registry::start(Temper::Good);
    registry.push(4, None).await.unwrap();
    assert_eq!(registry.asked(), [HEAD, POST, PATCH, PATCH, PATCH, PUT]);
    assert_eq!(registry.state.lock().unwrap().blobs, [BLOB]);
}

#[tokio::test]
async fn a_cut_upload_goes_on_where_the_registry_says() {
    let registry = Registry::start(Temper::Cuts);
    registry.push(4, None).await.unwrap();
    // 4 bytes, 3 of the next 4, the rest.
    assert_eq!(registry.asked(), [HEAD, POST, PATCH, PATCH, "GET blobs/uploads/1?state=x", PATCH, PUT]);
    assert_eq!(registry.state.lock().unwrap().blobs, [BLOB]);
}

#[tokio::test]
async fn an_upload_that_the_registry_has_forgotten_is_made_again() {
    let registry = Registry::start(Temper::Forgets);
    registry.push(4, None).await.unwrap();
    let asked = registry.asked();
    assert_eq!(asked.iter().filter(|a| *a == POST).count(), 2, "{asked:?}");
    assert_eq!(registry.state.lock().unwrap().blobs, [BLOB]);
}

#[tokio::test]
async fn an_upload_that_is_cut_again_and_again_is_given_up() {
    let registry = Registry::start(Temper::AlwaysCuts);
    let error = registry.push(100, None).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    let puts = registry.asked().iter().filter(|a| *a == PUT).count();
    assert_eq!(puts, 1 + config().retries as usize);
}

#[tokio::test]
async fn a_blob_of_another_repository_is_mounted() {
    let registry = Registry::start(Temper::HasOther);
    assert_eq!(registry.push(100, Some("other")).await.unwrap(), Placed::Mounted("other".into()));
    assert_eq!(registry.asked()[1], format!("{POST}?mount=DIGEST&from=other"));
    // Where that does not work, it is sent.
    let registry = Registry::start(Temper::Good);
    assert_eq!(registry.push(100, Some("other")).await.unwrap(), Placed::Pushed);
}

#[tokio::test]
async fn a_push_asks_for_a_token_that_allows_it() {
    let registry = Registry::start(Temper::Guarded);
    registry.push(100, Some("other")).await.unwrap();
    let asked = registry.asked();
    let tokens: Vec<&String> = asked.iter().filter(|l| l.contains("/token")).collect();
    assert_eq!(
        tokens,
        [
            "GET /token?scope=repository:app:pull%2Cpush&service=s",
            "GET /token?scope=repository:app:pull%2Cpush&scope=repository:other:pull&service=s"
        ]
    );
}

#[tokio::test]
async fn a_manifest_keeps_its_bytes_and_its_digest() {
    let registry = Registry::start(Temper::Good);
    let (client, name) = (Client::new(config()), reference(&format!("{}/app:1", registry.fake.domain())));
    let to = client.destination(&name).await.unwrap();
    let bytes = bytes::Bytes::from(manifest_bytes(BLOB));
    let digest = client.push_manifest(&name, &to, "1", media::OCI_MANIFEST, &bytes).await.unwrap();
    assert_eq!(digest, Digest::of(&bytes));
    let state = registry.state.lock().unwrap();
    assert_eq!(state.manifests, [("1".to_owned(), media::OCI_MANIFEST.to_owned(), bytes.to_vec())]);
}

#[tokio::test]
async fn a_refused_push_is_told_in_dockers_words() {
    let hub = Fake::start(|request, _| match request.line.starts_with("HEAD") {
        true => answer(404, &[], ""),
        false => error(403, "DENIED", "requested access to the resource is denied"),
    });
    let registry = Registry { fake: hub, state: Arc::default() };
    let error = registry.push(100, None).await.unwrap_err().to_string();
    assert_eq!(error, "denied: requested access to the resource is denied");
}

#[tokio::test]
async fn a_place_for_an_upload_without_encryption_is_refused() {
    let (hub, authority) = Fake::start_tls(|request, _| match request.line.starts_with("HEAD") {
        true => answer(404, &[], ""),
        false => answer(202, &[("location", "http://127.0.0.1:9/upload")], ""),
    });
    let config =
        Config { extra_roots: vec![authority], upstreams: HashMap::from([(hub.domain(), hub.url())]), ..config() };
    let registry = Registry { fake: hub, state: Arc::default() };
    let error = registry.push_as(config, None).await.unwrap_err().to_string();
    assert!(error.ends_with("it does not say where the blob is to be sent"), "{error}");
}
