//! `--mount` and `--volume`.

use super::object;
use super::values;
use serde_json::{Value, json};

/// One `--mount`, in its fields (docker/cli, MountOpt).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mount {
    kind: String,
    source: String,
    target: String,
    read_only: bool,
    consistency: String,
    bind: Vec<(&'static str, Value)>,
    volume: Vec<(&'static str, Value)>,
    labels: Vec<(String, String)>,
    driver: String,
    driver_opts: Vec<(String, String)>,
    image_subpath: Option<String>,
    tmpfs: Vec<(&'static str, Value)>,
}

/// Reads `type=bind,source=/a,target=/b,readonly`.
pub fn mount(text: &str) -> Result<Mount, String> {
    let mut mount = Mount { kind: "volume".into(), ..Mount::default() };
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value.trim())),
            None => (field.to_ascii_lowercase(), None),
        };
        let Some(value) = value else {
            match key.as_str() {
                "readonly" | "ro" => mount.read_only = true,
                "volume-nocopy" => mount.volume.push(("NoCopy", json!(true))),
                "bind-nonrecursive" => mount.bind.push(("NonRecursive", json!(true))),
                _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
            }
            continue;
        };
        mount.set(&key, value, &field)?;
    }
    mount.check()?;
    Ok(mount)
}

/// One record of comma separated values; a field in quotation marks may hold commas (RFC 4180).
fn fields(text: &str) -> Result<Vec<String>, String> {
    let (mut fields, mut field, mut quoted) = (vec![], String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            '"' => {
                return Err(format!("parse error on line 1, column {}: bare \" in non-quoted-field", field.len() + 1));
            }
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if text.is_empty() {
        // Go reads a record of comma separated values here, and there is none.
        return Err("EOF".into());
    }
    fields.push(field);
    Ok(fields)
}

/// Go's ParseBool.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl Mount {
    fn set(&mut self, key: &str, value: &str, field: &str) -> Result<(), String> {
        let switch = || boolean(value).ok_or_else(|| format!("invalid value for {key}: {value}"));
        match key {
            "type" => self.kind = value.to_ascii_lowercase(),
            "source" | "src" => self.source = absolute(value),
            "target" | "dst" | "destination" => self.target = value.into(),
            "readonly" | "ro" => self.read_only = switch()?,
            "consistency" => self.consistency = value.to_ascii_lowercase(),
            "bind-propagation" => self.bind.push(("Propagation", json!(value.to_ascii_lowercase()))),
            "bind-nonrecursive" => self.bind.push(("NonRecursive", json!(switch()?))),
            "bind-recursive" => match value {
                "enabled" => {}
                "disabled" => self.bind.push(("NonRecursive", json!(true))),
                "writable" => self.bind.push(("ReadOnlyNonRecursive", json!(true))),
                "readonly" => self.bind.push(("ReadOnlyForceRecursive", json!(true))),
                _ => {
                    return Err(format!(
                        "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                    ));
                }
            },
            "volume-subpath" => self.volume.push(("Subpath", json!(value))),
            "volume-nocopy" => self.volume.push(("NoCopy", json!(switch()?))),
            "volume-label" => self.labels.push(pair(value)),
            "volume-driver" => self.driver = value.into(),
            "volume-opt" => self.driver_opts.push(pair(value)),
            "image-subpath" => self.image_subpath = Some(value.into()),
            "tmpfs-size" => {
                let size = values::bytes(value).map_err(|_| format!("invalid value for {key}: {value}"))?;
                self.tmpfs.push(("SizeBytes", json!(size)));
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8).map_err(|_| format!("invalid value for {key}: {value}"))?;
                self.tmpfs.push(("Mode", json!(mode)));
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let kind = self.kind.as_str();
        if kind.is_empty() {
            return Err("type is required".into());
        }
        if self.target.is_empty() {
            return Err("target is required".into());
        }
        let volume = !(self.volume.is_empty() && self.labels.is_empty() && self.driver.is_empty());
        let volume = volume || !self.driver_opts.is_empty();
        let used = [
            ("volume", volume),
            ("bind", !self.bind.is_empty()),
            ("tmpfs", !self.tmpfs.is_empty()),
            ("image", self.image_subpath.is_some()),
        ];
        if let Some((other, _)) = used.into_iter().find(|(name, used)| *used && *name != kind) {
            return Err(format!("cannot mix '{other}-*' options with mount type '{kind}'"));
        }
        let has = |name: &str| self.bind.iter().any(|(n, v)| *n == name && *v == json!(true));
        if has("ReadOnlyNonRecursive") && !self.read_only {
            return Err("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction".into());
        }
        if has("ReadOnlyForceRecursive") {
            if !self.read_only {
                return Err(
                    "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction".into()
                );
            }
            if !self.bind.iter().any(|(name, v)| *name == "Propagation" && *v == json!("rprivate")) {
                return Err(
                    "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
                        .into(),
                );
            }
        }
        Ok(())
    }

    /// As the Docker command sends it: empty fields are left out.
    pub fn json(&self) -> Value {
        let text = |s: &str| (!s.is_empty()).then(|| json!(s));
        let pick = |list: &[(&'static str, Value)], names: &[&'static str]| {
            let last = |name: &str| list.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
            let zero = |v: &Value| matches!(v, Value::Bool(false)) || *v == json!("") || *v == json!(0);
            object(names.iter().map(|name| (*name, last(name).filter(|v| !zero(v)))))
        };
        let map = |list: &[(String, String)]| {
            let sorted: std::collections::BTreeMap<_, _> = list.iter().cloned().collect();
            (!sorted.is_empty()).then(|| json!(sorted))
        };
        let bind =
            ["Propagation", "NonRecursive", "CreateMountpoint", "ReadOnlyNonRecursive", "ReadOnlyForceRecursive"];
        let volume = (!self.volume.is_empty() || !self.labels.is_empty() || !self.driver.is_empty()).then(|| {
            let driver = object([("Name", text(&self.driver)), ("Options", map(&self.driver_opts))]);
            let mut fields = pick(&self.volume, &["NoCopy"]);
            if let Value::Object(into) = &mut fields {
                into.extend(map(&self.labels).map(|l| ("Labels".to_owned(), l)));
                if let Value::Object(sub) = pick(&self.volume, &["Subpath"]) {
                    into.extend(sub);
                }
                into.insert("DriverConfig".into(), driver);
            }
            fields
        });
        object([
            ("Type", text(&self.kind)),
            ("Source", text(&self.source)),
            ("Target", text(&self.target)),
            ("ReadOnly", self.read_only.then(|| json!(true))),
            ("Consistency", text(&self.consistency)),
            ("BindOptions", (!self.bind.is_empty()).then(|| pick(&self.bind, &bind))),
            ("VolumeOptions", volume),
            ("ImageOptions", self.image_subpath.as_ref().map(|s| object([("Subpath", text(s))]))),
            ("TmpfsOptions", (!self.tmpfs.is_empty()).then(|| pick(&self.tmpfs, &["SizeBytes", "Mode"]))),
        ])
    }
}

fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.into(), value.into())
}

/// A path that begins with a dot is meant from where the command is typed.
fn absolute(path: &str) -> String {
    if !path.starts_with('.') {
        return path.into();
    }
    let here = std::env::current_dir().unwrap_or_default();
    let mut clean = std::path::PathBuf::new();
    for part in here.join(path).components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            std::path::Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean.display().to_string()
}

/// What one `--volume` is.
#[derive(Debug, PartialEq, Eq)]
pub enum Volume {
    /// `SOURCE:TARGET[:OPTIONS]`, as the daemon takes it.
    Bind(String),
    /// Only a place: an anonymous volume.
    Anonymous(String),
}

/// Reads a `--volume`. One letter and a colon are a drive of Windows and no source, as Docker has it.
pub fn volume(spec: &str) -> Result<Volume, String> {
    match spec.chars().count() {
        0 => return Err("invalid empty volume spec".into()),
        1 | 2 => return Ok(Volume::Anonymous(spec.into())),
        _ => {}
    }
    let mut parts: Vec<String> = vec![String::new()];
    for c in spec.chars() {
        let last = parts.last_mut().map_or("", |s| s.as_str()).to_owned();
        let mut letters = last.chars();
        let drive = matches!((letters.next(), letters.next()), (Some(one), None) if one.is_alphabetic());
        if c == ':' && !drive {
            if last.is_empty() {
                return Err(format!("invalid spec: {spec}: empty section between colons"));
            }
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    if parts.last().is_some_and(String::is_empty) {
        return Err(format!("invalid spec: {spec}: empty section between colons"));
    }
    match parts.len() {
        1 => Ok(Volume::Anonymous(spec.into())),
        2 | 3 => {
            let (source, rest) = spec.split_at(parts[0].len());
            Ok(Volume::Bind(format!("{}{rest}", absolute(source))))
        }
        _ => Err(format!("invalid spec: {spec}: too many colons")),
    }
}
