//! `rdock inspect`: everything that is known of containers and images, as JSON.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::format::{self, WHOLE_HELP};
use super::template::{Template, Value as Data};
use super::verb::{Verb, print, tell};
use crate::client::{Client, ClientError};
use serde::Serialize as _;
use serde_json::Value;

/// Inspects containers and images.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    #[arg(short = 'f', long, value_name = "string", help = WHOLE_HELP)]
    format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short = 's', long)]
    size: bool,
    /// Only inspect objects of the given type
    #[arg(long = "type", value_name = "string")]
    kind: Option<String>,
    #[arg(required = true)]
    names: Vec<String>,
}

impl Verb for Inspect {
    const NAME: &'static str = "inspect";
    const ABOUT: &'static str = "Return low-level information on Docker objects";
    const USAGE: &'static str = "[OPTIONS] NAME|ID [NAME|ID...]";
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let kinds: &[&str] = match self.kind.as_deref() {
            None => &["container", "image", "networks", "volumes"],
            Some("container") => &["container"],
            Some("image") => &["image"],
            Some("network") => &["networks"],
            Some("volume") => &["volumes"],
            Some(other) => return Err(Failure::new(format!("unknown type: {other:?}"))),
        };
        check(self.format.as_deref())?;
        cx.block_on(async {
            let client = cx.client().await?;
            let (mut found, mut missing) = (Vec::new(), Vec::new());
            for name in &self.names {
                match self.look(&client, kinds, name).await? {
                    Some(value) => found.push(value),
                    None => missing.push(name.as_str()),
                }
            }
            let shown = show(&found, self.format.as_deref());
            let what = self.kind.as_deref().unwrap_or("object");
            let missing: Vec<String> = missing.iter().map(|name| format!("Error: No such {what}: {name}")).collect();
            told(shown, &missing)
        })
    }
}

impl Inspect {
    /// The first kind of thing that has this name.
    async fn look(&self, client: &Client, kinds: &[&str], name: &str) -> Result<Option<Value>, ClientError> {
        for kind in kinds {
            let looked = match *kind {
                "container" => client.container_inspect(name, self.size).await,
                "image" => client.image_inspect(name).await,
                other => client.inspect_other(other, name).await,
            };
            match looked {
                Ok(value) => return Ok(Some(value)),
                Err(e) if e.is_not_found() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }
}

/// Refuses a template that cannot be understood before anything is asked for, with a status of its own.
pub(super) fn check(format: Option<&str>) -> Result<(), Failure> {
    let wrong = |e| Failure::new(format!("template parsing error: {e}")).status(BAD_TEMPLATE);
    Template::parse("", format.unwrap_or_default()).map(drop).map_err(wrong)
}

/// Docker's status for a template with bad syntax.
const BAD_TEMPLATE: u8 = 64;

/// What is known of several things: JSON, or each through the template.
pub(super) fn show(found: &[Value], format: Option<&str>) -> Result<String, Failure> {
    match format.unwrap_or_default() {
        "" => indented(&Value::Array(found.to_vec())),
        "json" => Ok(format!("{}\n", Value::Array(found.to_vec()))),
        template => {
            let mut text = String::new();
            for value in found {
                let one = format::whole("", template, &Data::Json(value.clone()));
                text.push_str(&one.map_err(|e| Failure::new(format!("template parsing error: {e}")))?);
            }
            Ok(text)
        }
    }
}

/// Prints what was found, then what was not.
pub(super) fn told(shown: Result<String, Failure>, missing: &[String]) -> Result<u8, Failure> {
    match shown {
        Ok(text) => print(&text)?,
        Err(failure) => {
            print("\n")?;
            return Err(failure);
        }
    }
    missing.iter().for_each(tell);
    Ok(u8::from(!missing.is_empty()))
}

/// JSON with four spaces a level, as Docker prints it.
fn indented(value: &Value) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, format)).map_err(Failure::new)?;
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(Failure::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_laid_out_as_docker_lays_it_out() {
        assert_eq!(indented(&json!([])).unwrap(), "[]\n");
        assert_eq!(
            indented(&json!([{"Id": "x", "Cmd": ["a"], "Labels": {}}])).unwrap(),
            "[\n    {\n        \"Id\": \"x\",\n        \"Cmd\": [\n            \"a\"\n        ],\n        \"Labels\": {}\n    }\n]\n"
        );
    }
}
