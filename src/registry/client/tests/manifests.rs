use super::fake::{Fake, answer, error};
use super::*;
use crate::oci::ErrorKind;

fn manifest_answer(bytes: &[u8]) -> Vec<u8> {
    answer(200, &[("content-type", media::OCI_MANIFEST)], bytes)
}

#[tokio::test]
async fn an_image_of_the_hub_comes_whole_from_index_to_layer() {
    let lab = Lab::start().await;
    let (client, centos) = (lab.client(), reference("centos"));
    let index = client.manifest(&centos).await.unwrap();
    assert!(index.is_index() && index.source.is_mirror());
    assert_eq!(index.source.url(), lab.hub.url());
    let list: oci_spec::image::ImageIndex = serde_json::from_slice(&index.bytes).unwrap();
    let child = crate::oci::platform::select(&list, &crate::oci::platform::Platform::host()).unwrap();
    let child = Digest::try_from(child.digest()).unwrap();
    let manifest = client.manifest_at(&centos, &child, &index.source).await.unwrap();
    assert_eq!((manifest.digest(), manifest.is_index()), (child, false));
    let stream = client.blob(&centos, &layer_descriptor(&lab.layer), &manifest.source).await.unwrap();
    assert_eq!(stream.size(), lab.layer.len() as u64);
    assert_eq!(collect(stream).await.unwrap(), lab.layer);
}

#[tokio::test]
async fn an_image_is_found_by_its_digest() {
    let lab = Lab::start().await;
    let digest = lab.client().manifest(&reference("centos")).await.unwrap().digest();
    let by_digest = reference(&format!("centos@{digest}"));
    assert_eq!(lab.client().manifest(&by_digest).await.unwrap().digest(), digest);
}

#[tokio::test]
async fn what_the_mirror_has_not_got_is_asked_of_the_registry() {
    let lab = Lab::start().await;
    let bytes = manifest_bytes(b"mysql");
    let served = bytes.clone();
    let hub = Fake::start(move |_, _| manifest_answer(&served));
    let config = Config { upstreams: upstream(hub.url()).upstreams, ..mirrored(lab.hub.url()) };
    let found = Client::new(config).manifest(&reference("mysql:5.7")).await.unwrap();
    assert_eq!((&found.bytes[..], found.source.is_mirror()), (&bytes[..], false));
    assert_eq!(hub.lines(), ["GET /v2/library/mysql/manifests/5.7"]);
    assert_eq!(hub.requests()[0].header("accept"), Some(media::ACCEPT_MANIFESTS));
}

#[tokio::test]
async fn a_mirror_that_does_not_answer_is_passed_over() {
    for mirror in [nobody(), Fake::start(|_, _| Vec::new()).url()] {
        let hub = Fake::start(move |_, _| manifest_answer(&manifest_bytes(b"x")));
        let config = Config { upstreams: upstream(hub.url()).upstreams, ..mirrored(mirror) };
        Client::new(config).manifest(&reference("centos")).await.unwrap();
    }
}

#[tokio::test]
async fn a_mirror_is_for_its_domain_only() {
    let hub = Fake::start(move |_, _| manifest_answer(&manifest_bytes(b"x")));
    let name = format!("{}/app:1", hub.domain());
    Client::new(mirrored(nobody())).manifest(&reference(&name)).await.unwrap();
    assert_eq!(hub.lines(), ["GET /v2/app/manifests/1"]);
}

