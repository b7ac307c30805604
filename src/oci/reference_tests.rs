use super::*;
use proptest::prelude::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Reference {
    Reference::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn message(text: &str) -> String {
    Reference::parse(text).unwrap_err().to_string()
}

#[test]
fn short_names_become_full_names() {
    for (text, canonical, familiar) in [
        ("centos", "docker.io/library/centos:latest", "centos:latest"),
        ("mysql:5.7", "docker.io/library/mysql:5.7", "mysql:5.7"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("library/centos", "docker.io/library/centos:latest", "centos:latest"),
        ("index.docker.io/centos", "docker.io/library/centos:latest", "centos:latest"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("docker.io/localhost/x", "docker.io/localhost/x:latest", "docker.io/localhost/x:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("Foo/bar", "Foo/bar:latest", "Foo/bar:latest"),
        ("127.0.0.1:5055/mysql", "127.0.0.1:5055/mysql:latest", "127.0.0.1:5055/mysql:latest"),
        ("[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000/x:1"),
    ] {
        let reference = parse(text).with_default_tag();
        assert_eq!(reference.canonical(), canonical);
        assert_eq!(reference.familiar(), familiar);
    }
}

#[test]
fn a_digest_wins_over_a_tag_in_requests_and_gets_no_default_tag() {
    let both = parse(&format!("centos:8@{DIGEST}"));
    assert_eq!(both.reference_part(), DIGEST);
    assert_eq!(both.canonical(), format!("docker.io/library/centos:8@{DIGEST}"));
    let only = parse(&format!("centos@{DIGEST}")).with_default_tag();
    assert_eq!(only.tag(), None);
    assert_eq!(only.familiar(), format!("centos@{DIGEST}"));
    assert_eq!(parse("centos").reference_part(), "latest");
    assert_eq!(only.with_tag("7").unwrap().familiar(), "centos:7");
}

#[test]
fn errors_are_dockers_words() {
    assert_eq!(message("Bad_Upper"), "invalid reference format: repository name (library/Bad_Upper) must be lowercase");
    for text in ["", "a b", ":x", "a:", "a@", "-a/b", "a//b", "a/", "/a", "a:b:c", "a.-b", "a___b", "http://x/y"] {
        assert_eq!(message(text), "invalid reference format", "{text}");
    }
    assert_eq!(
        message(&DIGEST[7..]),
        format!("invalid repository name ({}), cannot specify 64-byte hexadecimal strings", &DIGEST[7..])
    );
    assert_eq!(message(&"a".repeat(256)), "repository name must not be more than 255 characters");
    assert_eq!(message(&format!("a@sha256:{}", "0".repeat(32))), "invalid checksum digest length");
    assert_eq!(message(&format!("a@md5:{}", "0".repeat(32))), "unsupported digest algorithm");
    assert_eq!(message(&format!("a:{}", "0".repeat(129))), "invalid reference format");
}

fn reference_text() -> impl Strategy<Value = String> {
    let component = "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}";
    let domain = "(([A-Za-z0-9]{1,5}\\.[a-z]{2,3}|localhost)(:[0-9]{1,5})?/)?";
    let suffix = format!("(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,8}})?(@{DIGEST})?");
    (
        proptest::string::string_regex(domain).unwrap(),
        proptest::collection::vec(proptest::string::string_regex(component).unwrap(), 1..4),
        proptest::string::string_regex(&suffix).unwrap(),
    )
        .prop_map(|(domain, components, suffix)| {
            // a first component with a dot would be read as a registry
            let domain = if domain.is_empty() && components[0].contains('.') { "docker.io/" } else { &domain };
            format!("{domain}{}{suffix}", components.join("/"))
        })
}

proptest! {
    #[test]
    fn canonical_and_familiar_names_lead_back(text in reference_text()) {
        let reference = parse(&text);
        prop_assert_eq!(parse(&reference.canonical()), reference.clone());
        prop_assert_eq!(parse(&reference.familiar()), reference.clone());
        let json = serde_json::to_string(&reference).unwrap();
        prop_assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
    }

    #[test]
    fn agrees_with_oci_spec(text in reference_text()) {
        // oci-spec knows no upper-case domain and no legacy rule beyond the same two names
        prop_assume!(!text.split('/').next().is_some_and(|d| d.chars().any(char::is_uppercase)));
        let ours = parse(&text).with_default_tag();
        let theirs: oci_spec::distribution::Reference = text.parse().unwrap();
        prop_assert_eq!(ours.domain(), theirs.registry());
        prop_assert_eq!(ours.path(), theirs.repository());
        prop_assert_eq!(ours.tag(), theirs.tag());
        prop_assert_eq!(ours.digest().map(Digest::as_str), theirs.digest());
    }

    #[test]
    fn refuses_what_oci_spec_refuses(text in "[a-zA-Z0-9_.:@/-]{0,24}") {
        if let Ok(reference) = Reference::parse(&text) {
            let theirs = reference.canonical().parse::<oci_spec::distribution::Reference>();
            prop_assert!(theirs.is_ok(), "{} → {:?}", reference, theirs);
        }
    }

    #[test]
    fn parsing_never_panics(text in any::<String>()) {
        let _ = Reference::parse(&text);
    }
}
