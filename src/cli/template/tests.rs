//! Expected texts were printed by Docker's client 28.2 (or are the examples of pkg.go.dev/text/template).

use super::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::rc::Rc;

fn row() -> Value {
    let labels = BTreeMap::from([("com.x_y-z".to_owned(), "yes".to_owned())]);
    let fields =
        json!({"Tag": "latest", "ID": "a7c6a63166c7", "Repository": "lab/bb", "Digest": "<none>", "Size": "1.98MB"});
    Value::Record(Rc::new(Record::row("*formatter.imageContext", fields).labels(&labels)))
}

fn image() -> Value {
    Value::Json(json!({
        "Id": "sha256:a7c6", "RepoTags": ["bb:latest", "bb:5.7"], "Size": 1_982_354, "Big": 1.5,
        "Config": {"Labels": {"b": "2", "a": "1"}, "Cmd": null, "Env": []}, "On": true,
        "Mounts": [{"Source": "/a"}, {"Source": "/b"}]
    }))
}

fn says(text: &str, dot: &Value) -> String {
    let done = Template::parse("", text).and_then(|t| t.execute(dot, Mode::Rows));
    done.unwrap_or_else(|e| e.to_string())
}

#[test]
fn rows_are_printed_as_docker_prints_them() {
    for (text, printed) in [
        ("{{.ID}}: {{.Repository | upper}}", "a7c6a63166c7: LAB/BB"),
        ("{{len .ID}}", "12"),
        ("{{pad .ID 1 1}}|", " a7c6a63166c7 |"),
        (r#"{{.ID | printf "%-20s|"}}"#, "a7c6a63166c7        |"),
        (r#"{{range split .Repository "/"}}{{println .}}{{end}}"#, "lab\nbb\n"),
        ("{{title .Tag}} {{truncate .ID 3}}", "Latest a7c"),
        (r#"{{.Label "com.x_y-z"}}"#, "yes"),
        (r#"{{join (split "a,b" ",") "-"}}"#, "a-b"),
        ("{{json .Digest}}", "\"<none>\""),
        (
            "{{json .}}",
            r#"{"Digest":"\u003cnone\u003e","ID":"a7c6a63166c7","Repository":"lab/bb","Size":"1.98MB","Tag":"latest"}"#,
        ),
        ("{{/* a comment */}}a {{- .Tag -}} b", "alatestb"),
        ("{{with $x := .Tag}}{{$x}}{{$.ID}}{{end}}", "latesta7c6a63166c7"),
        (r#"{{if eq .Tag "5.7"}}old{{else if eq .Tag "latest"}}new{{else}}none{{end}}"#, "new"),
    ] {
        assert_eq!(says(text, &row()), printed, "{text}");
    }
}

#[test]
fn answers_of_the_api_are_printed_as_docker_prints_them() {
    for (text, printed) in [
        ("{{.RepoTags}} {{index .RepoTags 0}}", "[bb:latest bb:5.7] bb:latest"),
        ("{{.ID}} {{.Size}}", "sha256:a7c6 1982354"),
        ("{{.Config.Labels}}", "map[a:1 b:2]"),
        ("{{json .Config.Labels}}", r#"{"b":"2","a":"1"}"#),
        (r#"{{index .Config.Labels "x"}}|"#, "|"),
        ("{{.Config.Cmd}}{{len .Config.Cmd}}{{json .Config.Cmd}}", "[]0null"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;"),
        ("{{range .Mounts}}{{.Source}} {{end}}", "/a /b "),
        ("{{range .Config.Env}}x{{else}}none{{end}}", "none"),
        ("{{range $i, $t := .RepoTags}}{{if $i}}{{break}}{{end}}{{$t}}{{end}}", "bb:latest"),
        ("{{(index .Mounts 1).Source}}", "/b"),
        ("{{if and .On (gt .Size 100)}}big{{end}}", "big"),
        (r#"{{printf "%05d %.2f %t %q %v" 42 .Big .On "x" .RepoTags}}"#, "00042 1.50 true \"x\" [bb:latest bb:5.7]"),
        ("{{slice .Id 7 9}}", "a7"),
        (r#"{{not .On}} {{or "" "x"}} {{print 1 2 "a" 3}}"#, "false x 1 2a3"),
    ] {
        assert_eq!(says(text, &image()), printed, "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_in_gos_words() {
    for (text, said) in [
        (
            "{{.Foo}}",
            r#"template: :1:2: executing "" at <.Foo>: can't evaluate field Foo in type *formatter.imageContext"#,
        ),
        (
            "table {{.Foo}}",
            r#"template: :1:8: executing "" at <.Foo>: can't evaluate field Foo in type *formatter.imageContext"#,
        ),
        ("{{.ID", "template: :1: unclosed action"),
        (
            "{{.Repository.Foo}}",
            r#"template: :1:13: executing "" at <.Repository.Foo>: can't evaluate field Foo in type string"#,
        ),
        ("a\n{{foo .ID}}", r#"template: :2: function "foo" not defined"#),
        (
            "{{index . 1}}",
            r#"template: :1:2: executing "" at <index . 1>: error calling index: can't index item of type formatter.imageContext"#,
        ),
        ("{{.Label}}", r#"template: :1:2: executing "" at <.Label>: wrong number of args for Label: want 1 got 0"#),
        ("{{.ID 1}}", r#"template: :1:2: executing "" at <.ID>: wrong number of args for ID: want 0 got 1"#),
        ("{{upper}}", r#"template: :1:2: executing "" at <upper>: wrong number of args for upper: want 1 got 0"#),
        ("{{if .ID}}", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{$x}}", "template: :1: undefined variable \"$x\""),
        ("{{\"a}}", "template: :1: unterminated quoted string"),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
    ] {
        assert_eq!(says(text, &row()), said, "{text}");
    }
    let missing = r#"template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo""#;
    assert_eq!(says("{{.Foo}}", &image()), missing);
    let nested = r#"template: :1:14: executing "" at <.Config.Foo>: map has no entry for key "Foo""#;
    assert_eq!(says("{{json .Config.Foo}}", &image()), nested);
    let typed = r#"template: :1:5: executing "" at <.Id.Foo>: can't evaluate field Foo in type interface {}"#;
    assert_eq!(says("{{.Id.Foo}}", &image()), typed);
}

proptest::proptest! {
    /// Whatever is typed: an answer or an error, never a crash.
    #[test]
    fn any_text_is_answered(text in r#"(\{\{|\}\}|- | -|\.ID|\.|range|if|end|else|with|\||\(|\)|\$x|:=|"a"|1|printf|index| |é|\n){0,24}"#) {
        says(&text, &image());
        says(&text, &row());
    }
}
