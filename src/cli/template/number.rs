//! Numbers as Go writes them in templates.

/// A constant of a template.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Int(i64),
    Float(f64),
}

/// The number at the beginning of `text`, and how many bytes it takes.
pub fn read(text: &str) -> Option<(Number, usize)> {
    if let Some(rest) = text.strip_prefix('\'') {
        let letter = rest.chars().next()?;
        let end = 1 + letter.len_utf8();
        return text[end..].starts_with('\'').then_some((Number::Int(i64::from(u32::from(letter))), end + 1));
    }
    let sign = usize::from(text.starts_with(['+', '-']));
    let body = &text[sign..];
    let length = sign + body.find(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c))).unwrap_or(body.len());
    let plain = text[..length].replace('_', "");
    let plain = plain.strip_prefix('+').unwrap_or(&plain);
    let (minus, digits) = plain.strip_prefix('-').map_or((false, plain), |d| (true, d));
    let radix = [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)];
    let whole = match radix.iter().find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, *radix))) {
        Some((digits, radix)) => i64::from_str_radix(digits, radix).ok(),
        None => digits.parse().ok(),
    };
    let number = match whole {
        Some(n) => Number::Int(if minus { -n } else { n }),
        None if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => Number::Float(plain.parse().ok()?),
        None => return None,
    };
    Some((number, length))
}
