//! The client's own steps of an explanation, and the header that ties the daemon's steps to them.

use crate::trace::{self, Actor};
use http::{Method, StatusCode};
use serde_json::{Value, json};

/// Tells that a request is sent; the `traceparent` header for what the daemon does with it.
pub(super) fn sending(method: &Method, path: &str, body: Option<&Value>) -> Option<String> {
    if !trace::enabled() || path.contains(OWN_ROUTES) {
        return None;
    }
    let mut step = trace::step(Actor::Client, "api.request")
        .why("the client does nothing itself: it asks the daemon, over HTTP on a unix socket")
        .arg("method", method.as_str())
        .arg("path", path);
    if let Some(body) = body {
        step = step.arg("body", body);
    }
    let parent = step.span().in_scope(trace::current_context).map(|(trace, span)| format!("00-{trace}-{span}-01"));
    step.ok(Value::Null, || {
        let path = readable(path);
        match body.map(shorten) {
            Some(body) => format!("──▶ {method} {path}  {body}"),
            None => format!("──▶ {method} {path}"),
        }
    });
    parent
}

/// The requests that only serve the explanation are not part of it.
const OWN_ROUTES: &str = "/rdock/v1/trace";

/// A path for people: ids cut to 12 characters, `/` and `:` of names as they are.
fn readable(path: &str) -> String {
    let short = |part: &str| match part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => part[..12].to_owned(),
        false => part.to_owned(),
    };
    let parts: Vec<String> = path.split('/').map(short).collect();
    let plain = [("%2F", "/"), ("%3A", ":"), ("%7B", "{"), ("%7D", "}"), ("%22", "\""), ("%3D", "=")];
    plain.iter().fold(parts.join("/"), |text, (escaped, letter)| text.replace(escaped, letter))
}

/// Tells what came back.
pub(super) fn answered(path: &str, status: StatusCode, body: &[u8]) {
    if !trace::enabled() || path.contains(OWN_ROUTES) || path == "/_ping" {
        return;
    }
    let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |key: &str| json.get(key).and_then(Value::as_str).map(str::to_owned);
    let step = trace::step(Actor::Client, "api.answer").arg("path", path);
    let status = status.as_u16();
    let size = body.len();
    match text("message").filter(|_| status >= 400) {
        Some(message) => step.fail(&status.to_string(), &message, || format!("◀── {status} {message}")),
        None => {
            let id = text("Id")
                .map(|id| format!(" {}", id.trim_start_matches("sha256:").chars().take(12).collect::<String>()))
                .unwrap_or_default();
            step.ok(json!({"status": status, "size": size}), || format!("◀── {status}{id}"));
        }
    }
}

/// A body for people: what the user asked for, without what is at its zero value or as it is when nothing is said.
fn shorten(body: &Value) -> Value {
    match body {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(k, v)| (k, shorten(v))).filter(|(k, v)| !is_zero(v) && !is_usual(k, v));
            Value::Object(kept.map(|(k, v)| (k.clone(), v)).collect())
        }
        other => other.clone(),
    }
}

/// What the Docker command sends when nothing is said.
fn is_usual(key: &str, value: &Value) -> bool {
    let usual = match key {
        "NetworkMode" => json!("default"),
        "RestartPolicy" => json!({"Name": "no"}),
        "AttachStdout" | "AttachStderr" => json!(true),
        _ => return false,
    };
    *value == usual
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(n) => n.as_i64() == Some(0) || n.as_i64() == Some(-1),
        Value::String(s) => s.is_empty(),
        Value::Array(items) => items.iter().all(is_zero),
        Value::Object(fields) => fields.values().all(is_zero),
        Value::Bool(true) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_body_keeps_what_was_asked_for() {
        let body = json!({"Image": "centos", "Tty": false, "Cmd": null, "Env": [], "HostConfig": {"AutoRemove": true, "Memory": 0, "ConsoleSize": [0, 0]}});
        assert_eq!(shorten(&body).to_string(), r#"{"Image":"centos","HostConfig":{"AutoRemove":true}}"#);
    }

    #[test]
    fn paths_are_short_for_people() {
        let path = format!("/v1.47/containers/{}/start", "ab".repeat(32));
        assert_eq!(readable(&path), "/v1.47/containers/abababababab/start");
        assert_eq!(
            readable("/v1.47/images/create?fromImage=docker.io%2Fcentos"),
            "/v1.47/images/create?fromImage=docker.io/centos"
        );
    }
}
