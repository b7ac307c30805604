//! Queries as the API writes them.

use crate::daemon::answer::Refusal;
use std::collections::HashMap;

/// The parameters of a query, as axum takes them apart.
pub type Params = HashMap<String, String>;

/// A flag: what is not empty, `0`, `no`, `false` or `none` is true (as Docker reads them).
pub fn flag(params: &Params, name: &str) -> bool {
    let value = params.get(name).map(|v| v.trim().to_ascii_lowercase()).unwrap_or_default();
    !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
}

/// A text; none when it is absent or empty.
pub fn text<'p>(params: &'p Params, name: &str) -> Option<&'p str> {
    params.get(name).map(String::as_str).filter(|v| !v.is_empty())
}

/// A number.
pub fn number<T: std::str::FromStr>(params: &Params, name: &str) -> Result<Option<T>, Refusal> {
    let parsed = text(params, name)
        .map(|v| v.parse().map_err(|_| Refusal::bad(format!("strconv.Atoi: parsing {v:?}: invalid syntax"))));
    parsed.transpose()
}

/// `filters`: `{"status":{"exited":true}}`, or the older `{"status":["exited"]}`.
pub fn filters(params: &Params) -> Result<HashMap<String, Vec<String>>, Refusal> {
    let Some(json) = text(params, "filters") else { return Ok(HashMap::new()) };
    let wrong = || Refusal::bad("invalid filter");
    let value: serde_json::Value = serde_json::from_str(json).map_err(|_| wrong())?;
    let mut filters = HashMap::new();
    for (key, values) in value.as_object().ok_or_else(wrong)? {
        let values = match values {
            serde_json::Value::Object(set) => {
                set.iter().filter(|(_, on)| **on != serde_json::Value::Bool(false)).map(|(v, _)| v.clone()).collect()
            }
            serde_json::Value::Array(list) => list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
            _ => return Err(wrong()),
        };
        filters.insert(key.clone(), values);
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn flags_are_read_as_docker_reads_them() {
        for (value, on) in [("1", true), ("true", true), ("True", true), ("0", false), ("false", false), ("", false)] {
            assert_eq!(flag(&params(&[("all", value)]), "all"), on, "{value}");
        }
        assert!(!flag(&params(&[]), "all"));
    }

    #[test]
    fn filters_are_read_in_both_forms() {
        for json in [r#"{"status":{"exited":true,"dead":false}}"#, r#"{"status":["exited"]}"#] {
            let filters = filters(&params(&[("filters", json)])).unwrap();
            assert_eq!(filters["status"], ["exited"]);
        }
        assert!(filters(&params(&[("filters", "nonsense")])).is_err());
        assert!(filters(&params(&[])).unwrap().is_empty());
    }
}
