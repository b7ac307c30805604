//! Who we are, to a registry and to its token service.

use super::fake::{Fake, Request, answer};
use super::*;
use crate::trace::testing::Capture;

/// A registry whose token service knows `me` with `hunter2`, and the identity token `refresh`.
fn registry() -> Fake {
    Fake::start(|request, _| {
        let me = request.header("authorization") == Some("Basic bWU6aHVudGVyMg==");
        if request.line.starts_with("GET /token") {
            let offline = request.line.contains("offline_token=true");
            return match (me, offline) {
                (true, true) => answer(200, &[], json!({"token": "t", "refresh_token": "refresh"}).to_string()),
                (true, false) => answer(200, &[], json!({"token": "t"}).to_string()),
                (false, _) => answer(401, &[], ""),
            };
        }
        if request.line.starts_with("POST /token") {
            let form = String::from_utf8_lossy(&request.body).into_owned();
            let known = form.contains("grant_type=refresh_token") && form.ends_with("refresh_token=refresh");
            return match known {
                true => answer(200, &[], json!({"access_token": "t", "expires_in": 60}).to_string()),
                false => answer(401, &[], ""),
            };
        }
        guarded(request)
    })
}

fn guarded(request: &Request) -> Vec<u8> {
    if request.header("authorization") != Some("Bearer t") {
        let host = request.header("host").unwrap();
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
        return answer(401, &[("www-authenticate", &challenge)], "");
    }
    match request.line.as_str() {
        "GET /v2/" => answer(200, &[], "{}"),
        _ => answer(200, &[("content-type", media::OCI_MANIFEST)], manifest_bytes(b"x")),
    }
}

fn client(hub: &Fake, who: Credentials) -> Client {
    Client::new(config()).of(&hub.domain(), who)
}

#[tokio::test]
async fn a_login_brings_an_identity_token_which_is_as_good_as_the_password() {
    let hub = registry();
    let capture = Capture::start();
    let identity = client(&hub, Credentials::password("me", "hunter2")).login(&hub.domain()).await.unwrap();
    assert_eq!(identity.as_deref(), Some("refresh"));
    assert_eq!(hub.lines()[1], "GET /token?service=s&account=me&client_id=rdock&offline_token=true");
    let client = client(&hub, Credentials::Identity { token: "refresh".into() });
    let name = reference(&format!("{}/app:1", hub.domain()));
    client.manifest(&name).await.unwrap();
    assert_eq!(hub.lines()[4], "POST /token");
    let text = serde_json::to_string(&capture.take()).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("refresh\"") && !text.contains("aHVudGVyMg"), "{text}");
}

#[tokio::test]
async fn wrong_passwords_are_told_in_dockers_words() {
    let hub = registry();
    let wrong = Credentials::password("me", "wrong");
    let error = client(&hub, wrong.clone()).login(&hub.domain()).await.unwrap_err().to_string();
    assert_eq!(error, format!("Get \"{}/v2/\": unauthorized: incorrect username or password", hub.url()));
    let basic = Fake::start(|request, _| match request.header("authorization") {
        Some("Basic bWU6aHVudGVyMg==") => answer(200, &[], "{}"),
        _ => answer(401, &[("www-authenticate", "Basic realm=\"r\"")], ""),
    });
    let error = client(&basic, wrong).login(&basic.domain()).await.unwrap_err().to_string();
    assert_eq!(error, format!("login attempt to {}/v2/ failed with status: 401 Unauthorized", basic.url()));
    let right = client(&basic, Credentials::password("me", "hunter2"));
    assert_eq!(right.login(&basic.domain()).await.unwrap(), None);
}

#[tokio::test]
async fn a_token_of_one_person_is_not_used_for_another() {
    let hub = registry();
    let name = reference(&format!("{}/app:1", hub.domain()));
    let anybody = Client::new(config());
    anybody.of(&hub.domain(), Credentials::password("me", "hunter2")).manifest(&name).await.unwrap();
    let error = anybody.manifest(&name).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
}

#[tokio::test]
async fn a_token_for_the_registry_itself_is_shown_to_it() {
    let hub = registry();
    let name = reference(&format!("{}/app:1", hub.domain()));
    client(&hub, Credentials::Bearer { token: "t".into() }).manifest(&name).await.unwrap();
    assert!(hub.lines().iter().all(|l| !l.contains("/token")));
}
