//! Dockerfile instructions that `import -c` and `commit -c` apply to an image's config.
//!
//! Dockerfile reference: an instruction's arguments are a JSON array of strings (exec form) or plain text (shell form,
//! which `/bin/sh -c` runs).

use oci_spec::image::Config;

/// Why an instruction is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("{0} is not a valid change command")]
    Unknown(String),
    /// Docker's words.
    #[error("{0} requires at least one argument")]
    Empty(String),
    #[error("Syntax error - can't find = in {word:?}. Must be of the form: name=value")]
    NoValue { word: String },
    #[error("invalid containerPort: {0}")]
    Port(String),
    #[error("an open quote in {0:?}")]
    Quote(String),
}

/// The changes of one command line, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(Vec<Change>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Cmd(Vec<String>),
    Entrypoint(Vec<String>),
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Expose(Vec<String>),
    Volume(Vec<String>),
    User(String),
    Workdir(String),
    StopSignal(String),
}

impl Changes {
    pub fn parse<S: AsRef<str>>(lines: &[S]) -> Result<Changes, ChangeError> {
        let lines = lines.iter().flat_map(|text| text.as_ref().lines()).map(str::trim).filter(|line| !line.is_empty());
        lines.map(parse).collect::<Result<_, _>>().map(Changes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies them to what an image says of its containers.
    pub fn apply(&self, config: &mut Config) {
        // An entry point without a command of its own takes no command over from below (Docker).
        let has_cmd = self.0.iter().any(|change| matches!(change, Change::Cmd(_)));
        for change in &self.0 {
            match change.clone() {
                Change::Cmd(words) => drop(config.set_cmd(Some(words))),
                Change::Entrypoint(words) => {
                    config.set_entrypoint(Some(words));
                    if !has_cmd {
                        config.set_cmd(None);
                    }
                }
                Change::Env(pairs) => {
                    let mut env = config.env().clone().unwrap_or_default();
                    for (name, value) in pairs {
                        let is_it = |line: &String| line.split('=').next() == Some(&name);
                        let line = format!("{name}={value}");
                        match env.iter().position(is_it) {
                            Some(at) => env[at] = line,
                            None => env.push(line),
                        }
                    }
                    config.set_env(Some(env));
                }
                Change::Label(pairs) => {
                    let mut labels = config.labels().clone().unwrap_or_default();
                    labels.extend(pairs);
                    config.set_labels(Some(labels));
                }
                Change::Expose(ports) => {
                    let list = joined(config.exposed_ports().clone(), ports);
                    config.set_exposed_ports(Some(list));
                }
                Change::Volume(paths) => {
                    let list = joined(config.volumes().clone(), paths);
                    config.set_volumes(Some(list));
                }
                Change::User(user) => drop(config.set_user(Some(user))),
                Change::Workdir(dir) => {
                    let dir = absolute(config.working_dir().as_deref(), &dir);
                    config.set_working_dir(Some(dir));
                }
                Change::StopSignal(signal) => drop(config.set_stop_signal(Some(signal))),
            }
        }
    }
}

fn joined(old: Option<Vec<String>>, new: Vec<String>) -> Vec<String> {
    let mut list = old.unwrap_or_default();
    list.extend(new.into_iter().filter(|item| !item.is_empty()));
    list.sort();
    list.dedup();
    list
}

/// A relative working directory is below the one before.
fn absolute(before: Option<&str>, dir: &str) -> String {
    match before {
        _ if dir.starts_with('/') => dir.to_owned(),
        Some(before) => format!("{}/{dir}", before.trim_end_matches('/')),
        None => format!("/{dir}"),
    }
}

fn parse(line: &str) -> Result<Change, ChangeError> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (word, rest) = (word.to_ascii_uppercase(), rest.trim());
    if rest.is_empty() {
        return match word.as_str() {
            "CMD" => Ok(Change::Cmd(Vec::new())),
            "ENTRYPOINT" => Ok(Change::Entrypoint(Vec::new())),
            "ENV" | "LABEL" | "EXPOSE" | "VOLUME" | "USER" | "WORKDIR" | "STOPSIGNAL" => Err(ChangeError::Empty(word)),
            _ => Err(ChangeError::Unknown(word)),
        };
    }
    Ok(match word.as_str() {
        "CMD" => Change::Cmd(command(rest)),
        "ENTRYPOINT" => Change::Entrypoint(command(rest)),
        "ENV" => Change::Env(pairs(rest, true)?),
        "LABEL" => Change::Label(pairs(rest, false)?),
        "EXPOSE" => Change::Expose(words(rest)?.iter().map(|port| port_of(port)).collect::<Result<_, _>>()?),
        "VOLUME" => Change::Volume(array(rest).map_or_else(|| words(rest), Ok)?),
        "USER" => Change::User(rest.to_owned()),
        "WORKDIR" => Change::Workdir(rest.to_owned()),
        "STOPSIGNAL" => Change::StopSignal(rest.to_owned()),
        _ => return Err(ChangeError::Unknown(word)),
    })
}

/// The exec form, if it is that.
fn array(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

fn command(text: &str) -> Vec<String> {
    array(text).unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), text.into()])
}

