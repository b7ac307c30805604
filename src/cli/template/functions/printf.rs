//! `printf` with the verbs and flags that people use in templates: `%-20s`, `%q`, `%05d`, `%x`, `%.2f`, `%t`, `%v`.

use super::super::value::{Value, json_line};

/// Go's Printf; what does not fit is told in the text, as Go does.
pub fn printf(format: &str, args: &[Value]) -> String {
    let mut out = String::new();
    let mut args = args.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let flags = &rest[..rest.find(|c: char| !"+-# 0".contains(c)).unwrap_or(rest.len())];
        rest = &rest[flags.len()..];
        let (width, tail) = digits(rest);
        let (precision, tail) = match tail.strip_prefix('.') {
            Some(after) => {
                let (n, tail) = digits(after);
                (Some(n.unwrap_or(0)), tail)
            }
            None => (None, tail),
        };
        let Some(verb) = tail.chars().next() else {
            out.push_str("%!(NOVERB)");
            return out;
        };
        rest = &tail[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        match args.next() {
            Some(arg) => out.push_str(&padded(&one(verb, precision, flags, arg), flags, width.unwrap_or(0))),
            None => out.push_str(&format!("%!{verb}(MISSING)")),
        }
    }
    out.push_str(rest);
    let extra: Vec<String> = args.map(|a| format!("{}={}", a.kind(false), a.print())).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

/// Wider than this no column of a terminal is.
const WIDEST: usize = 4096;

fn digits(text: &str) -> (Option<usize>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().ok().map(|n: usize| n.min(WIDEST)), &text[end..])
}

fn one(verb: char, precision: Option<usize>, flags: &str, arg: &Value) -> String {
    let cut = |text: String| match precision {
        Some(n) => text.chars().take(n).collect(),
        None => text,
    };
    let signed = |text: String, positive: bool| if positive && flags.contains('+') { format!("+{text}") } else { text };
    let float = || arg.to_json().as_f64();
    match (verb, arg.as_str(), arg.as_int()) {
        ('v' | 's', Some(text), _) => cut(text.to_owned()),
        ('v', ..) => arg.print(),
        ('q', Some(text), _) => json_line(&Value::text(cut(text.to_owned()))),
        ('x', Some(text), _) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ('X', Some(text), _) => text.bytes().map(|b| format!("{b:02X}")).collect(),
        ('d', _, Some(n)) => signed(n.to_string(), n >= 0),
        ('x', _, Some(n)) => format!("{n:x}"),
        ('X', _, Some(n)) => format!("{n:X}"),
        ('o', _, Some(n)) => format!("{n:o}"),
        ('b', _, Some(n)) => format!("{n:b}"),
        ('c', _, Some(n)) => u32::try_from(n).ok().and_then(char::from_u32).map(String::from).unwrap_or_default(),
        ('f' | 'F', None, None) if float().is_some() => {
            let n = float().unwrap_or_default();
            signed(format!("{n:.*}", precision.unwrap_or(6)), n >= 0.0)
        }
        ('t', None, None) if arg.to_json().is_boolean() => arg.print(),
        ('s', None, None) if arg.to_json().is_array() || arg.to_json().is_object() => arg.print(),
        ('T', ..) => arg.kind(false).to_owned(),
        _ => format!("%!{verb}({}={})", arg.kind(false), arg.print()),
    }
}

fn padded(text: &str, flags: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.chars().count());
    match (flags.contains('-'), flags.contains('0')) {
        (true, _) => format!("{text}{}", " ".repeat(missing)),
        (false, true) => match text.strip_prefix(['-', '+']) {
            Some(number) => format!("{}{}{number}", &text[..1], "0".repeat(missing)),
            None => format!("{}{text}", "0".repeat(missing)),
        },
        (false, false) => format!("{}{text}", " ".repeat(missing)),
    }
}
