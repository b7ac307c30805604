//! What has happened to containers, images, networks and volumes, told to whoever listens (`rdock events`).
//!
//! - [`Event`]: one event, as the Engine API writes it;
//! - [`Bus`]: publishing and listening; a bounded ring of the last events answers `--since`;
//! - [`Filter`]: which events a client wants.
//!
//! Services publish what they have done, after it was written down: who is told of a change and asks then sees it.

mod bus;
mod filter;

pub use bus::{Bus, KEPT, Listener};
pub use filter::{Filter, UnknownFilter};

use serde::Serialize;
use std::collections::BTreeMap;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Container,
    Image,
    Network,
    Volume,
    Daemon,
}

impl Kind {
    /// The word of the Engine API: `container`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Container => "container",
            Kind::Image => "image",
            Kind::Network => "network",
            Kind::Volume => "volume",
            Kind::Daemon => "daemon",
        }
    }
}

/// What is known of the thing besides its id: sorted, as clients print them.
pub type Attributes = BTreeMap<String, String>;

/// Whom it happened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// A container's or network's id, an image's name or id, a volume's name.
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes")]
    pub attributes: Attributes,
}

/// One event, in the JSON form of `GET /events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// As `Action`, `Actor.ID` and the image's name: the form of the API before 1.22, which clients still read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(rename = "Type")]
    pub kind: Kind,
    /// `start`, `exec_create: ls -l`, `health_status: healthy`
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`: there is no swarm.
    pub scope: &'static str,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970; no event is older than the one before it.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

impl Event {
    fn new(kind: Kind, action: String, id: String, attributes: Attributes, time_nano: i64) -> Event {
        let old_form = matches!(kind, Kind::Container | Kind::Image);
        let from = attributes.get("image").cloned().filter(|_| kind == Kind::Container);
        Event {
            status: old_form.then(|| action.clone()),
            id: old_form.then(|| id.clone()),
            from,
            kind,
            action,
            actor: Actor { id, attributes },
            scope: "local",
            time: time_nano.div_euclid(NANOS),
            time_nano,
        }
    }
}

/// Nanoseconds of a second.
const NANOS: i64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_dockers_fields_in_dockers_order() {
        let attributes = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let container = attributes(&[("name", "web"), ("image", "centos")]);
        let event = Event::new(Kind::Container, "start".into(), "6e6a".into(), container, 1_795_460_218_000_000_005);
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"status":"start","id":"6e6a","from":"centos","Type":"container","Action":"start","Actor":{"ID":"6e6a","Attributes":{"image":"centos","name":"web"}},"scope":"local","time":1795460218,"timeNano":1795460218000000005}"#
        );
        let event = Event::new(Kind::Volume, "create".into(), "v".into(), attributes(&[("driver", "local")]), 5);
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"Type":"volume","Action":"create","Actor":{"ID":"v","Attributes":{"driver":"local"}},"scope":"local","time":0,"timeNano":5}"#
        );
    }
}
