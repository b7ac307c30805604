//! Whose a name is: what is pushed is never taken for what the lab and the owner vouch for.

use super::push::{image, open_door, with_image};
use super::*;
use crate::oci::Reference;

#[tokio::test]
async fn nobody_pushes_over_what_is_vouched_for() {
    let bench = bench_with(open_door()).await;
    for name in ["library/centos", "library/anything", "mysql/server"] {
        let begun = bench.send(&format!("POST /v2/{name}/blobs/uploads/"), "content-length: 0\r\n", b"").await;
        assert_eq!((begun.status, begun.code().as_str()), (403, "DENIED"), "{name}");
        assert_eq!(bench.push_manifest(name, "latest", &image(media::OCI_MANIFEST)).await.status, 403, "{name}");
        assert_eq!(bench.ask(&format!("DELETE /v2/{name}/manifests/latest"), "").await.status, 403, "{name}");
    }
}

#[tokio::test]
async fn nobody_pushes_over_what_the_owner_added_from_elsewhere() {
    let bench = bench_with(open_door()).await;
    let store = bench.hub.store();
    let digest = Digest::of(&bench.manifest);
    let descriptor = Descriptor::new(MediaType::from(media::OCI_MANIFEST), bench.manifest.len() as u64, digest);
    let name = Reference::parse("127.0.0.1:5001/a/tool:1").unwrap();
    let shelf = Shelf::open(store.root()).unwrap();
    shelf.add(&name, (&descriptor, &bench.manifest), &Source::Local(store), false).await.unwrap_err();
    let whole = image(media::OCI_MANIFEST).to_string();
    for part in [b"{}".as_slice(), b"a layer of somebody's image", whole.as_bytes()] {
        store.put(part).unwrap();
    }
    let descriptor =
        Descriptor::new(MediaType::from(media::OCI_MANIFEST), whole.len() as u64, Digest::of(whole.as_bytes()));
    shelf.add(&name, (&descriptor, whole.as_bytes()), &Source::Local(store), false).await.unwrap();
    assert_eq!(bench.head("/v2/a/tool/manifests/1").await, 200);
    let begun = bench.send("POST /v2/a/tool/blobs/uploads/", "content-length: 0\r\n", b"").await;
    assert_eq!((begun.status, begun.code().as_str()), (403, "DENIED"));
}

#[tokio::test]
async fn a_mirror_never_shows_what_was_pushed() {
    let (bench, _, digest) = with_image("centos", "latest").await;
    let store = bench.hub.store().clone();
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let door =
        Bench { hub: Hub::serve(store, here).await.unwrap(), _dir: tempfile::tempdir().unwrap(), manifest: vec![] };
    // Who names the hub sees the guest's; who asks for docker.io's centos gets that.
    let guest = bench.get("/v2/centos/manifests/latest").await;
    assert_eq!(guest.header("docker-content-digest"), Some(digest.as_str()));
    let official = Digest::of(&bench.manifest).to_string();
    for answer in [
        bench.get("/v2/library/centos/manifests/latest").await,
        bench.get("/v2/centos/manifests/latest?ns=docker.io").await,
        door.get("/v2/library/centos/manifests/latest").await,
        door.get("/v2/centos/manifests/latest").await,
    ] {
        assert_eq!(answer.header("docker-content-digest"), Some(official.as_str()));
    }
    assert_eq!(door.get(&format!("/v2/centos/manifests/{digest}")).await.status, 404);
    assert_eq!(door.get(&format!("/v2/library/centos/blobs/{}", Digest::of(b"{}"))).await.status, 404);
    let names = |answer: Answer| answer.json()["repositories"].clone();
    assert_eq!(names(door.get("/v2/_catalog").await), json!(["library/centos", "mysql/server"]));
    assert_eq!(names(bench.get("/v2/_catalog").await), json!(["centos", "library/centos", "mysql/server"]));
    let found = |answer: Answer| answer.json()["num_results"].clone();
    assert_eq!(found(door.get("/v1/search?q=").await), json!(2));
    assert_eq!(door.ask("DELETE /v2/centos/manifests/latest", "").await.status, 405, "this door is for reading");
}

#[tokio::test]
async fn a_page_in_a_browser_changes_nothing() {
    let bench = bench_with(open_door()).await;
    let headers = "content-length: 0\r\norigin: http://evil.example\r\n";
    let answer = bench.send("POST /v2/me/app/blobs/uploads/", headers, b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "DENIED"));
}

#[test]
fn others_may_read_and_push_only_when_the_owner_says_so() {
    use axum::extract::ConnectInfo;
    use tower::ServiceExt as _;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let ask = async |push, peer: &str, method: &str, path: &str| {
            let served = Served {
                store: store.clone(),
                faults: None,
                catalog: None,
                view: View::All,
                push,
                sessions: sessions::Sessions::new(store.clone(), Limits::default()),
                abandoned: Duration::MAX,
            };
            let peer: SocketAddr = peer.parse().unwrap();
            let request = http::Request::builder().method(method).uri(path).extension(ConnectInfo(peer));
            let request = request.body(axum::body::Body::empty()).unwrap();
            dispatch::router(Arc::new(served)).oneshot(request).await.unwrap().status().as_u16()
        };
        let begin = "/v2/me/app/blobs/uploads/";
        for (push, peer, status) in [
            (Push::ThisMachine, "127.0.0.1:9", 202),
            (Push::ThisMachine, "[::ffff:127.0.0.1]:9", 202),
            (Push::ThisMachine, "[::1]:9", 202),
            (Push::ThisMachine, "192.168.7.7:9", 403),
            (Push::ThisMachine, "172.17.0.2:9", 403),
            (Push::Everybody, "192.168.7.7:9", 202),
            (Push::Nobody, "127.0.0.1:9", 405),
        ] {
            assert_eq!(ask(push, peer, "POST", begin).await, status, "{push:?} {peer}");
            assert_eq!(ask(push, peer, "GET", "/v2/_catalog").await, 200, "{push:?} {peer}");
        }
    });
}
