//! What the lab hub has not got is asked of docker.io, over HTTPS.

use super::support::hub::HubStore;
use super::support::need::Need;
use super::support::upstream::{Answers, Response, Upstream};
use super::support::{Lab, need};
use std::sync::Arc;

fn lab() -> Option<Lab> {
    need(&[Need::Root, Need::UtilLinux]).then(Lab::new)
}

/// What docker.io says of a repository that nobody may see: it wants a token, gives one, and refuses all the same.
fn denies() -> Answers {
    Arc::new(|_, path| match path {
        p if p.starts_with("/token") => Response::new(200, r#"{"token":"public"}"#),
        _ => Response::new(
            401,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[]}]}"#,
        )
        .header("WWW-Authenticate", r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#)
        .header("Content-Type", "application/json"),
    })
}

#[test]
fn an_image_that_nobody_has_is_an_error_in_dockers_words() {
    let Some(mut lab) = lab() else { return };
    let upstream = Upstream::start(&mut lab, Some(denies()));
    let words = "pull access denied for nosuchimage, repository does not exist or may require 'docker login'";
    let run = lab.rdock(["run", "nosuchimage"]).fails(125, words);
    assert!(run.stderr.starts_with("Unable to find image 'nosuchimage:latest' locally\n"), "{run:?}");
    assert_eq!(run.stdout, "");
    let _ = lab.rdock(["pull", "nosuchimage"]).fails(1, words);
    let asked = upstream.asked();
    assert!(asked.iter().any(|a| a == "GET /v2/library/nosuchimage/manifests/latest"), "{asked:?}");
    // Nothing is half-made, and the next command works.
    assert_eq!(lab.half_made(), Vec::<std::path::PathBuf>::new());
    let _ = lab.rdock(["run", "--rm", "hello-world"]).ok();
    lab.stop();
    drop(upstream);
}

#[test]
fn a_tag_that_is_not_there_is_told_apart_from_an_image() {
    let Some(mut lab) = lab() else { return };
    let missing: Answers = Arc::new(|_, _| {
        Response::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
            .header("Content-Type", "application/json")
    });
    let upstream = Upstream::start(&mut lab, Some(missing));
    let words = "manifest for centos:nosuchtag not found: manifest unknown";
    let _ = lab.rdock(["pull", "centos:nosuchtag"]).fails(1, words);
    lab.stop();
    drop(upstream);
}

#[test]
fn without_a_network_the_reason_is_said() {
    let Some(mut lab) = lab() else { return };
    let upstream = Upstream::start(&mut lab, None);
    let answer = lab.rdock(["run", "nosuchimage"]).fails(125, "not found");
    assert!(answer.stderr.contains("docker.io can't be reached"), "{answer:?}");
    let _ = lab.rdock(["run", "--rm", "hello-world"]).ok();
    lab.stop();
    drop(upstream);
}

#[test]
fn an_image_of_docker_io_comes_over_https_and_runs() {
    let Some(mut lab) = lab() else { return };
    // The stand-in serves what a hub has made, under a name that the daemon's own hub does not know.
    let other = Lab::new();
    other.start_daemon();
    let _ = other.rdock(["pull", "-q", "hello-world"]).ok();
    let store = HubStore::of(&other);
    let descriptor = store.descriptor("hello-world");
    let media = descriptor["mediaType"].as_str().unwrap().to_owned();
    let index = store.blob(descriptor["digest"].as_str().unwrap());
    let answers: Answers = Arc::new(move |_, path| {
        let digest = path.rsplit('/').next().unwrap_or("");
        match path {
            "/v2/library/from-afar/manifests/latest" => {
                Response::new(200, index.clone()).header("Content-Type", &*media)
            }
            p if p.starts_with("/v2/library/from-afar/manifests/sha256:") => Response::new(200, store.blob(digest))
                .header("Content-Type", "application/vnd.oci.image.manifest.v1+json"),
            p if p.starts_with("/v2/library/from-afar/blobs/sha256:") => Response::new(200, store.blob(digest)),
            _ => Response::new(404, "{}"),
        }
    });
    let upstream = Upstream::start(&mut lab, Some(answers));
    let answer = lab.rdock(["run", "--rm", "from-afar"]).ok();
    assert!(answer.stderr.contains("Status: Downloaded newer image for from-afar:latest"), "{answer:?}");
    assert!(answer.stdout.to_lowercase().contains("hello"), "{answer:?}");
    lab.stop();
    drop(upstream);
}
