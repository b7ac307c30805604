use super::*;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;

fn me(server: &str) -> AuthConfig {
    AuthConfig {
        username: "me".into(),
        password: "hunter2".into(),
        serveraddress: server.into(),
        ..AuthConfig::default()
    }
}

fn content(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap()
}

#[test]
fn what_is_kept_is_found_and_forgotten_and_the_rest_of_the_file_stays() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), r#"{"detachKeys": "ctrl-x", "auths": {"other": {}}}"#).unwrap();
    let mut keyring = Keyring::open(dir.path()).unwrap();
    let path = dir.path().join("config.json");
    assert_eq!(keyring.keep(&me("r.lan:5000")).unwrap(), Kept::File(path.clone()));
    assert_eq!(keyring.keep(&me("r.lan:5000")).unwrap(), Kept::Unchanged);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let entry = json!({"detachKeys": "ctrl-x", "auths": {"other": {}, "r.lan:5000": {"auth": "bWU6aHVudGVyMg=="}}});
    assert_eq!(content(dir.path()), entry);
    let again = Keyring::open(dir.path()).unwrap();
    assert_eq!(again.of("r.lan:5000").unwrap(), Some(me("r.lan:5000")));
    assert_eq!(again.of("other").unwrap(), None);
    keyring.forget("r.lan:5000").unwrap();
    assert_eq!(content(dir.path()), json!({"detachKeys": "ctrl-x", "auths": {"other": {}}}));
}

#[test]
fn the_file_is_written_as_docker_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut keyring = Keyring::open(&dir.path().join("new")).unwrap();
    let token = AuthConfig { identitytoken: "t".into(), password: String::new(), ..me(DOCKER_SERVER) };
    keyring.keep(&token).unwrap();
    let text = std::fs::read_to_string(dir.path().join("new/config.json")).unwrap();
    assert_eq!(
        text,
        "{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"bWU6\",\n\t\t\t\"identitytoken\": \
         \"t\"\n\t\t}\n\t}\n}"
    );
    assert_eq!(keyring.of(DOCKER_SERVER).unwrap(), Some(token));
}

#[test]
fn an_old_address_of_the_same_host_counts() {
    let dir = tempfile::tempdir().unwrap();
    let auths = json!({"auths": {"https://r.lan/v1/": {"auth": "bWU6aHVudGVyMg=="}}});
    std::fs::write(dir.path().join("config.json"), auths.to_string()).unwrap();
    let keyring = Keyring::open(dir.path()).unwrap();
    assert_eq!(keyring.of("r.lan").unwrap(), Some(me("r.lan")));
    assert_eq!(keyring.of("elsewhere.lan").unwrap(), None);
    assert_eq!(server_of("docker.io"), DOCKER_SERVER);
    assert_eq!(server_of("r.lan"), "r.lan");
}

#[test]
fn a_damaged_file_is_told_and_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), "{ not json").unwrap();
    assert!(matches!(Keyring::open(dir.path()), Err(CredentialsError::Damaged { .. })));
}

#[test]
fn a_helper_is_named_and_never_a_path() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), r#"{"credsStore": "x/../../tmp/evil"}"#).unwrap();
    let error = Keyring::open(dir.path()).unwrap().of("r.lan").unwrap_err();
    assert!(matches!(error, CredentialsError::Name { .. }), "{error}");
}
