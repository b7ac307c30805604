//! Functions of templates: Go's own, and those that Docker adds (`json`, `split`, `join`, `title`, `lower`, `upper`,
//! `pad`, `truncate`).

mod printf;

use super::value::{Value, json_line};
use serde_json::Value as Json;
use std::cmp::Ordering;

/// What the text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Values.
    Rows,
    /// The line above a table: functions that would change a heading leave it as it is.
    Heading,
}

const KNOWN: &[&str] = &[
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "html", "js", "urlquery", "eq", "ne",
    "lt", "le", "gt", "ge", "json", "split", "join", "title", "lower", "upper", "pad", "truncate",
];

/// Whether there is such a function.
pub fn known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Calls a function. The error has Go's words.
pub fn call(name: &str, args: &[Value], mode: Mode) -> Result<Value, String> {
    count(name, args.len())?;
    let failed = |said: String| format!("error calling {name}: {said}");
    match name {
        "and" | "or" => Ok(args.last().cloned().unwrap_or(Value::Nothing)),
        "not" => Ok(Value::bool(!args[0].is_true())),
        "len" => length(&args[0]).map_err(failed),
        "index" => args[1..].iter().try_fold(args[0].clone(), |at, key| index(&at, key)).map_err(failed),
        "slice" => slice(&args[0], &args[1..]).map_err(failed),
        "print" | "println" => Ok(Value::text(printed(args, name == "println"))),
        "printf" => match args[0].as_str() {
            Some(format) => Ok(Value::text(printf::printf(format, &args[1..]))),
            None => Err(format!("wrong type for value; expected string; got {}", args[0].kind(false))),
        },
        "html" => Ok(Value::text(escaped(&printed(args, false)))),
        "urlquery" => Ok(Value::text(url_query(&printed(args, false)))),
        "js" => Ok(Value::text(json_line(&Value::text(printed(args, false))).trim_matches('"').replace('\'', "\\'"))),
        "eq" => {
            let mut same = false;
            for other in &args[1..] {
                same |= equal(&args[0], other).map_err(failed)?;
            }
            Ok(Value::bool(same))
        }
        "ne" => equal(&args[0], &args[1]).map(|same| Value::bool(!same)).map_err(failed),
        "lt" | "le" | "gt" | "ge" => {
            let order = order(&args[0], &args[1]).map_err(failed)?;
            Ok(Value::bool(match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            }))
        }
        _ => dockers(name, args, mode),
    }
}

/// Complains when there are too few or too many arguments.
fn count(name: &str, given: usize) -> Result<(), String> {
    let (min, max) = match name {
        "not" | "len" | "json" | "title" | "lower" | "upper" => (1, 1),
        "ne" | "lt" | "le" | "gt" | "ge" | "split" | "join" | "truncate" => (2, 2),
        "pad" => (3, 3),
        "and" | "or" | "index" | "slice" | "printf" | "eq" => (1, usize::MAX),
        _ => (0, usize::MAX),
    };
    match given {
        n if n < min && max == usize::MAX => {
            Err(format!("wrong number of args for {name}: want at least {min} got {n}"))
        }
        n if n < min || n > max => Err(format!("wrong number of args for {name}: want {min} got {n}")),
        _ => Ok(()),
    }
}

fn dockers(name: &str, args: &[Value], mode: Mode) -> Result<Value, String> {
    let subject = &args[0];
    if mode == Mode::Heading {
        return match name {
            "title" | "lower" | "upper" => text_of(subject).map(|t| Value::text(cased(name, t))),
            _ => Ok(subject.clone()),
        };
    }
    match name {
        "json" => Ok(Value::text(json_line(subject))),
        "join" => match subject {
            Value::Json(Json::Array(items)) => {
                let items: Vec<String> = items.iter().map(|v| Value::Json(v.clone()).print()).collect();
                Ok(Value::text(items.join(text_of(&args[1])?)))
            }
            Value::Json(Json::Null) | Value::Nothing => Ok(Value::text("")),
            other => Err(format!("wrong type for value; expected []string; got {}", other.kind(false))),
        },
        "split" => {
            let (text, separator) = (text_of(subject)?, text_of(&args[1])?);
            let parts: Vec<Json> = match separator {
                "" => text.chars().map(|c| Json::from(c.to_string())).collect(),
                separator => text.split(separator).map(Json::from).collect(),
            };
            Ok(Value::Json(Json::Array(parts)))
        }
        "pad" => {
            let text = text_of(subject)?;
            let spaces = |v: &Value| {
                v.as_int().and_then(|n| usize::try_from(n).ok()).map_or(String::new(), |n| " ".repeat(n.min(4096)))
            };
            match text {
                "" => Ok(Value::text("")),
                text => Ok(Value::text(format!("{}{text}{}", spaces(&args[1]), spaces(&args[2])))),
            }
        }
        "truncate" => {
            let length = args[1].as_int().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            Ok(Value::text(text_of(subject)?.chars().take(length).collect::<String>()))
        }
        _ => text_of(subject).map(|text| Value::text(cased(name, text))),
    }
}