#[tokio::test]
async fn missing_here_and_nobody_there_is_told_in_one_sentence() {
    let lab = Lab::start().await;
    let config = mirrored(lab.hub.url());
    let registry = config.upstreams["docker.io"].clone();
    let error = Client::new(config).manifest(&reference("nosuch")).await.unwrap_err();
    let port = registry.rsplit(':').next().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "manifest for nosuch:latest not found: the mirror {} does not have it and docker.io can't be reached: \
             Get \"{registry}/v2/\": dial tcp 127.0.0.1:{port}: connect: connection refused",
            lab.hub.url()
        )
    );
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_is_told_in_dockers_words() {
    let error = Client::new(config()).manifest(&reference("nosuch:image")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("Get \"http://127.0.0.1:"), "{text}");
    assert!(text.ends_with("connect: connection refused"), "{text}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_unknown_tag_is_told_in_dockers_words() {
    let hub = Fake::start(|_, _| error(404, "MANIFEST_UNKNOWN", "manifest unknown"));
    let error = Client::new(upstream(hub.url())).manifest(&reference("mysql:nosuchtag")).await.unwrap_err();
    assert_eq!(error.to_string(), "manifest for mysql:nosuchtag not found: manifest unknown: manifest unknown");
}

/// The token service and the registry in one.
fn token_registry(grants: bool) -> Fake {
    Fake::start(move |request, _| {
        let host = request.header("host").unwrap();
        if let Some(query) = request.line.strip_prefix("GET /token?") {
            assert_eq!(query, "scope=repository:library/nosuch:pull&service=the%20registry");
            return answer(200, &[], json!({"token": "s3cret", "expires_in": 300}).to_string());
        }
        if grants && request.header("authorization") == Some("Bearer s3cret") {
            return manifest_answer(&manifest_bytes(b"x"));
        }
        let challenge = format!(
            "Bearer realm=\"http://{host}/token\",service=\"the registry\",scope=\"repository:library/nosuch:pull\""
        );
        let body = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
        answer(401, &[("www-authenticate", &challenge)], body.to_string())
    })
}

#[tokio::test]
async fn a_token_is_got_when_asked_for_and_used_again() {
    let hub = token_registry(true);
    let client = Client::new(upstream(hub.url()));
    client.manifest(&reference("nosuch")).await.unwrap();
    client.manifest(&reference("nosuch")).await.unwrap();
    let tokens = hub.lines().iter().filter(|l| l.contains("/token?")).count();
    assert_eq!((tokens, hub.lines().len()), (1, 4));
}

#[tokio::test]
async fn a_repository_that_no_token_opens_is_told_in_dockers_words() {
    let hub = token_registry(false);
    let error = Client::new(upstream(hub.url())).manifest(&reference("nosuch")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "pull access denied for nosuch, repository does not exist or may require 'docker login': \
         denied: requested access to the resource is denied"
    );
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(hub.lines().len(), 3);
}

#[tokio::test]
async fn a_password_goes_to_its_registry_and_never_to_a_mirror() {
    let basic = |_: &fake::Request, _: usize| answer(401, &[("www-authenticate", "Basic realm=\"r\"")], "");
    let mirror = Fake::start(basic);
    let hub = Fake::start(|request, _| match request.header("authorization") {
        Some("Basic bWU6aHVudGVyMg==") => manifest_answer(&manifest_bytes(b"x")),
        _ => answer(401, &[("www-authenticate", "Basic realm=\"r\"")], ""),
    });
    let me = Credentials::password("me", "hunter2");
    let config = Config { credentials: HashMap::from([("docker.io".to_owned(), me)]), ..upstream(hub.url()) };
    Client::new(config.clone()).manifest(&reference("private")).await.unwrap();
    let error = Client::new(Config { mirrors: mirrored(mirror.url()).mirrors, ..config });
    let error = error.manifest(&reference("private")).await.unwrap_err();
    assert!(error.to_string().ends_with("no basic auth credentials"), "{error}");
    assert!(mirror.requests().iter().all(|r| r.header("authorization").is_none()));
}

#[tokio::test]
async fn a_manifest_with_another_digest_is_refused() {
    let announced = Digest::of(b"genuine");
    let header = announced.to_string();
    let hub = Fake::start(move |_, _| {
        let headers = [("content-type", media::OCI_MANIFEST), ("docker-content-digest", header.as_str())];
        answer(200, &headers, manifest_bytes(b"x"))
    });
    let client = Client::new(upstream(hub.url()));
    for name in ["centos".to_owned(), format!("centos@{announced}")] {
        let error = client.manifest(&reference(&name)).await.unwrap_err();
        assert!(
            matches!(&error, RegistryError::DigestMismatch { expected, actual, .. }
                if *expected == announced && *actual == Digest::of(&manifest_bytes(b"x"))),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_manifest_that_lies_about_its_digest_is_not_hidden_by_asking_elsewhere() {
    let mirror = Fake::start(|_, _| {
        let lie = Digest::of(b"another").to_string();
        answer(200, &[("content-type", media::OCI_MANIFEST), ("docker-content-digest", &lie)], manifest_bytes(b"x"))
    });
    let error = Client::new(mirrored(mirror.url())).manifest(&reference("centos")).await.unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_without_end_is_not_read_to_its_end() {
    let hub = Fake::start(|_, _| {
        let endless = vec![b' '; MAX_MANIFEST as usize + 2];
        answer(200, &[("content-type", media::OCI_MANIFEST), ("content-length", "99999999999")], endless)
    });
    let error = Client::new(upstream(hub.url())).manifest(&reference("centos")).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: MAX_MANIFEST, .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_that_is_cut_is_told_so() {
    let hub = Fake::start(|_, _| answer(200, &[("content-type", media::OCI_MANIFEST), ("content-length", "500")], "{"));
    let error = Client::new(upstream(hub.url())).manifest(&reference("centos")).await.unwrap_err().to_string();
    assert!(error.ends_with("is cut short: 1 bytes instead of 500 (the connection was closed)"), "{error}");
}

#[tokio::test]
async fn an_old_kind_of_manifest_is_refused() {
    let old = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let hub = Fake::start(move |_, _| answer(200, &[("content-type", old)], "{}"));
    let error = Client::new(upstream(hub.url())).manifest(&reference("centos")).await.unwrap_err().to_string();
    assert!(error.starts_with("manifest for centos:latest is in Docker's image format of 2014"), "{error}");
}

#[tokio::test]
async fn a_private_authority_is_believed_when_it_is_named() {
    let (hub, authority) = Fake::start_tls(|_, _| manifest_answer(&manifest_bytes(b"x")));
    let trusting = Config { extra_roots: vec![authority], ..upstream(hub.url()) };
    Client::new(trusting).manifest(&reference("centos")).await.unwrap();
    let error = Client::new(upstream(hub.url())).manifest(&reference("centos")).await.unwrap_err().to_string();
    assert!(error.contains("\": tls: "), "{error}");
}

#[tokio::test]
async fn nothing_leaves_the_machine_in_plain_text() {
    let error = Client::new(upstream("http://192.0.2.1:9")).manifest(&reference("centos")).await.unwrap_err();
    assert_eq!(error.to_string(), "Get \"http://192.0.2.1:9/v2/\": plain HTTP is only for registries on this machine");
}

#[tokio::test]
async fn a_redirect_from_tls_to_plain_text_is_refused() {
    let plain = Fake::start(|_, _| manifest_answer(&manifest_bytes(b"x")));
    let target = plain.url();
    let (hub, authority) = Fake::start_tls(move |_, _| answer(307, &[("location", &target)], ""));
    let config = Config { extra_roots: vec![authority], ..upstream(hub.url()) };
    let error = Client::new(config).manifest(&reference("centos")).await.unwrap_err().to_string();
    assert!(error.contains("a redirect from https to http://"), "{error}");
    assert!(plain.lines().is_empty());
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let hub = Fake::start(|_, _| answer(307, &[("location", "/v2/round")], ""));
    let error = Client::new(upstream(hub.url())).manifest(&reference("centos")).await.unwrap_err().to_string();
    assert!(error.ends_with("too many redirects"), "{error}");
    assert_eq!(hub.lines().len(), 6);
}
