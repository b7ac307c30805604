//! Pushing: blobs in every way that the specification has, and manifests.

use super::*;

const BLOB: &[u8] = b"a layer of somebody's image";

pub(super) fn open_door() -> Options {
    Options { view: View::All, push: Push::ThisMachine, ..Options::default() }
}

impl Bench {
    pub(super) async fn head(&self, path: &str) -> u16 {
        self.ask(&format!("HEAD {path}"), "").await.status
    }

    /// `POST`, `PUT`: as most clients do.
    pub(super) async fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let begun = self.send(&format!("POST /v2/{name}/blobs/uploads/"), "content-length: 0\r\n", b"").await;
        assert_eq!(begun.status, 202, "{}", begun.head);
        let digest = Digest::of(bytes);
        let location = begun.header("location").unwrap();
        let done = self.send(&format!("PUT {location}?digest={digest}"), "", bytes).await;
        assert_eq!(done.status, 201, "{}", done.head);
        digest
    }

    pub(super) async fn push_manifest(&self, name: &str, reference: &str, document: &Value) -> Answer {
        let media_type = document["mediaType"].as_str().unwrap();
        let headers = format!("content-type: {media_type}\r\n");
        self.send(&format!("PUT /v2/{name}/manifests/{reference}"), &headers, document.to_string().as_bytes()).await
    }
}

/// An image of one layer, whose config is `{}`.
pub(super) fn image(media_type: &str) -> Value {
    let part = |bytes: &[u8], media_type: &str| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
    json!({"schemaVersion": 2, "mediaType": media_type, "config": part(b"{}", media::OCI_CONFIG),
           "layers": [part(BLOB, media::OCI_LAYER)]})
}

pub(super) async fn with_image(name: &str, tag: &str) -> (Bench, Value, Digest) {
    let bench = bench_with(open_door()).await;
    bench.push_blob(name, b"{}").await;
    bench.push_blob(name, BLOB).await;
    let document = image(media::OCI_MANIFEST);
    assert_eq!(bench.push_manifest(name, tag, &document).await.status, 201);
    let digest = Digest::of(document.to_string().as_bytes());
    (bench, document, digest)
}

