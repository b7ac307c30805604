//! What the explanation says of an exchange, and what it never says.

use super::fake::{Fake, answer};
use super::*;
use crate::trace::testing::Capture;
use crate::trace::{Outcome, TraceEvent};

fn told(events: &[TraceEvent]) -> Vec<(String, Option<String>)> {
    events.iter().map(|e| (e.op.clone(), e.branch.clone())).collect()
}

fn op(name: &str, branch: Option<&str>) -> (String, Option<String>) {
    (name.to_owned(), branch.map(str::to_owned))
}

#[tokio::test]
async fn a_pull_from_the_hub_is_told_exchange_by_exchange() {
    let lab = Lab::start().await;
    let capture = Capture::start();
    let (client, centos) = (lab.client(), reference("centos"));
    let source = client.manifest(&centos).await.unwrap().source;
    let layer = layer_descriptor(&lab.layer);
    collect(client.blob(&centos, &layer, &source).await.unwrap()).await.unwrap();
    let events = capture.take();
    assert_eq!(told(&events), [op("registry.manifest.get", Some("remote-found")), op("registry.blob.get", None)]);
    let url = format!("{}/v2/library/centos/manifests/latest", lab.hub.url());
    assert_eq!(events[0].args["url"], json!(url));
    assert!(events[0].summary.starts_with("200, OCI index, "), "{}", events[0].summary);
    assert_eq!(events[1].summary, "200, 300.0 kB");
    assert_eq!(events[1].result, Some(Outcome::Ok { ok: json!({"status": 200, "size": 300_000}) }));
}

#[tokio::test]
async fn a_missing_image_takes_the_no_branch() {
    let lab = Lab::start().await;
    let capture = Capture::start();
    lab.client().manifest(&reference("nosuch")).await.unwrap_err();
    let events = capture.take();
    assert_eq!(told(&events), [op("registry.manifest.get", Some("remote-missing")), op("registry.manifest.get", None)]);
    assert_eq!(events[0].summary, "404, manifest unknown");
    assert!(matches!(&events[1].result, Some(Outcome::Err { errno, .. }) if errno == "EHOSTUNREACH"));
}

#[tokio::test]
async fn a_cut_and_its_resumption_are_two_steps() {
    let hub = Fake::start(|_, before| match before {
        0 => answer(200, &[("content-length", "10")], b"0123"),
        _ => answer(206, &[("content-range", "bytes 4-9/10")], b"456789"),
    });
    let name = reference(&format!("{}/app:1", hub.domain()));
    let capture = Capture::start();
    let client = Client::new(config());
    let stream = client.blob(&name, &layer_descriptor(b"0123456789"), &Endpoint::usual(name.domain())).await.unwrap();
    collect(stream).await.unwrap();
    let summaries: Vec<String> = capture.take().into_iter().map(|e| e.summary).collect();
    assert_eq!(summaries, ["the connection was closed after 4 of 10 bytes", "206, 10 bytes"]);
}

#[tokio::test]
async fn secrets_are_never_told() {
    let hub = Fake::start(|request, _| {
        if request.line.starts_with("GET /token") {
            return answer(200, &[], json!({"token": "s3cret-token"}).to_string());
        }
        match request.header("authorization") {
            Some(_) if request.line.contains("signature") => answer(200, &[], b"0123456789"),
            Some(_) => answer(307, &[("location", "/x?signature=s3cret-signature")], ""),
            None => {
                let host = request.header("host").unwrap();
                let realm = format!("Bearer realm=\"http://{host}/token?account=s3cret-account\"");
                answer(401, &[("www-authenticate", &realm)], "")
            }
        }
    });
    let name = reference(&format!("{}/app:1", hub.domain()));
    let me = Credentials::password("me", "s3cret-password");
    let config = Config { credentials: HashMap::from([(hub.domain(), me)]), ..config() };
    let capture = Capture::start();
    let client = Client::new(config);
    let stream = client.blob(&name, &layer_descriptor(b"0123456789"), &Endpoint::usual(name.domain())).await.unwrap();
    collect(stream).await.unwrap();
    let events = capture.take();
    let ops: Vec<&str> = events.iter().map(|e| e.op.as_str()).collect();
    let blob = "registry.blob.get";
    assert_eq!(ops, [blob, "registry.token.get", blob, blob]);
    let text = serde_json::to_string(&events).unwrap();
    assert!(!text.contains("s3cret") && !text.contains("Basic ") && !text.contains("Bearer "), "{text}");
    assert_eq!(events[1].args["scope"], "repository:app:pull");
}
