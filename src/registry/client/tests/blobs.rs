use super::fake::{Fake, answer, error};
use super::*;

const BLOB: &[u8] = b"0123456789";

/// Gets [`BLOB`] from a registry that answers like this.
async fn get(hub: &Fake) -> Result<Vec<u8>, RegistryError> {
    let name = reference(&format!("{}/app:1", hub.domain()));
    let source = Endpoint::usual(name.domain());
    let stream = Client::new(config()).blob(&name, &layer_descriptor(BLOB), &source).await?;
    collect(stream).await
}

fn ranges(hub: &Fake) -> Vec<String> {
    hub.requests().iter().map(|r| r.header("range").unwrap_or("all").to_owned()).collect()
}

/// From the asked position on; cut after `piece` bytes.
fn piecewise(piece: usize) -> Fake {
    Fake::start(move |request, _| {
        let from: usize = request
            .header("range")
            .map_or(0, |r| r.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
        let rest = &BLOB[from..];
        let (length, range) = (rest.len().to_string(), format!("bytes {from}-9/10"));
        let mut headers = vec![("content-length", length.as_str())];
        if from > 0 {
            headers.push(("content-range", range.as_str()));
        }
        answer(if from > 0 { 206 } else { 200 }, &headers, &rest[..piece.min(rest.len())])
    })
}

#[tokio::test]
async fn a_cut_blob_goes_on_where_it_was_cut() {
    let hub = piecewise(4);
    assert_eq!(get(&hub).await.unwrap(), BLOB);
    assert_eq!(ranges(&hub), ["all", "bytes=4-", "bytes=8-"]);
}

#[tokio::test]
async fn a_server_without_ranges_sends_it_again_and_each_byte_counts_once() {
    let hub = Fake::start(|_, before| {
        let sent = if before == 0 { &BLOB[..7] } else { BLOB };
        answer(200, &[("content-length", "10")], sent)
    });
    assert_eq!(get(&hub).await.unwrap(), BLOB);
    assert_eq!(ranges(&hub), ["all", "bytes=7-"]);
}

#[tokio::test]
async fn a_blob_that_is_cut_at_the_same_place_again_and_again_is_given_up() {
    let lab = Lab::start().await;
    lab.faults(json!({"truncate": Digest::of(&lab.layer)}));
    let (client, centos) = (lab.client(), reference("centos"));
    let source = client.manifest(&centos).await.unwrap().source;
    let stream = client.blob(&centos, &layer_descriptor(&lab.layer), &source).await.unwrap();
    let error = collect(stream).await.unwrap_err();
    assert!(matches!(error, RegistryError::Truncated { expected: 300_000, received: 150_000, .. }), "{error}");
}

#[tokio::test]
async fn a_spoilt_blob_has_its_size_and_another_digest() {
    let lab = Lab::start().await;
    lab.faults(json!({"corrupt": Digest::of(&lab.layer)}));
    let (client, centos) = (lab.client(), reference("centos"));
    let source = client.manifest(&centos).await.unwrap().source;
    let stream = client.blob(&centos, &layer_descriptor(&lab.layer), &source).await.unwrap();
    let bytes = collect(stream).await.unwrap();
    assert_eq!(bytes.len(), lab.layer.len());
    assert_ne!(Digest::of(&bytes), Digest::of(&lab.layer));
}

#[tokio::test]
async fn an_announced_length_that_is_wrong_is_told_before_any_byte() {
    let long = Fake::start(|_, _| answer(200, &[], b"0123456789A"));
    assert!(matches!(get(&long).await, Err(RegistryError::TooLarge { limit: 10, .. })));
    let short = Fake::start(|_, _| answer(200, &[], b"012345"));
    let error = get(&short).await.unwrap_err().to_string();
    assert!(error.ends_with("is cut short: 6 bytes instead of 10 (the registry announces no more)"), "{error}");
    assert_eq!(short.lines().len(), 1);
}

#[tokio::test]
async fn bytes_past_the_end_are_an_error_also_when_no_length_is_announced() {
    let hub = Fake::start(|_, _| {
        answer(200, &[("transfer-encoding", "chunked")], b"6\r\n012345\r\n6\r\n6789AB\r\n0\r\n\r\n")
    });
    assert!(matches!(get(&hub).await, Err(RegistryError::TooLarge { .. })));
}

#[tokio::test]
async fn another_range_than_the_one_asked_for_is_refused() {
    let hub = Fake::start(|_, before| match before {
        0 => answer(200, &[("content-length", "10")], &BLOB[..4]),
        _ => answer(206, &[("content-range", "bytes 0-9/10")], BLOB),
    });
    let error = get(&hub).await.unwrap_err().to_string();
    assert!(error.ends_with("another range than the one asked for"), "{error}");
}

#[tokio::test]
async fn a_busy_registry_is_asked_again() {
    let hub = Fake::start(|_, before| match before {
        0 => answer(503, &[], ""),
        1 => error(429, "TOOMANYREQUESTS", "slow down"),
        _ => answer(200, &[], BLOB),
    });
    assert_eq!(get(&hub).await.unwrap(), BLOB);
}

#[tokio::test]
async fn a_missing_blob_is_told_at_once() {
    let hub = Fake::start(|_, _| answer(404, &[], ""));
    let error = get(&hub).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("blob {} not found: blob unknown: blob unknown to registry", Digest::of(BLOB))
    );
    assert_eq!(hub.lines().len(), 1);
}

#[tokio::test]
async fn a_redirect_takes_no_token_to_another_host() {
    let store = Fake::start(|_, _| answer(200, &[], BLOB));
    let target = format!("{}/bucket/x?signature=1", store.url());
    let hub = Fake::start(move |request, _| match request.header("authorization") {
        Some("Basic bWU6aHVudGVyMg==") => answer(307, &[("location", &target)], ""),
        _ => answer(401, &[("www-authenticate", "Basic realm=\"r\"")], ""),
    });
    let name = reference(&format!("{}/app:1", hub.domain()));
    let me = Credentials::password("me", "hunter2");
    let config = Config { credentials: HashMap::from([(hub.domain(), me)]), ..config() };
    let source = Endpoint::usual(name.domain());
    let stream = Client::new(config).blob(&name, &layer_descriptor(BLOB), &source).await.unwrap();
    assert_eq!(collect(stream).await.unwrap(), BLOB);
    assert_eq!(store.lines(), ["GET /bucket/x?signature=1"]);
    assert_eq!(store.requests()[0].header("authorization"), None);
}
