//! Which images are meant: the conditions of `--filter`, in lists and in prunes.

use super::store::{ImageError, ImageSummary};
use std::collections::HashMap;

/// Conditions that were understood. Of one kind, one has to hold; of labels, all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFilter {
    /// Without any tag (or, if false, with one).
    pub dangling: Option<bool>,
    pub references: Vec<String>,
    /// `key` or `key=value`.
    pub labels: Vec<String>,
    pub not_labels: Vec<String>,
    /// Made before, or since, these images.
    pub before: Vec<String>,
    pub since: Vec<String>,
    /// Made before this moment, in seconds since the epoch.
    pub until: Option<i64>,
}

/// The conditions cannot be understood. Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("invalid filter '{0}'")]
    Unknown(String),
    #[error("invalid filter '{key}={values:?}'", values = Listed(values))]
    Value { key: String, values: Vec<String> },
    #[error("syntax error in pattern")]
    Pattern,
    #[error("{0}")]
    Moment(String),
}

/// `[a b]`, as Go prints a list.
struct Listed<'a>(&'a [String]);

impl std::fmt::Debug for Listed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}]", self.0.join(" "))
    }
}

impl ImageFilter {
    /// Reads the conditions; only the kinds in `known` may be there. `moment` reads a time as people type it.
    ///
    /// # Errors
    /// A kind that is not known, a value that is none.
    pub fn new(
        conditions: HashMap<String, Vec<String>>,
        known: &[&str],
        moment: impl Fn(&str) -> Result<i64, String>,
    ) -> Result<ImageFilter, FilterError> {
        let mut filter = ImageFilter::default();
        for (key, values) in conditions {
            if !known.contains(&key.as_str()) {
                return Err(FilterError::Unknown(key));
            }
            match key.as_str() {
                "dangling" => filter.dangling = Some(truth(&key, &values)?),
                "reference" if values.iter().any(|v| !is_pattern(v)) => return Err(FilterError::Pattern),
                "reference" => filter.references = values,
                "label" => filter.labels = values,
                "label!" => filter.not_labels = values,
                "before" => filter.before = values,
                "since" => filter.since = values,
                "until" => match values.as_slice() {
                    [one] => filter.until = Some(moment(one).map_err(FilterError::Moment)?),
                    _ => return Err(FilterError::Moment("more than one until filter specified".into())),
                },
                _ => return Err(FilterError::Unknown(key)),
            }
        }
        Ok(filter)
    }

    /// Keeps the images that are meant, with the names that are; `created` says when an image was made that `before`
    /// or `since` names.
    pub fn keep(
        &self,
        images: Vec<ImageSummary>,
        created: impl Fn(&str) -> Result<i64, ImageError>,
    ) -> Result<Vec<ImageSummary>, ImageError> {
        let moments = |names: &[String]| names.iter().map(|n| created(n)).collect::<Result<Vec<i64>, _>>();
        let (before, since) = (moments(&self.before)?, moments(&self.since)?);
        let kept = images.into_iter().filter_map(|mut image| {
            if !self.references.is_empty() {
                let shown = |name: &String| self.references.iter().any(|p| matches_reference(p, name));
                image.repo_tags.retain(shown);
                image.repo_digests.retain(shown);
                if image.repo_tags.is_empty() && image.repo_digests.is_empty() {
                    return None;
                }
            }
            let fits = before.iter().all(|moment| image.created < *moment)
                && since.iter().all(|moment| image.created > *moment)
                && self.fits(&image);
            fits.then_some(image)
        });
        Ok(kept.collect())
    }

    /// Whether labels, age and danglingness fit.
    pub fn fits(&self, image: &ImageSummary) -> bool {
        self.dangling.is_none_or(|wanted| wanted == image.repo_tags.is_empty())
            && self.labels.iter().all(|l| has_label(image, l))
            && !self.not_labels.iter().any(|l| has_label(image, l))
            && self.until.is_none_or(|moment| image.created <= moment)
    }
}

fn truth(key: &str, values: &[String]) -> Result<bool, FilterError> {
    match values {
        [one] if matches!(one.as_str(), "1" | "true" | "True" | "TRUE" | "t" | "T") => Ok(true),
        [one] if matches!(one.as_str(), "0" | "false" | "False" | "FALSE" | "f" | "F") => Ok(false),
        _ => Err(FilterError::Value { key: key.to_owned(), values: values.to_vec() }),
    }
}

fn has_label(image: &ImageSummary, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => image.labels.get(key).is_some_and(|v| v == value),
        None => image.labels.contains_key(wanted),
    }
}

/// `centos` matches every tag of it, `centos:7` only this one; `*` stands for what has no slash (Go's path.Match).
fn matches_reference(pattern: &str, reference: &str) -> bool {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    glob(pattern.as_bytes(), reference.as_bytes()) || glob(pattern.as_bytes(), name.as_bytes())
}

