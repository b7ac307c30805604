//! Which events a client wants (`--filter event=die --filter container=web`).

use super::{Event, Kind};
use std::collections::BTreeMap;

/// One condition for each key; one of its values must fit (of labels: all).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter(BTreeMap<String, Vec<String>>);

/// A key that events can't be filtered by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid filter '{0}'")]
pub struct UnknownFilter(pub String);

/// What moby knows (`daemon/events`), of swarm too, which rdock has no events of.
const KNOWN: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// Actions that have something behind them: `exec_create: ls`. Without the colon the beginning is meant.
const WITH_DETAIL: [&str; 3] = ["exec_create", "exec_start", "health_status"];

impl Filter {
    /// # Errors
    /// A key that is none.
    pub fn new(wanted: impl IntoIterator<Item = (String, Vec<String>)>) -> Result<Filter, UnknownFilter> {
        let wanted: BTreeMap<_, _> = wanted.into_iter().filter(|(_, values)| !values.is_empty()).collect();
        match wanted.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            Some(unknown) => Err(UnknownFilter(unknown.clone())),
            None => Ok(Filter(wanted)),
        }
    }

    /// Whether all conditions hold.
    pub fn fits(&self, event: &Event) -> bool {
        self.0.iter().all(|(key, values)| {
            let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|value| test(value));
            let attribute = |name: &str| event.actor.attributes.get(name).map(String::as_str);
            let named = |value: &str| {
                event.actor.id.starts_with(value) || attribute("name").is_some_and(|n| n.starts_with(value))
            };
            match key.as_str() {
                "type" => any(&|value| value == event.kind.name()),
                "event" => any(&|value| action_fits(&event.action, value)),
                "scope" => any(&|value| value == event.scope),
                "label" => values.iter().all(|value| match value.split_once('=') {
                    Some((name, wanted)) => attribute(name) == Some(wanted),
                    None => attribute(value).is_some(),
                }),
                "image" => any(&|value| is_of_image(event, value)),
                "container" => event.kind == Kind::Container && any(&named),
                "network" => event.kind == Kind::Network && any(&named),
                "volume" => event.kind == Kind::Volume && any(&named),
                "daemon" => event.kind == Kind::Daemon && any(&named),
                _ => false,
            }
        })
    }
}

fn action_fits(action: &str, wanted: &str) -> bool {
    action == wanted
        || (WITH_DETAIL.contains(&wanted) && action.strip_prefix(wanted).is_some_and(|r| r.starts_with(':')))
}

/// With its tag or without; of the image itself, or of a container made of it.
fn is_of_image(event: &Event, wanted: &str) -> bool {
    let attribute = if event.kind == Kind::Image { "name" } else { "image" };
    let name = event.actor.attributes.get(attribute).map_or("", String::as_str);
    [event.actor.id.as_str(), name].into_iter().any(|name| name == wanted || without_tag(name) == wanted)
}

/// `127.0.0.1:5000/centos:7` without `:7`; a colon before a slash belongs to the host.
fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, action: &str, id: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Event::new(kind, action.into(), id.into(), attributes, 1)
    }

    fn fits(pairs: &[(&str, &str)], event: &Event) -> bool {
        let mut wanted = BTreeMap::<String, Vec<String>>::new();
        for (key, value) in pairs {
            wanted.entry((*key).into()).or_default().push((*value).into());
        }
        Filter::new(wanted).unwrap().fits(event)
    }

    #[test]
    fn values_of_one_key_are_alternatives_and_keys_are_conditions() {
        let died = event(Kind::Container, "die", "6e6a", &[("name", "web"), ("image", "centos:7"), ("tier", "front")]);
        assert!(fits(&[], &died));
        assert!(fits(&[("event", "die"), ("event", "start"), ("container", "we")], &died));
        assert!(fits(&[("container", "6e"), ("type", "container"), ("scope", "local")], &died));
        assert!(!fits(&[("event", "die"), ("container", "db")], &died));
        assert!(fits(&[("image", "centos")], &died) && fits(&[("image", "centos:7")], &died));
        assert!(!fits(&[("image", "cent")], &died));
        assert!(fits(&[("label", "tier"), ("label", "tier=front")], &died));
        assert!(!fits(&[("label", "tier=front"), ("label", "zone")], &died));
        assert!(!fits(&[("network", "6e6a")], &died) && !fits(&[("service", "x")], &died));
    }

    #[test]
    fn an_action_with_a_detail_is_found_by_its_beginning() {
        let healthy = event(Kind::Container, "health_status: healthy", "6e6a", &[]);
        assert!(fits(&[("event", "health_status")], &healthy));
        assert!(fits(&[("event", "health_status: healthy")], &healthy));
        assert!(!fits(&[("event", "health_status: unhealthy")], &healthy));
        let created = event(Kind::Container, "exec_create: ls", "6e6a", &[]);
        assert!(fits(&[("event", "exec_create")], &created) && !fits(&[("event", "exec")], &created));
    }

    #[test]
    fn images_are_found_by_name_and_tag() {
        let pulled = event(Kind::Image, "pull", "127.0.0.1:5000/centos:7", &[("name", "127.0.0.1:5000/centos")]);
        assert!(fits(&[("image", "127.0.0.1:5000/centos")], &pulled));
        assert!(fits(&[("image", "127.0.0.1:5000/centos:7")], &pulled));
        assert!(!fits(&[("container", "127")], &pulled));
    }

    #[test]
    fn unknown_keys_are_refused_in_dockers_words() {
        let refused = Filter::new([("colour".to_owned(), vec!["red".to_owned()])]).unwrap_err();
        assert_eq!(refused.to_string(), "invalid filter 'colour'");
    }
}
