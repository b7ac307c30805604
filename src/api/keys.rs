//! The keys of `--detach-keys`, as client and daemon read them.

/// `a`, or `ctrl-` and a letter or one of `@[\\]^_`: the byte that the terminal sends for the key.
pub fn parse_one(key: &str) -> Option<u8> {
    if let [one] = key.as_bytes() {
        return Some(*one);
    }
    match key.to_ascii_lowercase().strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'@'] => Some(0),
        [other @ (b'[' | b'\\' | b']' | b'^' | b'_')] => Some(other - b'@'),
        _ => None,
    }
}
