//! `rdock events`: what happens in the engine, while it happens.

use super::Context;
use super::args::Arity;
use super::error::Failure;
use super::filter::{self, Condition};
use super::format::{self, WHOLE_HELP};
use super::template::Value as Data;
use super::verb::{Verb, print};
use crate::client::moment;
use serde_json::Value;

/// Listens to events.
#[derive(Debug, clap::Args)]
pub struct Events {
    /// Filter output based on conditions provided
    #[arg(short = 'f', long, value_name = "filter")]
    filter: Vec<Condition>,
    #[arg(long, value_name = "string", help = WHOLE_HELP)]
    format: Option<String>,
    /// Show all events created since timestamp
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "string")]
    until: Option<String>,
}

impl Verb for Events {
    const NAME: &'static str = "events";
    const ALIASES: &'static [&'static str] = &["system events", "events"];
    const ABOUT: &'static str = "Get real time events from the server";
    const USAGE: &'static str = "[OPTIONS]";
    const ARITY: Arity = Arity::None;

    fn run(self, cx: &Context) -> Result<u8, Failure> {
        let filters = filter::json(&self.filter);
        let moment = |text: &Option<String>| match text.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => moment::parse(text).map(Some).map_err(Failure::new),
        };
        let (since, until) = (moment(&self.since)?, moment(&self.until)?);
        cx.block_on(async {
            let client = cx.client().await?;
            let mut events = client.events(since.as_deref(), until.as_deref(), filters.as_deref()).await?;
            while let Some(event) = events.next().await? {
                print(&self.draw(&event)?)?;
            }
            Ok(0)
        })
    }
}

impl Events {
    fn draw(&self, event: &Value) -> Result<String, Failure> {
        match self.format.as_deref() {
            None | Some("") => Ok(line(event)),
            Some(template) => format::whole("", template, &Data::Json(fields(template, event)))
                .map_err(|e| Failure::new(format!("template parsing error: {e}"))),
        }
    }
}

/// The event as templates see it: by the names of the fields in Docker's own type, which are not those of the wire. As
/// JSON it stays as it came.
fn fields(template: &str, event: &Value) -> Value {
    const FIELDS: [(&str, &str); 6] = [
        ("status", "Status"),
        ("id", "ID"),
        ("from", "From"),
        ("scope", "Scope"),
        ("time", "Time"),
        ("timeNano", "TimeNano"),
    ];
    let mut seen = event.clone();
    if let ("json" | "{{json.}}", _) | (_, None) = (template.replace(' ', "").as_str(), seen.as_object()) {
        return seen;
    }
    for (wire, field) in FIELDS {
        seen[field] = event.get(wire).cloned().unwrap_or_else(|| Value::from(""));
    }
    seen
}

/// `2026-11-26T11:09:14.100578483Z container start 6e6a… (image=centos, name=web)`
fn line(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let when = match (event["timeNano"].as_i64(), event["time"].as_i64()) {
        (Some(nanos), _) if nanos != 0 => format!("{} ", moment::show(nanos)),
        (_, Some(seconds)) if seconds != 0 => format!("{} ", moment::show(seconds.saturating_mul(1_000_000_000))),
        _ => String::new(),
    };
    let actor = &event["Actor"];
    let mut pairs: Vec<_> = actor["Attributes"].as_object().into_iter().flatten().collect();
    pairs.sort_by_key(|(key, _)| *key);
    let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
    let pairs = if pairs.is_empty() { String::new() } else { format!(" ({})", pairs.join(", ")) };
    format!("{when}{} {} {}{pairs}\n", text(&event["Type"]), text(&event["Action"]), text(&actor["ID"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_know_dockers_fields() {
        let event = json!({"Type": "volume", "scope": "local", "time": 1, "timeNano": 1_000_000_005});
        let template = "{{.Type}} {{.Scope}} {{.TimeNano}} {{.Status}}";
        let shown = format::whole("", template, &Data::Json(fields(template, &event))).unwrap();
        assert_eq!(shown, "volume local 1000000005 \n");
        assert_eq!(fields("{{json .}}", &event), event);
    }

    #[test]
    fn a_line_reads_as_dockers() {
        let event = json!({"Type": "container", "Action": "die", "time": 0,
            "Actor": {"ID": "6e6a", "Attributes": {"name": "web", "exitCode": "0", "image": "centos"}}});
        assert_eq!(line(&event), "container die 6e6a (exitCode=0, image=centos, name=web)\n");
        let bare = json!({"Type": "daemon", "Action": "reload", "Actor": {"ID": "x", "Attributes": {}}, "timeNano": 1});
        assert!(line(&bare).ends_with(" daemon reload x\n"));
    }
}