fn no_upload_is_left(bench: &Bench) {
    let left = std::fs::read_dir(bench.hub.store().root().join("uploads")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_blob_is_pushed_in_one_request() {
    let bench = bench_with(open_door()).await;
    let digest = Digest::of(BLOB);
    let encoded = digest.to_string().replace(':', "%3A");
    let answer = bench.send(&format!("POST /v2/me/app/blobs/uploads/?digest={encoded}"), "", BLOB).await;
    assert_eq!(answer.status, 201);
    let location = answer.header("location").unwrap();
    assert_eq!(location, format!("/v2/me/app/blobs/{digest}"));
    assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
    assert_eq!(bench.get(location).await.body, BLOB);
    assert_eq!(bench.head(&format!("/v2/me/other/blobs/{digest}")).await, 404, "only where it was pushed");
    no_upload_is_left(&bench);
}

#[tokio::test]
async fn the_hubs_side_of_a_push_is_explained() {
    let bench = bench_with(open_door()).await;
    let capture = crate::trace::testing::Capture::start();
    bench.push_blob("me/app", BLOB).await;
    let wrong = Digest::of(b"something else");
    let refused = bench.send(&format!("POST /v2/me/app/blobs/uploads/?digest={wrong}"), "", BLOB).await;
    assert_eq!(refused.status, 400);
    let told: Vec<_> = capture.take().into_iter().map(|e| (e.op, e.summary)).collect();
    let (digest, short) = (Digest::of(BLOB), Digest::of(BLOB).short().to_owned());
    let kept = format!("the hub keeps {short} (27 bytes), its digest is right");
    let lie = format!("the hub refuses it: the bytes are {digest}, and not {wrong}");
    assert_eq!(told, [("hub.blob.keep".into(), kept), ("hub.blob.keep".into(), lie)]);
}

#[tokio::test]
async fn a_blob_is_pushed_in_chunks_and_a_chunk_out_of_place_is_refused() {
    let bench = bench_with(open_door()).await;
    let begun = bench.send("POST /v2/me/app/blobs/uploads/", "content-length: 0\r\n", b"").await;
    let (location, id) = (begun.header("location").unwrap(), begun.header("docker-upload-uuid").unwrap());
    assert!(location.ends_with(id));
    let chunk = |range: &str, bytes: &'static [u8]| {
        let headers = format!("content-type: application/octet-stream\r\ncontent-range: {range}\r\n");
        let bench = &bench;
        async move { bench.send(&format!("PATCH {location}"), &headers, bytes).await }
    };
    let first = chunk("0-9", &BLOB[..10]).await;
    assert_eq!((first.status, first.header("range")), (202, Some("0-9")));
    for (range, bytes) in [("0-9", &BLOB[..10]), ("11-20", &BLOB[11..21])] {
        let refused = chunk(range, bytes).await;
        assert_eq!((refused.status, refused.header("range")), (416, Some("0-9")), "{range}");
        assert_eq!(refused.header("location"), Some(location));
    }
    assert_eq!(chunk("10-19", &BLOB[10..15]).await.code(), "SIZE_INVALID");
    assert_eq!(chunk("ten", &BLOB[10..15]).await.code(), "BLOB_UPLOAD_INVALID");
    let status = bench.get(location).await;
    assert_eq!((status.status, status.header("range"), status.header("location")), (204, Some("0-9"), Some(location)));
    let end = format!("content-range: 10-{}\r\n", BLOB.len() - 1);
    let done = bench.send(&format!("PUT {location}?digest={}", Digest::of(BLOB)), &end, &BLOB[10..]).await;
    assert_eq!(done.status, 201);
    assert_eq!(bench.get(done.header("location").unwrap()).await.body, BLOB);
    assert_eq!(bench.get(location).await.code(), "BLOB_UPLOAD_UNKNOWN", "it is over");
    no_upload_is_left(&bench);
}

#[tokio::test]
async fn an_upload_that_was_cut_goes_on_also_at_another_hub_of_the_same_store() {
    let bench = bench_with(open_door()).await;
    let begun = bench.send("POST /v2/me/app/blobs/uploads/", "content-length: 0\r\n", b"").await;
    let location = begun.header("location").unwrap().to_owned();
    // Announces all of it, sends twelve bytes, and is gone.
    let (addr, patch) =
        (bench.hub.addr(), format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 27\r\n\r\n"));
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(patch.as_bytes()).unwrap();
        stream.write_all(&BLOB[..12]).unwrap();
    })
    .await
    .unwrap();
    // Killed and started again: what counts is on disk.
    let store = bench.hub.store().clone();
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    while bench.get(&location).await.header("range") != Some("0-11") {
        tokio::task::yield_now().await;
    }
    let again = Bench { hub: Hub::serve_with(store, here, open_door()).await.unwrap(), ..bench };
    let put = format!("PUT {location}?digest={}", Digest::of(BLOB));
    assert_eq!(again.send(&put, "content-range: 12-26\r\n", &BLOB[12..]).await.status, 201);
    assert_eq!(again.get(&format!("/v2/me/app/blobs/{}", Digest::of(BLOB))).await.body, BLOB);
}