/// Every `[` has its `]`, and no `\` is the last character.
fn is_pattern(pattern: &str) -> bool {
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        let ends = match c {
            '\\' => rest.next().is_some(),
            '[' => rest.by_ref().skip(1).any(|c| c == ']'),
            _ => true,
        };
        if !ends {
            return false;
        }
    }
    true
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            glob(rest, text) || text.split_first().is_some_and(|(c, text)| *c != b'/' && glob(pattern, text))
        }
        ([b'?', rest @ ..], [c, text @ ..]) if *c != b'/' => glob(rest, text),
        ([b'[', class @ ..], [c, text @ ..]) => {
            let Some(end) = class.iter().skip(1).position(|c| *c == b']').map(|n| n + 1) else { return false };
            in_class(&class[..end], *c) && glob(&class[end + 1..], text)
        }
        ([b'\\', p, rest @ ..], [c, text @ ..]) | ([p, rest @ ..], [c, text @ ..]) if p == c => glob(rest, text),
        _ => false,
    }
}

/// `a-z`, `^0-9`
fn in_class(class: &[u8], c: u8) -> bool {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        class => (false, class),
    };
    let mut inside = false;
    while let Some((first, rest)) = class.split_first() {
        match rest {
            [b'-', last, rest @ ..] => {
                inside |= (*first..=*last).contains(&c);
                class = rest;
            }
            rest => {
                inside |= *first == c;
                class = rest;
            }
        }
    }
    inside != negated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    const KNOWN: &[&str] = &["dangling", "label", "label!", "before", "since", "reference", "until"];

    fn filter(conditions: &[(&str, &str)]) -> Result<ImageFilter, FilterError> {
        let mut by_key: HashMap<String, Vec<String>> = HashMap::new();
        for (key, value) in conditions {
            by_key.entry((*key).to_owned()).or_default().push((*value).to_owned());
        }
        ImageFilter::new(by_key, KNOWN, |text| text.parse().map_err(|_| format!("no moment: {text}")))
    }

    fn image(tags: &[&str], created: i64) -> ImageSummary {
        ImageSummary {
            id: Digest::of(b""),
            repo_tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            repo_digests: Vec::new(),
            created,
            size: 0,
            labels: HashMap::from([("maker".to_owned(), "lab".to_owned())]),
            parent: None,
        }
    }

    fn kept(conditions: &[(&str, &str)]) -> Vec<Vec<String>> {
        let images = vec![image(&["centos:latest", "centos:7"], 10), image(&["lab/mysql:5.7"], 20), image(&[], 30)];
        let kept = filter(conditions).unwrap().keep(images, |name| {
            if name == "lab/mysql:5.7" { Ok(20) } else { Err(ImageError::NoSuchImage(name.to_owned())) }
        });
        kept.unwrap().into_iter().map(|i| i.repo_tags).collect()
    }

    #[test]
    fn images_are_kept_as_docker_keeps_them() {
        assert_eq!(kept(&[]).len(), 3);
        assert_eq!(kept(&[("dangling", "true")]), [Vec::<String>::new()]);
        assert_eq!(kept(&[("dangling", "0")]).len(), 2);
        assert_eq!(kept(&[("reference", "centos:7")]), [["centos:7"]], "only the names that are meant");
        assert_eq!(kept(&[("reference", "centos:7"), ("reference", "*/mysql")]).len(), 2);
        assert_eq!(kept(&[("reference", "mysql")]).len(), 0);
        assert_eq!(kept(&[("before", "lab/mysql:5.7")]), [["centos:latest", "centos:7"]]);
        assert_eq!(kept(&[("since", "lab/mysql:5.7")]).len(), 1);
        assert_eq!(kept(&[("until", "20")]).len(), 2);
        assert_eq!(kept(&[("label", "maker=lab"), ("label", "maker")]).len(), 3);
        assert_eq!(kept(&[("label", "maker=x")]).len(), 0);
        assert_eq!(kept(&[("label!", "maker")]).len(), 0);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_in_dockers_words() {
        let said = |key: &str, value: &str| filter(&[(key, value)]).unwrap_err().to_string();
        assert_eq!(said("foo", "bar"), "invalid filter 'foo'");
        assert_eq!(said("dangling", "foo"), "invalid filter 'dangling=[foo]'");
        assert_eq!(said("reference", "["), "syntax error in pattern");
        assert_eq!(said("until", "x"), "no moment: x");
    }

    #[test]
    fn patterns_match_as_dockers() {
        assert!(matches_reference("centos", "centos:latest"));
        assert!(matches_reference("centos:7", "centos:7"));
        assert!(!matches_reference("centos:7", "centos:latest"));
        assert!(matches_reference("127.0.0.1:5055/mysql", "127.0.0.1:5055/mysql:5.7"));
        assert!(matches_reference("my*", "mysql:5.7"));
        assert!(matches_reference("*:5.?", "mysql:5.7"));
        assert!(matches_reference("m[x-z]*", "mysql:5.7"));
        assert!(!matches_reference("m[^y]*", "mysql:5.7"));
        assert!(!matches_reference("*", "127.0.0.1:5055/mysql:5.7"));
    }
}
