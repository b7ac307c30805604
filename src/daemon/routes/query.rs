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

/// A moment, `1136073845` or `1136073845.000000001`: nanoseconds since 1970.
pub fn moment(params: &Params, name: &str) -> Result<Option<i64>, Refusal> {
    let parse = |value: &str| {
        let (seconds, fraction) = value.split_once('.').unwrap_or((value, ""));
        let wrong = |part: &str| Refusal::bad(format!("strconv.ParseInt: parsing {part:?}: invalid syntax"));
        let digits = fraction.bytes().all(|b| b.is_ascii_digit()) && fraction.len() <= 9;
        let nanos = format!("{fraction:0<9}").parse::<i64>().ok().filter(|_| digits).ok_or_else(|| wrong(fraction))?;
        let seconds = seconds.parse::<i64>().map_err(|_| wrong(seconds))?;
        Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    };
    text(params, name).map(parse).transpose()
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
    fn moments_have_seconds_and_nanoseconds() {
        let read = |value: &str| moment(&params(&[("since", value)]), "since");
        assert_eq!(read("1136073845.000000001"), Ok(Some(1_136_073_845_000_000_001)));
        assert_eq!((read("5"), read("5.5"), read("")), (Ok(Some(5_000_000_000)), Ok(Some(5_500_000_000)), Ok(None)));
        assert_eq!(read("soon").unwrap_err().message, "strconv.ParseInt: parsing \"soon\": invalid syntax");
        assert!(read("1.+2").is_err() && read("1.0000000001").is_err());
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
