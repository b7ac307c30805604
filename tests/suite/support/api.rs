//! The Engine API without a client: one request, one answer.

use super::Lab;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

fn send(lab: &Lab, method: &str, path: &str, headers: &str, body: &str) -> UnixStream {
    let mut stream = UnixStream::connect(lab.socket()).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} /v1.47{path} HTTP/1.1\r\nHost: rdock\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    stream
}

/// Status and JSON body (null when there is none).
#[must_use]
pub fn request(lab: &Lab, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = send(lab, method, path, "Connection: close\r\n", &body);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = &body[body.find(['{', '[']).unwrap_or(body.len())..];
    let value = serde_json::Deserializer::from_str(body).into_iter().next();
    (status, value.transpose().unwrap().unwrap_or(Value::Null))
}

#[must_use]
pub fn post(lab: &Lab, path: &str, body: &Value) -> (u16, Value) {
    request(lab, "POST", path, Some(body))
}

/// Makes a container; its id.
pub fn create(lab: &Lab, name: &str, body: &Value) -> String {
    let (status, answer) = post(lab, &format!("/containers/create?name={name}"), body);
    assert_eq!(status, 201, "{answer}");
    answer["Id"].as_str().unwrap().to_owned()
}

pub fn inspect(lab: &Lab, name: &str) -> Value {
    let (status, answer) = request(lab, "GET", &format!("/containers/{name}/json"), None);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The connection itself, behind the head of the answer.
pub fn hijack(lab: &Lab, path: &str) -> UnixStream {
    let mut stream = send(lab, "POST", path, "Connection: Upgrade\r\nUpgrade: tcp\r\n", "");
    let (mut head, mut byte) = (Vec::new(), [0u8]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}
