//! The keys that leave a container without ending it: `ctrl-p,ctrl-q` unless told otherwise.

use super::keys;

/// A sequence of bytes that the terminal sends for the keys. Empty: leaving is not possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

/// The text of `--detach-keys` is no sequence of keys. Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid detach keys ({0}): Unknown character: '{1}'")]
pub struct DetachKeysError(String, String);

impl Default for DetachKeys {
    fn default() -> Self {
        DetachKeys(vec![0x10, 0x11])
    }
}

impl DetachKeys {
    /// `ctrl-p,ctrl-q`, `a`, `ctrl-@,x`: single characters, or `ctrl-` and a letter or one of `@[\]^_`.
    pub fn parse(text: &str) -> Result<DetachKeys, DetachKeysError> {
        let keys: Result<Vec<u8>, _> = text
            .split(',')
            .map(|key| keys::parse_one(key).ok_or_else(|| DetachKeysError(text.to_owned(), key.to_owned())))
            .collect();
        keys.map(DetachKeys)
    }
}

/// Watches what is typed for the sequence. Keys that begin it are held back until the next key decides.
#[derive(Debug)]
pub struct Watch {
    keys: DetachKeys,
    matched: usize,
}

impl Watch {
    pub fn new(keys: DetachKeys) -> Watch {
        Watch { keys, matched: 0 }
    }

    /// Appends to `out` what the container should get of `typed`. True: the sequence is complete, nothing of it
    /// and nothing after it was passed on.
    pub fn feed(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        let keys = &self.keys.0;
        if keys.is_empty() {
            out.extend_from_slice(typed);
            return false;
        }
        for &byte in typed {
            if byte == keys[self.matched] {
                self.matched += 1;
                if self.matched == keys.len() {
                    return true;
                }
                continue;
            }
            out.extend_from_slice(&keys[..self.matched]);
            self.matched = usize::from(byte == keys[0] && keys.len() > 1);
            if self.matched == 0 {
                out.push(byte);
            }
        }
        false
    }

    /// What is still held back when the input ends.
    pub fn rest(&mut self) -> &[u8] {
        let held = std::mem::take(&mut self.matched);
        &self.keys.0[..held]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn type_in(watch: &mut Watch, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        for piece in pieces {
            if watch.feed(piece, &mut out) {
                return (out, true);
            }
        }
        out.extend_from_slice(watch.rest());
        (out, false)
    }

    #[test]
    fn ctrl_p_ctrl_q_leaves() {
        let mut watch = Watch::new(DetachKeys::default());
        assert_eq!(type_in(&mut watch, &[b"ls\n", b"\x10", b"\x11never seen"]), (b"ls\n".to_vec(), true));
    }

    #[test]
    fn half_a_sequence_is_passed_on() {
        let mut watch = Watch::new(DetachKeys::default());
        assert_eq!(type_in(&mut watch, &[b"\x10x\x10", b"\x10\x10", b"y"]), (b"\x10x\x10\x10\x10y".to_vec(), false));
        let mut watch = Watch::new(DetachKeys::default());
        assert_eq!(type_in(&mut watch, &[b"\x10"]), (b"\x10".to_vec(), false));
    }

    #[test]
    fn keys_are_parsed_as_docker_parses_them() {
        assert_eq!(DetachKeys::parse("ctrl-p,ctrl-q"), Ok(DetachKeys::default()));
        assert_eq!(DetachKeys::parse("a,ctrl-@,ctrl-_"), Ok(DetachKeys(vec![b'a', 0, 0x1f])));
        let said = DetachKeys::parse("ctrl-p,nope").unwrap_err().to_string();
        assert_eq!(said, "invalid detach keys (ctrl-p,nope): Unknown character: 'nope'");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_without_the_sequence(typed in prop::collection::vec(prop::sample::select(vec![0x10u8, b'a', b'b']), 0..40)) {
            let mut watch = Watch::new(DetachKeys::default());
            let pieces: Vec<&[u8]> = typed.chunks(3).collect();
            prop_assert_eq!(type_in(&mut watch, &pieces), (typed.clone(), false));
        }
    }
}
