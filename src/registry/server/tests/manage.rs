//! Deleting, sweeping, and who refers to whom.

use super::push::{image, open_door, with_image};
use super::*;

#[tokio::test]
async fn a_tag_goes_alone_and_a_manifest_with_all_that_was_only_its() {
    let (bench, document, digest) = with_image("me/app", "1").await;
    assert_eq!(bench.push_manifest("me/app", "2", &document).await.status, 201);
    assert_eq!(bench.ask("DELETE /v2/me/app/manifests/1", "").await.status, 202);
    assert_eq!(bench.get("/v2/me/app/tags/list").await.json()["tags"], json!(["2"]));
    assert_eq!(bench.ask("DELETE /v2/me/app/manifests/1", "").await.code(), "MANIFEST_UNKNOWN");
    let layer: Digest = document["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    let path = format!("/v2/me/app/blobs/{layer}");
    let kept = bench.ask(&format!("DELETE {path}"), "").await;
    assert_eq!((kept.status, kept.code().as_str()), (405, "UNSUPPORTED"), "a manifest names it");

    assert_eq!(bench.ask(&format!("DELETE /v2/me/app/manifests/{digest}"), "").await.status, 202);
    assert_eq!(bench.get(&format!("/v2/me/app/manifests/{digest}")).await.code(), "MANIFEST_UNKNOWN");
    assert!(!bench.hub.store().has(&digest), "nothing leads to it");
    assert_eq!(bench.ask(&format!("DELETE {path}"), "").await.code(), "BLOB_UNKNOWN", "it was pushed for this alone");
    assert!(!bench.hub.store().has(&layer));
    assert_eq!(bench.get("/v2/me/app/tags/list").await.code(), "NAME_UNKNOWN", "the repository is empty");
    assert!(bench.hub.store().has(&Digest::of(LAYER)), "of another image");
    let left = std::fs::read_dir(bench.hub.store().root().join("repositories")).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_blob_that_no_manifest_names_is_deleted() {
    let (bench, _, _) = with_image("me/app", "1").await;
    let alone = bench.push_blob("me/app", b"alone").await;
    let path = format!("/v2/me/app/blobs/{alone}");
    assert_eq!(bench.ask(&format!("DELETE {path}"), "").await.status, 202);
    assert_eq!(bench.ask(&format!("DELETE {path}"), "").await.code(), "BLOB_UNKNOWN");
    assert!(!bench.hub.store().has(&alone));
}

#[tokio::test]
async fn what_two_repositories_share_stays_while_one_has_it() {
    let (bench, document, digest) = with_image("me/app", "1").await;
    for part in [&document["config"], &document["layers"][0]] {
        let query = format!("mount={}&from=me/app", part["digest"].as_str().unwrap());
        let path = format!("POST /v2/you/app/blobs/uploads/?{query}");
        assert_eq!(bench.send(&path, "content-length: 0\r\n", b"").await.status, 201);
    }
    assert_eq!(bench.push_manifest("you/app", "1", &document).await.status, 201);
    assert_eq!(bench.ask(&format!("DELETE /v2/me/app/manifests/{digest}"), "").await.status, 202);
    assert_eq!(bench.get("/v2/you/app/manifests/1").await.status, 200);
    assert_eq!(bench.get(&format!("/v2/me/app/manifests/{digest}")).await.status, 404);
}

#[tokio::test]
async fn what_nobody_came_back_for_is_swept_and_what_is_new_or_used_is_not() {
    let (bench, _, digest) = with_image("me/app", "1").await;
    let alone = bench.push_blob("me/app", b"no manifest names it").await;
    let begun = bench.send("POST /v2/me/app/blobs/uploads/", "content-length: 0\r\n", b"").await;
    let upload = begun.header("location").unwrap();
    let store = bench.hub.store().clone();
    let served = |abandoned| {
        let limits = Limits { abandoned, ..Limits::default() };
        Served {
            store: store.clone(),
            faults: None,
            catalog: None,
            view: View::All,
            push: Push::ThisMachine,
            sessions: sessions::Sessions::new(store.clone(), limits),
            abandoned,
        }
    };
    served(Duration::from_secs(3600)).sweep();
    assert!(store.has(&alone));
    assert_eq!(bench.get(upload).await.status, 204);
    served(Duration::ZERO).sweep();
    assert!(!store.has(&alone));
    assert_eq!(bench.get(upload).await.status, 404);
    assert!(store.has(&digest) && store.has(&Digest::of(LAYER)));
    assert_eq!(bench.get("/v2/me/app/manifests/1").await.status, 200);
}

#[tokio::test]
async fn nothing_is_swept_while_the_store_is_filled() {
    let bench = bench_with(open_door()).await;
    let store = bench.hub.store();
    let unnamed = store.put(b"will have a name soon").unwrap();
    let filling = crate::registry::hub_lock::fill(store.root()).unwrap();
    assert_eq!(state::sweep(store, Duration::ZERO), Ok(0));
    drop(filling);
    assert_eq!(state::sweep(store, Duration::ZERO), Ok(1));
    assert!(!store.has(&unnamed));
}

#[tokio::test]
async fn who_refers_to_a_manifest_is_listed_by_kind() {
    let (bench, document, subject) = with_image("me/app", "1").await;
    let size = document.to_string().len();
    let mut signature = image(media::OCI_MANIFEST);
    signature["artifactType"] = json!("application/x.signature");
    signature["annotations"] = json!({"by": "me"});
    signature["subject"] = json!({"mediaType": media::OCI_MANIFEST, "digest": subject, "size": size});
    let mut parts = signature.clone();
    parts["artifactType"] = json!("application/x.parts");
    for document in [&signature, &parts] {
        let digest = Digest::of(document.to_string().as_bytes());
        let pushed = bench.push_manifest("me/app", digest.as_str(), document).await;
        assert_eq!((pushed.status, pushed.header("oci-subject")), (201, Some(subject.as_str())));
    }
    let all = bench.get(&format!("/v2/me/app/referrers/{subject}")).await;
    assert_eq!((all.status, all.header("content-type")), (200, Some(media::OCI_INDEX)));
    assert_eq!(all.json()["manifests"].as_array().unwrap().len(), 2);
    let path = format!("/v2/me/app/referrers/{subject}?artifactType=application%2Fx.signature");
    let some = bench.get(&path).await;
    assert_eq!(some.header("oci-filters-applied"), Some("artifactType"));
    let listed = some.json()["manifests"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["artifactType"], "application/x.signature");
    assert_eq!(listed[0]["annotations"]["by"], "me");
    assert_eq!(listed[0]["digest"], Digest::of(signature.to_string().as_bytes()).to_string());
    let nobody = bench.get(&format!("/v2/me/app/referrers/{}", Digest::of(b"nobody"))).await;
    assert_eq!((nobody.status, nobody.json()["manifests"].clone()), (200, json!([])));
    assert_eq!(bench.get("/v2/me/app/referrers/latest").await.code(), "DIGEST_INVALID");
}
