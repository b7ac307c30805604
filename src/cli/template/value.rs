//! What a template sees.

use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

/// Data of a template.
#[derive(Debug, Clone)]
pub enum Value {
    /// Go's "no value": a key that a map does not have.
    Nothing,
    Json(Json),
    Record(Rc<Record>),
}

/// A row of a list, or an answer as a whole: fields of a Go type. A field that the type does not have is an error.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The name of Docker's type, for errors: `*formatter.imageContext`. None: a map, which has no wrong keys.
    pub kind: Option<&'static str>,
    pub fields: Map<String, Json>,
    /// What `.Label "name"` looks up; none: there is no such method.
    pub labels: Option<BTreeMap<String, String>>,
    pub role: Role,
}

/// What a record stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// A line of a list. Docker makes its JSON from a sorted map, with `<`, `>` and `&` escaped.
    Row,
    /// The heading of a list: `.Label` makes its words from the label's name.
    Heading,
    /// An answer as it is.
    #[default]
    Whole,
}

impl Record {
    /// A line of a list; `fields` is what `json!({…})` made.
    pub fn row(kind: &'static str, fields: Json) -> Record {
        let mut record = Record { role: Role::Row, ..Record::whole(kind, fields) };
        record.fields.sort_keys();
        record
    }

    /// An answer as a whole.
    pub fn whole(kind: &'static str, fields: Json) -> Record {
        let fields = match fields {
            Json::Object(fields) => fields,
            _ => Map::new(),
        };
        Record { kind: Some(kind), fields, ..Record::default() }
    }

    /// What stands above a table.
    pub fn heading(fields: Map<String, Json>) -> Record {
        Record { fields, labels: Some(BTreeMap::new()), role: Role::Heading, kind: None }
    }

    /// Gives the record the method `.Label`.
    #[must_use]
    pub fn labels(self, labels: &BTreeMap<String, String>) -> Record {
        Record { labels: Some(labels.clone()), ..self }
    }

    /// `.Label "com.example.some-name"`; its heading is `some name`.
    pub fn label(&self, name: &str) -> String {
        match self.role == Role::Heading {
            true => name.rsplit('.').next().unwrap_or(name).replace(['-', '_'], " "),
            false => self.labels.as_ref().and_then(|l| l.get(name)).cloned().unwrap_or_default(),
        }
    }
}

impl Value {
    pub fn text(text: impl Into<String>) -> Value {
        Value::Json(Json::String(text.into()))
    }

    pub fn int(n: i64) -> Value {
        Value::Json(Json::from(n))
    }

    pub fn bool(b: bool) -> Value {
        Value::Json(Json::Bool(b))
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Json(Json::String(text)) => Some(text),
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Json(json) => json.as_i64(),
            _ => None,
        }
    }

    /// What `if` takes for true: all but zero values and what is empty.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nothing => false,
            Value::Record(_) => true,
            Value::Json(json) => match json {
                Json::Null => false,
                Json::Bool(b) => *b,
                Json::Number(n) => n.as_f64() != Some(0.0),
                Json::String(s) => !s.is_empty(),
                Json::Array(a) => !a.is_empty(),
                Json::Object(o) => !o.is_empty(),
            },
        }
    }

    /// The Go type, as errors name it. `loose`: the data have no types of their own (an answer of the API as it came).
    pub fn kind(&self, loose: bool) -> &'static str {
        match self {
            Value::Nothing | Value::Json(Json::Null) => "nil",
            Value::Record(record) => record.kind.unwrap_or("map[string]string"),
            _ if loose => "interface {}",
            Value::Json(json) => match json {
                Json::Bool(_) => "bool",
                Json::Number(n) if n.is_f64() => "float64",
                Json::Number(_) => "int64",
                Json::String(_) => "string",
                Json::Array(_) => "[]interface {}",
                Json::Object(_) | Json::Null => "map[string]interface {}",
            },
        }
    }

    /// As `{{json .}}` shows it.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Nothing => Json::Null,
            Value::Json(json) => json.clone(),
            Value::Record(record) => Json::Object(record.fields.clone()),
        }
    }

    /// As `{{.}}` prints it (`%v`).
    pub fn print(&self) -> String {
        match self {
            Value::Nothing => "<no value>".into(),
            Value::Json(json) => printed(json),
            Value::Record(record) => {
                let fields: Vec<String> = record.fields.values().map(printed).collect();
                format!("{{{}}}", fields.join(" "))
            }
        }
    }
}

/// What is null in the API's answers is nearly always a list without elements.
fn printed(json: &Json) -> String {
    match json {
        Json::Null => "[]".into(),
        Json::String(text) => text.clone(),
        Json::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(" ")),
        Json::Object(fields) => {
            let sorted: BTreeMap<&String, &Json> = fields.iter().collect();
            let pairs: Vec<String> = sorted.iter().map(|(k, v)| format!("{k}:{}", printed(v))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

/// JSON in one line, as the function `json` gives it.
pub fn json_line(value: &Value) -> String {
    let text = value.to_json().to_string();
    if !matches!(value, Value::Record(record) if record.role == Role::Row) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}