fn cased(name: &str, text: &str) -> String {
    match name {
        "lower" => text.to_lowercase(),
        "upper" => text.to_uppercase(),
        _ => {
            let mut starts = true;
            let title = |c: char| {
                let upper = std::mem::replace(&mut starts, !(c.is_alphanumeric() || c == '_' || c == '\''));
                if upper { c.to_uppercase().next().unwrap_or(c) } else { c }
            };
            text.chars().map(title).collect()
        }
    }
}

fn text_of(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("wrong type for value; expected string; got {}", value.kind(false)))
}

fn length(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::Json(Json::String(text)) => text.len(),
        Value::Json(Json::Array(items)) => items.len(),
        Value::Json(Json::Object(fields)) => fields.len(),
        Value::Json(Json::Null) => 0,
        other => return Err(format!("len of type {}", other.kind(false))),
    };
    Ok(Value::int(length as i64))
}

fn index(value: &Value, key: &Value) -> Result<Value, String> {
    match (value, key) {
        (Value::Json(Json::Object(fields)), Value::Json(Json::String(key))) => {
            // A key that is not there has the zero value; most maps of the API are of strings.
            Ok(Value::Json(fields.get(key).cloned().unwrap_or(Json::String(String::new()))))
        }
        (Value::Json(Json::Array(items)), _) => {
            let n = key.as_int().ok_or_else(|| format!("cannot index slice/array with type {}", key.kind(false)))?;
            let item = usize::try_from(n).ok().and_then(|n| items.get(n));
            item.cloned().map(Value::Json).ok_or_else(|| format!("index out of range: {n}"))
        }
        (Value::Json(Json::String(text)), _) => {
            let n = key.as_int().and_then(|n| usize::try_from(n).ok());
            let byte = n.and_then(|n| text.as_bytes().get(n));
            byte.map(|b| Value::int(i64::from(*b))).ok_or_else(|| format!("index out of range: {}", key.print()))
        }
        (Value::Nothing | Value::Json(Json::Null), _) => Err("index of untyped nil".into()),
        (Value::Json(Json::Object(_)), key) => Err(format!("value has type {}; should be string", key.kind(false))),
        (other, _) => Err(format!("can't index item of type {}", other.kind(false).trim_start_matches('*'))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    let length = length(value).map_err(|_| format!("can't slice item of type {}", value.kind(false)))?;
    let length = length.as_int().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let bound = |at: usize, otherwise: usize| match bounds.get(at) {
        None => Ok(otherwise),
        Some(bound) => {
            let n = bound.as_int().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= length);
            n.ok_or_else(|| format!("index out of range: {}", bound.print()))
        }
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match value {
        Value::Json(Json::String(text)) => {
            text.get(from..to).map(Value::text).ok_or_else(|| "not at a character".into())
        }
        Value::Json(Json::Array(items)) => Ok(Value::Json(Json::Array(items[from..to].to_vec()))),
        other => Err(format!("can't slice item of type {}", other.kind(false))),
    }
}

/// `print` puts a space between operands when neither is a string, `println` always.
fn printed(args: &[Value], line: bool) -> String {
    let mut out = String::new();
    for (i, arg) in args.iter().enumerate() {
        if i > 0 && (line || (arg.as_str().is_none() && args[i - 1].as_str().is_none())) {
            out.push(' ');
        }
        out.push_str(&arg.print());
    }
    if line {
        out.push('\n');
    }
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

fn url_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Json(Json::Number(a)), Value::Json(Json::Number(b))) => Ok(a.as_f64() == b.as_f64()),
        (Value::Json(Json::Array(_) | Json::Object(_)), _) | (_, Value::Json(Json::Array(_) | Json::Object(_))) => {
            Err("non-comparable type".into())
        }
        (Value::Json(a), Value::Json(b)) if a.is_null() || b.is_null() => Ok(a.is_null() && b.is_null()),
        (Value::Json(a), Value::Json(b)) if std::mem::discriminant(a) != std::mem::discriminant(b) => {
            Err("incompatible types for comparison".into())
        }
        (a, b) => Ok(a.to_json() == b.to_json()),
    }
}

fn order(a: &Value, b: &Value) -> Result<Ordering, String> {
    match (a, b) {
        (Value::Json(Json::String(a)), Value::Json(Json::String(b))) => Ok(a.cmp(b)),
        (Value::Json(Json::Number(a)), Value::Json(Json::Number(b))) => {
            Ok(a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal))
        }
        (Value::Json(Json::Bool(_)), Value::Json(Json::Bool(_))) => Err("invalid type for comparison".into()),
        _ => Err("incompatible types for comparison".into()),
    }
}