/// `a=b c="d e"`, or the older `a b c` (one name, the rest is its value) where `single` allows it.
fn pairs(text: &str, single: bool) -> Result<Vec<(String, String)>, ChangeError> {
    let all = words(text)?;
    if single
        && !all.first().is_some_and(|word| word.contains('='))
        && let Some((name, value)) = text.split_once(char::is_whitespace)
    {
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(ChangeError::NoValue { word: word.clone() }),
    };
    all.iter().map(pair).collect()
}

/// Splits at blanks; quotes hold together, a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<String>, ChangeError> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', Some('"') | None) => word.get_or_insert_default().extend(characters.next()),
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(ChangeError::Quote(text.to_owned()));
    }
    words.extend(word);
    Ok(words)
}

/// `80` is `80/tcp`; a range stays one.
fn port_of(text: &str) -> Result<String, ChangeError> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let wrong = || ChangeError::Port(text.to_owned());
    let numbers = ports.split('-').map(|n| n.parse::<u16>().map_err(|_| wrong())).collect::<Result<Vec<_>, _>>()?;
    let protocol = protocol.to_ascii_lowercase();
    let ordered = numbers.len() <= 2 && numbers.is_sorted();
    match ordered && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        true => Ok(format!("{ports}/{protocol}")),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(lines: &[&str]) -> Config {
        let mut config = Config::default();
        Changes::parse(lines).unwrap().apply(&mut config);
        config
    }

    #[test]
    fn commands_have_two_forms() {
        let both = applied(&[r#"ENTRYPOINT ["/bin/x", "-a"]"#, "cmd echo $HOME"]);
        assert_eq!(both.entrypoint().clone().unwrap(), ["/bin/x", "-a"]);
        assert_eq!(both.cmd().clone().unwrap(), ["/bin/sh", "-c", "echo $HOME"]);
        let mut config = applied(&["CMD old"]);
        Changes::parse(&["ENTRYPOINT new"]).unwrap().apply(&mut config);
        assert_eq!(config.cmd(), &None, "the command was meant for another entry point");
    }

    #[test]
    fn variables_and_labels_are_replaced_by_name() {
        let config = applied(&["ENV A=1 B=\"two words\"", "ENV A three four", "LABEL x=1 y='z z'", "LABEL x=2"]);
        assert_eq!(config.env().clone().unwrap(), ["A=three four", "B=two words"]);
        let labels = config.labels().clone().unwrap();
        assert_eq!((labels["x"].as_str(), labels["y"].as_str()), ("2", "z z"));
    }

    #[test]
    fn ports_volumes_and_the_rest() {
        let config = applied(&[
            "EXPOSE 443/TCP 80",
            "EXPOSE 80/tcp 53/udp",
            "VOLUME [\"/data\"]",
            "VOLUME /b /a",
            "USER 1000:100",
            "WORKDIR /srv",
            "WORKDIR app",
            "STOPSIGNAL SIGINT",
        ]);
        assert_eq!(config.exposed_ports().clone().unwrap(), ["443/tcp", "53/udp", "80/tcp"]);
        assert_eq!(config.volumes().clone().unwrap(), ["/a", "/b", "/data"]);
        assert_eq!(config.user().as_deref(), Some("1000:100"));
        assert_eq!(config.working_dir().as_deref(), Some("/srv/app"));
        assert_eq!(config.stop_signal().as_deref(), Some("SIGINT"));
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence() {
        let error = |line: &str| Changes::parse(&[line]).unwrap_err().to_string();
        assert_eq!(error("RUN x"), "RUN is not a valid change command");
        assert_eq!(error("ENV"), "ENV requires at least one argument");
        assert_eq!(error("LABEL x"), "Syntax error - can't find = in \"x\". Must be of the form: name=value");
        assert_eq!(error("EXPOSE http"), "invalid containerPort: http");
        assert_eq!(error("ENV a=\"b"), "an open quote in \"a=\\\"b\"");
        assert!(Changes::parse(&["", "  "]).unwrap().is_empty());
    }
}