#[tokio::test]
async fn an_upload_can_be_cancelled_and_belongs_to_its_repository() {
    let bench = bench_with(open_door()).await;
    let begun = bench.send("POST /v2/me/app/blobs/uploads/", "content-length: 0\r\n", b"").await;
    let location = begun.header("location").unwrap();
    let elsewhere = location.replace("me/app", "me/other");
    assert_eq!(bench.get(&elsewhere).await.code(), "BLOB_UPLOAD_UNKNOWN");
    for id in ["..", "0", "../../blobs/sha256", &"A".repeat(32)] {
        let answer = bench.get(&format!("/v2/me/app/blobs/uploads/{id}")).await;
        assert!((400..405).contains(&answer.status), "{id}");
    }
    assert_eq!(bench.ask(&format!("DELETE {location}"), "").await.status, 204);
    assert_eq!(bench.ask(&format!("DELETE {location}"), "").await.code(), "BLOB_UPLOAD_UNKNOWN");
    no_upload_is_left(&bench);
}

#[tokio::test]
async fn bytes_that_are_not_what_they_should_be_are_not_kept() {
    let bench = bench_with(open_door()).await;
    let wrong = Digest::of(b"something else");
    let answer = bench.send(&format!("POST /v2/me/app/blobs/uploads/?digest={wrong}"), "", BLOB).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
    for digest in ["sha256:12", "latest", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let answer = bench.send(&format!("POST /v2/me/app/blobs/uploads/?digest={digest}"), "", BLOB).await;
        assert_eq!(answer.code(), "DIGEST_INVALID", "{digest}");
    }
    let store = bench.hub.store();
    assert!(!store.has(&wrong) && !store.has(&Digest::of(BLOB)));
    no_upload_is_left(&bench);
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let (bench, _, _) = with_image("me/app", "1").await;
    let digest = Digest::of(BLOB);
    let mount = |query: String| {
        let bench = &bench;
        async move { bench.send(&format!("POST /v2/you/app/blobs/uploads/?{query}"), "content-length: 0\r\n", b"").await }
    };
    let nobody = mount(format!("mount={}&from=me/app", Digest::of(b"nobody has it"))).await;
    assert_eq!(nobody.status, 202, "an upload begins instead");
    assert_eq!(mount(format!("mount={digest}&from=me/nothing")).await.status, 202);
    let mounted = mount(format!("mount={digest}&from=me%2Fapp")).await;
    assert_eq!((mounted.status, mounted.header("docker-content-digest")), (201, Some(digest.as_str())));
    assert_eq!(bench.head(&format!("/v2/you/app/blobs/{digest}")).await, 200);
    let official = mount(format!("mount={}&from=library/centos", Digest::of(LAYER))).await;
    assert_eq!(official.status, 201, "what everybody may read, everybody may mount");
    assert_eq!(mount(format!("mount={}", Digest::of(b"{}"))).await.status, 201, "wherever it is");
}

#[tokio::test]
async fn an_image_is_pushed_and_comes_back_as_it_was() {
    for media_type in [media::OCI_MANIFEST, media::DOCKER_MANIFEST] {
        let bench = bench_with(open_door()).await;
        bench.push_blob("app", b"{}").await;
        let document = image(media_type);
        let bytes = document.to_string();
        let missing = bench.push_manifest("app", "1", &document).await;
        assert_eq!((missing.status, missing.code().as_str()), (400, "MANIFEST_BLOB_UNKNOWN"));
        bench.push_blob("app", BLOB).await;
        let pushed = bench.push_manifest("app", "1", &document).await;
        let digest = Digest::of(bytes.as_bytes());
        assert_eq!((pushed.status, pushed.header("docker-content-digest")), (201, Some(digest.as_str())));
        assert_eq!(pushed.header("location"), Some(format!("/v2/app/manifests/{digest}").as_str()));
        for reference in ["1", digest.as_str()] {
            let got = bench.get(&format!("/v2/app/manifests/{reference}")).await;
            assert_eq!((got.status, got.body.as_slice()), (200, bytes.as_bytes()));
            assert_eq!(got.header("content-type"), Some(media_type));
        }
    }
}

