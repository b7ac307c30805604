//! Plans of small recipes on made-up hosts.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

const HEAD: &str = r#"
    name = "demo"
    tags = ["latest"]
    description = "a demo"
    created = "2026-11-01T00:00:00Z"
"#;

/// A host with two scripts, one of which has two names.
fn host() -> (tempfile::TempDir, Host) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["sh", "tool"] {
        let path = dir.path().join(name);
        fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    symlink("tool", dir.path().join("alias")).unwrap();
    let host = Host::with_program_dirs(vec![dir.path().to_owned()]);
    (dir, host)
}

fn plan_of(layers: &str, host: &Host) -> Result<Plan, LabError> {
    let recipe = Recipe::parse("demo", &format!("{HEAD}{layers}")).unwrap();
    plan(&recipe, &|name| (name == "beside").then_some(b"text".as_slice()), host)
}

#[test]
fn programs_and_files_go_through_the_links_of_the_image() {
    let (_dir, host) = host();
    let layers = r#"
        [[layers]]
        comment = "base"
        symlinks = [{ path = "/bin", target = "usr/bin" }]
        files = [{ path = "/bin/motd", from = "beside" }]
        [[layers]]
        comment = "programs"
        host_programs = [{ names = ["sh"], into = "/bin" }]
    "#;
    let plan = plan_of(layers, &host).unwrap();
    let paths: Vec<Vec<&str>> = plan.layers.iter().map(|l| l.entries.keys().map(String::as_str).collect()).collect();
    assert_eq!(paths, [vec!["bin", "usr", "usr/bin", "usr/bin/motd"], vec!["usr", "usr/bin", "usr/bin/sh"]]);
    assert_eq!(plan.inputs.programs.len(), 1);
}

#[test]
fn a_directory_keeps_its_mode_in_every_layer_that_names_it() {
    let layers = r#"
        [[layers]]
        comment = "base"
        dirs = [{ path = "/root", mode = 0o700 }]
        [[layers]]
        comment = "settings"
        files = [{ path = "/root/.profile", text = "" }]
    "#;
    let plan = plan_of(layers, &host().1).unwrap();
    for layer in &plan.layers {
        assert_eq!(layer.entries["root"], Entry::Dir { mode: 0o700 });
    }
}

#[test]
fn a_program_with_two_names_is_stored_once() {
    let (_dir, host) = host();
    let plan = plan_of(
        "[[layers]]\ncomment = \"x\"\nhost_programs = [{ names = [\"sh\", \"tool\", \"alias\"], into = \"/bin\" }]",
        &host,
    )
    .unwrap();
    let entries = &plan.layers[0].entries;
    assert!(matches!(entries["bin/alias"], Entry::File { .. }));
    assert_eq!(entries["bin/tool"], Entry::HardLink { to: "bin/alias".into(), mode: 0o755 });
}

#[test]
fn a_script_without_its_interpreter_is_left_out_or_an_error() {
    let (_dir, host) = host();
    let group = |more: &str| format!("[[layers]]\ncomment = \"x\"\nhost_programs = [{{ names = [\"tool\"]{more} }}]");
    let plan = plan_of(&group(", optional = true"), &host).unwrap();
    assert!(!plan.layers[0].entries.contains_key("usr/bin/tool"));
    assert_eq!(plan.left_out[0].name, "tool");
    let error = plan_of(&group(""), &host).unwrap_err().to_string();
    assert_eq!(error, "lab image demo: the script /usr/bin/tool needs /bin/sh, which is not in the image");
}

#[test]
fn a_group_is_taken_only_when_the_other_program_is_missing() {
    let (_dir, host) = host();
    let layers = |first: &str| {
        format!(
            r#"
            [[layers]]
            comment = "x"
            host_programs = [
                {{ names = ["{first}"], optional = true }},
                {{ names = ["sh"], unless = "{first}", into = "/bin" }},
            ]"#
        )
    };
    assert!(plan_of(&layers("busybox"), &host).unwrap().layers[0].entries.contains_key("bin/sh"));
    assert!(!plan_of(&layers("tool"), &host).unwrap().layers[0].entries.contains_key("bin/sh"));
}

#[test]
fn the_same_path_twice_is_an_error() {
    let layers = r#"
        [[layers]]
        comment = "x"
        files = [{ path = "/a", text = "1" }, { path = "/a", text = "2" }]
    "#;
    assert_eq!(plan_of(layers, &host().1).unwrap_err().to_string(), "recipe demo: /a is in it twice");
}

#[test]
fn a_file_that_is_not_beside_the_recipe_is_an_error() {
    let layers = "[[layers]]\ncomment = \"x\"\nfiles = [{ path = \"/a\", from = \"nosuch\" }]";
    assert_eq!(plan_of(layers, &host().1).unwrap_err().to_string(), "recipe demo: there is no file nosuch beside it");
}
