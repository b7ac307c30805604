//! What containers are called: generated names, rules for given ones, and finding one by id, name or prefix.

mod words;

/// Why a name can't be given. Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    Invalid(String),
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    Taken { name: String, id: String },
}

/// Why nothing was found. Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    #[error("No such container: {0}")]
    NoSuch(String),
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
}

/// Checks a name that somebody gave; a slash before it (as the API shows names) is taken off.
///
/// # Errors
/// [`NameError::Invalid`] unless it is `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub fn check(name: &str) -> Result<&str, NameError> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = bare.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && rest && bare.len() > 1 { Ok(bare) } else { Err(NameError::Invalid(name.to_owned())) }
}

/// A name that nobody has: `bold_carver`, after some tries with a digit behind it.
pub fn generate(mut random: impl FnMut() -> u32, taken: impl Fn(&str) -> bool) -> String {
    let mut pick = |list: &[&'static str]| list[random() as usize % list.len()];
    for tries in 0u32.. {
        let name = format!("{}_{}", pick(&words::ADJECTIVES), pick(&words::SURNAMES));
        let name = match tries {
            0..=5 => name,
            n => format!("{name}{}", n - 5),
        };
        if !taken(&name) {
            return name;
        }
    }
    String::new()
}

/// Finds a container: by its whole id, else by its name, else by the beginning of exactly one id.
///
/// # Errors
/// See [`LookupError`].
pub fn find<'a>(
    containers: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    wanted: &str,
) -> Result<&'a str, LookupError> {
    let name = wanted.strip_prefix('/').unwrap_or(wanted);
    let exact =
        containers.clone().find(|(id, _)| *id == wanted).or_else(|| containers.clone().find(|(_, n)| *n == name));
    if let Some((id, _)) = exact {
        return Ok(id);
    }
    if wanted.is_empty() {
        return Err(LookupError::NoSuch(wanted.into()));
    }
    let mut matching = containers.map(|(id, _)| id).filter(|id| id.starts_with(wanted));
    match (matching.next(), matching.next()) {
        (Some(id), None) => Ok(id),
        (None, _) => Err(LookupError::NoSuch(wanted.into())),
        (Some(_), Some(_)) => Err(LookupError::Ambiguous(wanted.into())),
    }
}

/// A new id: 64 hex characters. Its first twelve are never all digits, since they become the host name, and some
/// programs take a host name of digits for an address.
///
/// # Errors
/// What getrandom(2) answers.
pub fn new_id() -> Result<String, getrandom::Error> {
    loop {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes)?;
        let id: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        if !id[..12].bytes().all(|b| b.is_ascii_digit()) {
            return Ok(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn word_lists_are_large_and_without_repeats() {
        for list in [&words::ADJECTIVES[..], &words::SURNAMES[..]] {
            assert_eq!(list.iter().collect::<HashSet<_>>().len(), list.len());
        }
        assert!(words::ADJECTIVES.len() >= 60 && words::SURNAMES.len() >= 80);
    }

    #[test]
    fn errors_have_dockers_words() {
        assert_eq!(
            check("x!").unwrap_err().to_string(),
            "Invalid container name (x!), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        );
        let taken = NameError::Taken { name: "tomcat01".into(), id: "f383".into() };
        assert_eq!(
            taken.to_string(),
            "Conflict. The container name \"/tomcat01\" is already in use by container \"f383\". You have to remove (or rename) that container to be able to reuse that name."
        );
    }

    #[test]
    fn names_are_checked() {
        for good in ["ab", "a1", "tomcat01", "A.b_c-d", "0x"] {
            assert_eq!(check(good), Ok(good));
        }
        assert_eq!(check("/web"), Ok("web"));
        for bad in ["", "a", "/", "-ab", "_ab", "a b", "a/b", "ä1", "a\n", "//ab"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lookup_prefers_id_then_name_then_prefix() {
        let list = [("abc1", "web"), ("abd2", "abc"), ("ff00", "abd2")];
        let find = |wanted: &str| super::find(list.iter().copied(), wanted);
        assert_eq!(find("abd2"), Ok("abd2"));
        assert_eq!(find("abc"), Ok("abd2"));
        assert_eq!(find("/web"), Ok("abc1"));
        assert_eq!(find("f"), Ok("ff00"));
        assert_eq!(find("ab"), Err(LookupError::Ambiguous("ab".into())));
        assert_eq!(find("zz").unwrap_err().to_string(), "No such container: zz");
        assert!(find("").is_err());
    }

    #[test]
    fn ids_are_64_hex_characters() {
        let id = new_id().unwrap();
        assert_eq!(id.len(), 64);
        assert!(id.bytes().all(|b| b.is_ascii_hexdigit()));
    }

    proptest! {
        #[test]
        fn generated_names_are_valid_and_free(seed in any::<u32>(), taken_share in 1u32..50) {
            let mut n = seed;
            let random = move || { n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); n >> 8 };
            let tries = std::cell::Cell::new(0);
            let taken = |_: &str| { tries.set(tries.get() + 1); tries.get() < taken_share };
            let name = generate(random, taken);
            prop_assert_eq!(check(&name), Ok(name.as_str()));
            prop_assert_eq!(tries.get(), taken_share);
        }

        #[test]
        fn a_valid_name_has_only_allowed_characters(name in ".{0,12}") {
            let by_the_rule = {
                let s = name.strip_prefix('/').unwrap_or(&name);
                s.chars().count() >= 2
                    && s.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && s.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
            };
            prop_assert_eq!(check(&name).is_ok(), by_the_rule);
        }
    }
}
