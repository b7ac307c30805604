//! `--filter key=value`, as every command that has it reads it.
//!
//! ```ignore
//! #[arg(short = 'f', long, value_name = "filter", help = "Filter output based on conditions provided")]
//! filter: Vec<Condition>,
//! …
//! client.image_list(self.all, filter::json(&self.filter).as_deref())
//! ```

use std::collections::BTreeMap;
use std::str::FromStr;

/// One condition. The empty text is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition(Option<(String, String)>);

/// The text is no condition; Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad format of filter (expected name=value)")]
pub struct ConditionError;

impl Condition {
    pub fn new(key: &str, value: &str) -> Condition {
        Condition(Some((key.to_owned(), value.to_owned())))
    }

    /// The condition's name: `until` of `until=24h`.
    pub fn key(&self) -> Option<&str> {
        self.0.as_ref().map(|(key, _)| key.as_str())
    }

    /// As it was meant: `until=24h`.
    pub fn text(&self) -> Option<String> {
        self.0.as_ref().map(|(key, value)| format!("{key}={value}"))
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    /// The name is in small letters, white space around both is left out.
    fn from_str(text: &str) -> Result<Condition, ConditionError> {
        if text.is_empty() {
            return Ok(Condition(None));
        }
        let (key, value) = text.split_once('=').ok_or(ConditionError)?;
        Ok(Condition(Some((key.trim().to_ascii_lowercase(), value.trim().to_owned()))))
    }
}

/// The API's parameter `filters`: `{"status":{"exited":true}}`; none without conditions.
pub fn json(conditions: &[Condition]) -> Option<String> {
    let mut by_key: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    for (key, value) in conditions.iter().filter_map(|c| c.0.as_ref()) {
        by_key.entry(key).or_default().insert(value, true);
    }
    if by_key.is_empty() { None } else { serde_json::to_string(&by_key).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_become_the_apis_json() {
        let text = |list: &[&str]| json(&list.iter().map(|s| s.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(text(&[]), None);
        assert_eq!(text(&[""]), None);
        let both = text(&["status=exited", " Status = created", "label=a=b"]);
        assert_eq!(both.as_deref(), Some(r#"{"label":{"a=b":true},"status":{"created":true,"exited":true}}"#));
    }

    #[test]
    fn what_has_no_name_and_value_is_refused() {
        assert_eq!("nonsense".parse::<Condition>(), Err(ConditionError));
        assert_eq!("=x".parse::<Condition>(), Ok(Condition::new("", "x")), "the daemon refuses it");
    }
}