#[tokio::test]
async fn a_manifest_that_is_not_in_order_is_refused() {
    let (bench, document, digest) = with_image("me/app", "1").await;
    let mut too_short = document.clone();
    too_short["layers"][0]["size"] = json!(1);
    let other = Digest::of(b"other");
    for (reference, document, status, code) in [
        ("2", too_short, 400, "SIZE_INVALID"),
        (other.as_str(), document.clone(), 400, "DIGEST_INVALID"),
        ("-bad", document.clone(), 400, "MANIFEST_INVALID"),
        ("2", json!({"mediaType": media::OCI_MANIFEST, "schemaVersion": 1}), 400, "MANIFEST_INVALID"),
        ("2", json!({"mediaType": "application/json", "schemaVersion": 2}), 400, "MANIFEST_INVALID"),
    ] {
        let answer = bench.push_manifest("me/app", reference, &document).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{reference} {document}");
    }
    let huge = vec![b' '; 4 * 1024 * 1024 + 1];
    let headers = format!("content-type: {}\r\n", media::OCI_MANIFEST);
    let answer = bench.send("PUT /v2/me/app/manifests/2", &headers, &huge).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "DENIED"));
    assert_eq!(bench.head("/v2/me/app/manifests/2").await, 404);
    assert_eq!(bench.push_manifest("me/app", digest.as_str(), &document).await.status, 201, "by its own digest");
}

#[tokio::test]
async fn an_index_needs_its_manifests() {
    let (bench, _, digest) = with_image("me/app", "1").await;
    let size = image(media::OCI_MANIFEST).to_string().len();
    let index = |digest: &Digest| {
        json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX,
               "manifests": [{"mediaType": media::OCI_MANIFEST, "digest": digest, "size": size}]})
    };
    let missing = bench.push_manifest("me/app", "all", &index(&Digest::of(b"nowhere"))).await;
    assert_eq!(missing.code(), "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(bench.push_manifest("me/app", "all", &index(&digest)).await.status, 201);
    let gone = bench.ask(&format!("DELETE /v2/me/app/manifests/{digest}"), "").await;
    assert_eq!((gone.status, gone.code().as_str()), (403, "DENIED"), "the index names it");
    // The other way round it goes along, once nothing else leads to it.
    let whole = Digest::of(index(&digest).to_string().as_bytes());
    assert_eq!(bench.ask(&format!("DELETE /v2/me/app/manifests/{whole}"), "").await.status, 202);
    assert_eq!(bench.head(&format!("/v2/me/app/manifests/{digest}")).await, 200, "a tag leads to it");
    assert_eq!(bench.push_manifest("me/app", "all", &index(&digest)).await.status, 201);
    assert_eq!(bench.ask("DELETE /v2/me/app/manifests/1", "").await.status, 202);
    assert_eq!(bench.ask(&format!("DELETE /v2/me/app/manifests/{whole}"), "").await.status, 202);
    assert!(!bench.hub.store().has(&digest), "nothing did any more");
}

#[tokio::test]
async fn a_full_hub_says_so_and_goes_on_serving() {
    let limits = Limits { space: 64 * 1024, ..Limits::default() };
    let bench = bench_with(Options { limits, ..open_door() }).await;
    let large = vec![7; 60 * 1024];
    let path = format!("POST /v2/me/app/blobs/uploads/?digest={}", Digest::of(&large));
    let full = bench.send(&path, "", &large).await;
    assert_eq!((full.status, full.code().as_str()), (413, "DENIED"));
    assert!(full.json()["errors"][0]["message"].as_str().unwrap().starts_with("the hub is full"), "{}", full.json());
    // Also when nobody says how much is coming.
    let chunked = [b"f000\r\n".as_slice(), &large, b"\r\n0\r\n\r\n"].concat();
    let full = bench.send(&path, "transfer-encoding: chunked\r\nx: content-length\r\n", &chunked).await;
    assert_eq!(full.status, 413);
    assert_eq!(bench.head("/v2/library/centos/manifests/latest").await, 200);
    bench.push_blob("me/app", b"small").await;
    no_upload_is_left(&bench);
}
