//! The ways to a registry: insecure ones, proxies, certificates of its own, lists in pages, "not now".

use super::fake::{Fake, answer, error};
use super::*;

fn manifest() -> Vec<u8> {
    answer(200, &[("content-type", media::OCI_MANIFEST)], manifest_bytes(b"x"))
}

fn at(hub: &Fake) -> Reference {
    reference(&format!("localhost:{}/app:1", hub.domain().rsplit(':').next().unwrap()))
}

fn insecure(name: &Reference) -> Config {
    Config { insecure: Insecure::parse(&[name.domain()]).unwrap(), ..config() }
}

#[tokio::test]
async fn an_insecure_registry_is_asked_with_tls_first_and_without_if_it_has_none() {
    let (tls, _) = Fake::start_tls(|_, _| manifest());
    Client::new(insecure(&at(&tls))).manifest(&at(&tls)).await.unwrap();
    assert_eq!(tls.lines(), ["GET /v2/", "GET /v2/app/manifests/1"]);
    let plain = Fake::start(|_, _| manifest());
    Client::new(insecure(&at(&plain))).manifest(&at(&plain)).await.unwrap();
    assert!(plain.lines().contains(&"GET /v2/app/manifests/1".to_owned()));
}

#[tokio::test]
async fn the_certificates_of_a_registry_are_for_it_alone() {
    let (hub, authority) = Fake::start_tls(|_, _| manifest());
    let (other, _) = Fake::start_tls(|_, _| manifest());
    let dir = tempfile::tempdir().unwrap();
    for name in [at(&hub), at(&other)] {
        std::fs::create_dir(dir.path().join(name.domain())).unwrap();
    }
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(&authority);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    std::fs::write(dir.path().join(at(&hub).domain()).join("ca.crt"), pem).unwrap();
    let client = Client::new(Config { certs_d: Some(dir.path().to_owned()), ..config() });
    client.manifest(&at(&hub)).await.unwrap();
    let error = client.manifest(&at(&other)).await.unwrap_err().to_string();
    assert!(error.contains("tls: invalid peer certificate"), "{error}");
    // Half of an identity is told, and nobody is asked without it.
    std::fs::write(dir.path().join(at(&other).domain()).join("client.cert"), "").unwrap();
    let error = client.manifest(&at(&other)).await.unwrap_err().to_string();
    assert!(error.contains("client.cert has no key"), "{error}");
}

#[tokio::test]
async fn a_plain_request_is_given_to_the_proxy_whole() {
    let proxy = Fake::start(|_, _| manifest());
    let proxies = Proxies { http: Some(format!("http://me:hunter2@{}", proxy.domain())), ..Proxies::default() };
    let name = reference("registry.invalid:5000/app:1");
    let config = Config {
        proxies,
        upstreams: [(name.domain().to_owned(), format!("http://{}", name.domain()))].into(),
        ..insecure(&name)
    };
    Client::new(config).manifest(&name).await.unwrap();
    assert_eq!(proxy.lines(), ["GET http://registry.invalid:5000/v2/app/manifests/1"]);
    assert_eq!(proxy.requests()[0].header("proxy-authorization"), Some("Basic bWU6aHVudGVyMg=="));
}

#[tokio::test]
async fn what_is_encrypted_is_tunnelled_or_it_is_told_why_not() {
    let proxy = Fake::start(|_, _| answer(403, &[], "no"));
    let proxies = |address: String| Proxies { https: Some(address), ..Proxies::default() };
    let client = |address: String| Client::new(Config { proxies: proxies(address), ..config() });
    let name = reference("registry.invalid/app:1");
    let error = client(proxy.url()).manifest(&name).await.unwrap_err().to_string();
    assert!(proxy.lines().iter().all(|l| l == "CONNECT registry.invalid:443"), "{:?}", proxy.lines());
    let words =
        format!("proxyconnect tcp: {}: it does not connect to registry.invalid:443: HTTP/1.1 403 X", proxy.domain());
    assert_eq!(error, format!("Get \"https://registry.invalid/v2/\": {words}"));
    let error = client(nobody()).manifest(&name).await.unwrap_err().to_string();
    assert!(error.contains("proxyconnect tcp: ") && error.ends_with("connection refused"), "{error}");
}

#[tokio::test]
async fn all_tags_come_page_by_page() {
    let hub = Fake::start(|request, _| match request.line.contains("last=b") {
        true => answer(200, &[], r#"{"name":"app","tags":["c"]}"#),
        false => {
            let link = [("link", "</v2/app/tags/list?last=b&n=2>; rel=\"next\"")];
            answer(200, &link, r#"{"name":"app","tags":["a","b"]}"#)
        }
    });
    let name = reference(&format!("{}/app", hub.domain()));
    assert_eq!(Client::new(config()).tags(&name).await.unwrap(), ["a", "b", "c"]);
    let endless = Fake::start(|_, before| {
        let link = format!("</v2/app/tags/list?last={before}>; rel=\"next\"");
        let tags: Vec<String> = (0..30_000).map(|i| format!("t{i}")).collect();
        answer(200, &[("link", &link)], json!({ "tags": tags }).to_string())
    });
    let name = reference(&format!("{}/app", endless.domain()));
    let error = Client::new(config()).tags(&name).await.unwrap_err().to_string();
    assert!(error.ends_with("a list of tags without end"), "{error}");
}

#[tokio::test]
async fn not_now_is_asked_again_and_not_sooner_than_wanted() {
    let hub = Fake::start(|_, before| match before {
        0 => answer(503, &[], ""),
        1 => answer(429, &[("retry-after", "0")], ""),
        _ => manifest(),
    });
    Client::new(upstream(hub.url())).manifest(&reference("centos")).await.unwrap();
    assert_eq!(hub.lines().len(), 3);
    let patient = Fake::start(|_, _| answer(429, &[("retry-after", "3600")], ""));
    let error = Client::new(upstream(patient.url())).manifest(&reference("centos")).await.unwrap_err().to_string();
    assert!(error.ends_with("has been asked too often from here; it can be asked again in 1 hour)"), "{error}");
    assert_eq!(patient.lines().len(), 1);
}

#[tokio::test]
async fn dockers_rate_limit_is_told_and_not_tried_again() {
    let hub = Fake::start(|_, _| {
        let body = error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.");
        let limits = "ratelimit-limit: 100;w=21600\r\nratelimit-remaining: 0;w=21600\r\n";
        String::from_utf8(body).unwrap().replacen("connection", &format!("{limits}connection"), 1).into_bytes()
    });
    let error = Client::new(upstream(hub.url())).manifest(&reference("centos")).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "toomanyrequests: You have reached your pull rate limit. ({} answers 100 pulls in 6 hours from one address or \
             account, 0 are left)",
            hub.domain()
        )
    );
    assert_eq!(hub.lines().len(), 1);
}
