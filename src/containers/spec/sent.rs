//! What a client sent, as a configuration: JSON that is none, or words that are none, in Docker's own sentences.

use super::SpecError;
use bollard_stubs::models::{ContainerCreateBody, HostConfig};
use serde_json::Value;

/// Reads the body of `POST /containers/create`.
///
/// # Errors
/// [`SpecError::Refused`]
pub fn read(body: &[u8]) -> Result<ContainerCreateBody, SpecError> {
    let value = json(body)?;
    check_policy(&value, "/HostConfig/RestartPolicy/Name")?;
    // Words of which there is a list: the types know only those that are in it.
    let word = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or("").to_owned();
    let isolation = word("/HostConfig/Isolation");
    if !matches!(isolation.as_str(), "" | "default" | "process" | "hyperv") {
        return Err(refused(format!("Invalid isolation: {isolation:?} - linux only supports 'default'")));
    }
    let groups = word("/HostConfig/CgroupnsMode");
    if !matches!(groups.as_str(), "" | "host" | "private") {
        return Err(refused(format!("invalid cgroup namespace mode: {groups}")));
    }
    for mount in value.pointer("/HostConfig/Mounts").and_then(Value::as_array).into_iter().flatten() {
        let kind = mount.get("Type").and_then(Value::as_str).unwrap_or("");
        if !matches!(kind, "bind" | "volume" | "tmpfs" | "image" | "npipe" | "cluster") {
            return Err(refused(format!("invalid mount config for type {kind:?}: mount type unknown")));
        }
    }
    serde_json::from_value(value).map_err(|e| refused(format!("invalid JSON: {e}")))
}

/// Reads the body of `POST /containers/{id}/update`: limits and a restart policy, named as in a container's
/// configuration.
///
/// # Errors
/// [`SpecError::Refused`]
pub fn read_update(body: &[u8]) -> Result<HostConfig, SpecError> {
    let value = json(body)?;
    check_policy(&value, "/RestartPolicy/Name")?;
    serde_json::from_value(value).map_err(|e| refused(format!("invalid JSON: {e}")))
}

fn refused(words: String) -> SpecError {
    SpecError::Refused(words)
}

fn json(body: &[u8]) -> Result<Value, SpecError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(refused("invalid JSON: EOF".into()));
    }
    serde_json::from_slice(body).map_err(|e| refused(format!("invalid JSON: {e}")))
}

fn check_policy(value: &Value, path: &str) -> Result<(), SpecError> {
    match value.pointer(path).and_then(Value::as_str).unwrap_or("") {
        "" | "no" | "always" | "on-failure" | "unless-stopped" => Ok(()),
        policy => Err(refused(format!(
            "invalid restart policy: unknown policy '{policy}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_none_are_told_in_dockers_words() {
        let said = |json: &str| read(json.as_bytes()).map(drop).map_err(|e| e.to_string());
        assert_eq!(said(r#"{"Image":"x","HostConfig":{"RestartPolicy":{"Name":"always"}}}"#), Ok(()));
        assert_eq!(said(""), Err("invalid JSON: EOF".into()));
        assert_eq!(
            said(r#"{"HostConfig":{"RestartPolicy":{"Name":"bogus"}}}"#),
            Err("invalid restart policy: unknown policy 'bogus'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'".into())
        );
        assert_eq!(
            said(r#"{"HostConfig":{"Mounts":[{"Type":"foo"}]}}"#),
            Err("invalid mount config for type \"foo\": mount type unknown".into())
        );
        for broken in ["{", "[]", r#"{"Cmd": 5}"#, r#"{"HostConfig": []}"#] {
            assert!(said(broken).unwrap_err().starts_with("invalid JSON: "), "{broken}");
        }
    }
}
